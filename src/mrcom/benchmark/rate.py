"""How fast this machine multiplies matrices: what nothing that learns can exceed."""

import time

import jax
import jax.numpy as jnp

SIDE = 1024
"""Rows and columns of the matrices; larger ones are no faster here."""


class MatrixProducts:
    """Products of square float32 matrices, timed a few at a time.

    They are timed between other things, so that whatever else the machine does slows both.
    """

    def __init__(self, side: int = SIDE, times: int = 10):
        """A product of matrices of this side, `times` in a row."""
        self._operations = 2 * side**3 * times
        ones = jnp.ones((side, side)) / side
        product = lambda x: jax.lax.fori_loop(0, times, lambda _, y: y @ x, x)
        self._run = jax.jit(product).lower(ones).compile()
        self._given = ones
        self.seconds: list[float] = []
        """Wall time of every measurement."""
        self.core_seconds: list[float] = []
        """Processor time of every measurement, summed over cores."""

    def measure(self) -> None:
        """Time them once more."""
        wall, core = time.perf_counter(), time.process_time()
        jax.block_until_ready(self._run(self._given))
        self.core_seconds.append(time.process_time() - core)
        self.seconds.append(time.perf_counter() - wall)

    def gflops(self, seconds: list[float]) -> float:
        """The rate [10^9 operations a second] at the median of some times."""
        return self._operations / sorted(seconds)[len(seconds) // 2] / 1e9
