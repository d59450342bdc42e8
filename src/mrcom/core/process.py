"""What a process of ours is told before JAX starts: where memory and compiled programs stay."""

import ctypes
import os
import pathlib

_MMAP_MAX, _TRIM_THRESHOLD, _ARENA_MAX = -4, -1, -8
"""Numbers of `mallopt` in glibc's <malloc.h>."""


def keep_freed_memory() -> bool:
    """Let the process keep what it frees; whether the C library could be told so.

    An update takes hundreds of MB for a moment. By default each is handed back to the system and
    taken again, page by page: 0.14 of 0.67 s of an update of DreamerV3 at `1M` went there.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if mallopt is None:
        return False
    settings = {_MMAP_MAX: 0, _TRIM_THRESHOLD: -1, _ARENA_MAX: 1}
    return all([mallopt(number, value) == 1 for number, value in settings.items()])


def keep_compiled_programs() -> pathlib.Path:
    """Let JAX find what an earlier process compiled; the folder.

    That of `JAX_COMPILATION_CACHE_DIR` where it is set, else one in the user's cache folder.
    """
    home = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    folder = os.environ.setdefault(
        "JAX_COMPILATION_CACHE_DIR", str(pathlib.Path(home) / "mrcom" / "compiled")
    )
    return pathlib.Path(folder)
