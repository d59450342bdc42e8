"""A state on disk and back, bit for bit; written whole or not at all."""

import contextlib
import dataclasses
import errno
import importlib
import importlib.metadata
import json
import logging
import os
import pathlib
import platform
import shutil
from collections.abc import Generator, Mapping
from typing import Any

import jax
import numpy as np

import mrcom
from mrcom.core.config import short_hash, to_json
from mrcom.core.errors import CheckpointError, OtherVersionError
from mrcom.core.files import cannot_write, drop_leftovers, making_room, set_aside, sync_folder
from mrcom.train.hosts import several_hosts
from mrcom.train.leaves import checksum, describe, filled, leaves, packed, spoken, unpacked

FORMAT = 2
"""Raised when what lies in a checkpoint changes; another format is refused."""
RECORD = pathlib.Path("record", "config.json")
"""The JSON of a step: configuration, counters, versions, and each array's checksum."""
PACKED = "packed"
"""The one array of a step, which holds the bytes of all."""


@dataclasses.dataclass(frozen=True)
class Restored:
    """What a checkpoint held."""

    step: int
    """The step it was saved under."""
    state: Any
    """The template with the saved arrays in place of its own."""
    host: dict[str, np.ndarray]
    """NumPy arrays that were saved beside the state."""
    meta: dict[str, Any]
    """The JSON that was saved beside them."""


class Checkpoints:
    """The checkpoints in one folder: the newest `keep` steps.

    A step holds the arrays of a pytree, NumPy arrays by name (statistics), and JSON
    (configuration, counters, generator states), so that a checkpoint alone can be loaded.
    """

    def __init__(self, folder: pathlib.Path, *, keep: int = 3):
        self.folder = folder.absolute()
        self._keep = keep
        self._writer: Any = None

    def steps(self) -> list[int]:
        """Steps that were written completely, oldest first."""
        if not self.folder.is_dir():
            return []
        return sorted(int(entry.name) for entry in self.folder.iterdir() if entry.name.isdigit())

    def path(self, step: int) -> pathlib.Path:
        """Where a step lies."""
        return self.folder / str(step)

    def save(
        self,
        step: int,
        state: Any,
        *,
        meta: Mapping[str, Any],
        host: Mapping[str, np.ndarray] | None = None,
    ) -> None:
        """Write a checkpoint and drop the oldest beyond `keep`; it is on disk on return.

        A step that says the same is left as it is. One that says something else, such as fewer
        rounds of collection, makes room, and comes back where the new one cannot be written.

        Args:
            step: what it is filed under, such as the number of updates.
            state: a pytree; its array leaves are saved, random keys among them, and no others.
            meta: what is needed besides: dataclasses, mappings, tuples and plain JSON values.
            host: NumPy arrays by name.

        Raises:
            RunFolderError: the folder cannot be written; the checkpoints before are untouched.
        """
        if step in self.steps() and self._says(step, meta):
            return
        parts = {"state": leaves(state), "host": dict(host or {})}
        record = {
            "format": FORMAT,
            "mrcom": mrcom.__version__,
            "versions": versions(),
            "arrays": {part: describe(named, sums=True) for part, named in parts.items()},
            "meta": to_json(meta),
        }
        record["hash"] = short_hash(record)
        args = _orbax().args
        data = packed(leaf for named in parts.values() for leaf in named.values())
        items = args.Composite(arrays=args.PyTreeSave({PACKED: data}), record=args.JsonSave(record))
        try:
            if step in self.steps():
                self.close()  # it remembers which steps there are
            with making_room(self.path(step)):
                if not self._open().save(step, args=items):
                    raise OSError(f"step {step} comes before {self.steps()[-1]}, which is there")
                sync_folder(self.path(step))
        except jax.errors.JaxRuntimeError:  # of a host that is gone, not of the folder
            raise
        except Exception as error:  # of many kinds: whichever of the library's threads failed first
            drop_leftovers(self.folder)
            raise cannot_write(self.folder, _reason(error)) from error

    def read_meta(self, step: int | None = None) -> dict[str, Any]:
        """The JSON of a step, the newest by default, without its arrays.

        Raises:
            CheckpointError: there is none, or it is damaged.
            OtherVersionError: another version wrote it.
        """
        return self._record(self._step(step))["meta"]

    def restore(self, template: Any, step: int | None = None) -> Restored:
        """The state of a step, the newest by default.

        Args:
            template: a pytree like the saved one, of arrays or, quicker to make, of their
                shapes (`eqx.filter_eval_shape`); gives the structure and what is no array.
            step: which one.

        Raises:
            CheckpointError: there is none, it is damaged, of another format, or its arrays
                are not those of `template`; the message names the first that differs.
        """
        step = self._step(step)
        record = self._record(step)
        self._compare(step, record["arrays"]["state"], describe(leaves(template)))
        arrays = self._read(step, record["arrays"])
        return Restored(step, filled(template, arrays["state"]), arrays["host"], record["meta"])

    def drop_after(self, step: int) -> None:
        """Delete what was saved under a later step."""
        for later in self.steps():
            if later > step:
                shutil.rmtree(set_aside(self.path(later)))

    def verify(self, step: int) -> dict[str, Any]:
        """The JSON of a step whose every array was read and compared with its checksum.

        Raises:
            CheckpointError: it is damaged.
            OtherVersionError: another version wrote it.
        """
        record = self._record(self._step(step))
        self._read(step, record["arrays"])
        return record["meta"]

    def close(self) -> None:
        """Let go of the folder."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _open(self) -> Any:
        if self._writer is None:
            self._writer = _manager(
                self.folder,
                max_to_keep=self._keep,
                cleanup_tmp_directories=True,
                enable_async_checkpointing=False,
            )
        return self._writer

    def _says(self, step: int, meta: Mapping[str, Any]) -> bool:
        try:
            return self.read_meta(step) == json.loads(json.dumps(to_json(meta)))
        except CheckpointError:
            return False

    def _step(self, step: int | None) -> int:
        steps = self.steps()
        if not steps:
            raise CheckpointError(f"There is no checkpoint in {self.folder}.")
        if step is not None and step not in steps:
            near = min(steps, key=lambda known: abs(known - step))
            raise CheckpointError(f"{self.folder} has no step {step}; the nearest is {near}.")
        return steps[-1] if step is None else step

    def _record(self, step: int) -> dict[str, Any]:
        path = self.path(step)
        with _damage_of(path):
            record = json.loads((path / RECORD).read_text())
            found, version = record["format"], record["mrcom"]
            known = record.pop("hash", None)
            if found != FORMAT and known == short_hash(record | {"format": FORMAT}):
                raise ValueError(f"its record's format was {FORMAT} and reads {found!r}")
        if found != FORMAT:
            raise OtherVersionError(
                f"{path} has format {found}, written by mrcom {version}; this is mrcom"
                f" {mrcom.__version__}, which reads format {FORMAT} only."
            )
        with _damage_of(path):
            if known not in (None, short_hash(record)):
                raise ValueError("the checksum of its record does not match")
        return record

    def _compare(self, step: int, saved: dict[str, Any], wanted: dict[str, Any]) -> None:
        for name in [*wanted, *saved]:
            there, here = spoken(saved.get(name)), spoken(wanted.get(name))
            if there != here:
                raise CheckpointError(
                    f"{self.path(step)} is the checkpoint of another model: {name} is"
                    f" {there} there and {here} here. Load it with the configuration stored in it."
                )

    def _read(self, step: int, descriptions: dict[str, Any]) -> dict[str, dict[str, np.ndarray]]:
        args = _orbax().args
        path = self.path(step)
        with _damage_of(path):
            items = args.Composite(arrays=args.PyTreeRestore())
            # One that only reads leaves alone what another process is writing beside.
            with _manager(self.folder, read_only=True) as reader:
                stored = reader.restore(step, args=items).arrays
            arrays = unpacked(stored[PACKED], descriptions)
            for part, named in descriptions.items():
                for name, of in named.items():
                    if checksum(arrays[part][name]) != of["checksum"]:
                        raise ValueError(f"the checksum of {part}{name} does not match")
        return arrays


def versions() -> dict[str, str]:
    """Of Python and of every library that decides what a run computes."""
    found = {"python": platform.python_version()}
    for library in ("jax", "numpy", "equinox", "optax", "orbax-checkpoint", "mujoco"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[library] = importlib.metadata.version(library)
    return found


def _orbax() -> Any:
    # What it logs of a failure, traces of its threads, is said in one line here.
    logging.getLogger("absl").setLevel(logging.CRITICAL)
    orbax = importlib.import_module("orbax.checkpoint")  # late: it takes two seconds
    if several_hosts():
        # It would write from host 0 alone, but each host has a folder of its own.
        processes = importlib.import_module("orbax.checkpoint._src.multihost.multihost")
        vars(processes).update(process_index=lambda: 0, process_count=lambda: 1)
    return orbax


def _manager(folder: pathlib.Path, **options: Any) -> Any:
    orbax = _orbax()
    handlers = {
        "arrays": orbax.PyTreeCheckpointHandler(),
        RECORD.parent.name: orbax.JsonCheckpointHandler(filename=RECORD.name),
    }
    chosen = orbax.CheckpointManagerOptions(**options)
    return orbax.CheckpointManager(folder, options=chosen, item_handlers=handlers)


def _reason(error: BaseException) -> BaseException:
    # The library's own cleaning may fail after, and because of, a full disk.
    cause: BaseException | None = error
    while cause is not None:
        if "RESOURCE_EXHAUSTED" in str(cause) or getattr(cause, "errno", None) == errno.ENOSPC:
            return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        cause = cause.__cause__ or cause.__context__
    return error


@contextlib.contextmanager
def _damage_of(path: pathlib.Path) -> Generator[None, None, None]:
    # Whatever the storage library raises on a torn file, a user can do the same about it.
    try:
        yield
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(
            f"{path} is damaged ({reason[:200]}); `mrcom doctor RUN` moves it aside, and the run"
            " goes on from the one before."
        ) from error
