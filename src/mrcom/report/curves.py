"""Learning curves of a run, drawn from its log as a PNG file."""

import dataclasses
import fnmatch
import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mrcom.core.errors import ConfigError
from mrcom.report.style import LINES, drawing
from mrcom.report.targets import Target


@dataclasses.dataclass(frozen=True)
class Panel:
    """Which logged values share a plot of the learning curves."""

    title: str
    """What they are."""
    stage: str
    """Stage of the log they come from."""
    patterns: tuple[str, ...]
    """Names, with `*` for any part; each value that is found is a line. A log without any value
    of the first has no such panel."""
    counter: str = "updates"
    """What the horizontal axis counts."""
    scale: str = "linear"
    """`linear` or `symlog`."""
    in_targets: bool = False
    """Whether each line is a target, of which all took equally many steps. Such panels stand side
    by side, with the steps in each target and one vertical scale for all."""


PANELS = (
    Panel("return while collecting", "collect", ("return/*",), counter="env_steps"),
    Panel("total loss", "train", ("loss",)),
    Panel("world model: loss terms", "train", ("loss/*",), scale="symlog"),
    Panel("behaviour: reward in dreams", "train", ("actor/dreamt_reward",)),
    Panel("behaviour: return of dreams", "train", ("actor/dreamt_return", "critic/value")),
    Panel("behaviour: value of replayed steps", "train", ("twin/value", "critic/value")),
    Panel("behaviour: entropy per action", "train", ("actor/entropy",)),
    Panel("adapted: return in targets", "adapted", ("return/*",), "env_steps", in_targets=True),
    Panel(
        "SAC from scratch: return in targets", "sac", ("return/*",), "env_steps", in_targets=True
    ),
)
"""The panels of a run; one without values is left out."""


def draw_learning_curves(
    path: pathlib.Path, records: Sequence[Mapping[str, Any]], targets: Sequence[Target] = ()
) -> None:
    """What was logged, against how far the run was.

    Args:
        path: PNG file to write.
        records: lines of the log.
        targets: give lines their names; a target that is not among them has that of its hash.

    Raises:
        ConfigError: no panel has values.
        RunFolderError: the file cannot be written.
    """
    names = {target.scenario: target.label for target in targets}
    filled = [(panel, lines) for panel in PANELS if (lines := lines_of(records, panel, names))]
    if not filled:
        raise ConfigError("The log has no value of any panel; train first.")
    training = [pair for pair in filled if not pair[0].in_targets]
    adapting = [pair for pair in filled if pair[0].in_targets]
    heights = [2.8 * math.ceil(len(part) / 3) for part in (training, adapting)]
    with drawing(path, figsize=(13.4, 0.4 + sum(heights))) as figure:
        figure.suptitle("Learning curves", fontweight="bold")
        shown = [row for row in zip((training, adapting), heights, strict=True) if row[0]]
        parts = figure.subfigures(len(shown), 1, height_ratios=[h for _, h in shown], squeeze=False)
        for part, (pairs, _) in zip(parts[:, 0], shown, strict=True):
            _draw_panels(part, pairs)


def lines_of(
    records: Sequence[Mapping[str, Any]], panel: Panel, names: Mapping[str, str]
) -> dict[str, np.ndarray]:
    """For each line of a panel, by its label, the [points, 2] of counter and value.

    Args:
        records: lines of the log.
        panel: what is shown; there are no lines if nothing has its first pattern.
        names: of targets, by hash.
    """
    # What was logged again, as an adaptation that was interrupted is, takes the earlier's place.
    lines: dict[str, dict[float, float]] = {}
    for record in records:
        if record["stage"] != panel.stage:
            continue
        found = [k for k in record if any(fnmatch.fnmatchcase(k, p) for p in panel.patterns)]
        count = record[panel.counter] / (len(found) if panel.in_targets else 1)
        for name in found:
            if record[name] is not None:
                lines.setdefault(name, {})[count] = record[name]
    if not fnmatch.filter(lines, panel.patterns[0]):
        return {}
    label = (lambda name: _target_label(name, names)) if panel.in_targets else _label
    return {label(name): np.array([*points.items()], float) for name, points in lines.items()}


def _target_label(name: str, names: Mapping[str, str]) -> str:
    _, body, scenario = name.split("/")
    return names.get(scenario, f"{body} [{scenario[:4]}]")


def _label(name: str) -> str:
    """A logged name for people, without a group that all curves of its panel share."""
    return name.removeprefix("loss/").removeprefix("return/").replace("/", " ").replace("_", " ")


def _draw_panels(figure: Any, pairs: Sequence[tuple[Panel, Mapping[str, np.ndarray]]]) -> None:
    """Panels of a kind, three in a row; those of targets share scale, colours and legend."""
    shared, num_rows = pairs[0][0].in_targets, math.ceil(len(pairs) / 3)
    grid = figure.subplots(num_rows, 3, squeeze=False, sharey=shared).ravel()
    axes = list(grid[: len(pairs)])
    for axis in grid[len(pairs) :]:
        axis.set_visible(False)
    every = dict.fromkeys(label for _, lines in pairs for label in lines)
    for axis, (panel, lines) in zip(axes, pairs, strict=True):
        _draw_panel(axis, panel, lines, list(every) if shared else list(lines))
    # Only now are the scales known that say which curves lie on others.
    dashed = [_dash_covered(axis) for axis in axes]
    if shared:
        _add_legend(axes[-1], axes, any(dashed))
    else:
        for axis, some in zip(axes, dashed, strict=True):
            _add_legend(axis, [axis], some)


def _draw_panel(
    axis: Any, panel: Panel, lines: Mapping[str, np.ndarray], order: Sequence[str]
) -> None:
    from matplotlib.ticker import EngFormatter

    for label, points in lines.items():
        colour = LINES[order.index(label) % len(LINES)]
        time, value = points.T
        smooth = max(1, len(value) // 40)
        marker = "o" if len(value) < 12 else None
        if smooth > 1:
            axis.plot(time, value, color=colour, alpha=0.2, linewidth=0.7)
        axis.plot(
            time, _smoothed(value, smooth), color=colour, linewidth=1.6, marker=marker,
            markersize=3.5, label=label,
        )  # fmt: skip
    axis.set_title(panel.title)
    where = "in each target" if panel.in_targets else "in all scenarios"
    axis.set_xlabel("updates" if panel.counter == "updates" else f"real steps {where}")
    if panel.scale == "symlog":
        axis.set_yscale("symlog", linthresh=0.1)
    axis.xaxis.set_major_formatter(EngFormatter(sep=""))


def _dash_covered(axis: Any) -> bool:
    """Dashes every curve that lies on earlier ones, so that all are seen; whether any does."""
    scale = axis.yaxis.get_transform().transform
    near = 0.02 * np.ptp(scale(np.array(axis.get_ylim())))
    drawn: list[tuple[np.ndarray, np.ndarray]] = []
    found = False
    for line in axis.get_legend_handles_labels()[0]:
        time, value = line.get_xdata(), scale(line.get_ydata())
        num = sum(np.array_equal(t, time) and abs(v - value).max() < near for t, v in drawn)
        if num:
            line.set_dashes((8 / 2**num, 8 - 8 / 2**num))  # half of what is seen of the last one
            found = True
        drawn.append((time, value))
    return found


def _add_legend(axis: Any, axes: Sequence[Any], dashed: bool) -> None:
    """Names the curves of some plots beside one of them, where no curve can be covered."""
    handles = {
        line.get_label(): line for one in axes for line in one.get_legend_handles_labels()[0]
    }
    if len(handles) > 1:
        axis.legend(
            handles.values(), handles.keys(), loc="upper left", bbox_to_anchor=(1.0, 1.03),
            fontsize=7.5, alignment="left", title_fontsize=7.5,
            title="dashed: lies on another" if dashed else None,
        )  # fmt: skip


def _smoothed(value: np.ndarray, half: int) -> np.ndarray:
    """Mean over a window around every point, cut off at the ends."""
    total = np.concatenate([[0.0], np.cumsum(value)])
    index = np.arange(len(value))
    low, high = np.maximum(index - half + 1, 0), np.minimum(index + half, len(value))
    return (total[high] - total[low]) / (high - low)
