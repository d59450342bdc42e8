"""NumPy generators with names: the half of `core.rng` that needs no JAX."""

import zlib

import numpy as np

from mrcom.core.errors import ConfigError


def named_generator(seed: int, *names: str | int) -> np.random.Generator:
    """A NumPy generator of its own for every (seed, names); the same on every machine.

    Raises:
        ConfigError: a seed below 0.
    """
    if seed < 0:
        raise ConfigError(f"seed={seed} must be at least 0; the nearest is 0.")
    numbers = [name if isinstance(name, int) else number_of(name) for name in names]
    return np.random.default_rng([seed, *numbers])


def named_seed(seed: int, *names: str | int) -> int:
    """A 31-bit seed of its own for every (seed, names), for what takes a number."""
    return int(named_generator(seed, *names).integers(2**31))


def number_of(name: str) -> int:
    """A fixed 31-bit number for a name."""
    return zlib.crc32(name.encode()) & 0x7FFFFFFF
