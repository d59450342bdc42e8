"""What perturbations cost, as a table and as curves."""

import itertools
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from mrcom.core.errors import ConfigError
from mrcom.core.generators import named_generator
from mrcom.evaluate.robustness import PERTURBATIONS, UNDISTURBED, Cell, Perturbation
from mrcom.evaluate.statistics import Interval, mean, stratified_interval
from mrcom.report.style import GREY, colour_of, drawing
from mrcom.report.table import Table
from mrcom.report.targets import title_of

REFERENCES = ("random", "expert")
"""What scores are measured against: measured undisturbed only."""


def robustness_table(cells: Sequence[Cell]) -> Table:
    """Return and normalised score of every policy at every degree of every perturbation.

    Raises:
        ConfigError: no cell of a policy.
    """
    scale, cells = _scale(cells), _of_policies(cells)
    order = [UNDISTURBED, *PERTURBATIONS]
    ordered = sorted(cells, key=lambda cell: (order.index(cell.perturbation), cell.degree))
    groups = []
    for kind, group in itertools.groupby(ordered, key=lambda cell: cell.perturbation):
        rows = [_row(cell) for cell in group]
        title = "undisturbed" if kind == UNDISTURBED else PERTURBATIONS[kind].title
        groups.append(tuple((title if n == 0 else "", *row) for n, row in enumerate(rows)))
    used = dict.fromkeys(cell.perturbation for cell in ordered)
    units = [f"{PERTURBATIONS[k].title}: {PERTURBATIONS[k].unit}" for k in used if k != UNDISTURBED]
    num = {len(cell.returns[0]) for cell in cells}
    return Table(
        title="Returns under perturbations",
        columns=(
            "perturbation", "policy", "that is", "degree", "mean return", "95 % interval",
            "normalised", "95 % interval",
        ),
        groups=tuple(groups),
        notes=(
            *([f"Degrees: {'; '.join(units)}."] if units else []),
            scale,
            f"Intervals: bootstrap over {' or '.join(map(str, sorted(num)))} episodes of one run "
            f"within each of {len(cells[0].targets)} targets; they say nothing about other runs.",
        ),
        text_columns=3,
    )  # fmt: skip


def draw_robustness(path: pathlib.Path, cells: Sequence[Cell]) -> None:
    """A plot for each perturbation: score against its degree, a line with its interval per policy.

    Where no target has a normalised score, mean returns take its place.

    Raises:
        ConfigError: no cell of a policy.
        RunFolderError: the file cannot be written.
    """
    cells = _of_policies(cells)
    kinds = [kind for kind in PERTURBATIONS if any(cell.perturbation == kind for cell in cells)]
    if not kinds:
        raise ConfigError("A figure of robustness needs at least one perturbation.")
    scored = any(normalised(cell) is not None for cell in cells)
    shown = normalised if scored else _returns
    policies = list(dict.fromkeys(cell.policy for cell in cells))
    columns = min(4, len(kinds))
    rows = -(-len(kinds) // columns)
    with drawing(path, figsize=(0.8 + 2.9 * columns, 1.0 + 2.6 * rows)) as figure:
        axes = figure.subplots(rows, columns, squeeze=False, sharey=True)
        for kind, axis in itertools.zip_longest(kinds, axes.ravel()):
            if kind is None:
                axis.set_visible(False)
                continue
            for number, policy in enumerate(policies):
                own = [c for c in cells if c.policy == policy]
                _draw_curve(axis, kind, own, shown, colour_of(policy, number), title_of(policy))
            axis.axvline(PERTURBATIONS[kind].nominal, color=GREY, linewidth=0.8, linestyle=":")
            axis.set_title(PERTURBATIONS[kind].title)
            axis.set_xlabel(PERTURBATIONS[kind].unit)
        for axis in axes[:, 0]:
            axis.set_ylabel("normalised score" if scored else "return")
        handles, labels = axes[0, 0].get_legend_handles_labels()
        figure.suptitle(
            "Score under perturbations (0 random, 100 expert, undisturbed)"
            if scored
            else "Return under perturbations (mean over episodes and targets)",
            fontweight="bold",
        )
        figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))


def normalised(cell: Cell) -> Float[np.ndarray, "E N"] | None:
    """Scores of episodes in the targets that have any; None where no target has."""
    values = np.array(cell.normalised, float).T
    values = values[:, np.isfinite(values).all(axis=0)]
    return values if values.size else None


def _returns(cell: Cell) -> Float[np.ndarray, "E N"]:
    return np.array(cell.returns, float).T


def _scale(cells: Sequence[Cell]) -> str:
    """What normalised scores are, in how many targets there are any, and why not in others."""
    found = {(cell.perturbation, cell.policy): cell for cell in cells}
    expert, one = found.get((UNDISTURBED, "expert")), _of_policies(cells)[0]
    num = len(one.targets)
    scored = 0 if (values := normalised(one)) is None else values.shape[1]
    missing = 0 if expert is None else sum(None in row for row in expert.returns)
    why = [f"in {missing} there is no expert"] if missing else []
    if close := num - scored - missing:
        why.append(f"in {close} random actions and the expert are too close")
    return (
        "Normalised: 0 random, 100 expert, both in the undisturbed targets, over "
        f"{scored} of {num} of them{': ' if why else ''}{', '.join(why)}."
    )


def _draw_curve(
    axis: Any,
    kind: str,
    cells: Sequence[Cell],
    shown: Callable[[Cell], Float[np.ndarray, "E N"] | None],
    colour: str,
    label: str,
) -> None:
    one = PERTURBATIONS[kind]
    points = sorted(
        (_degree(cell, one), mean(values), _interval(cell, values))
        for cell in cells
        if cell.perturbation in (kind, UNDISTURBED) and (values := shown(cell)) is not None
    )
    degrees, scores = [p[0] for p in points], [float(p[1]) for p in points]
    axis.plot(degrees, scores, "o-", color=colour, markersize=3.5, linewidth=1.6, label=label)
    ends = [p[2] for p in points]
    if ends and None not in ends:
        axis.fill_between(degrees, *np.array(ends).T, color=colour, alpha=0.18, linewidth=0)
    if one.nominal:
        axis.set_xscale("log", base=2)
        axis.set_xticks(degrees, [f"{degree:g}" for degree in degrees])
        axis.minorticks_off()


def _degree(cell: Cell, one: Perturbation) -> float:
    return one.nominal if cell.perturbation == UNDISTURBED else cell.degree


def _of_policies(cells: Sequence[Cell]) -> list[Cell]:
    found = [cell for cell in cells if cell.policy not in REFERENCES]
    if not found:
        raise ConfigError("There is no policy whose robustness was measured.")
    return found


def _row(cell: Cell) -> tuple[str, ...]:
    degree = "–" if cell.perturbation == UNDISTURBED else f"{cell.degree:g}"
    cells = [title_of(cell.policy), ", ".join(dict.fromkeys(cell.exact)), degree]
    for values in (_returns(cell), normalised(cell)):
        if values is None:
            cells += ["–", "–"]
            continue
        ends = _interval(cell, values)
        cells += [f"{mean(values):.1f}", "–" if ends is None else f"{ends[0]:.1f} to {ends[1]:.1f}"]
    return tuple(cells)


def _interval(cell: Cell, values: Float[np.ndarray, "E N"]) -> Interval | None:
    """Of the mean over episodes and targets; of a single episode there is none."""
    if len(values) < 2:
        return None
    rng = named_generator(0, "robustness", cell.policy, cell.perturbation, str(cell.degree))
    return stratified_interval(values, mean, rng=rng)
