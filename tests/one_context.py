"""Imported before the first program is made: one MLIR context serves all of a process.

JAX 0.10 makes one for each program, which takes 5 ms, and the more of them are kept, the longer it
takes to look into any. JAX 0.12 uses each of its own several times.
"""

import functools

import jax
from jax._src.interpreters import mlir

if jax.__version_info__ < (0, 11):
    mlir.make_ir_context = functools.cache(mlir.make_ir_context)
