"""SIGTERM as a request: the run finishes what it is doing, saves itself and ends."""

import contextlib
import signal
import threading
from collections.abc import Generator
from typing import Any


@contextlib.contextmanager
def stop_on_sigterm() -> Generator[threading.Event, None, None]:
    """An event that the first SIGTERM sets; a second one ends the process as usual.

    Outside the main thread, where no signal can be caught, nothing sets it.
    """
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return
    before = signal.getsignal(signal.SIGTERM) or signal.SIG_DFL

    def ask(number: int, frame: Any) -> None:
        asked.set()
        signal.signal(signal.SIGTERM, before)

    signal.signal(signal.SIGTERM, ask)
    try:
        yield asked
    finally:
        signal.signal(signal.SIGTERM, before)
