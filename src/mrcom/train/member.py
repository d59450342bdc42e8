"""One run while it trains: what it collects, draws, logs and keeps; several can learn together."""

import contextlib
import dataclasses
import pathlib
import sys
import threading
from collections.abc import Callable, Mapping

from jaxtyping import Array

from mrcom.core.config import to_json
from mrcom.core.errors import Stopped
from mrcom.core.files import drop_leftovers
from mrcom.core.progress import Bar, StepWithin
from mrcom.core.rng import named_generator, named_seed
from mrcom.core.types import Batch, Steps
from mrcom.replay.windows import Windows, draw_windows, gather, write_back
from mrcom.simulate.simulator import Simulator
from mrcom.train.checkpoint import Checkpoints
from mrcom.train.collect import (
    collect_random,
    collect_with_agent,
    collect_with_experts,
    returns_by_body,
)
from mrcom.train.episodes import EpisodeFiles
from mrcom.train.learner import check_state
from mrcom.train.log import Log
from mrcom.train.run import Run, init_key, prompts_for, restore, values_of
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
    simulator: Simulator
    episodes: EpisodeFiles
    checkpoints: Checkpoints
    log: Log

    def save(self) -> None:
        """A checkpoint of the run as it is.

        Raises:
            TrainingDivergedError: not all of it is finite, so that nobody could go on from it.
        """
        run = self.run
        check_state(run.counters.updates, run.state)
        self.checkpoints.save(
            run.counters.updates,
            run.state,
            meta={
                "config": run.config,
                "agent": values_of(run.agent),
                "counters": run.counters,
                "phase": run.phase,
                "rounds": run.rounds,
                "log_position": self.log.position,
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


def checkpoints_of(run: Run) -> Checkpoints:
    """Those in a run's folder."""
    return Checkpoints(run.folder.checkpoints)


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
    episodes.drop_after(len(run.rounds))
    simulator = Simulator(run.worlds.scenarios, layout=run.worlds.layout)
    log = Log(folder.metrics_file, position=position, again=("collect", "train"))
    stack.callback(checkpoints.close)
    return Member(run, simulator, episodes, checkpoints, stack.enter_context(log))


def collect(member: Member, stopped: Callable[[], None], bar: Bar) -> None:
    """The phase's rounds of collection that are not there yet.

    Args:
        member: whose.
        stopped: called before each round; raises where there shall be none.
        bar: shows how far a round is.
    """
    run = member.run
    if len(run.rounds) == len(run.collectors):
        return  # a checkpoint inside the phase's updates
    budget, seed = run.config.budget, run.config.seed
    if not run.rounds:
        run.experience.prompt = prompts_for(
            run.config, run.agent, run.worlds, seed=named_seed(seed, "prompt", 0)
        )
    for number in range(len(run.rounds), len(run.collectors)):
        stopped()
        who = run.collectors[number]
        # The behaviour's rounds count phases; those before it are numbered in the first phase.
        title = f"collecting, {who}, round {number + 1}, steps"
        shown = StepWithin(bar, title, budget.episode_steps)
        steps = _one_round(member, who, named_seed(seed, who, run.phase or number), shown)
        is_expert = who == "expert"
        run.rounds.append(member.episodes.write(number, steps, expert=is_expert))
        run.experience.add(steps, run.worlds, expert=is_expert)
        run.counters = dataclasses.replace(
            run.counters,
            env_steps=run.counters.env_steps + member.simulator.num * budget.episode_steps,
            episodes=run.counters.episodes + member.simulator.num,
        )
        stage = "collect" if who == "behaviour" else f"collect/{who}"
        by_body = returns_by_body(steps, run.worlds, run.agent.sub_episodes)
        member.log.write(stage, run.counters, by_body)
    normaliser = run.experience.normaliser
    run.state = run.agent.with_statistics(run.state, normaliser.mean, normaliser.std)


def _one_round(member: Member, who: str, seed: int, bar: Bar) -> Steps:
    run = member.run
    amount = {
        "num_steps": run.config.budget.episode_steps,
        "seed": seed,
        "progress": bar,
        "sub_episodes": run.agent.sub_episodes,
    }
    if who == "random":
        return collect_random(member.simulator, run.worlds, **amount)
    if who == "expert":
        return collect_with_experts(member.simulator, run.worlds, **amount)
    return collect_with_agent(
        member.simulator,
        run.agent,
        run.state,
        run.worlds,
        run.experience.prompt,
        error=run.config.latent_error,
        **amount,
    )


def _note_changes(run: Run) -> None:
    """Write what was changed on resuming, and when, into the folder's configuration."""
    if changed := changes(run.folder, run.config):
        note = {"at_update": run.counters.updates, "from_to": to_json(changed)}
        write_config(run.folder, run.config, [*run.folder.changed, note])
