"""What a run says while it goes: JSON lines always, TensorBoard beside them."""

import contextlib
import dataclasses
import errno
import json
import math
import os
import pathlib
import time
from collections.abc import Collection, Mapping
from types import TracebackType
from typing import Any

from mrcom.core.errors import RunFolderError
from mrcom.core.files import cannot_write, write_whole
from mrcom.train.events import EventFile


@dataclasses.dataclass(frozen=True)
class Counters:
    """How far a run is; in every line of its log."""

    env_steps: int = 0
    """Actions carried out in the simulator, summed over scenarios."""
    dream_steps: int = 0
    """Steps the world model imagined and learning used, summed over dreams."""
    updates: int = 0
    """Gradient steps of the learner that the line's stage trains."""
    episodes: int = 0
    """Episodes finished in the simulator, summed over scenarios."""


class Log:
    """Appends one line per record to a file; each line is whole or absent.

    A line holds `stage`, the four counters, `wall_s` and the values. Values that are not
    finite are written as null, since JSON has no other way to say so.
    """

    def __init__(
        self,
        path: pathlib.Path,
        *,
        position: int | None = None,
        again: Collection[str] = (),
        tensorboard: bool = True,
    ):
        """Open a log, to go on with where there is one.

        Args:
            path: the file, usually `RunFolder.metrics_file`.
            position: a byte, as `Log.position` gave it for a checkpoint.
            again: stages, or their first parts, that will be logged again from there: their lines
                after `position` are dropped, and no others.
            tensorboard: also write event files to the folder `tensorboard` beside `path`.

        Raises:
            RunFolderError: the file cannot be opened.
        """
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            data = path.read_bytes() if path.exists() else b""
        except OSError as error:
            raise cannot_write(path, error) from error
        kept = data[: data.rfind(b"\n") + 1]
        if position is not None and (others := _without(kept, position, again)) != kept:
            kept = others
            write_whole(path, lambda file: file.write(kept))
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
            os.ftruncate(self._file, len(kept))
        except OSError as error:
            raise cannot_write(path, error) from error
        self._path = path
        # Time spent before an interruption counts on; the pause does not.
        self._earlier_s = _seconds(kept)
        self._start = time.monotonic()
        folder = path.parent / "tensorboard"
        self._events = EventFile(folder, resumed=position is not None) if tensorboard else None

    @property
    def position(self) -> int:
        """Length of the file in bytes, which are on disk: what a checkpoint keeps to come back to
        here.

        Raises:
            RunFolderError: the disk fails.
        """
        try:
            os.fsync(self._file)
        except OSError as error:
            raise cannot_write(self._path, error) from error
        return self._size

    @property
    def _size(self) -> int:
        return os.fstat(self._file).st_size

    def write(self, stage: str, counters: Counters, values: Mapping[str, Any]) -> None:
        """Append a line.

        Args:
            stage: part of the run, such as `train` or `adapt`; the group in TensorBoard.
            counters: how far the run is.
            values: numbers or arrays of one number, by name; names are in docs/metrics.md.

        Raises:
            RunFolderError: the line cannot be written; nothing of it is in the file.
        """
        numbers = {name: float(value) for name, value in values.items()}
        record = {
            "stage": stage,
            **dataclasses.asdict(counters),
            "wall_s": round(self._earlier_s + time.monotonic() - self._start, 3),
            **{name: value if math.isfinite(value) else None for name, value in numbers.items()},
        }
        line = (json.dumps(record, allow_nan=False) + "\n").encode()
        try:
            # One call, so that no reader sees half a line.
            if (written := os.write(self._file, line)) < len(line):
                os.ftruncate(self._file, self._size - written)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            raise cannot_write(self._path, error) from error
        if self._events is not None:
            self._events.write(stage, counters.updates, numbers)

    def close(self) -> None:
        """Write out what is buffered and let the files go."""
        os.close(self._file)
        if self._events is not None:
            self._events.close()

    def __enter__(self) -> "Log":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _seconds(data: bytes) -> float:
    """Time that was spent up to the last line of a log that is no damaged one."""
    for line in reversed(data.splitlines()):
        with contextlib.suppress(ValueError, KeyError, TypeError):
            return float(json.loads(line)["wall_s"])
    return 0.0


def _without(data: bytes, position: int, stages: Collection[str]) -> bytes:
    """The lines of a log but those of some stages after a position; what is no line goes too."""
    kept = [data[: data[:position].rfind(b"\n") + 1]]
    for line in data[len(kept[0]) :].splitlines(keepends=True):
        try:
            stage = str(json.loads(line)["stage"])
        except (ValueError, KeyError, TypeError):
            continue
        if stage.split("/")[0] not in stages:
            kept.append(line)
    return b"".join(kept)


def read_log(path: pathlib.Path, stage: str | None = None) -> list[dict[str, Any]]:
    """The lines of a log, of one stage or of all; a torn last line is left out.

    Raises:
        RunFolderError: the file cannot be read, or a line is damaged; the message has its number.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise RunFolderError(f"{path} cannot be read ({error.strerror or error}).") from error
    records = []
    for number, line in enumerate(data.split(b"\n")[:-1], start=1):
        try:
            record = json.loads(line)
            wanted = record["stage"] == stage or stage is None
        except (ValueError, KeyError, TypeError) as error:
            raise RunFolderError(f"{path}, line {number} is damaged: {error!r}.") from error
        if wanted:
            records.append(record)
    return records
