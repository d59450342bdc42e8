"""The figures of a run's dreams and scores, as PNG files."""

import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from mrcom.core.errors import ConfigError
from mrcom.evaluate.dreams import DreamtStart
from mrcom.evaluate.scores import Score
from mrcom.report.observations import panels_of
from mrcom.report.style import BLACK, BLUE, GREY, colour_of, drawing
from mrcom.report.targets import (
    Target,
    interval_of,
    methods_of,
    returns_of,
    targets_of,
    title_of,
)


def draw_dreams(
    path: pathlib.Path, body: str, starts: Sequence[DreamtStart], *, control_dt: float
) -> None:
    """Real and dreamt trajectories from the same starts: a column each, a row per quantity.

    The dreams follow the actions of the real trajectory.

    Args:
        path: PNG file to write.
        body: decides which observations are shown.
        starts: one or more.
        control_dt: control period [s].

    Raises:
        ConfigError: no start.
        RunFolderError: the file cannot be written.
    """
    if not starts:
        raise ConfigError("A figure of dreams needs at least one start.")
    shown = panels_of(body, starts[0].past_obs.shape[1])
    num_rows, num_columns = len(shown) + 1, len(starts)
    with drawing(path, figsize=(1.4 + 3.6 * num_columns, 0.9 + 1.7 * num_rows)) as figure:
        axes = figure.subplots(num_rows, num_columns, sharex=True, sharey="row", squeeze=False)
        for column, start in enumerate(starts):
            quantities = [
                (start.past_obs[:, i], start.real_obs[:, i], start.dreamt_obs[:, :, i])
                for i in shown
            ]
            quantities.append((start.past_reward, start.real_reward, start.dreamt_reward))
            for row, (past, real, dreamt) in enumerate(quantities):
                _draw_dream(axes[row, column], past, real, dreamt, control_dt)
            axes[0, column].set_title(start.title)
            axes[-1, column].set_xlabel("time since the start of the dream [s]")
        for row, name in enumerate([*shown.values(), "reward"]):
            axes[row, 0].set_ylabel(name.replace(", ", ",\n").replace(" [", "\n["))
        axes[-1, 0].set_ylim(-0.05, 1.05)
        figure.align_ylabels(axes[:, 0])
        handles, labels = axes[0, 0].get_legend_handles_labels()
        what = "what happened, and what the model dreamt under the same actions"
        figure.suptitle(f"{body}: {what}", fontweight="bold")
        figure.legend(handles, labels, loc="outside lower center", ncols=4)


def _draw_dream(
    axis: Any, past: np.ndarray, real: np.ndarray, dreamt: np.ndarray, control_dt: float
) -> None:
    past = past[-len(real) - 1 :]  # no longer than the dream, which is what there is to see
    before = control_dt * np.arange(1 - len(past), 1)
    after = control_dt * np.arange(len(real) + 1)
    joined = np.concatenate([np.full((len(dreamt), 1), past[-1]), dreamt], axis=1)
    low, high = np.percentile(joined, [5, 95], axis=0)
    axis.axvspan(before[0], 0, color="#f4f4f4", zorder=0, linewidth=0)
    axis.fill_between(
        after, low, high, color=BLUE, alpha=0.18, linewidth=0, label="90 % of the dreams"
    )
    for number, dream in enumerate(joined[:8]):
        label = "single dreams" if number == 0 else None
        axis.plot(after, dream, color=BLUE, alpha=0.35, linewidth=0.6, label=label)
    axis.plot(after, joined.mean(axis=0), color=BLUE, linewidth=1.8, label="mean of the dreams")
    whole = np.concatenate([past, real])
    axis.plot([*before, *after[1:]], whole, color=BLACK, linewidth=1.4, label="real")
    axis.axvline(0, color=GREY, linewidth=0.8)
    axis.set_xlim(before[0], after[-1])


def draw_scores(path: pathlib.Path, scores: Sequence[Score]) -> None:
    """Return of every method in every target: episodes, mean and 95 % interval.

    A column per body; its targets stand below each other.

    Raises:
        ConfigError: no scores.
        RunFolderError: the file cannot be written.
    """
    targets, methods = targets_of(scores), methods_of(scores)
    if not targets:
        raise ConfigError("A figure of scores needs at least one score.")
    columns = [[t for t in targets if t.body == b] for b in dict.fromkeys(t.body for t in targets)]
    num_rows = max(map(len, columns))
    size = (1.6 + 3.1 * len(columns), 0.9 + num_rows * (0.75 + 0.27 * len(methods)))
    with drawing(path, figsize=size) as figure:
        grid = figure.subplots(num_rows, len(columns), squeeze=False, sharey=True, sharex=True)
        for (row, column), axis in np.ndenumerate(grid):
            if row >= len(columns[column]):
                axis.set_visible(False)
                continue
            _draw_target(axis, scores, columns[column][row], methods)
        grid[0, 0].invert_yaxis()
        figure.suptitle("Return in the targets: mean, 95 % interval, episodes", fontweight="bold")


def _draw_target(
    axis: Any, scores: Sequence[Score], target: Target, methods: Sequence[str]
) -> None:
    returns = returns_of(scores, target)
    for place, method in enumerate(methods):
        if method not in returns:
            continue
        values, colour = returns[method], colour_of(method, place)
        spread = place + 0.24 * np.linspace(-1, 1, len(values))
        axis.plot(values, spread, "o", color=colour, alpha=0.55, markersize=3, markeredgewidth=0)
        interval = interval_of(values, target, method)
        if interval is not None:
            axis.fill_betweenx([place - 0.3, place + 0.3], *interval, color=colour, alpha=0.25)
        axis.plot([values.mean()] * 2, [place - 0.3, place + 0.3], color=colour, linewidth=2)
    axis.set_title(target.label)
    axis.set_yticks(range(len(methods)), [title_of(method) for method in methods])
    axis.tick_params(axis="y", length=0)
    axis.tick_params(axis="x", labelbottom=True)
    axis.grid(axis="y", visible=False)
    axis.set_xlabel("return")
