"""Normalised scores by body: the rows and columns of the papers' tables."""

from collections.abc import Sequence

import numpy as np

from mrcom.core.generators import named_generator
from mrcom.evaluate.scores import Score, score_matrix, select
from mrcom.evaluate.statistics import mean, stratified_interval, stratified_mean
from mrcom.report.table import Table
from mrcom.report.tables import (
    NOTHING,
    interval_text,
    normalised_alone,
    number_text,
    unit_notes,
)
from mrcom.report.targets import methods_of, title_of


def body_table(scores: Sequence[Score], *, share_inside: float | None = None) -> Table:
    """Mean normalised score by body, as the papers' tables have it.

    Args:
        scores: of all policies.
        share_inside: of a wide test box, how much lies in the training box: with it, the table
            has the mean over the whole box too, each of its two parts weighed by its size.
    """
    bodies = list(dict.fromkeys(score.body for score in scores))
    parts = {"inside": select(scores, inside=True), "outside": select(scores, inside=False)}
    notes = unit_notes(scores)
    if share_inside is not None and all(parts.values()):
        parts["test box"] = list(scores)
        whole = f"test box: the whole of it, of which {100 * share_inside:.3g} % is inside."
        notes = (whole, *notes)
    groups = []
    for part, there in parts.items():
        share = share_inside if part == "test box" else None
        rows = []
        for method in methods_of(there):
            cells = [
                _mean_cell(select(there, method=method, body=body), share, part) for body in bodies
            ]
            cells.append(_mean_cell(select(there, method=method), share, part))
            rows.append((part if not rows else "", title_of(method), *cells))
        groups += [tuple(rows)] if rows else []
    return Table(
        title="Normalised score by body (0 random, 100 expert; 95 % interval)",
        columns=("targets", "policy", *bodies, "all"),
        groups=tuple(groups),
        notes=notes,
        text_columns=2,
    )


def _mean_cell(scores: Sequence[Score], share_inside: float | None, part: str) -> str:
    """The mean of one method's normalised scores, with its interval; weighed in a whole box."""
    known = normalised_alone(scores)
    if not known:
        return NOTHING
    found, statistic = score_matrix(known), mean
    if share_inside is not None:
        within = {score.scenario for score in known if score.inside}
        inside = np.array([scenario in within for scenario in found.scenarios])
        if inside.all() or not inside.any():
            return NOTHING
        statistic = stratified_mean(inside, share_inside)
    cell = number_text(float(statistic(found.values)))
    if len(found.values) < 2:
        return cell
    rng = named_generator(0, "body", part, scores[0].method, *found.scenarios)
    return f"{cell} ({interval_text(stratified_interval(found.values, statistic, rng=rng))})"
