"""Habits of every test: shapes and types are checked, nothing broadcasts by accident."""

import contextlib
import ctypes
import gc
import importlib.metadata
import os
import pathlib
import tempfile

# Before JAX is imported: what one worker, or a command it starts, has compiled is there for all.
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    _compiled = tempfile.TemporaryDirectory(prefix="mrcom-compiled-", ignore_cleanup_errors=True)
    os.environ["JAX_COMPILATION_CACHE_DIR"] = _compiled.name
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"

# As `mrcom.core.process.keep_compiled_programs` does for commands.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

# Nothing here runs long: optimising a program takes more time than an optimised one saves.
# A number that is not finite here may be the compiler's: without optimisation, JAX 0.10.1 and
# 0.12.0.1 gave gradients of SAC's policy as NaN in one program of several runs in turn, from their
# second update on; at the first level and above they were those of the runs alone.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
if "XLA_FLAGS" not in os.environ:
    # Where a test does want optimised programs, the first level is enough.
    os.environ["XLA_FLAGS"] = (
        "--xla_cpu_parallel_codegen_split_count=1"
        " --xla_backend_optimization_level=1 --xla_llvm_disable_expensive_passes=true"
    )
    if importlib.metadata.version("jaxlib").startswith("0.10."):
        # The older emitters, which later versions have not got, compile in less time; so do
        # programs that are not simplified first.
        os.environ["XLA_FLAGS"] += (
            " --xla_cpu_use_fusion_emitters=false --xla_disable_hlo_passes=simplification,"
            "post_scatter_expansion_simplification,simplification_after_layout_assignment"
        )

import jax
import pytest

import one_context  # noqa: F401
import quick_checks  # noqa: F401

jax.config.update("jax_numpy_rank_promotion", "raise")
# Tracing makes many objects, few of them garbage: looking for it more rarely saves time.
gc.set_threshold(200_000, 10, 10)

MAPPINGS = pathlib.Path("/proc/self/maps")
MANY = 10_000
"""Linux gives a process 65,530 mappings. Compiled programs take three each, and without one left
the compiler dies."""


def pytest_collection_modifyitems(items):
    """Files of long tests first, so that no worker is left alone with one at the end."""
    long = {i.path for i in items if i.get_closest_marker("learns") or i.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in long)


@pytest.fixture
def flipped():
    """A function: some bytes with one bit flipped, once for every so many of their bits."""

    def one(whole: bytes, position: int) -> bytes:
        changed = bytearray(whole)
        changed[position // 8] ^= 1 << position % 8
        return bytes(changed)

    return lambda whole, *, every: [one(whole, p) for p in range(0, 8 * len(whole), every)]


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    """Nothing a test writes by a relative path lands in the repository."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture(autouse=True, scope="module")
def _room_for_compiled_programs():
    """A file's programs are given back after it, once there are many; freed memory always is.

    The compiler leaves gigabytes that the C library would keep for the process.
    """
    yield
    if MAPPINGS.exists() and MAPPINGS.read_text().count("\n") > MANY:
        jax.clear_caches()
        gc.collect()
    with contextlib.suppress(AttributeError):  # only glibc has it
        ctypes.CDLL(None).malloc_trim(0)
