"""World-model training: collect in all scenarios, learn from the merged experience, repeat."""

import dataclasses
import pathlib
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Any

from mrcom.core.config import to_json
from mrcom.core.errors import ConfigError, Stopped
from mrcom.core.progress import progress
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
from mrcom.train.files import drop_leftovers
from mrcom.train.learner import check_finite, run_updates, scalars, stored
from mrcom.train.log import Log
from mrcom.train.run import (
    Run,
    begin,
    check_memory,
    init_key,
    memory_said,
    prompts_for,
    restore,
)
from mrcom.train.run_folder import RunFolder, changes, create_run, locked, write_config
from mrcom.train.settings import CHANGEABLE, RunConfig, may_change
from mrcom.train.stopping import stop_on_sigterm

LOG_EVERY = 20
"""Updates between two lines of the log."""
SAVE_EVERY = 250
"""Updates between two checkpoints inside a phase; one follows every phase in any case."""


@dataclasses.dataclass(frozen=True)
class _Keeping:
    """Where a run's files go while it trains, and when."""

    episodes: EpisodeFiles
    log: Log
    bar: Any
    save: Callable[[], None]
    save_every: int
    stop: threading.Event


def train(
    config: RunConfig,
    run_dir: pathlib.Path,
    *,
    resume: bool = False,
    save_every: int = SAVE_EVERY,
    memory_limit: float | None = None,
    allow_change: Sequence[str] = (),
) -> Run:
    """Train a world model and its behaviour policies in a run folder.

    All randomness is folded from the seed and counters, so that a resumed run equals one that
    never stopped, bit for bit, wherever it was interrupted.

    Args:
        config: all that decides the run's numbers.
        run_dir: its folder.
        resume: go on from the newest checkpoint there.
        save_every: updates between two checkpoints inside a phase (a round of collection and its
            updates); one follows every phase in any case. Changes no number.
        memory_limit: refuse a run that needs more [GB].
        allow_change: settings by dotted name that may differ from the folder's on resuming.

    Raises:
        ConfigError: more memory is needed than allowed, or a setting that cannot change.
        RunFolderError: the folder exists (or, with `resume`, holds another configuration), is in
            use, or cannot be written to.
        CheckpointError: what is resumed from is damaged, or does not fit what was changed.
        TrainingDivergedError: a loss or a simulation is not finite.
        Stopped: by SIGTERM, after saving.
    """
    if save_every < 1:
        raise ConfigError(f"save_every={save_every} must be at least 1.")
    allowed = may_change(allow_change)
    run = begin(config, RunFolder(run_dir))
    check_memory(run, memory_limit)
    folder = create_run(run_dir, config, resume=resume, allowed=allowed, changeable=CHANGEABLE)
    with locked(folder), stop_on_sigterm() as stop:
        store = run.experience.store
        print(
            f"{folder.path}: {store.num_scenarios} training scenarios, {store.capacity} episodes "
            f"of each; memory: {memory_said(run)}",
            file=sys.stderr,
        )
        episodes, checkpoints = EpisodeFiles(folder.replay), Checkpoints(folder.checkpoints)
        position = 0
        if resume and checkpoints.steps():
            position = restore(run, checkpoints, replay=True)
        else:
            run.state = run.agent.init(init_key(config))
        if resume:
            _note_changes(run)
        if run.phase >= run.num_phases:
            return run
        # What a killed process left, and what it collected after its last checkpoint.
        drop_leftovers(folder.path)
        episodes.drop_after(len(run.rounds))
        simulator = Simulator(run.worlds.scenarios, layout=run.worlds.layout)
        with (
            Log(folder.metrics_file, position=position, again=("collect", "train")) as log,
            progress("training the world model", total=config.budget.updates) as bar,
        ):
            bar.advance(run.counters.updates)
            save = lambda: _save(run, checkpoints, log)
            keeping = _Keeping(episodes, log, bar, save, save_every, stop)
            while run.phase < run.num_phases:
                _collect_phase(run, simulator, keeping)
                _learn_phase(run, keeping)
                run.phase += 1
                save()
                if stop.is_set():
                    raise _stopped(run)
        checkpoints.close()
    return run


def _collect_phase(run: Run, simulator: Simulator, keeping: _Keeping) -> None:
    if len(run.rounds) == len(run.collectors):
        return  # a checkpoint inside the phase's updates
    budget, seed = run.config.budget, run.config.seed
    if not run.rounds:
        run.experience.prompt = prompts_for(
            run.config, run.agent, run.worlds, seed=named_seed(seed, "prompt", 0)
        )
    for number in range(len(run.rounds), len(run.collectors)):
        if keeping.stop.is_set():
            keeping.save()
            raise _stopped(run)
        who = run.collectors[number]
        # The behaviour's rounds count phases; those before it are numbered in the first phase.
        steps = _one_round(run, simulator, who, named_seed(seed, who, run.phase or number))
        is_expert = who == "expert"
        run.rounds.append(keeping.episodes.write(number, steps, expert=is_expert))
        run.experience.add(steps, run.worlds, expert=is_expert)
        run.counters = dataclasses.replace(
            run.counters,
            env_steps=run.counters.env_steps + simulator.num * budget.episode_steps,
            episodes=run.counters.episodes + simulator.num,
        )
        stage = "collect" if who == "behaviour" else f"collect/{who}"
        by_body = returns_by_body(steps, run.worlds, run.agent.sub_episodes)
        keeping.log.write(stage, run.counters, by_body)
    normaliser = run.experience.normaliser
    run.state = run.agent.with_statistics(run.state, normaliser.mean, normaliser.std)


def _one_round(run: Run, simulator: Simulator, who: str, seed: int) -> Steps:
    amount = {
        "num_steps": run.config.budget.episode_steps,
        "seed": seed,
        "sub_episodes": run.agent.sub_episodes,
    }
    if who == "random":
        return collect_random(simulator, run.worlds, **amount)
    if who == "expert":
        return collect_with_experts(simulator, run.worlds, **amount)
    return collect_with_agent(
        simulator,
        run.agent,
        run.state,
        run.worlds,
        run.experience.prompt,
        error=run.config.latent_error,
        **amount,
    )


def _learn_phase(run: Run, keeping: _Keeping) -> None:
    names = [scenario.name for scenario in run.worlds.scenarios]
    first, last, store = run.counters.updates, run.last_update, run.experience.store
    drawn: dict[int, Windows] = {}

    def batches(update: int) -> tuple[Batch, list[str]]:
        drawn[update] = _draw(run, update)
        return _gather(run, drawn[update]), [names[at] for at in drawn[update].scenario]

    loop = run_updates(
        run.agent, run.state, batches, first=first, count=last - first, seed=run.config.seed
    )
    for update, state, metrics in loop:
        run.state = state
        windows = drawn.pop(update)
        write_back(store, windows, stored(metrics))
        run.counters = dataclasses.replace(
            run.counters,
            updates=update + 1,
            dream_steps=run.counters.dream_steps + run.agent.dream_steps,
        )
        if (update + 1) % LOG_EVERY == 0:
            values = scalars(metrics)
            keeping.log.write("train", run.counters, values)
            keeping.bar.advance(LOG_EVERY, text=f"loss {values['loss']:.2f}")
        stop = keeping.stop.is_set()
        if update + 1 < last and (stop or (update + 1) % keeping.save_every == 0):
            # Checked before it is kept: a checkpoint is always one that can be gone on from.
            check_finite(update, metrics, [names[at] for at in windows.scenario])
            keeping.save()
            if stop:
                raise _stopped(run)


def _draw(run: Run, update: int) -> Windows:
    windows, store = run.agent.windows, run.experience.store
    return draw_windows(
        store,
        named_generator(run.config.seed, "batch", update),
        num_scenarios=windows.scenarios,
        per_scenario=windows.per_scenario,
        length=windows.length_in(store.steps),
        place=windows.place,
    )


def _gather(run: Run, drawn: Windows) -> Batch:
    windows, store = run.agent.windows, run.experience.store
    return gather(
        store,
        run.worlds.masks,
        run.experience.prompt,
        drawn,
        context=windows.context,
        length=windows.length_in(store.steps),
    )


def _save(run: Run, checkpoints: Checkpoints, log: Log) -> None:
    checkpoints.save(
        run.counters.updates,
        run.state,
        meta={
            "config": run.config,
            "counters": run.counters,
            "phase": run.phase,
            "rounds": run.rounds,
            "log_position": log.position,
        },
        host=run.experience.state_dict(),
    )


def _note_changes(run: Run) -> None:
    """Write what was changed on resuming, and when, into the folder's configuration."""
    if changed := changes(run.folder, run.config):
        note = {"at_update": run.counters.updates, "from_to": to_json(changed)}
        write_config(run.folder, run.config, [*run.folder.changed, note])


def _stopped(run: Run) -> Stopped:
    return Stopped(
        f"stopped after {run.counters.updates} updates; go on with --resume {run.folder.path}"
    )
