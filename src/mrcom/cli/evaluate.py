"""`mrcom evaluate`: returns of a trained run, inside and outside its training range."""

import dataclasses
from typing import Annotated

import tyro

from mrcom.cli.options import OtherBudget, Run, budget_for


@dataclasses.dataclass(frozen=True)
class Evaluate:
    """Measure a run's predictions and returns; append the returns to its scores.jsonl."""

    run: Run
    budget: OtherBudget = None
    seed: Annotated[
        int | None, tyro.conf.arg(help="Seed of the episodes; that of the run by default.")
    ] = None


def run(options: Evaluate) -> int | None:
    """Run the command."""
    from mrcom.cli.report import print_report
    from mrcom.cli.stages import evaluate_run, measure_open_loop
    from mrcom.train.loop import open_trained
    from mrcom.train.run_folder import open_run

    trained = open_trained(open_run(options.run))
    seed = trained.config.seed if options.seed is None else options.seed
    budget = budget_for(trained, options.budget)
    measure_open_loop(trained, budget)
    evaluate_run(trained, budget, seed=seed)
    print_report(trained.folder, budget.name)
    return None
