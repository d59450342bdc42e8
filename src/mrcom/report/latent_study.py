"""The study of latent errors as tables and figures, from the cells that are there."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mrcom.core.errors import ConfigError
from mrcom.evaluate.latent_study import DIVERGED, Cell
from mrcom.report.latent_changes import (
    LEFT,
    below_zero,
    cells_at,
    change_of,
    curve_of,
    interval,
    rmse,
)
from mrcom.report.style import BLACK, BLUE, GREEN, GREY, ORANGE, drawing
from mrcom.report.table import Table
from mrcom.train.latent_study import AMOUNTS, BODIES, CONTROLS, ERRORS, JACOBIANS

BLUES = ("#a6c8e8", "#6aa6d6", BLUE, "#8a5fbf", "#5b1a78")
"""Of the penalty, the darker the greater its weight."""
COLOURS = dict(zip(CONTROLS, (BLACK, *BLUES, ORANGE, GREEN), strict=True))
"""Of the controls, the same in every figure."""
QUANTITIES: Mapping[str, str] = {
    "obs": "observation [standard deviations]",
    "latent": "latent [standard deviations]",
    "reward": "reward",
}
"""Whose open-loop error is shown, with its unit."""


def study_tables(cells: Sequence[Cell]) -> list[Table]:
    """What the penalty does to the longest dreams, then everything, of each error.

    Raises:
        ConfigError: no cell.
    """
    if not cells:
        raise ConfigError("The study has no finished cell yet.")
    tables = [penalty_table(cells)]
    if known := [cell for cell in cells if cell.apart]:
        tables.append(left_table(known))
    return [*tables, *(error_table(cells, error) for error in _errors(cells))]


def penalty_table(cells: Sequence[Cell]) -> Table:
    """By how much each weight of the penalty changes the error of the longest dreams."""
    return _changes_table(
        cells,
        "obs",
        f"Open-loop error of the observation at horizon {_horizon(cells)}: what a penalty on the "
        "Jacobian changes",
        "Difference of the root mean squared error, in standard deviations, to no penalty at "
        "the same seed: mean and 95 % bootstrap interval over seeds. Dreams start from states "
        "with the error that the model learnt with. Below 0 the penalty helps.",
    )


def left_table(cells: Sequence[Cell]) -> Table:
    """By how much each weight of the penalty changes what is left of the error in the end."""
    return _changes_table(
        cells,
        LEFT,
        f"What is left of the latent error at horizon {_horizon(cells)}: what a penalty on the "
        "Jacobian changes",
        "How far observations dreamt from states with the error are from those dreamt from states "
        "without it, under the same draws: root mean square in standard deviations, less that of "
        "no penalty at the same seed; mean and 95 % bootstrap interval over seeds.",
    )


def _changes_table(cells: Sequence[Cell], quantity: str, title: str, note: str) -> Table:
    groups = []
    for error in _errors(cells):
        rows, falls = [], dict.fromkeys(JACOBIANS, 0)
        for body in _bodies(cells):
            changes = {name: change_of(cells, body, error, name, quantity) for name in JACOBIANS}
            said = (_with_interval(change) for change in changes.values())
            rows.append((error if not rows else "", body, *said))
            falls = {name: n + below_zero(changes[name]) for name, n in falls.items()}
        said = (f"{n} of {len(_bodies(cells))}" for n in falls.values())
        groups.append((*rows, ("", "interval below 0", *said)))
    return Table(
        title=title,
        columns=("error", "body", *JACOBIANS),
        groups=tuple(groups),
        notes=(
            note,
            f"Seeds: {_seeds_said(cells)}. With 3 seeds an interval reaches from the least to the "
            "greatest difference, and chance alone brings one in eight below 0.",
        ),
        text_columns=2,
    )


def error_table(cells: Sequence[Cell], error: str) -> Table:
    """Return, errors of the longest dreams, gain and share of diverged seeds, under one error."""
    groups = []
    for body in _bodies(cells):
        rows = []
        for name in CONTROLS:
            own = cells_at(cells, body, error, name)
            if not own:
                continue
            good = [cell for cell in own if not cell.diverged]
            rows.append(
                (
                    body if not rows else "",
                    name,
                    _spread([cell.episode_return for cell in good], 1),
                    *(
                        _spread([rmse(c.erring, quantity)[-1] for c in good if c.erring], 3)
                        for quantity in QUANTITIES
                    ),
                    _spread([rmse(c.exact, "obs")[-1] for c in good if c.exact], 3),
                    _spread([cell.gain for cell in good], 3),
                    f"{len(own) - len(good)} of {len(own)}",
                )
            )
        groups.append(tuple(rows))
    process, steps = ERRORS[error].text, AMOUNTS[cells[0].amount].evaluation_steps
    return Table(
        title=f"Latent error: {error}" + ("" if error == "none" else f" (mu,sigma2 = {process})"),
        columns=(
            "body", "control", "return", "observation", "latent", "reward", "observation, exact",
            "squared gain", "diverged",
        ),
        groups=tuple(groups),
        notes=(
            f"Root mean squared errors {_horizon(cells)} steps ahead, observation and latent in "
            "standard deviations; mean over seeds and, in brackets, least and greatest. Exact: "
            f"dreams start from states without the error. Return: of {steps} steps, acting under "
            f"the error. Diverged: not finite, or wrong by more than {DIVERGED:g} variances.",
        ),
        text_columns=2,
    )  # fmt: skip


def draw_study(folder: pathlib.Path, cells: Sequence[Cell]) -> list[pathlib.Path]:
    """Every figure that the cells suffice for, in a folder; the files.

    Raises:
        RunFolderError: a file cannot be written.
    """
    files = []
    for error in _errors(cells):
        files.append(folder / f"open_loop_{error.replace(' ', '_')}.png")
        draw_horizons(files[-1], cells, error)
    files.append(folder / "controls.png")
    draw_controls(files[-1], cells)
    return files


def draw_horizons(path: pathlib.Path, cells: Sequence[Cell], error: str) -> None:
    """Open-loop errors against the horizon: a column per body, a row per quantity.

    And what is left of the latent error, where that was measured.
    """
    bodies = [
        body for body in _bodies(cells) if any(cells_at(cells, body, error, c) for c in CONTROLS)
    ]
    shown = dict(QUANTITIES)
    if any(cell.apart for cell in cells if cell.error == error):
        shown[LEFT] = f"{LEFT} [standard deviations]"
    with drawing(path, figsize=(0.8 + 2.8 * len(bodies), 0.2 + 2.4 * len(shown))) as figure:
        axes = figure.subplots(len(shown), len(bodies), squeeze=False, sharex=True)
        for column, body in enumerate(bodies):
            for row, quantity in enumerate(shown):
                for name in CONTROLS:
                    good = [
                        curve_of(cell, quantity)
                        for cell in cells_at(cells, body, error, name)
                        if (cell.apart if quantity == LEFT else cell.erring)
                    ]
                    if good:
                        _draw_curves(axes[row, column], np.array(good), COLOURS[name], name)
                if quantity in ("obs", "latent"):  # what knowing only the mean costs
                    axes[row, column].axhline(1, color=GREY, linewidth=0.8, linestyle=":")
            axes[0, column].set_title(body)
            axes[-1, column].set_xlabel("steps ahead")
        for row, title in enumerate(shown.values()):
            axes[row, 0].set_ylabel(title.replace(" [", "\n["))
        handles, labels = axes[0, 0].get_legend_handles_labels()
        figure.legend(
            handles, labels, loc="outside lower center", ncols=min(len(labels), 2 * len(bodies))
        )
        figure.suptitle(
            f"Open-loop error, latent error: {error} (mean over seeds, least to greatest)",
            fontweight="bold",
        )


def draw_controls(path: pathlib.Path, cells: Sequence[Cell]) -> None:
    """Return, error of the longest dreams and gain of every control: a column per body."""
    bodies, errors = _bodies(cells), _errors(cells)
    values: Mapping[str, Any] = {
        "return": lambda cell: cell.episode_return,
        f"observation error\nat horizon {_horizon(cells)}": lambda c: rmse(c.erring, "obs")[-1],
        "squared gain": lambda cell: cell.gain,
    }
    with drawing(path, figsize=(0.8 + 2.8 * len(bodies), 6.8)) as figure:
        axes = figure.subplots(len(values), len(bodies), squeeze=False, sharex=True)
        for column, body in enumerate(bodies):
            for row, (title, value_of) in enumerate(values.items()):
                axis = axes[row, column]
                for number, (name, colour) in enumerate(COLOURS.items()):
                    _draw_points(axis, cells, body, errors, name, number, colour, value_of)
                axis.set_ylabel(title if column == 0 else "")
            axes[0, column].set_title(body)
            axes[-1, column].set_xticks(range(len(errors)), errors)
        handles, labels = axes[0, 0].get_legend_handles_labels()
        figure.legend(
            handles, labels, loc="outside lower center", ncols=min(len(labels), 2 * len(bodies))
        )
        figure.suptitle("By latent error: every seed, and the mean", fontweight="bold")


def _with_interval(change: np.ndarray) -> str:
    if not len(change):
        return "–"
    mean = f"{change.mean():+.3f}"
    if len(change) < 2:
        return mean
    low, high = interval(change)
    return f"{mean} ({low:+.3f} to {high:+.3f})"


def _spread(values: Sequence[Any], digits: int) -> str:
    if not values:
        return "–"
    text = f"{np.mean(values):.{digits}f}"
    if len(values) < 2:
        return text
    return f"{text} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def _draw_curves(axis: Any, curves: np.ndarray, colour: str, label: str) -> None:
    ahead = np.arange(1, curves.shape[1] + 1)
    axis.plot(ahead, curves.mean(axis=0), color=colour, linewidth=1.5, label=label)
    if len(curves) > 1:
        low, high = curves.min(axis=0), curves.max(axis=0)
        axis.fill_between(ahead, low, high, color=colour, alpha=0.12, linewidth=0)


def _draw_points(
    axis: Any,
    cells: Sequence[Cell],
    body: str,
    errors: Sequence[str],
    control: str,
    number: int,
    colour: str,
    value_of: Any,
) -> None:
    for place, error in enumerate(errors):
        good = [value_of(c) for c in cells_at(cells, body, error, control) if not c.diverged]
        if not good:
            continue
        at = place + 0.12 * (number - (len(COLOURS) - 1) / 2)
        label = control if place == 0 else None
        axis.plot([at] * len(good), good, "o", color=colour, markersize=3, alpha=0.6, label=label)
        axis.plot([at - 0.05, at + 0.05], [np.mean(good)] * 2, color=colour, linewidth=2)
    if len(errors) > 1:
        for border in np.arange(len(errors) - 1) + 0.5:
            axis.axvline(border, color=GREY, linewidth=0.6)


def _bodies(cells: Sequence[Cell]) -> list[str]:
    return [body for body in BODIES if any(cell.body == body for cell in cells)]


def _errors(cells: Sequence[Cell]) -> list[str]:
    return [error for error in ERRORS if any(cell.error == error for cell in cells)]


def _horizon(cells: Sequence[Cell]) -> int:
    return max((len(cell.erring.obs) for cell in cells if cell.erring), default=0)


def _seeds_said(cells: Sequence[Cell]) -> str:
    return ", ".join(str(seed) for seed in sorted({cell.seed for cell in cells}))
