"""A run's folder, looked at file by file and put right where that is possible."""

import dataclasses
import json
import pathlib
from collections.abc import Sequence
from typing import Any

from mrcom.core.config import from_json
from mrcom.core.errors import CheckpointError, MrcomError, OtherVersionError, RunFolderError
from mrcom.core.files import cannot_write, drop_leftovers, write_whole
from mrcom.train.checkpoint import Checkpoints
from mrcom.train.episodes import EpisodeFiles
from mrcom.train.run_folder import RunFolder, locked, open_run, write_config
from mrcom.train.settings import RunConfig


@dataclasses.dataclass(frozen=True)
class Finding:
    """What was found of one part of a run's folder, and what was done about it."""

    name: str
    state: str
    """`ok`, `mended` or `broken`."""
    found: str
    """What is there, or what was done."""
    advice: str = ""
    """What to do, where the state is `broken`."""


def repair(path: pathlib.Path) -> list[Finding]:
    """Check a run's folder and mend what can be mended; nothing is deleted but unfinished writes.

    What another version wrote stays where it is. A damaged checkpoint is moved to the folder
    `broken`, so that the run goes on from the newest whole one; a torn last line of a log is
    dropped; what killed writers left is removed.

    Raises:
        RunFolderError: it is no run's folder, a process is writing in it, or it cannot be written.
    """
    folder = RunFolder(path)
    if not (folder.config_file.is_file() or folder.checkpoints.is_dir()):
        open_run(path)  # says so; below a folder of runs lie unfinished files of those at work
    with locked(folder):
        whole, checkpoints = _checkpoints(folder)
        adapted = [
            finding
            for kept in sorted((path / "adapted").glob("*/"))
            for finding in _adapted(folder, Checkpoints(kept))
        ]
        logs = [_metrics(folder, whole), _lines(folder.scores_file)]
        found = [_leftovers(folder), _config(folder, whole), *checkpoints, *adapted, *logs]
        return [finding for finding in found if finding is not None]


def _leftovers(folder: RunFolder) -> Finding:
    dropped = drop_leftovers(folder.path)
    if not dropped:
        return Finding("unfinished files", "ok", "none")
    return Finding("unfinished files", "mended", f"removed {', '.join(dropped)}")


def _config(folder: RunFolder, whole: dict[int, dict[str, Any]]) -> Finding:
    name = folder.config_file.name
    try:
        from_json(RunConfig, folder.config)
    except RunFolderError as error:
        if not whole:
            return Finding(name, "broken", str(error), "train again in a new --run-dir")
        newest = whole[max(whole)]
        write_config(folder, from_json(RunConfig, newest["config"]), newest.get("changed"))
        return Finding(name, "mended", f"written anew from checkpoint {max(whole)}")
    except MrcomError as error:
        return Finding(name, "broken", str(error), "use the version of mrcom that wrote it")
    return Finding(name, "ok", "readable")


def _checkpoints(folder: RunFolder) -> tuple[dict[int, dict[str, Any]], list[Finding]]:
    """The whole checkpoints' own JSON by step, and what was found of them and of their episodes."""
    kept, episodes = Checkpoints(folder.checkpoints), EpisodeFiles(folder.replay)
    whole, torn, others = {}, [], []
    for step in kept.steps():
        try:
            whole[step] = kept.verify(step)
        except OtherVersionError as error:
            others.append(_of_other(f"checkpoints/{step}", error))
        except CheckpointError:
            torn.append(step)
    missing = {step: episodes.broken(meta["rounds"]) for step, meta in whole.items()}
    complete = [step for step in whole if not missing[step]]
    found = others + [_moved(folder, kept, step, "is damaged") for step in torn]
    # One that lacks experience can still be used, so it stays where there is none to go back to,
    # and where the run is finished.
    for step, meta in whole.items():
        if missing[step] and complete and not _is_finished(meta):
            reason = f"needs episodes that are damaged ({_files(missing[step])})"
            found.append(_moved(folder, kept, step, reason))
    if others and not whole:
        return {}, found
    if not whole:
        found.append(_none(folder, kept))
    elif missing[newest := max(whole)] and (not complete or _is_finished(whole[newest])):
        files = _files(missing[newest])
        found.append(
            Finding(
                "episodes",
                "broken",
                f"{files} in {folder.replay} missing or damaged",
                "evaluate and adapt work; to train further, train again in a new --run-dir",
            )
        )
    else:
        newest, rounds = max(complete), len(whole[max(complete)]["rounds"])
        text = f"{', '.join(map(str, complete))} whole; rounds of episodes: {rounds}"
        newer = [number for number in episodes.numbers() if number >= rounds]
        if newer:
            text += f"; {len(newer)} newer than {newest} will be collected again"
        found.append(Finding("checkpoints", "ok", text))
    return {step: whole[step] for step in complete or whole}, found


def _is_finished(meta: dict[str, Any]) -> bool:
    return meta["phase"] > meta["config"]["budget"]["rounds"]


def _none(folder: RunFolder, kept: Checkpoints) -> Finding:
    if folder.config_file.is_file():
        return Finding(
            "checkpoints", "ok", f"none: --resume {folder.path} starts from the beginning"
        )
    return Finding("checkpoints", "broken", f"none in {kept.folder}", "train again")


def _adapted(folder: RunFolder, kept: Checkpoints) -> list[Finding]:
    name, found = f"adapted/{kept.folder.name}", []
    for step in kept.steps():
        try:
            kept.verify(step)
            found.append(Finding(name, "ok", "whole"))
        except OtherVersionError as error:
            found.append(_of_other(name, error))
        except CheckpointError:
            moved = _moved(folder, kept, step, "is damaged")
            found.append(dataclasses.replace(moved, found=f"{moved.found}; adapt again"))
    return found


def _of_other(name: str, error: OtherVersionError) -> Finding:
    return Finding(name, "broken", str(error), "use the version of mrcom that wrote it")


def _moved(folder: RunFolder, kept: Checkpoints, step: int, reason: str) -> Finding:
    path = kept.path(step)
    aside = folder.path / "broken" / f"{kept.folder.name}-{path.name}"
    try:
        aside.parent.mkdir(exist_ok=True)
        while aside.exists():
            aside = aside.with_name(f"again-{aside.name}")
        path.rename(aside)
    except OSError as error:
        raise cannot_write(aside, error) from error
    name = path.relative_to(folder.path.absolute())
    return Finding(str(name), "mended", f"{reason}; moved to {aside}")


def _metrics(folder: RunFolder, whole: dict[int, dict[str, Any]]) -> Finding | None:
    """The log, which is never shorter than the newest checkpoint knows it."""
    file, known = folder.metrics_file, whole[max(whole)]["log_position"] if whole else 0
    found = _lines(file)
    if found is None:
        lost = "it goes on with new lines; the old ones are lost"
        return Finding(file.name, "broken", "missing", lost) if known else None
    lost = known - file.stat().st_size
    if lost > 0 and found.state != "broken":
        said = f"{found.found}; at least {lost} bytes of lines before checkpoint {max(whole)} lost"
        return dataclasses.replace(found, found=said)
    return found


def _lines(path: pathlib.Path) -> Finding | None:
    """A file of JSON lines: the last may be torn, no other."""
    if not path.is_file():
        return None
    data = path.read_bytes()
    whole = data[: data.rfind(b"\n") + 1]
    torn, lines = data[len(whole) :], whole.splitlines()
    if torn and _is_record(torn):
        whole, torn, lines = data + b"\n", b"", [*lines, torn]
    for number, line in enumerate(lines, start=1):
        if line.strip() and not _is_record(line):
            advice = f"delete line {number} of {path}"
            return Finding(path.name, "broken", f"line {number} is no JSON", advice)
    if whole != data:
        write_whole(path, lambda file: file.write(whole))
        done = f"dropped a torn last line of {len(torn)} bytes" if torn else "ended the last line"
        return Finding(path.name, "mended", done)
    return Finding(path.name, "ok", f"{len(lines)} lines")


def _is_record(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False


def _files(numbers: Sequence[int]) -> str:
    return ", ".join(f"{number:06}.npz" for number in numbers)
