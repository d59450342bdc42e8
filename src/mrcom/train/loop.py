"""World-model training: collect in all scenarios, learn from the merged experience, repeat."""

import contextlib
import dataclasses
import pathlib
import sys
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from mrcom.agents.agent import Learner
from mrcom.core.errors import ConfigError
from mrcom.core.progress import Bar, progress
from mrcom.core.types import Batch
from mrcom.replay.windows import Windows
from mrcom.train.devices import gathered, spread
from mrcom.train.hosts import any_host, check_alike, kept_by_all, several_hosts, with_others
from mrcom.train.learner import check_finite, run_updates, scalars, stored
from mrcom.train.member import (
    Member,
    Stop,
    beside_each_other,
    checkpoints_of,
    collect,
    join,
    made_together,
)
from mrcom.train.memory import check_memory, memory_of
from mrcom.train.population import create_population, folder_of, joined, learner_of, parts
from mrcom.train.run import Run, begin
from mrcom.train.run_folder import RunFolder, check_new, create_run, locked, open_run
from mrcom.train.settings import CHANGEABLE, RunConfig, may_change, settings_answer
from mrcom.train.stopping import stop_on_sigterm

LOG_EVERY = 20
"""Updates between two lines of the log."""


@dataclasses.dataclass(frozen=True)
class How:
    """What decides how a run is made, not what it is."""

    save_every: int = 250
    """Updates between two checkpoints inside a phase (a round of collection and its updates); one
    follows every phase in any case. Changes no number."""
    memory_limit: float | None = None
    """Refuse runs that need more [GB]."""
    allow_change: Sequence[str] = ()
    """Settings by dotted name that may differ from the folder's on resuming."""
    devices: int = 1
    """Of all hosts together, which share the rows of a batch, or the runs that learn together.
    Changes numbers by rounding alone."""

    def __post_init__(self):
        if self.save_every < 1:
            raise ConfigError(f"save_every={self.save_every} must be at least 1.")


def train(
    config: RunConfig,
    run_dir: pathlib.Path,
    *,
    resume: bool = False,
    how: How = How(),
) -> Run:
    """Train a world model and its behaviour policies in a run folder.

    All randomness is folded from the seed and counters, so that a resumed run equals one that
    never stopped, bit for bit, wherever it was interrupted.

    Args:
        config: all that decides the run's numbers.
        run_dir: its folder.
        resume: go on from the newest checkpoint there.
        how: to go about it.

    Raises:
        ConfigError: more memory is needed than allowed, or a setting that cannot change.
        RunFolderError: the folder exists (or, with `resume`, holds another configuration), is in
            use, or cannot be written to.
        CheckpointError: what is resumed from is damaged, or does not fit what was changed.
        TrainingDivergedError: a loss or a simulation is not finite.
        Stopped: by SIGTERM, after saving.
    """
    folders = {run_dir: (config, resume)}
    return _train(folders, None, run_dir, how)[0]


def train_population(
    configs: Sequence[RunConfig],
    path: pathlib.Path,
    *,
    resume: bool = False,
    how: How = How(),
) -> list[Run]:
    """Train several runs of one method, each update of all in one program.

    Each run has a folder of its own in `path`, as if it had been trained alone, and the same
    numbers but for rounding. With `resume` those that are there already are gone on with, from
    the newest checkpoint that all have. They may differ in seeds, and in numbers such as rates
    and weights.

    Args, raises: as `train`.
    """
    folders = {
        (folder := folder_of(path, one)): (one, (folder / "config.json").is_file())
        for one in configs
    }
    create = None if resume else lambda: create_population(path, configs)
    return _train(folders, create, path, how)


def _train(
    folders: dict[pathlib.Path, tuple[RunConfig, bool]],
    create: Callable[[], None] | None,
    place: pathlib.Path,
    how: How,
) -> list[Run]:
    given = {"allowed": may_change(how.allow_change), "changeable": CHANGEABLE}
    with contextlib.ExitStack() as stack:
        stack.enter_context(with_others(place))
        with settings_answer(config for config, _ in folders.values()):
            runs = [begin(config, RunFolder(path)) for path, (config, _) in folders.items()]
            memory = memory_of(runs, at_once=len(runs) if _side_by_side(how.devices) else 1)
        check_memory(memory, how.memory_limit)
        check_alike([run.config for run in runs], how.devices, how.save_every)
        _learner(runs, how.devices)  # refuses runs that cannot learn together
        if create is not None:  # nothing is left behind by what was refused before
            create()
        for path, (config, resume) in folders.items():
            open_run(path) if resume else check_new(path)
            stack.enter_context(locked(RunFolder(path)))
            create_run(path, config, resume=resume, **given)
        print(f"{place}: memory: about {memory}", file=sys.stderr)
        stop = Stop(stack.enter_context(stop_on_sigterm()), place)
        resumed = dict(zip(folders, (resume for _, resume in folders.values()), strict=True))
        for step, group in _equally_far(runs):
            found = [join(stack, run, step=step, resume=resumed[run.folder.path]) for run in group]
            members = beside_each_other(member for member in found if member is not None)
            if members:
                learner = _learner([member.run for member in members], how.devices)
                lead = members[0].run
                done, total = lead.counters.updates, lead.config.budget.updates
                with progress("training the world model", total=total, done=done) as bar:
                    _phases(members, learner, bar, stop, how.save_every)
    return runs


def _equally_far(runs: Sequence[Run]) -> list[tuple[int | None, list[Run]]]:
    """Runs that can learn together, and the step of the checkpoints that they go on from."""
    kept = [kept_by_all(checkpoints_of(run).steps()) for run in runs]
    common = max(set.intersection(*kept), default=None)
    # Where all were killed while they were saved, some are one step ahead. Where one has gone on
    # by itself, or lost checkpoints, what the others have learnt since stays as it is.
    ahead = [[step for step in steps if common is None or step > common] for steps in kept]
    together = [made_together(run, at[-1]) for run, at in zip(runs, ahead, strict=True) if at]
    if max(map(len, ahead)) <= 1 and 1 not in together:
        return [(common, list(runs))]
    newest = [max(steps, default=None) for steps in kept]
    groups = dict.fromkeys(newest)
    return [(at, [r for r, step in zip(runs, newest, strict=True) if step == at]) for at in groups]


def _phases(members: list[Member], learner: Learner, bar: Bar, stop: Stop, save_every: int) -> None:
    """All that is left to do; the members have made equally many updates."""
    lead = members[0].run

    def stop_if_asked() -> None:
        if any_host(stop.asked.is_set()):
            _save(members)
            raise stop.error(lead)

    while (phase := min(member.run.phase for member in members)) < lead.num_phases:
        # Equally many updates may be more phases, where some have none: one that was killed before
        # it was saved makes up for these.
        now = [member for member in members if member.run.phase == phase]
        for member in now:
            collect(member, stop_if_asked, bar)
        _learn_phase(now, learner, bar, stop, save_every)
        for member in now:
            member.end_phase(bar)
        _save(now)
        stop_if_asked()


def _learn_phase(
    members: list[Member], learner: Learner, bar: Bar, stop: Stop, save_every: int
) -> None:
    runs, num = [member.run for member in members], len(members)
    first, last = runs[0].counters.updates, runs[0].last_update
    if first == runs[0].next_round_at:
        _collect_ahead(members, [run.state for run in runs])
    bar.advance(0, text="learning")
    drawn: dict[int, list[Windows]] = {}

    def names(update: int) -> list[str]:
        rows = zip(members, drawn[update], strict=True)
        return [name for member, windows in rows for name in member.names(windows)]

    def batches(update: int) -> tuple[Batch, list[str]]:
        drawn[update] = [member.draw(update) for member in members]
        rows = zip(members, drawn[update], strict=True)
        return joined([member.gather(windows) for member, windows in rows]), names(update)

    state = joined([run.state for run in runs])
    seeds = [run.config.seed for run in runs]
    loop = run_updates(learner, state, batches, first=first, count=last - first, seeds=seeds)
    for update, state, metrics in loop:
        written = parts(stored(metrics), num)
        for member, windows, own in zip(members, drawn[update], written, strict=True):
            member.took(update, windows, own)
        if (update + 1) % LOG_EVERY == 0:
            shown = parts(scalars(metrics), num)
            for member, own in zip(members, shown, strict=True):
                member.log.write("train", member.run.counters, own)
            bar.advance(0, text=f"loss {np.mean([own['loss'] for own in shown]):.2f}")
        bar.advance()
        # Hosts stop at the same update, and each waits for the others whenever they are asked.
        due = not several_hosts() or (update + 1) % LOG_EVERY == 0
        asked = due and any_host(stop.asked.is_set())
        if update + 1 < last and (asked or (update + 1) % save_every == 0):
            # Checked before it is kept: a checkpoint is always one that can be gone on from.
            check_finite(update, metrics, names(update))
            _hand_out(state, runs)
            _save(members)
            if asked:
                raise stop.error(runs[0])
        if update + 1 == runs[0].next_round_at:
            _collect_ahead(members, parts(gathered(state), num))
        del drawn[update]
    _hand_out(state, runs)


def _collect_ahead(members: list[Member], states: list[Any]) -> None:
    """Begin the next phase's rounds, which are made while this phase's updates go on."""
    for member, state in zip(members, states, strict=True):
        member.collector.begin_ahead(state)


def _learner(runs: Sequence[Run], devices: int) -> Learner:
    """What learns for all runs at once, on so many devices."""
    learner = learner_of([run.agent for run in runs], side_by_side=_side_by_side(devices))
    rows = runs[0].agent.windows.rows(len(runs[0].worlds.scenarios))
    return spread(learner, devices, runs=len(runs), rows=rows)


def _side_by_side(devices: int) -> bool:
    """Whether runs make their updates so: one processor has nothing to gain from that."""
    return devices > 1 or jax.default_backend() != "cpu"


def _hand_out(state: Any, runs: list[Run]) -> None:
    for run, own in zip(runs, parts(gathered(state), len(runs)), strict=True):
        run.state = own


def _save(members: list[Member]) -> None:
    for member in members:
        member.save()
