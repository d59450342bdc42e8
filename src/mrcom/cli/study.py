"""`mrcom study`: experiments that train many small world models, cell by cell."""

import dataclasses
import pathlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from mrcom.cli.choices import Choice

if TYPE_CHECKING:
    from mrcom.core.progress import Bar
    from mrcom.evaluate.latent_study import Cell
    from mrcom.train.latent_study import Amount

STUDY = Choice("study", ("latent-error",))
STUDIED = Choice("body", ("walker", "quadruped", "cheetah", "hopper"))
AMOUNT = Choice("budget", ("debug", "tiny"))


@dataclasses.dataclass(frozen=True)
class Study:
    """Train a small world model in every cell of a study; call it again to go on, or to look."""

    study: Annotated[
        tyro.conf.Positional[str],
        STUDY,
        tyro.conf.arg(help="Which one.", metavar=STUDY.metavar),
    ]
    out: Annotated[pathlib.Path, tyro.conf.arg(help="Folder of its results.", metavar="DIR")] = (
        pathlib.Path("runs/latent-error")
    )
    seeds: Annotated[
        tuple[int, ...], tyro.conf.arg(help="Every cell once with each.", metavar="SEED")
    ] = (0, 1, 2)
    bodies: Annotated[
        tuple[str, ...],
        STUDIED,
        tyro.conf.arg(help="Which bodies.", metavar=f"[{STUDIED.metavar} ...]"),
    ] = STUDIED.names
    budget: Annotated[
        str,
        AMOUNT,
        tyro.conf.arg(
            help="debug: seconds in all; tiny: a few hours of one core in all.",
            metavar=AMOUNT.metavar,
        ),
    ] = "tiny"


def run(options: Study) -> int | None:
    """Run the command."""
    from mrcom.cli.report import print_tables
    from mrcom.core.errors import check_once
    from mrcom.core.progress import progress
    from mrcom.evaluate.latent_study import Cell
    from mrcom.evaluate.scores import append_record, read_records
    from mrcom.report.latent_study import draw_study, study_tables
    from mrcom.train.latent_study import AMOUNTS

    check_once("body", options.bodies)
    check_once("seed", options.seeds)
    amount = AMOUNTS[options.budget]
    wanted = cells_of(amount, options.seeds, options.bodies)
    file = options.out / "cells.jsonl"
    known = {cell.key for cell in read_records(file, Cell)}
    missing = [cell for cell in wanted if cell.key not in known]
    if missing:
        with progress("studying", total=amount.updates * len(missing)) as bar:
            for cell in measure(missing, amount, bar):
                append_record(file, cell)
    keys = {cell.key for cell in wanted}
    found = [cell for cell in read_records(file, Cell) if cell.key in keys]
    print_tables(study_tables(found))
    for path in draw_study(options.out, found):
        print(path)
    return None


def cells_of(amount: "Amount", seeds: Sequence[int], bodies: Sequence[str]) -> list["Cell"]:
    """Every cell, not yet measured: seed by seed, error by error, so that a part is a study."""
    from mrcom.evaluate.latent_study import Cell
    from mrcom.train.latent_study import CONTROLS, ERRORS

    return [
        Cell(body, control, error, seed, amount.name, amount.updates)
        for seed in seeds
        for error in ERRORS
        for body in bodies
        for control in CONTROLS
    ]


def measure(missing: Sequence["Cell"], amount: "Amount", bar: "Bar") -> Iterator["Cell"]:
    """Every cell with what was measured, as it is found; episodes are collected once a seed."""
    from mrcom.core.errors import TrainingDivergedError
    from mrcom.evaluate.latent_study import measured, probe_of
    from mrcom.train.latent_study import ERRORS, agent_with, collect_episodes, learn

    seen: dict[tuple[str, int], Any] = {}
    for cell in missing:
        place = cell.body, cell.seed
        if place not in seen:
            seen = {known: one for known, one in seen.items() if known[1] == cell.seed}
            seen[place] = collect_episodes(cell.body, amount, cell.seed)
        episodes, agent = seen[place], agent_with(cell.control, cell.error, amount)
        bar.advance(0, text=f"seed {cell.seed}, {cell.error}, {cell.body}, {cell.control}")
        try:
            state = learn(agent, cell.control, episodes, amount, bar)
        except TrainingDivergedError as error:
            yield dataclasses.replace(cell, diverged=str(error))
            continue
        probe = probe_of(
            episodes.held_out,
            episodes.worlds.scenarios[0],
            episodes.worlds.layout,
            context=agent.windows.context,
            per_episode=amount.held_out_windows,
            horizon=amount.horizon,
            episodes=amount.evaluation_episodes,
            steps=amount.evaluation_steps,
            seed=cell.seed,
        )
        yield measured(cell, agent, state, ERRORS[cell.error], probe)
