"""Scores in a file: one JSON line per evaluated episode."""

import contextlib
import dataclasses
import json
import math
import operator
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Float

from mrcom.core.config import from_json, to_json
from mrcom.core.errors import ConfigError, RunFolderError, unknown
from mrcom.core.files import append_lines, whole_lines


@dataclasses.dataclass(frozen=True)
class Score:
    """The return of one episode, and what earned it."""

    method: str
    """What acted: `random`, `expert`, `behaviour`, `adapted`, `sac` or any other name."""
    seed: int
    """Seed of the run that trained it."""
    scenario: str
    """Hash of the scenario."""
    body: str
    """The scenario's body."""
    inside: bool
    """Whether the scenario lies inside the box the world model was trained on."""
    target_speed: float
    """Speed that is rewarded [m/s]."""
    episode: int
    """Number of the episode, from 0."""
    episode_return: float
    """Sum of the rewards."""
    normalised: float | None
    """100 (R - R_random) / (R_expert - R_random); null where the two are too close."""
    env_steps: int
    """Real control steps that the method took in this scenario before."""
    updates: int
    """Gradient steps of the policy that acted."""
    budget: str
    """Name of the budget that it was evaluated with."""
    settings: str = ""
    """How its policy was found, where that differs from what is usual; empty in older files."""
    evaluation_seed: int | None = None
    """Seed of the episode; null in older files, which had that of the run unless asked."""

    @property
    def drawn(self) -> tuple[int, int]:
        """Which episode of a scenario it was: its evaluation seed, and its number under that."""
        seed = self.seed if self.evaluation_seed is None else self.evaluation_seed
        return seed, self.episode

    @property
    def cell(self) -> tuple[Any, ...]:
        """What makes two lines the same measurement: the later one counts."""
        return self.method, self.seed, self.scenario, self.drawn, self.budget


_KINDS: dict[str, tuple[type, ...]] = {
    "method": (str,),
    "seed": (int,),
    "scenario": (str,),
    "body": (str,),
    "inside": (bool,),
    "target_speed": (int, float),
    "episode": (int,),
    "episode_return": (int, float),
    "normalised": (int, float, type(None)),
    "env_steps": (int,),
    "updates": (int,),
    "budget": (str,),
    "settings": (str,),
    "evaluation_seed": (int, type(None)),
}


def append_scores(path: pathlib.Path, scores: Iterable[Score]) -> None:
    """Adds lines to a file, all at once: a reader sees whole lines or none of them.

    What the file says already is not said again; nothing that it says is ever taken away.

    Raises:
        RunFolderError: the file cannot be written.
    """
    said: dict[tuple[Any, ...], Score] = {}
    for line in path.read_bytes().split(b"\n") if path.is_file() else ():
        with contextlib.suppress(RunFolderError):  # a damaged line is its readers' affair
            score = _parse(line, "")
            said[score.cell] = score
    new = [score for score in scores if said.get(score.cell) != score]
    append_lines(path, map(dataclasses.asdict, new))


R = TypeVar("R")
"""A dataclass whose `key` says what makes two of them the same measurement."""


def append_record(path: pathlib.Path, record: Any) -> None:
    """Adds a line to a file, as `append_lines` does."""
    append_lines(path, [to_json(record)])


def read_records(path: pathlib.Path, kind: type[R]) -> list[R]:
    """All records of a file, of a measurement made twice the later one; none without a file.

    A torn last line, as an interruption leaves it, is left out.

    Raises:
        RunFolderError: a line is damaged, or has not the fields of `kind`, as another version may
            have written it; the message has its number.
    """
    if not path.is_file():
        return []
    latest = {}
    for number, line in enumerate(_lines(path), start=1):
        try:
            record: Any = from_json(kind, json.loads(line))
        except (ValueError, ConfigError, AttributeError, TypeError) as error:
            raise RunFolderError(
                f"{path}, line {number} is damaged, or another version's: "
                f"{str(error).rstrip('.')}. Delete the line, or move the file away."
            ) from error
        latest[record.key] = record
    return list(latest.values())


def read_scores(path: pathlib.Path) -> list[Score]:
    """All lines of a file; of a measurement made twice the later one.

    A torn last line, as an interruption leaves it, is left out.

    Raises:
        RunFolderError: the file cannot be read, or a line is not a score; the message has
            its number and says what is wrong with it.
    """
    latest: dict[tuple[Any, ...], Score] = {}
    for number, line in enumerate(_lines(path), start=1):
        if line.strip():
            score = _parse(line, f"{path}, line {number}")
            latest[score.cell] = score
    return list(latest.values())


def _lines(path: pathlib.Path) -> list[bytes]:
    try:
        return whole_lines(path.read_bytes())
    except OSError as error:
        raise RunFolderError(
            f"{path} cannot be read ({error.strerror or error}). Run `mrcom evaluate` first."
        ) from error


def _parse(line: bytes, where: str) -> Score:
    try:
        value = json.loads(line)
    except ValueError as error:
        raise RunFolderError(f"{where} is not JSON ({error}). Delete the line.") from error
    if not isinstance(value, Mapping):
        raise RunFolderError(f"{where} holds {value!r}, expected an object with a score.")
    for name in value:
        if name not in _KINDS:
            raise RunFolderError(f"{where}: {unknown('field of a score', name, _KINDS)}")
    value = dict(value)
    value.setdefault("settings", "")
    value.setdefault("evaluation_seed", None)
    for name, kinds in _KINDS.items():
        if name not in value:
            raise RunFolderError(f"{where} has no {name!r}.")
        given = value[name]
        wrong = not isinstance(given, kinds) or (isinstance(given, bool) and bool not in kinds)
        if wrong or (isinstance(given, float) and not math.isfinite(given)):
            expected = " or ".join("null" if k is type(None) else k.__name__ for k in kinds)
            raise RunFolderError(f"{where}: {name} is {given!r}, expected a finite {expected}.")
    return Score(**value)


def select(scores: Iterable[Score], **wanted: Any) -> list[Score]:
    """The scores whose fields have the wanted values, such as `body="walker"`."""
    for name in wanted:
        if name not in _KINDS:
            raise unknown("field of a score", name, _KINDS)
    return [s for s in scores if all(getattr(s, name) == value for name, value in wanted.items())]


@dataclasses.dataclass(frozen=True)
class ScoreMatrix:
    """One method's scores as statistics want them."""

    values: Float[np.ndarray, "R N"]
    """A row per run, or per episode where there was one run only; a column per scenario."""
    scenarios: tuple[str, ...]
    """Hash of each column's scenario."""
    unit: str
    """What a row is: `run` or `episode`."""


def score_matrix(scores: Sequence[Score], *, field: str = "normalised") -> ScoreMatrix:
    """One method's scores: means over episodes where there are several runs.

    Of a single run every episode is a row, of whichever evaluation seed: intervals then say how
    well it was measured, not how another run would fare. A scenario that lacks a normalised score
    anywhere is left out.

    Raises:
        ConfigError: nothing to aggregate, several methods, or a row without one of the
            scenarios.
    """
    methods = sorted({score.method for score in scores})
    if len(methods) != 1:
        raise ConfigError(f"A matrix is of one method, got {', '.join(methods) or 'none'}.")
    missing = {score.scenario for score in scores if getattr(score, field) is None}
    scores = [score for score in scores if score.scenario not in missing]
    if not scores:
        raise ConfigError(f"No score of {methods[0]!r} has a {field}.")
    unit = "run" if len({score.seed for score in scores}) > 1 else "episode"
    row_of = operator.attrgetter("seed" if unit == "run" else "drawn")
    rows = sorted({row_of(score) for score in scores})
    scenarios = tuple(sorted({score.scenario for score in scores}))
    total, count = np.zeros((2, len(rows), len(scenarios)))
    for score in scores:
        cell = rows.index(row_of(score)), scenarios.index(score.scenario)
        total[cell] += getattr(score, field)
        count[cell] += 1
    if not count.all():
        row, column = np.argwhere(count == 0)[0]
        raise ConfigError(
            f"{methods[0]!r} has no score of {_row_text(rows, int(row))} in scenario "
            f"{scenarios[column]}. "
            "Evaluate it there, or leave the scenario out."
        )
    return ScoreMatrix(total / count, scenarios, unit)


def _row_text(rows: Sequence[Any], row: int) -> str:
    if not isinstance(rows[row], tuple):
        return f"run {rows[row]}"
    seed, episode = rows[row]
    several = len({seed for seed, _ in rows}) > 1
    return f"episode {episode}" + (f" of evaluation seed {seed}" if several else "")
