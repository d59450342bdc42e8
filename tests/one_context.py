"""Imported first: one MLIR context serves every program of a process.

JAX 0.10 makes one for each program, which takes 5 ms, and the more of them are kept, the longer it
takes to look into any. Later versions use theirs several times.
"""

import functools

from jax._src.interpreters import mlir

if hasattr(mlir, "make_ir_context"):
    mlir.make_ir_context = functools.cache(mlir.make_ir_context)
