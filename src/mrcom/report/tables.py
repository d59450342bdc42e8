"""The tables of a run: prediction errors, returns by target, aggregates, improvements."""

from collections.abc import Iterable, Mapping, Sequence, Set

import numpy as np

from mrcom.core.generators import named_generator
from mrcom.evaluate.open_loop import OpenLoopErrors
from mrcom.evaluate.scores import Score, ScoreMatrix, score_matrix, select
from mrcom.evaluate.statistics import (
    Interval,
    improvement_interval,
    interquartile_mean,
    mean,
    probability_of_improvement,
    stratified_interval,
)
from mrcom.report.table import Table
from mrcom.report.targets import (
    Target,
    interval_of,
    methods_of,
    returns_of,
    targets_of,
    title_of,
)

NOTHING = "–"
"""In a cell of which no number exists."""


def open_loop_table(errors: Mapping[str, OpenLoopErrors]) -> Table:
    """Prediction errors by body and horizon, beside the last observation's."""
    groups = tuple(
        tuple(
            (
                body if row == 0 else "",
                str(horizon),
                f"{error.rmse[row]:.3f}",
                f"{error.last_rmse[row]:.3f}",
                f"{error.ratio[row]:.2f}",
                f"{error.mse_ratio[row]:.2f}",
            )
            for row, horizon in enumerate(error.horizons)
        )
        for body, error in errors.items()
    )
    return Table(
        title="Open-loop prediction on held-out scenarios",
        columns=(
            "body",
            "horizon",
            "model RMSE",
            '"last observation stays" RMSE',
            "ratio",
            "ratio of MSE",
        ),
        groups=groups,
        notes=(
            "Errors in standard deviations of the observation; below 1 the model is better.",
            *budget_note(error.budget for error in errors.values()),
        ),
    )


def budget_note(budgets: Iterable[str]) -> tuple[str, ...]:
    """The names of budgets as a note under a table; none where none is known."""
    names = sorted(set(budgets) - {""})
    return (f"Budget: {', '.join(names)}.",) if names else ()


def target_table(scores: Sequence[Score]) -> Table:
    """Return of every method in every target, with interval and normalised score."""
    groups = tuple(_target_rows(scores, target) for target in targets_of(scores))
    return Table(
        title="Return by target scenario",
        columns=(
            "target",
            "policy",
            "mean return",
            "95 % interval",
            "normalised",
            "95 % interval",
        ),
        groups=groups,
        notes=(*_change_notes(scores), *unit_notes(scores), *_budget_notes(scores)),
        text_columns=2,
    )


def aggregate_table(scores: Sequence[Score]) -> Table:
    """Mean and interquartile mean of normalised scores, inside and outside the range."""
    parts = {
        "inside": select(scores, inside=True),
        "outside": select(scores, inside=False),
        "all": list(scores),
    }
    groups = []
    for name, part in parts.items():
        if not part or (name == "all" and not (parts["inside"] and parts["outside"])):
            continue
        rows = [
            _aggregate_row(name if number == 0 else "", method, select(part, method=method))
            for number, method in enumerate(methods_of(part))
        ]
        groups.append(tuple(rows))
    return Table(
        title="Normalised score over targets (0 random, 100 expert)",
        columns=(
            "targets",
            "policy",
            "mean",
            "95 % interval",
            "IQM",
            "95 % interval",
            "targets counted",
        ),
        groups=tuple(groups),
        notes=unit_notes(scores),
        text_columns=2,
    )


def improvement_table(scores: Sequence[Score], *, ours: str = "adapted") -> Table:
    """How likely one method beats each of the others, by body and over all targets."""
    bodies = list(dict.fromkeys(score.body for score in scores))
    parts = {body: select(scores, body=body) for body in bodies}
    if len(bodies) > 1:
        parts["all"] = list(scores)
    groups = []
    for name, part in parts.items():
        rows = []
        matrices = _return_matrices(part)
        for method, theirs in matrices.items():
            if method == ours or ours not in matrices:
                continue
            mine = matrices[ours]
            shared = [s for s in mine.scenarios if s in theirs.scenarios]
            if not shared:
                continue
            a, b = (m.values[:, [m.scenarios.index(s) for s in shared]] for m in (mine, theirs))
            rng = named_generator(0, "improvement", name, method)
            interval = improvement_interval(a, b, rng=rng) if min(len(a), len(b)) > 1 else None
            label = name if not rows else ""
            probability = f"{probability_of_improvement(a, b):.2f}"
            rows.append((label, title_of(method), probability, interval_text(interval, 2)))
        if rows:
            groups.append(tuple(rows))
    return Table(
        title=f"Probability that '{title_of(ours)}' has the higher return",
        columns=("targets", "against", "probability", "95 % interval"),
        groups=tuple(groups),
        notes=("Mean over targets; 0.5 is a tie.", *unit_notes(scores)),
        text_columns=2,
    )


def _target_rows(scores: Sequence[Score], target: Target) -> tuple[tuple[str, ...], ...]:
    returns = returns_of(scores, target)
    normalised = returns_of(scores, target, field="normalised")
    rows = []
    for method, values in returns.items():
        cells = [target.label if not rows else "", title_of(method)]
        for numbers in (values, normalised.get(method)):
            if numbers is None:
                cells += [NOTHING, NOTHING]
                continue
            interval = interval_of(numbers, target, method)
            cells += [number_text(float(numbers.mean())), interval_text(interval)]
        rows.append(tuple(cells))
    return tuple(rows)


def _aggregate_row(label: str, method: str, scores: Sequence[Score]) -> tuple[str, ...]:
    known = normalised_alone(scores)
    num_targets = len(targets_of(scores))
    counted = f"{len(targets_of(known))} of {num_targets}"
    if not known:
        return label, title_of(method), *[NOTHING] * 4, counted
    matrix = score_matrix(known).values
    cells = []
    for statistic in (mean, interquartile_mean):
        rng = named_generator(0, "aggregate", label, method)
        interval = stratified_interval(matrix, statistic, rng=rng) if len(matrix) > 1 else None
        cells += [number_text(float(statistic(matrix))), interval_text(interval)]
    return label, title_of(method), *cells, counted


def _return_matrices(scores: Sequence[Score]) -> dict[str, ScoreMatrix]:
    return {
        method: score_matrix(select(scores, method=method), field="episode_return")
        for method in methods_of(scores)
    }


def _change_notes(scores: Sequence[Score]) -> tuple[str, ...]:
    """What adapting did to the mean return, over the targets in which both were judged."""
    changes = []
    for target in targets_of(scores):
        returns = returns_of(scores, target)
        if "adapted" in returns and "behaviour" in returns:
            changes.append(float(returns["adapted"].mean() - returns["behaviour"].mean()))
    if not changes:
        return ()
    better = sum(change > 0 for change in changes)
    return (
        f"The mean return of '{title_of('adapted')}' is above that of '{title_of('behaviour')}' "
        f"in {better} of {len(changes)} targets; the mean of all changes is "
        f"{np.mean(changes):+.1f}.",
    )


def normalised_alone(scores: Sequence[Score]) -> list[Score]:
    """The scores of scenarios in which every one of them is normalised."""
    missing = {score.scenario for score in scores if score.normalised is None}
    return [score for score in scores if score.scenario not in missing]


def unit_notes(scores: Sequence[Score]) -> tuple[str, ...]:
    """What the intervals of a table are over, as notes under it."""
    seeds = {score.seed for score in scores if score.method not in ("random", "expert")}
    if len(seeds) > 1:
        return (
            f"Intervals: bootstrap over {len(seeds)} runs within each target; over episodes for "
            "random actions and experts.",
        )
    drawn = {method: set() for method in methods_of(scores)}
    for score in scores:
        drawn[score.method].add(score.drawn)
    counts = dict.fromkeys(str(num) for num in sorted(map(len, drawn.values())))
    episodes = " or ".join(counts)
    return (
        f"Intervals: bootstrap over {episodes} episodes of one run; they say nothing about "
        "other runs.",
        *_seed_notes(drawn),
    )


def _seed_notes(drawn: Mapping[str, Set[tuple[int, int]]]) -> tuple[str, ...]:
    """Which evaluation seeds the episodes of one run have, where there are several."""
    seeds = {method: sorted({seed for seed, _ in pairs}) for method, pairs in drawn.items()}
    every = sorted({seed for found in seeds.values() for seed in found})
    if len(every) < 2:
        return ()
    text = lambda found: ", ".join(map(str, found))
    fewer = [f"{title_of(m)} {text(found)} alone" for m, found in seeds.items() if found != every]
    return (f"Evaluation seeds: {'; '.join([text(every), *fewer])}.",)


def _budget_notes(scores: Sequence[Score]) -> tuple[str, ...]:
    notes = []
    for method in methods_of(scores):
        of_method = select(scores, method=method)
        found = sorted({(s.env_steps, s.updates) for s in of_method if s.env_steps})
        if not found:
            chosen = sorted({s.settings for s in of_method if s.settings})
            notes += [f"{title_of(method)}: {' or '.join(chosen)}."] if chosen else []
            continue
        used = " or ".join(
            # A behaviour's updates were not made in a target.
            f"{steps:,} real steps" + ("" if "behaviour" in method else f", {ups:,} updates")
            for steps, ups in found
        )
        chosen = " or ".join(sorted({s.settings or "the usual settings" for s in of_method}))
        how = f" ({chosen})" if any(s.settings for s in of_method) else ""
        notes.append(f"{title_of(method)}{how}: {used} in each target.")
    if any(score.normalised is None for score in scores):
        notes.append(f"{NOTHING}: the expert is too close to random for a normalised score.")
    return (*notes, *budget_note(score.budget for score in scores))


def number_text(value: float) -> str:
    """A return or a score in a cell."""
    return f"{value:.1f}"


def interval_text(interval: Interval | None, digits: int = 1) -> str:
    """An interval in a cell; `NOTHING` where there is none."""
    if interval is None or not np.isfinite(interval).all():
        return NOTHING
    return f"{interval[0]:.{digits}f} to {interval[1]:.{digits}f}"
