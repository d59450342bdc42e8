"""Where the memory and the compiled programs of a process of ours stay."""

import ctypes
import mmap
import os
import pathlib

_MMAP_MAX, _TRIM_THRESHOLD, _ARENA_MAX = -4, -1, -8
"""Numbers of `mallopt` in glibc's <malloc.h>."""
_DONTNEED = 4
"""Number of `madvise` in <sys/mman.h>: what the pages hold is needed no more."""
_SLOW = 2.0
"""Programs that took longer than this to compile [s] leave holes worth sealing."""


class _Heap(ctypes.Structure):
    """`struct mallinfo2`: what the heap holds, in bytes and numbers of pieces."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
            *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
        )
    ]


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


def seal_after_compiling() -> None:
    """Seal the heap's holes whenever JAX has compiled something large."""
    import jax

    def compiled(event: str, duration_secs: float, **_: object) -> None:
        if event == "/jax/core/compile/backend_compile_duration" and duration_secs > _SLOW:
            seal_holes()

    jax.monitoring.register_event_duration_secs_listener(compiled)


def seal_holes() -> int:
    """Take the heap's free pieces for good, and give their memory to the system; bytes taken.

    A compiler leaves tens of thousands of them between what stays. With one heap for all threads
    (`keep_freed_memory`) each that asks for memory searches them while the others wait: an update
    of MrCoM at `tiny` took 0.32 s in the process that had compiled it and 0.18 s in the next, which
    found the program in the cache. Addresses are lost by this, memory is not. Nothing is done where
    the C library is not a recent glibc.
    """
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "mallinfo2"):
        return 0
    libc.mallinfo2.restype = _Heap
    libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
    libc.sbrk.restype, libc.sbrk.argtypes = ctypes.c_void_p, [ctypes.c_ssize_t]
    libc.free.argtypes = [ctypes.c_void_p]
    libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    heap = libc.mallinfo2()
    end = libc.sbrk(0) - heap.keepcost  # from here on the heap is free as a whole
    size, taken = heap.fordblks - heap.keepcost, 0
    while size >= mmap.PAGESIZE:
        piece = libc.malloc(size)
        if piece is None or piece + size > end:
            # No hole is as large as that. What may be smaller by an eighth leaves little behind.
            libc.free(piece)
            size = size * 7 // 8
            continue
        taken += size
        first, pages = -(-piece // mmap.PAGESIZE), (piece + size) // mmap.PAGESIZE
        libc.madvise(first * mmap.PAGESIZE, max(pages - first, 0) * mmap.PAGESIZE, _DONTNEED)
    return taken


def keep_compiled_programs() -> pathlib.Path:
    """Let JAX find what an earlier process compiled; the folder.

    That of `JAX_COMPILATION_CACHE_DIR` where it is set, else one in the user's cache folder. To be
    called before JAX is imported.
    """
    # JAX 0.10 takes two preferences of its compiler for abilities that a processor lacks, and says
    # so in lines of 2 kB for each program that it finds (jax-ml/jax#38445). What fails raises.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    home = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    folder = os.environ.setdefault(
        "JAX_COMPILATION_CACHE_DIR", str(pathlib.Path(home) / "mrcom" / "compiled")
    )
    return pathlib.Path(folder)
