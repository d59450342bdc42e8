"""TensorBoard's files: a view of the log that a run can do without."""

import errno
import os
import pathlib
import socket
import sys
import time
from collections.abc import Iterable, Mapping
from typing import Any


class EventFile:
    """One process's file in a TensorBoard folder, opened when the first numbers come.

    Written by the caller's own thread. Where that fails, such as on a full disk, a line on stderr
    says so, and nothing is written from there on: no run waits for TensorBoard or ends with it.
    """

    def __init__(self, folder: pathlib.Path, *, resumed: bool):
        """Write nothing yet.

        Args:
            folder: made with the file.
            resumed: what older files have from the first step on is not shown any more.
        """
        self._folder, self._resumed = folder, resumed
        self._file: int | None = None
        self._failed = False

    def write(self, stage: str, step: int, numbers: Mapping[str, float]) -> None:
        """Write numbers, a curve for each of them in the stage's group."""
        if self._failed:
            return
        # Imported here: half a second, and only when something is logged.
        from tensorboardX.summary import scalar

        events = [
            {"step": step, "summary": scalar(f"{stage}/{name}", value)}
            for name, value in numbers.items()
        ]
        try:
            if self._file is None:
                self._file = self._open()
                events = [*self._head(step), *events]
            data = _records(events)
            if os.write(self._file, data) < len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            self._failed = True
            reason = error.strerror or error
            said = f"without TensorBoard: {self._folder} cannot be written ({reason})"
            print(said, file=sys.stderr)

    def close(self) -> None:
        """Let the file go."""
        if self._file is not None:
            os.close(self._file)
        self._file, self._failed = None, True

    def _open(self) -> int:
        # Files are named by the second: two of one second, or of a clock that was set
        # back, must not be one file.
        self._folder.mkdir(parents=True, exist_ok=True)
        number = len(list(self._folder.iterdir()))
        name = f"events.out.tfevents.{int(time.time())}.{socket.gethostname()}.{number}"
        return os.open(self._folder / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)

    def _head(self, step: int) -> list[dict[str, Any]]:
        from tensorboardX.proto.event_pb2 import SessionLog

        start = {"step": step, "session_log": SessionLog(status=SessionLog.START)}
        return [{"file_version": "brain.Event:2"}, *([start] if self._resumed else [])]


def _records(events: Iterable[Mapping[str, Any]]) -> bytes:
    """Events as a TensorBoard file has them: length, its checksum, the event, its checksum."""
    from tensorboardX.proto.event_pb2 import Event
    from tensorboardX.record_writer import masked_crc32c

    parts = []
    for fields in events:
        data = Event(wall_time=time.time(), **fields).SerializeToString()
        for part in (len(data).to_bytes(8, "little"), data):
            parts += [part, masked_crc32c(part).to_bytes(4, "little")]
    return b"".join(parts)
