"""Habits of every test: shapes and types are checked, nothing broadcasts by accident."""

import gc
import pathlib

import jax
import pytest

jax.config.update("jax_numpy_rank_promotion", "raise")

MAPPINGS = pathlib.Path("/proc/self/maps")
MANY = 15_000
"""Linux gives a process 65,530 mappings. Compiled programs take thousands, and without one left
the compiler dies."""


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    """Nothing a test writes by a relative path lands in the repository."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture(autouse=True, scope="module")
def _room_for_compiled_programs():
    """A file's programs are given back after it, once there are many."""
    yield
    if MAPPINGS.exists() and MAPPINGS.read_text().count("\n") > MANY:
        jax.clear_caches()
        gc.collect()
