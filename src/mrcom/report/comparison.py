"""Several runs side by side: what makes them comparable, and their tables."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from mrcom.agents.build import behaviour_of
from mrcom.core.config import to_json
from mrcom.core.errors import ConfigError, RunFolderError
from mrcom.evaluate.open_loop import OpenLoopErrors
from mrcom.evaluate.scores import Score, read_scores, select
from mrcom.report.body_table import body_table
from mrcom.report.run_report import read_open_loop
from mrcom.report.table import Table
from mrcom.report.tables import aggregate_table, budget_note, improvement_table, target_table
from mrcom.report.targets import share_inside
from mrcom.train.run_folder import RunFolder
from mrcom.train.settings import RunConfig

PROTOCOL = ("split", "budget", "bodies", "reward", "observation")
"""What runs must share, or a gap between them is not the method's."""
VARIED = ("size", "prompt", "inputs", "observe_reward", "settings", "jacobian", "latent_error")
"""What may differ besides the method; named wherever it does. A behaviour is named where it is not
the method's own."""
SHARED = ("random", "expert", "sac")
"""Policies that owe nothing to a world model: one row for all runs."""


@dataclasses.dataclass(frozen=True)
class Compared:
    """A run as others see it."""

    name: str
    """Its method, and whatever else tells it from the other runs; seeds share a name."""
    seed: int
    scores: tuple[Score, ...]
    errors: Mapping[str, OpenLoopErrors]
    """Open-loop errors by body; empty where they were not measured."""
    share_inside: float | None
    """Of a wide test box, how much lies in the training box."""

    @property
    def asked_about(self) -> str:
        """Whose probability of improvement is told: the behaviour's where nothing was adapted."""
        return "adapted" if select(self.scores, method="adapted") else "behaviour"


@dataclasses.dataclass(frozen=True)
class Comparison:
    """All runs of a comparison, the first one's policies as the ones that are asked about."""

    runs: tuple[Compared, ...]

    @property
    def scores(self) -> list[Score]:
        """All scores, each method's under its own name; random actions, experts and the control
        are the first run's of each seed.
        """
        found: dict[tuple[Any, ...], Score] = {}
        for run in self.runs:
            for score in run.scores:
                named = score.method
                if named not in SHARED:
                    named = f"{run.name}: {named}"
                score = dataclasses.replace(score, method=named)
                found.setdefault(score.cell, score)
        return list(found.values())

    @property
    def tables(self) -> tuple[Table, ...]:
        """In reading order."""
        scores = self.scores
        tables = [prediction_table(self.runs)] if any(run.errors for run in self.runs) else []
        share = next((run.share_inside for run in self.runs), None)
        by_body = body_table(scores, share_inside=share)
        tables += [target_table(scores), by_body, aggregate_table(scores)]
        names = dict.fromkeys(f"{run.name}: {run.asked_about}" for run in self.runs)
        tables += [improvement_table(scores, ours=name) for name in names]
        return tuple(table for table in tables if table.rows)


def compare(folders: Sequence[RunFolder]) -> Comparison:
    """Reads the runs of a comparison.

    Raises:
        ConfigError: fewer than two runs, two that cannot be told apart, or two whose scenarios,
            budget, observations or evaluated episodes differ.
        RunFolderError: a run was not evaluated.
    """
    if len(folders) < 2:
        raise ConfigError(f"A comparison needs two runs at least; {len(folders)} given.")
    configs = [_whole(folder.config) for folder in folders]
    for folder, config in zip(folders[1:], configs[1:], strict=True):
        for key in PROTOCOL:
            if config[key] != configs[0][key]:
                raise ConfigError(
                    f"{folders[0].path} and {folder.path} cannot be compared: {key} is "
                    f"{_short(configs[0][key])} in one and {_short(config[key])} in the other."
                )
    choosable = [_leaves({key: config[key] for key in VARIED}) for config in configs]
    varied = [n for n in choosable[0] if len({str(chosen.get(n)) for chosen in choosable}) > 1]
    runs = []
    for folder, config, chosen in zip(folders, configs, choosable, strict=True):
        choices = [f"{name} {chosen.get(name)}" for name in varied]
        if config["behaviour"] != behaviour_of(config["method"]["family"]):
            choices.append(f"behaviour {config['behaviour']}")
        name = ", ".join([config["method"]["name"], *choices])
        scores = _last_scores(folder)
        share = share_inside(config)
        runs.append(Compared(name, config["seed"], scores, read_open_loop(folder), share))
        same = next((k for k, run in enumerate(runs) if run.seed == config["seed"]), 0)
        for k in {0, same}:
            _check_targets(folders[k], runs[k], folder, runs[-1])
    seen: set[tuple[str, int]] = set()
    for folder, run in zip(folders, runs, strict=True):
        if (run.name, run.seed) in seen:
            raise ConfigError(
                f"{folder.path} is a second run of {run.name} with seed {run.seed}; compare it "
                f"with runs of other methods or seeds."
            )
        seen.add((run.name, run.seed))
    return Comparison(tuple(runs))


def prediction_table(runs: Sequence[Compared]) -> Table:
    """Open-loop errors of all runs over those of the last observation, by body and horizon."""
    bodies = list(dict.fromkeys(body for run in runs for body in run.errors))
    horizons = next(error.horizons for run in runs for error in run.errors.values())
    groups = tuple(
        tuple(
            (
                body if number == 0 else "",
                run.name,
                str(run.seed),
                *[f"{run.errors[body].at(horizon):.2f}" for horizon in horizons],
            )
            for number, run in enumerate(run for run in runs if body in run.errors)
        )
        for body in bodies
    )
    return Table(
        title='Open-loop prediction: RMSE over that of "last observation stays"',
        columns=("body", "method", "seed", *[f"{horizon} steps" for horizon in horizons]),
        groups=groups,
        notes=(
            "Held-out scenarios; below 1 the model is better.",
            *budget_note(error.budget for run in runs for error in run.errors.values()),
        ),
        text_columns=2,
    )


def _last_scores(folder: RunFolder) -> tuple[Score, ...]:
    scores = read_scores(folder.scores_file)
    if not scores:
        raise RunFolderError(f"{folder.scores_file} is empty. Run `mrcom evaluate` first.")
    return tuple(select(scores, budget=scores[-1].budget))


def _check_targets(first: RunFolder, one: Compared, second: RunFolder, other: Compared) -> None:
    """Raise where two runs were not evaluated in the same episodes.

    Runs of one seed must have the same evaluation seeds; those of others have as many of their own.
    """
    asked = [{(s.budget, s.scenario, s.episode) for s in run.scores} for run in (one, other)]
    if asked[0] != asked[1]:
        budgets = [run.scores[0].budget for run in (one, other)]
        raise ConfigError(
            f"{first.path} and {second.path} cannot be compared: they were last evaluated in other "
            f"scenarios or episodes (budgets {budgets[0]} and {budgets[1]}). Evaluate both with "
            f"the same --budget."
        )
    seeds = [
        sorted({score.drawn[0] for score in run.scores if score.method not in ("random", "expert")})
        for run in (one, other)
    ]
    if len(seeds[0]) != len(seeds[1]) or (one.seed == other.seed and seeds[0] != seeds[1]):
        raise ConfigError(
            f"{first.path} and {second.path} cannot be compared: they were evaluated with other "
            f"seeds ({_listed(seeds[0])} and {_listed(seeds[1])}). Evaluate both with the same, by "
            f"`mrcom evaluate --seed`."
        )


def _listed(seeds: Sequence[int]) -> str:
    return ", ".join(map(str, seeds))


def _short(value: Any) -> str:
    if isinstance(value, Mapping):
        return str(value.get("name", dict(value)))
    return str(value)


def _leaves(value: Mapping[str, Any], at: str = "") -> dict[str, Any]:
    """What is in mappings of mappings, by the names on the way there."""
    found: dict[str, Any] = {}
    for key, item in value.items():
        name = f"{at}{key.replace('_', ' ')}"
        found |= _leaves(item, f"{name} ") if isinstance(item, Mapping) else {name: item}
    return found


def _whole(config: Mapping[str, Any]) -> dict[str, Any]:
    """A folder's configuration; settings that are younger than the folder have their defaults."""
    fields = dataclasses.fields(RunConfig)
    usual = {f.name: to_json(f.default) for f in fields if f.default is not dataclasses.MISSING}
    return usual | dict(config)
