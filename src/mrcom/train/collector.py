"""Rounds of collection, made in a thread of their own: while a run learns, too."""

import concurrent.futures
import dataclasses
import queue
import threading
from collections.abc import Iterator
from typing import Any

import equinox as eqx
import jax

from mrcom.core.progress import Bar, StepWithin
from mrcom.core.rng import named_seed
from mrcom.core.types import Steps
from mrcom.simulate.simulator import Simulator
from mrcom.train.collect import collect_random, collect_with_agent, collect_with_experts
from mrcom.train.episodes import EpisodeFiles
from mrcom.train.run import Run


@dataclasses.dataclass(frozen=True)
class Round:
    """One episode of every scenario, as it lies in its file."""

    steps: Steps
    checksum: int


class Collector:
    """Makes a run's rounds one after the other.

    What a round is depends on the state that it was begun with and on its number alone, whatever
    the run learns meanwhile.
    """

    def __init__(self, run: Run, simulator: Simulator, episodes: EpisodeFiles):
        self._run, self._simulator, self._episodes = run, simulator, episodes
        self._thread = concurrent.futures.ThreadPoolExecutor(1, "collection")
        self._counter = _Counter()
        self._begun: concurrent.futures.Future[Round] | None = None

    @property
    def has_begun(self) -> bool:
        """Whether a round was begun, and not taken yet."""
        return self._begun is not None

    def begin(self, number: int, who: str, phase: int, state: Any) -> None:
        """Begin a round.

        Args:
            number: of the round, from 0.
            who: acts in it.
            phase: that it belongs to.
            state: what the agent has learnt; nobody may give its memory away before the end.
        """
        # The behaviour's rounds count phases; those before it are numbered in the first phase.
        seed = named_seed(self._run.config.seed, who, phase or number)
        self._counter = _Counter()
        self._begun = self._thread.submit(self._make, number, who, seed, state)
        self._begun.add_done_callback(self._counter.end)

    def begin_ahead(self, state: Any) -> None:
        """Begin the next phase's round, of the state as it is, which may be given away.

        Nothing happens where it was begun before.
        """
        if not self.has_begun:
            run = self._run
            kept = jax.tree.map(lambda x: x.copy() if eqx.is_array(x) else x, state)
            self.begin(len(run.rounds), "behaviour", run.phase + 1, kept)

    def found(self, number: int, checksum: int) -> None:
        """Take a round from its file as the one that was begun.

        Raises:
            CheckpointError: the file is missing, damaged or another one.
        """
        steps, _ = self._episodes.read(number, checksum)
        self._counter = _Counter()
        self._counter.end()
        self._begun = concurrent.futures.Future()
        self._begun.set_result(Round(steps, checksum))

    def wait(self, bar: Bar | None = None, title: str = "") -> Round:
        """The round that was begun, as soon as it is on disk.

        Raises:
            TrainingDivergedError: a simulation diverged.
            RunFolderError: its file cannot be written.
        """
        assert self._begun is not None
        if bar is not None:
            shown = StepWithin(bar, title, self._run.config.budget.episode_steps)
            for num in self._counter:
                shown.advance(num)
        return self._begun.result()

    def take(self, bar: Bar, title: str) -> Round:
        """The same; another can be begun then."""
        made = self.wait(bar, title)
        self._begun = None
        return made

    def close(self) -> None:
        """Give up a round that is being made."""
        self._counter.stopped.set()
        self._thread.shutdown()

    def _make(self, number: int, who: str, seed: int, state: Any) -> Round:
        steps = self._steps(who, seed, state)
        return Round(steps, self._episodes.write(number, steps, expert=who == "expert"))

    def _steps(self, who: str, seed: int, state: Any) -> Steps:
        run, simulator = self._run, self._simulator
        amount = {
            "num_steps": run.config.budget.episode_steps,
            "seed": seed,
            "progress": self._counter,
            "sub_episodes": run.agent.sub_episodes,
        }
        if who == "random":
            return collect_random(simulator, run.worlds, **amount)
        if who == "expert":
            return collect_with_experts(simulator, run.worlds, **amount)
        return collect_with_agent(
            simulator,
            run.agent,
            state,
            run.worlds,
            run.experience.prompt,
            error=run.config.latent_error,
            **amount,
        )


class _Counter:
    """Says in one thread what another does step by step; whoever counts is stopped on demand."""

    def __init__(self) -> None:
        self.stopped = threading.Event()
        self._steps: queue.SimpleQueue[int | None] = queue.SimpleQueue()

    def advance(self, by: int = 1, text: str = "") -> None:
        if self.stopped.is_set():
            raise concurrent.futures.CancelledError
        self._steps.put(by)

    def end(self, *_: Any) -> None:
        """Say that no more steps will follow."""
        self._steps.put(None)

    def __iter__(self) -> Iterator[int]:
        """The steps as they come, until the end."""
        return iter(self._steps.get, None)
