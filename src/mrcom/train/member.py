"""One run while it trains: what it collects, draws, logs and keeps; several can learn together."""

import contextlib
import dataclasses
import pathlib
import sys
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from jaxtyping import Array

from mrcom.core.config import to_json
from mrcom.core.errors import CheckpointError, Stopped
from mrcom.core.files import drop_leftovers
from mrcom.core.progress import Bar
from mrcom.core.rng import named_generator, named_seed
from mrcom.core.types import Batch
from mrcom.replay.windows import Windows, draw_windows, gather, write_back
from mrcom.simulate.simulator import Simulator
from mrcom.train.checkpoint import Checkpoints
from mrcom.train.collect import returns_by_body
from mrcom.train.collector import Collector
from mrcom.train.episodes import EpisodeFiles
from mrcom.train.learner import check_state
from mrcom.train.log import Log
from mrcom.train.run import Run, init_key, own_steps, prompts_for, restore, values_of
from mrcom.train.run_folder import changes, write_config


@dataclasses.dataclass(frozen=True)
class Stop:
    """Whether to stop as soon as everything is saved, and how to go on then."""

    asked: threading.Event
    place: pathlib.Path
    """What can be resumed."""

    def error(self, run: Run) -> Stopped:
        """What says so."""
        return Stopped(
            f"stopped after {run.counters.updates} updates; go on with --resume {self.place}"
        )


@dataclasses.dataclass(frozen=True)
class Member:
    """A run, its simulator, and where its files go."""

    run: Run
    collector: Collector
    checkpoints: Checkpoints
    log: Log
    changed: Sequence[Any] = ()
    """`RunFolder.changed`, also in its checkpoints, should that file be lost."""
    together: int = 1
    """How many runs learn together, this one among them; in its checkpoints."""

    def save(self) -> None:
        """A checkpoint of the run as it is.

        Raises:
            TrainingDivergedError: not all of it is finite, so that nobody could go on from it.
        """
        run = self.run
        check_state(run.counters.updates, run.state)
        ahead = [self.collector.wait().checksum] if self.collector.has_begun else []
        self.checkpoints.save(
            run.counters.updates,
            run.state,
            meta={
                "config": run.config,
                "agent": values_of(run.agent),
                "counters": run.counters,
                "phase": run.phase,
                "rounds": [*run.rounds, *ahead],
                "log_position": self.log.position,
                "together": self.together,
                "changed": self.changed,
            },
            host=run.experience.state_dict(),
        )

    def draw(self, update: int) -> Windows:
        """Which steps an update learns from."""
        windows, store = self.run.agent.windows, self.run.experience.store
        return draw_windows(
            store,
            named_generator(self.run.config.seed, "batch", update),
            num_scenarios=windows.scenarios,
            per_scenario=windows.per_scenario,
            length=windows.length_in(store.steps),
            place=windows.place,
        )

    def gather(self, drawn: Windows) -> Batch:
        """Those steps."""
        windows, store = self.run.agent.windows, self.run.experience.store
        return gather(
            store,
            self.run.worlds.masks,
            self.run.experience.prompt,
            drawn,
            context=windows.context,
            length=windows.length_in(store.steps),
        )

    def names(self, drawn: Windows) -> list[str]:
        """The scenario of each row."""
        return [self.run.worlds.scenarios[at].name for at in drawn.scenario]

    def took(self, update: int, drawn: Windows, written: Mapping[str, Array]) -> None:
        """Count an update that was made, and write what it says beside the steps it was made of."""
        run = self.run
        write_back(run.experience.store, drawn, written)
        run.counters = dataclasses.replace(
            run.counters,
            updates=update + 1,
            dream_steps=run.counters.dream_steps + run.agent.dream_steps,
        )

    def take_in(self, who: str, bar: Bar) -> None:
        """Add the round that was begun to what is learnt from.

        Args:
            who: acted in it.
            bar: shows how far it is.
        """
        run, number = self.run, len(self.run.rounds)
        made = self.collector.take(bar, f"collecting, {who}, round {number + 1}, steps")
        run.rounds.append(made.checksum)
        run.experience.add(made.steps, run.worlds, expert=who == "expert")
        num, length = made.steps.reward.shape
        run.counters = dataclasses.replace(
            run.counters,
            env_steps=run.counters.env_steps + num * (length - 1),
            episodes=run.counters.episodes + num,
        )
        stage = "collect" if who == "behaviour" else f"collect/{who}"
        by_body = returns_by_body(made.steps, run.worlds, run.agent.sub_episodes)
        self.log.write(stage, run.counters, by_body)
        normaliser = run.experience.normaliser
        run.state = run.agent.with_statistics(run.state, normaliser.mean, normaliser.std)

    def end_phase(self, bar: Bar) -> None:
        """Count a phase whose updates are made, and take in the round that was begun in it."""
        if self.collector.has_begun:
            if self.run.phase + 1 < self.run.num_phases:
                self.take_in("behaviour", bar)
            else:  # begun when more rounds were asked for
                self.collector.take(bar, "collecting, not needed any more, steps")
        self.run.phase += 1


def checkpoints_of(run: Run) -> Checkpoints:
    """Those in a run's folder."""
    return Checkpoints(run.folder.checkpoints)


def made_together(run: Run, step: int) -> int | None:
    """How many runs learnt together when a checkpoint was made; None where nobody can tell."""
    try:
        return checkpoints_of(run).read_meta(step).get("together")
    except CheckpointError:
        return None


def beside_each_other(members: Iterable[Member]) -> list[Member]:
    """The same, each told how many they are."""
    found = list(members)
    return [dataclasses.replace(member, together=len(found)) for member in found]


def join(stack: contextlib.ExitStack, run: Run, *, step: int | None, resume: bool) -> Member | None:
    """A run made ready to train, from a checkpoint or from nothing; None where it is finished.

    Args:
        stack: closes what is opened here.
        run: as `begin` made it; its folder is there, and locked.
        step: of the checkpoint to go on from, if there is one; newer ones are dropped.
        resume: whether the folder was there before.

    Raises:
        CheckpointError: what is resumed from is damaged, or does not fit what was changed.
    """
    store, folder = run.experience.store, run.folder
    amount = f"{store.num_scenarios} training scenarios, {store.capacity} episodes of each"
    print(f"{folder.path}: {amount}", file=sys.stderr)
    episodes, checkpoints, position = EpisodeFiles(folder.replay), checkpoints_of(run), 0
    if step is None:
        run.state = run.agent.init(init_key(run.config))
        checkpoints.drop_after(-1)
    else:
        position = restore(run, checkpoints, step, replay=True)
        checkpoints.drop_after(step)
    if resume:
        _note_changes(run)
    if run.phase >= run.num_phases:
        if run.counters.updates >= run.config.budget.updates:
            return None
        run.phase = run.num_phases - 1  # more updates without more rounds: of the last one
    # What a killed process left, and what it collected after its last checkpoint.
    drop_leftovers(folder.path)
    episodes.drop_after(len(run.rounds) + len(run.ahead))
    simulator = Simulator(run.worlds.scenarios, layout=run.worlds.layout)
    collector = Collector(run, simulator, episodes)
    stack.callback(collector.close)
    if run.ahead:
        collector.found(len(run.rounds), *run.ahead)
    log = Log(folder.metrics_file, position=position, again=("collect", "train"))
    stack.callback(checkpoints.close)
    return Member(run, collector, checkpoints, stack.enter_context(log), folder.changed)


def collect(member: Member, stopped: Callable[[], None], bar: Bar) -> None:
    """The phase's rounds of collection that are not there yet.

    Args:
        member: whose.
        stopped: called before each round; raises where there shall be none.
        bar: shows how far a round is.
    """
    run = member.run
    if not run.rounds:
        run.experience.prompt = prompts_for(
            run.config, run.agent, run.worlds, seed=named_seed(run.config.seed, "prompt", 0)
        )
        own = own_steps(run.agent, run.config.prompt) * len(run.worlds.scenarios)
        run.counters = dataclasses.replace(run.counters, env_steps=own)
    for number in range(len(run.rounds), len(run.collectors)):
        stopped()
        who = run.collectors[number]
        member.collector.begin(number, who, run.phase, run.state)
        member.take_in(who, bar)


def _note_changes(run: Run) -> None:
    """Write what was changed on resuming, and when, into the folder's configuration."""
    if changed := changes(run.folder, run.config):
        note = {"at_update": run.counters.updates, "from_to": to_json(changed)}
        write_config(run.folder, run.config, [*run.folder.changed, note])
