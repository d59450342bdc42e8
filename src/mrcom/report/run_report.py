"""Everything a run shows, made from the files in its folder."""

import dataclasses
import json
import pathlib

from mrcom.core.errors import ConfigError, RunFolderError
from mrcom.core.files import write_whole
from mrcom.evaluate.dreams import load_starts
from mrcom.evaluate.open_loop import OpenLoopErrors, errors_from_json
from mrcom.evaluate.pictures import load_pictures
from mrcom.evaluate.scores import Score, read_scores, select
from mrcom.report.body_table import body_table
from mrcom.report.claims import Claim, claims_text, open_loop_claims, summary, target_claims
from mrcom.report.curves import draw_learning_curves
from mrcom.report.figures import draw_dreams, draw_scores
from mrcom.report.pictures import draw_strip, write_video
from mrcom.report.table import Table, to_markdown
from mrcom.report.tables import (
    aggregate_table,
    improvement_table,
    open_loop_table,
    target_table,
)
from mrcom.report.targets import Target, share_inside, targets_of
from mrcom.train.log import read_log
from mrcom.train.run_folder import RunFolder, write_json


@dataclasses.dataclass(frozen=True)
class RunReport:
    """The tables and claims of a run, and the figures that were drawn."""

    tables: tuple[Table, ...]
    """In reading order."""
    claims: tuple[Claim, ...]
    """What the run was meant to show."""
    figures: tuple[pathlib.Path, ...]
    """PNG files, and GIF files of what moves."""


def write_report(folder: RunFolder, *, budget: str | None = None) -> RunReport:
    """Writes `report.md`, `summary.json` and the figures; what was not measured is left out.

    Reads `scores.jsonl`, `open_loop.json` (errors by body), `dreams/*.npz` and
    `metrics.jsonl`.

    Args:
        folder: of the run.
        budget: whose scores are shown, because another has other targets and episodes; the last
            in the file by default.

    Raises:
        ConfigError: nothing was measured yet.
        RunFolderError: a file is damaged or cannot be written.
    """
    scores = read_scores(folder.scores_file) if folder.scores_file.is_file() else []
    targets = targets_of(scores)  # of every budget: the log knows all of them
    if scores:
        scores = select(scores, budget=scores[-1].budget if budget is None else budget)
    errors = read_open_loop(folder)
    if not scores and not errors:
        raise ConfigError(f"{folder.path} has nothing to report: evaluate the run first.")
    share = share_inside(folder.config) if folder.config_file.is_file() else None
    tables = _tables(scores, errors, share)
    claims = (*open_loop_claims(errors), *target_claims(scores))
    figures = _draw(folder, scores, targets)
    write_json(folder.summary_file, summary(claims))
    pictures = [f"![{path.stem}](figures/{path.name})\n" for path in figures]
    text = [f"# {folder.path.name}\n", *map(to_markdown, tables)]
    text += ["**Claims**\n", f"```\n{claims_text(claims)}```\n", *pictures]
    write_whole(folder.path / "report.md", lambda file: file.write("\n".join(text).encode()))
    return RunReport(tables, claims, figures)


def open_loop_file(folder: RunFolder) -> pathlib.Path:
    """Where a run's open-loop errors lie: a JSON object by body."""
    return folder.path / "open_loop.json"


def dreams_folder(folder: RunFolder) -> pathlib.Path:
    """Where a run's dreams for figures lie: a file per body."""
    return folder.path / "dreams"


def pictures_folder(folder: RunFolder) -> pathlib.Path:
    """Where a run's dreamt pictures lie, of runs that have some: a file per body."""
    return folder.path / "dreams" / "pictures"


def read_open_loop(folder: RunFolder) -> dict[str, OpenLoopErrors]:
    """A run's open-loop errors by body; none where they were not measured.

    Raises:
        RunFolderError: the file is damaged.
    """
    file = open_loop_file(folder)
    if not file.is_file():
        return {}
    try:
        return errors_from_json(json.loads(file.read_text()))
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise RunFolderError(f"{file} cannot be read as open-loop errors ({error}).") from error


def _tables(
    scores: list[Score], errors: dict[str, OpenLoopErrors], share: float | None
) -> tuple[Table, ...]:
    tables = [open_loop_table(errors)] if errors else []
    if scores:
        whole = [] if share is None else [body_table(scores, share_inside=share)]
        tables += [target_table(scores), *whole, aggregate_table(scores)]
        improvement = improvement_table(scores)
        tables += [improvement] if improvement.rows else []
    return tuple(tables)


def _draw(
    folder: RunFolder, scores: list[Score], targets: list[Target]
) -> tuple[pathlib.Path, ...]:
    drawn = []
    for file in sorted(dreams_folder(folder).glob("*.npz")):
        body, control_dt, starts = load_starts(file)
        drawn.append(folder.figures / f"dreams_{body}.png")
        draw_dreams(drawn[-1], body, starts, control_dt=control_dt)
    for pictures in load_pictures(pictures_folder(folder)):
        drawn.append(folder.figures / f"dream_{pictures.body}.png")
        draw_strip(drawn[-1], pictures)
        drawn.append(drawn[-1].with_suffix(".gif"))
        write_video(drawn[-1], pictures)
    records = read_log(folder.metrics_file) if folder.metrics_file.is_file() else []
    if any(record["stage"] in ("train", "collect") for record in records):
        drawn.append(folder.figures / "learning_curves.png")
        draw_learning_curves(drawn[-1], records, targets)
    if scores:
        drawn.append(folder.figures / "scores.png")
        draw_scores(drawn[-1], scores)
    return tuple(drawn)
