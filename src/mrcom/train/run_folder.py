"""A run's folder: one place for everything a run writes, never written over by another run.

config.json  metrics.jsonl  scores.jsonl  summary.json
checkpoints/  figures/  tensorboard/
"""

import dataclasses
import json
import os
import pathlib
from typing import Any

import mrcom
from mrcom.core.config import difference, from_json, short_hash, to_json
from mrcom.core.errors import RunFolderError

FORMAT = 1


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
    def figures(self) -> pathlib.Path:
        """Folder of the pictures."""
        return self.path / "figures"

    @property
    def config(self) -> dict[str, Any]:
        """The configuration as plain JSON values; `core.config.from_json` makes it typed."""
        return _read_record(self.config_file)["config"]


def create_run(path: pathlib.Path, config: Any, *, resume: bool = False) -> RunFolder:
    """A new folder with `config.json` in it, or the same run's folder to go on with.

    Args:
        path: the folder; its parents are made.
        config: a dataclass, stored whole.
        resume: go on with the run that is there, if its configuration is the same.

    Raises:
        RunFolderError: it exists and `resume` is false, holds another configuration, or
            cannot be written.
        ConfigError: it holds a setting that this version does not know.
    """
    folder = RunFolder(path)
    if resume:
        # Read as what it is, a setting that is newer than the folder has its default.
        stored = to_json(from_json(type(config), open_run(path).config))
        changed = difference(stored, to_json(config))
        for name, (old, new) in changed.items():
            raise RunFolderError(
                f"The run in {path} has {name}={old!r}, not {new!r}; resume it with the same"
                " settings or start a new one with another --run-dir."
            )
        check_writable(path)
        return folder
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise RunFolderError(
            f"{path} exists already; go on with it by --resume {path}, or choose another --run-dir."
        )
    check_writable(path)
    record = {
        "format": FORMAT,
        "mrcom": mrcom.__version__,
        "hash": short_hash(config),
        "config": to_json(config),
    }
    write_json(folder.config_file, record)
    return folder


def open_run(path: pathlib.Path) -> RunFolder:
    """The folder of a run that exists.

    Raises:
        RunFolderError: there is none, or another format of it.
    """
    folder = RunFolder(path)
    if not folder.config_file.is_file():
        near = sorted(entry.parent.name for entry in path.parent.glob("*/config.json"))[:8]
        there = f" Runs beside it: {', '.join(near)}." if near else ""
        raise RunFolderError(f"{path} is not a run folder: it has no config.json.{there}")
    _read_record(folder.config_file)
    return folder


def free_path(name: str, root: pathlib.Path = pathlib.Path("runs")) -> pathlib.Path:
    """`root/name`, or `root/name-2`, `-3` and so on where that exists already."""
    path, number = root / name, 1
    while path.exists():
        number += 1
        path = root / f"{name}-{number}"
    return path


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
    """Write a JSON file that is either the old or the new one at any moment."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.draft")
    draft.write_text(json.dumps(to_json(value), indent=2) + "\n")
    os.replace(draft, path)


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
    return record
