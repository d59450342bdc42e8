"""A bar with time left for every long step; plain lines where nobody watches a terminal."""

import collections
import contextlib
import functools
import math
import sys
import time
from collections.abc import Generator
from typing import Any, Protocol, runtime_checkable


@runtime_checkable
class Bar(Protocol):
    """What a long step is given to say how far it is."""

    def advance(self, by: int = 1, text: str = "") -> None:
        """Say that `by` more units are done; a non-empty `text` replaces the last one."""
        ...


class SilentBar:
    """Says nothing: for callers that nobody watches."""

    def advance(self, by: int = 1, text: str = "") -> None:
        """Do nothing."""


class StepWithin:
    """A step within a step: says beside the bar of the whole, which stands still, how far it is."""

    def __init__(self, whole: Bar, title: str, total: int):
        self._whole, self._title, self._total, self._done = whole, title, total, 0

    def advance(self, by: int = 1, text: str = "") -> None:
        """Count, and show the count."""
        self._done += by
        said = f"{self._title} {self._done}/{self._total}"
        self._whole.advance(0, text=f"{said}, {text}" if text else said)


class LineBar:
    """A line of text every `interval_s` seconds and one at the end: for logs and pipes."""

    def __init__(self, title: str, total: int, stream: Any, interval_s: float, done: int = 0):
        self._title, self._total, self._stream = title, total, stream
        self._interval_s = interval_s
        self._done, self._text = done, ""
        self._start = self._last = time.monotonic()
        # The pace of late: (time, units done), from when the first units were, since these often
        # wait for a compiler.
        self._marks: collections.deque[tuple[float, int]] = collections.deque(maxlen=8)

    def advance(self, by: int = 1, text: str = "") -> None:
        """Count, and print when the last line is old enough."""
        self._done += by
        self._text = text or self._text
        now = time.monotonic()
        if now - self._last >= self._interval_s and self._done < self._total:
            self._last = now
            self._print(self._left(now))
            if self._marks:
                self._marks.append((now, self._done))
        if by and not self._marks:
            self._marks.append((now, self._done))

    def close(self) -> None:
        """Say how long it took."""
        self._print(f"took {_clock(time.monotonic() - self._start)}")

    def _left(self, now: float) -> str:
        """The time left; empty where nobody knows the pace, or a step within this one is made."""
        then, done = self._marks[0] if self._marks else (now, self._done)
        if self._done == done:
            return ""
        pace = (self._done - done) / (now - then) if now > then else math.inf
        return f"{_clock((self._total - self._done) / pace)} left"

    def _print(self, timing: str) -> None:
        said = [f"{self._title}: {self._done}/{self._total}", timing, self._text]
        self._stream.write(", ".join(filter(None, said)) + "\n")
        self._stream.flush()


class _LiveBar:
    def __init__(self, live: Any, task: Any):
        self._live, self._task = live, task

    def advance(self, by: int = 1, text: str = "") -> None:
        self._live.update(self._task, advance=by, **({"text": text} if text else {}))


@contextlib.contextmanager
def progress(
    title: str, total: int, *, done: int = 0, stream: Any = None, interval_s: float = 15.0
) -> Generator[Bar, None, None]:
    """A bar for a step of `total` units, on stderr so that stdout stays what was asked for.

        with progress("training the world model", total=2000) as bar:
            bar.advance(10, text="loss 1.2")

    Args:
        title: what is going on, for a reader.
        total: units in all.
        done: units that were done before; nobody knows how long they took.
        stream: a text file to write to; stderr by default.
        interval_s: seconds between lines where `stream` is no terminal.
    """
    stream = sys.stderr if stream is None else stream
    if not stream.isatty():
        lines = LineBar(title, total, stream, interval_s, done)
        yield lines
        lines.close()
        return
    # Imported here: `mrcom --help` must not pay for it.
    from rich import progress as columns

    with columns.Progress(
        columns.TextColumn("{task.description}"),
        columns.BarColumn(bar_width=24),
        columns.MofNCompleteColumn(),
        columns.TimeElapsedColumn(),
        columns.TextColumn("left"),
        columns.TimeRemainingColumn(),
        columns.TextColumn("{task.fields[text]}"),
        console=_console(stream),
    ) as live:
        yield _LiveBar(live, live.add_task(title, total=total, completed=done, text=""))


@functools.cache
def _console(stream: Any) -> Any:
    # One for all bars of a stream: only then does a step within a step get a line of its own.
    from rich.console import Console

    return Console(file=stream)


def duration(seconds: float) -> str:
    """An amount of time as one says it, such as `40 seconds` or `1.5 hours`."""
    for unit, size in (("hours", 3600), ("minutes", 60)):
        if seconds >= 1.5 * size:
            return f"{seconds / size:.{0 if seconds >= 10 * size else 1}f} {unit}"
    return f"{max(seconds, 1):.0f} seconds"


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
