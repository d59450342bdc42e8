"""`mrcom diagnose`: how good a run's world model is, and what the theory says of that."""

import dataclasses
import json
from collections.abc import Callable
from typing import TYPE_CHECKING

from mrcom.cli.options import Json, OtherBudget, Run, budget_for

if TYPE_CHECKING:
    from mrcom.report.table import Table
    from mrcom.theory.diagnosis import Diagnosis, Estimate, ScenarioEstimates


BOUNDS = ("printed", "of largest", "derived", "of largest")
"""Columns of the bound: of the means and of the largest estimates, in two forms."""


@dataclasses.dataclass(frozen=True)
class Diagnose:
    """Estimate the errors of a run's world model and the bound they give, beside the gap."""

    run: Run
    budget: OtherBudget = None
    json: Json = False


def run(options: Diagnose) -> int | None:
    """Run the command."""
    from mrcom.agents.agent import WorldModelAgent
    from mrcom.cli.report import print_tables
    from mrcom.core.config import to_json
    from mrcom.core.errors import ConfigError
    from mrcom.theory.diagnosis import amount_within
    from mrcom.theory.estimate import diagnose
    from mrcom.train.run import open_trained
    from mrcom.train.run_folder import open_run, write_json

    trained = open_trained(open_run(options.run))
    if not isinstance(trained.agent, WorldModelAgent):
        raise ConfigError(
            f"{trained.config.method.name} has no world model to diagnose; a run of mrcom, "
            "dreamer, mamba or cadm has one."
        )
    budget = budget_for(trained, options.budget)
    found = diagnose(trained, trained.agent, budget, amount_within(budget.evaluation_steps))
    file = trained.folder.path / "diagnose.json"
    write_json(file, found)
    if options.json:
        print(json.dumps(to_json(found), indent=2))
        return None
    print_tables(tables(found))
    for missing in found.missing:
        print(missing)
    print(f"Everything is in {file}")
    return None


def tables(found: "Diagnosis") -> "list[Table]":
    """What was found, for people."""
    from mrcom.report.table import Table
    from mrcom.theory.diagnosis import WORTH

    amount = found.amount
    made = [
        Table(
            f"Held-out predictions of {found.method}, scenario by scenario",
            ("body", "scenario", *_horizons(found, "obs"), *_horizons(found, "reward"), "value"),
            _groups(found, _prediction_cells),
            (
                "obs: RMSE over that of 'the last observation stays', n steps ahead; below 1 the "
                "model is better. reward: RMSE of dreamt rewards.",
                f"value: RMSE of {WORTH['value']}",
            ),
            text_columns=2,
        ),
        Table(
            "Symbols of the bound: mean (largest) over the steps that were looked at",
            ("body", "scenario", "log-lik.", "eps_T", "eps_S", "eps_pi", "C_T", "C_pi"),
            _groups(found, _symbol_cells),
            (
                "log-lik.: of the next observation, nats per dimension.",
                *(f"{name}: {WORTH[name]}" for name in ("eps_T", "eps_S", "eps_pi", "C_T", "C_pi")),
            ),
            text_columns=2,
        ),
        Table(
            f"The bound beside the gap: discount {found.discount:g}, {amount.horizon} steps",
            ("body", "scenario", "real", "dreamt", "gap", *BOUNDS, "at most"),
            _groups(found, lambda one: _bound_cells(one, found.at_most)),
            (f"gap: {WORTH['gap']}", f"bound: {WORTH['bound']}"),
            text_columns=2,
        ),
    ]
    if found.context:
        rows = tuple(
            (
                one.body,
                one.label,
                *(f"{x:.2f}" for x in (one.context, one.observation, one.shuffled)),
            )
            for one in found.context
        )
        note = (
            f"Ridge regression on half of {amount.probed} fresh scenarios of each body, judged on "
            "the others. 0 is as good as their mean, below 0 worse. What no linear map reads may "
            "be there nevertheless."
        )
        columns = ("body", "label", "context", "observation alone", "labels shuffled")
        title = "What the context says of a scenario: held-out R^2"
        made.append(Table(title, columns, (rows,), (note,), text_columns=2))
    return made


def _groups(
    found: "Diagnosis", cells: "Callable[[ScenarioEstimates], tuple[str, ...]]"
) -> tuple[tuple[tuple[str, ...], ...], ...]:
    """Rows of all scenarios, body by body."""
    bodies = dict.fromkeys(one.body for one in found.scenarios)
    return tuple(
        tuple((one.body, one.scenario, *cells(one)) for one in found.scenarios if one.body == body)
        for body in bodies
    )


def _horizons(found: "Diagnosis", what: str) -> tuple[str, ...]:
    return tuple(f"{what} {horizon}" for horizon in found.scenarios[0].open_loop.horizons)


def _prediction_cells(one: "ScenarioEstimates") -> tuple[str, ...]:
    errors = (*one.open_loop.ratio, *one.reward_rmse)
    return (*(f"{x:.3f}" for x in errors), _or_none(one.value_rmse, "{:.3f}"))


def _symbol_cells(one: "ScenarioEstimates") -> tuple[str, ...]:
    symbols = (one.eps_s, one.eps_pi, one.c_t, one.c_pi)
    return (f"{one.log_likelihood:.2f}", f"{one.eps_t:.3f}", *(_both(x) for x in symbols))


def _bound_cells(one: "ScenarioEstimates", at_most: float) -> tuple[str, ...]:
    low, high = one.gap
    bounds = one.bound, one.bound_of_largest, one.derived, one.derived_of_largest
    return (
        f"{one.real:.2f}",
        f"{one.dreamt:.2f}",
        f"{one.real - one.dreamt:+.2f} [{low:+.2f}, {high:+.2f}]",
        *(_or_none(bound, "{:.3g}") for bound in bounds),
        f"{at_most:.0f}",
    )


def _both(estimate: "Estimate | None") -> str:
    return "-" if estimate is None else f"{estimate.mean:.3g} ({estimate.largest:.3g})"


def _or_none(value: float | None, form: str) -> str:
    return "-" if value is None else form.format(value)
