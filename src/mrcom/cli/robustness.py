"""`mrcom robustness`: what a run's policies are worth under perturbations."""

import contextlib
import dataclasses
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import tyro

from mrcom.cli.choices import Choice
from mrcom.cli.options import EVALUATION_SEED, Json, OtherBudget, Run, budget_for

if TYPE_CHECKING:
    from mrcom.agents.presets import Budget
    from mrcom.evaluate.robustness import Study
    from mrcom.train.run import Run as TrainedRun

PERTURBATION = Choice(
    "perturbation",
    (
        "noise",
        "masked",
        "image-noise",
        "image-rotation",
        "image-masked",
        "gravity",
        "friction",
        "mass",
        "latent-error",
        "latent-drift",
    ),
)


@dataclasses.dataclass(frozen=True)
class Robustness:
    """Returns in the targets against the degree of each perturbation; kept in robustness.jsonl."""

    run: Run
    policies: Annotated[
        tuple[str, ...],
        tyro.conf.arg(help="Whose: behaviour, or a name that `mrcom adapt` gave.", metavar="NAME"),
    ] = ("behaviour",)
    only: Annotated[
        tuple[str, ...],
        PERTURBATION,
        tyro.conf.arg(
            help="Which perturbations; by default all that the run's method has a place for.",
            metavar=f"[{PERTURBATION.metavar} ...]",
        ),
    ] = ()
    budget: OtherBudget = None
    seed: Annotated[
        int, tyro.conf.arg(help="Seed of the episodes, the same for all runs unless one is given.")
    ] = EVALUATION_SEED
    json: Json = False


def study_of(
    run: "TrainedRun", budget: "Budget", policies: Sequence[str], only: Sequence[str], *, seed: int
) -> "Study":
    """A run's policies, its targets, and what they are tried by.

    Raises:
        ConfigError: no such policy, or something is to be perturbed that the run has not got.
    """
    from mrcom.core.errors import ConfigError, unknown
    from mrcom.evaluate.judge import Trial
    from mrcom.evaluate.robustness import PERTURBATIONS, Study
    from mrcom.models.latent_error import NONE
    from mrcom.train.adaptation import targets_of_run
    from mrcom.train.contestants import contestants, with_latent_error
    from mrcom.train.settings import worlds_of

    targets = targets_of_run(run, budget)
    worlds = worlds_of(run.config, [target.scenario for target in targets])
    trial = Trial(
        worlds.scenarios, tuple(target.inside for target in targets), worlds.layout, budget, seed
    )
    known = contestants(run, worlds.scenarios)
    for name in policies:
        if name not in known:
            raise unknown("policy", name, known)
    chosen = {name: known[name] for name in policies}
    seen = {"vectors": ("vectors",), "images": ("images",), "both": ("vectors", "images")}
    fits = lambda kind: PERTURBATIONS[kind].needs in ("", *seen[run.config.inputs])
    for kind in only:
        if not fits(kind):
            raise ConfigError(
                f"--only {kind} is about {PERTURBATIONS[kind].needs}; the run was trained with "
                f"--inputs {run.config.inputs}. Choose of {', '.join(filter(fits, PERTURBATIONS))}."
            )
    kinds = {kind: PERTURBATIONS[kind] for kind in only or filter(fits, PERTURBATIONS)}
    felt = [name for name, kind in kinds.items() if kind.error or kind.picture]
    latent = set[str]()
    if felt:  # else nobody needs to hear which policies feel none of it
        with contextlib.suppress(ConfigError):
            latent = set(with_latent_error(run, chosen, NONE, seed=seed))
    for kind in only:
        if not latent and kind in felt:
            raise ConfigError(
                f"--only {kind} is felt by policies that act on a latent state, and of this run "
                f"({run.config.method.name}) {', '.join(chosen)} does not: leave it out, name "
                f"other --policies, or take a run of mrcom, dreamer or mamba."
            )
    return Study(chosen, latent, trial, kinds, run.config.seed)


def run(options: Robustness) -> int | None:
    """Run the command."""
    from mrcom.cli.report import print_tables
    from mrcom.core.config import to_json
    from mrcom.evaluate.robustness import Cell
    from mrcom.evaluate.scores import append_record, read_records
    from mrcom.report.robustness import draw_robustness, robustness_table
    from mrcom.train.run import open_trained
    from mrcom.train.run_folder import open_run

    trained = open_trained(open_run(options.run))
    budget = budget_for(trained, options.budget)
    study = study_of(trained, budget, options.policies, options.only, seed=options.seed)
    file = trained.folder.path / "robustness.jsonl"
    for cell in study.cells(read_records(file, Cell)):
        append_record(file, cell)
    keys = {empty.key for empty in study.wanted()}
    found = [cell for cell in read_records(file, Cell) if cell.key in keys]
    figure = trained.folder.figures / "robustness.png"
    draw_robustness(figure, found)
    if options.json:
        print(json.dumps(to_json(found), indent=2))
    else:
        print_tables([robustness_table(found)])
        print(f"Everything is in {file} and {figure}")
    return None
