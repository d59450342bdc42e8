"""Habits of every test: shapes and types are checked, nothing broadcasts by accident."""

import gc
import os
import pathlib
import tempfile

# Before JAX is imported: what one worker, or a command it starts, has compiled is there for all.
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    _compiled = tempfile.TemporaryDirectory(prefix="mrcom-compiled-", ignore_cleanup_errors=True)
    os.environ["JAX_COMPILATION_CACHE_DIR"] = _compiled.name
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.1"

import jax
import pytest

jax.config.update("jax_numpy_rank_promotion", "raise")



@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    """What only has to be right is compiled without most optimisations: that takes half the time.

    What learns runs long enough to want them.
    """
    quick_to_compile = item.get_closest_marker("learns") is None
    os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = str(quick_to_compile)
    jax.config.update("jax_disable_most_optimizations", quick_to_compile)


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
