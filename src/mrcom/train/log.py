"""What a run says while it goes: JSON lines always, TensorBoard beside them."""

import dataclasses
import json
import math
import os
import pathlib
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from mrcom.core.errors import RunFolderError


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
        self, path: pathlib.Path, *, position: int | None = None, tensorboard: bool = True
    ):
        """Open a log, to go on with where there is one.

        Args:
            path: the file, usually `RunFolder.metrics_file`.
            position: drop everything after this byte, as `Log.position` gave it; what was
                logged after a checkpoint is logged again when a run goes on from there.
            tensorboard: also write event files to the folder `tensorboard` beside `path`.

        Raises:
            RunFolderError: the file cannot be opened.
        """
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        except OSError as error:
            reason = error.strerror or error
            raise RunFolderError(f"{path} cannot be written ({reason}).") from error
        kept = path.read_bytes()[:position]
        kept = kept[: kept.rfind(b"\n") + 1]
        os.ftruncate(self._file, len(kept))
        # Time spent before an interruption counts on; the pause does not.
        lines = kept.splitlines()
        self._earlier_s = float(json.loads(lines[-1])["wall_s"]) if lines else 0.0
        self._start = time.monotonic()
        self._resumed = position is not None
        self._events_folder = path.parent / "tensorboard" if tensorboard else None
        self._events: Any = None

    @property
    def position(self) -> int:
        """Length of the file in bytes: what a checkpoint keeps to come back to here."""
        return os.fstat(self._file).st_size

    def write(self, stage: str, counters: Counters, values: Mapping[str, Any]) -> None:
        """Append a line.

        Args:
            stage: part of the run, such as `train` or `adapt`; the group in TensorBoard.
            counters: how far the run is.
            values: numbers or arrays of one number, by name; names are in docs/metrics.md.
        """
        numbers = {name: float(value) for name, value in values.items()}
        record = {
            "stage": stage,
            **dataclasses.asdict(counters),
            "wall_s": round(self._earlier_s + time.monotonic() - self._start, 3),
            **{name: value if math.isfinite(value) else None for name, value in numbers.items()},
        }
        line = json.dumps(record, allow_nan=False) + "\n"
        os.write(self._file, line.encode())  # one call, so that no reader sees half a line
        if self._events_folder is not None:
            self._write_events(stage, counters, numbers)

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

    def _write_events(self, stage: str, counters: Counters, numbers: dict[str, float]) -> None:
        if self._events is None:
            import tensorboardX  # imported here: half a second, and only when something is logged

            purge = counters.updates if self._resumed else None
            self._events = tensorboardX.SummaryWriter(
                str(self._events_folder), purge_step=purge, flush_secs=10
            )
        for name, value in numbers.items():
            self._events.add_scalar(f"{stage}/{name}", value, global_step=counters.updates)


def read_log(path: pathlib.Path, stage: str | None = None) -> list[dict[str, Any]]:
    """The lines of a log, of one stage or of all; a torn last line is left out.

    Raises:
        RunFolderError: the file cannot be read, or a line is damaged; the message has its number.
    """
    try:
        text = path.read_text()
    except OSError as error:
        raise RunFolderError(f"{path} cannot be read ({error.strerror or error}).") from error
    records = []
    for number, line in enumerate(text[: text.rfind("\n") + 1].splitlines(), start=1):
        try:
            record = json.loads(line)
        except ValueError as error:
            raise RunFolderError(f"{path}, line {number} is damaged: {error}.") from error
        if stage is None or record["stage"] == stage:
            records.append(record)
    return records
