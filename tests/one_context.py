"""Imported before the first program is made: one MLIR context serves all of a thread.

JAX 0.10 makes one for each program, which takes 5 ms, and the more of them are kept, the longer it
takes to look into any. JAX 0.12 uses each of its own several times.
"""

import threading
from typing import Any

import jax
from jax._src.interpreters import mlir

_make, _own = mlir.make_ir_context, threading.local()


def _one_context() -> Any:
    if not hasattr(_own, "context"):
        _own.context = _make()
    return _own.context


if jax.__version_info__ < (0, 11):
    mlir.make_ir_context = _one_context
