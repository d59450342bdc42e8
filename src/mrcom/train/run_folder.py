"""A run's folder: one place for everything a run writes, never written over by another run.

config.json  metrics.jsonl  scores.jsonl  summary.json
checkpoints/  replay/  figures/  tensorboard/
"""

import contextlib
import dataclasses
import fcntl
import json
import os
import pathlib
import reprlib
from collections.abc import Collection, Generator
from typing import Any

import mrcom
from mrcom.core.config import difference, from_json, short_hash, to_json
from mrcom.core.errors import CheckpointError, RunFolderError
from mrcom.core.files import cannot_write, write_whole

FORMAT = 1
LOCK = ".lock"
"""File that the process which writes in a folder holds; it stays there, unlocked."""


@dataclasses.dataclass(frozen=True)
class RunFolder:
    """Where each thing of a run lies. Made by `create_run` or `open_run`."""

    path: pathlib.Path

    @property
    def config_file(self) -> pathlib.Path:
        """The whole configuration, with its hash and the version that wrote it."""
        return self.path / "config.json"

    @property
    def metrics_file(self) -> pathlib.Path:
        """What was logged, a JSON line at a time."""
        return self.path / "metrics.jsonl"

    @property
    def scores_file(self) -> pathlib.Path:
        """Returns of evaluated episodes, a JSON line each."""
        return self.path / "scores.jsonl"

    @property
    def summary_file(self) -> pathlib.Path:
        """The claims of the run and whether they hold."""
        return self.path / "summary.json"

    @property
    def checkpoints(self) -> pathlib.Path:
        """Folder of the checkpoints."""
        return self.path / "checkpoints"

    @property
    def replay(self) -> pathlib.Path:
        """Folder of what was collected, a file for each round."""
        return self.path / "replay"

    @property
    def figures(self) -> pathlib.Path:
        """Folder of the pictures."""
        return self.path / "figures"

    @property
    def config(self) -> dict[str, Any]:
        """The configuration as plain JSON values; `core.config.from_json` makes it typed."""
        return _read_record(self.config_file)["config"]

    @property
    def changed(self) -> list[Any]:
        """What was changed since the run began: at which update, from what to what."""
        return _read_record(self.config_file).get("changed", [])


def create_run(
    path: pathlib.Path,
    config: Any,
    *,
    resume: bool = False,
    allowed: Collection[str] = (),
    changeable: Collection[str] = (),
) -> RunFolder:
    """A new folder with `config.json` in it, or the same run's folder to go on with.

    Args:
        path: the folder; its parents are made.
        config: a dataclass, stored whole.
        resume: go on with the run that is there, if its configuration is the same.
        allowed: dotted names of settings that may differ then.
        changeable: those that could be allowed to.

    Raises:
        RunFolderError: it exists and `resume` is false, holds another configuration, or
            cannot be written.
        ConfigError: it holds a setting that this version does not know.
    """
    folder = RunFolder(path)
    if resume:
        changed = changes(open_run(path), config)
        refused = [name for name in changed if name not in allowed]
        if refused:
            said = ", ".join(
                f"{n}={reprlib.repr(changed[n][0])}, not {reprlib.repr(changed[n][1])}"
                for n in refused
            )
            could = " ".join(name for name in refused if name in changeable)
            hint = f"add --allow-change {could}, " if could else ""
            raise RunFolderError(
                f"The run in {path} has {said}; resume it with the same settings, {hint}or start"
                " a new one with another --run-dir."
            )
        check_writable(path)
        return folder
    check_new(path)
    write_config(folder, config)
    return folder


def changes(folder: RunFolder, config: Any) -> dict[str, tuple[Any, Any]]:
    """Settings by dotted name in which a folder and a configuration differ: old and new.

    Raises:
        ConfigError: the folder holds a setting that this version does not know.
    """
    # Read as what it is, a setting that is newer than the folder has its default.
    stored = to_json(from_json(type(config), folder.config))
    return difference(stored, to_json(config))


def write_config(folder: RunFolder, config: Any, changed: Any = None) -> None:
    """Write `config.json`.

    Args:
        folder: where.
        config: a dataclass, stored whole.
        changed: what was changed since the run began, if anything.
    """
    record = {
        "format": FORMAT,
        "mrcom": mrcom.__version__,
        "hash": short_hash(config),
        "config": to_json(config),
        **({"changed": changed} if changed else {}),
    }
    write_json(folder.config_file, record)


@contextlib.contextmanager
def locked(folder: RunFolder) -> Generator[None, None, None]:
    """Keep other processes that write out of a run's folder, for as long as this one lives.

    Raises:
        RunFolderError: another one is in there, and the message has its number; or the folder
            cannot be written.
    """
    path = folder.path / LOCK
    try:
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise cannot_write(path, error) from error
    try:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(file, 20, 0).decode() or "unknown"
            raise RunFolderError(
                f"{folder.path} is being written by process {holder}; wait until it has finished, "
                f"or stop it with `kill {holder}`."
            ) from error
        except OSError as error:  # a file system without locks
            raise cannot_write(path, error) from error
        with contextlib.suppress(OSError):  # on a full disk it is locked all the same
            os.ftruncate(file, 0)
            os.pwrite(file, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(file)  # the system lets the lock go, also of a process that was killed


def open_run(path: pathlib.Path) -> RunFolder:
    """The folder of a run that exists.

    Raises:
        RunFolderError: there is none, or another format of it.
    """
    folder = RunFolder(path)
    if not folder.config_file.is_file():
        within, beside = _runs_in(path), _runs_in(path.parent)
        there = f" Runs beside it: {', '.join(beside)}." if beside else ""
        there = f" Runs in it: {', '.join(within)}." if within else there
        if path.is_dir() and not list(path.glob("[!.]*")):
            there = " Nothing was begun in it: give it as --run-dir."
        raise RunFolderError(f"{path} is not a run folder: it has no config.json.{there}")
    _read_record(folder.config_file)
    return folder


def _runs_in(path: pathlib.Path) -> list[str]:
    return sorted(entry.parent.name for entry in path.glob("*/config.json"))[:8]


def free_path(name: str, root: pathlib.Path = pathlib.Path("runs")) -> pathlib.Path:
    """`root/name`, or `root/name-2`, `-3` and so on where that exists already."""
    path, number = root / name, 1
    while path.exists():
        number += 1
        path = root / f"{name}-{number}"
    return path


def check_new(path: pathlib.Path) -> None:
    """Make a folder that is not there yet.

    Raises:
        RunFolderError: it exists, or cannot be written.
    """
    # A process that was killed before the configuration was there left hidden files at most.
    if path.exists() and (not path.is_dir() or list(path.glob("[!.]*"))):
        raise RunFolderError(
            f"{path} exists already; go on with it by --resume {path}, or choose another --run-dir."
        )
    check_writable(path)


def check_expert(path: pathlib.Path, *, resume: bool) -> None:
    """Make the folder of an expert's training, or find one to go on with.

    Raises:
        CheckpointError: there is no checkpoint to go on from.
        RunFolderError: it exists and `resume` is false, or cannot be written.
    """
    begun = (path / "checkpoint.eqx").exists()
    if begun and not resume:
        raise RunFolderError(f"{path} already holds a training; resume it or choose another.")
    if resume and not begun:
        raise CheckpointError(f"There is no checkpoint in {path} to resume from.")
    (check_writable if resume else check_new)(path)


def check_writable(path: pathlib.Path) -> None:
    """Make a folder, and a file in it for a moment.

    Raises:
        RunFolderError: either fails; the message says why.
    """
    probe = path / ".writable"
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise RunFolderError(
            f"{path} cannot be written ({error.strerror or error}); choose another --run-dir."
        ) from error


def write_json(path: pathlib.Path, value: Any) -> None:
    """Write a JSON file that is either the old or the new one at any moment.

    Raises:
        RunFolderError: it cannot be written.
    """
    text = json.dumps(to_json(value), indent=2) + "\n"
    write_whole(path, lambda file: file.write(text.encode()))


def _read_record(path: pathlib.Path) -> dict[str, Any]:
    try:
        record = json.loads(path.read_text())
        found = record["format"], record["config"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunFolderError(f"{path} cannot be read: {error!r}.") from error
    if found[0] != FORMAT:
        raise RunFolderError(
            f"{path} has format {found[0]!r}; this version reads format {FORMAT} only."
        )
    if record.get("hash") not in (None, short_hash(found[1])):
        raise RunFolderError(
            f"{path} was changed: its configuration is not the one of hash {record['hash']}. "
            f"`mrcom doctor {path.parent}` restores it from a checkpoint."
        )
    return record
