"""What a process is told before JAX starts."""

import os
import pathlib
import subprocess
import sys

import pytest

from mrcom.core.process import keep_compiled_programs, keep_freed_memory, seal_holes

FAULTS = """
import resource
from mrcom.core.process import keep_freed_memory
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    b"x" * 128_000_000  # 31,250 pages
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
keep = {keep}
assert not keep or keep_freed_memory()
faults(), faults()
print(faults())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="a matter of glibc")
def test_memory_that_was_freed_is_used_again_without_asking_the_system():
    def again(keep: bool) -> int:
        code = FAULTS.format(keep=keep)
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
        return int(done.stdout)

    assert again(keep=True) < 100 < 1000 < again(keep=False)


HOLES = """
import pathlib, re, jax
from mrcom.core import process
process.keep_freed_memory()
process._SLOW = 0.0
def resident():
    return int(re.search(r"VmRSS:\\s+(\\d+) kB", pathlib.Path("/proc/self/status").read_text())[1])
jax.jit(lambda x: x + 1)(1.0)
pieces = [bytes([n % 256]) * (100_000 if n % 2 else 20_000) for n in range(4_000)]
del pieces[1::2]  # 200 MB, between small ones that stay
before = resident()
{seal}
print(before - resident(), process.seal_holes())
assert all(piece == bytes([2 * n % 256]) * 20_000 for n, piece in enumerate(pieces))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="a matter of glibc")
@pytest.mark.parametrize(
    "seal",
    ["process.seal_holes()", "process.seal_after_compiling(); jax.jit(lambda x: x + 2)(1.0)"],
    ids=["asked", "compiled"],
)
def test_the_memory_of_holes_goes_back_and_nothing_finds_them_again(seal):
    code = HOLES.format(seal=seal)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    given_back, left = map(int, done.stdout.split())
    assert given_back > 130e3  # kB
    assert left < 5e6


def test_a_c_library_without_the_setting_is_left_alone(monkeypatch):
    monkeypatch.setattr("mrcom.core.process.ctypes.CDLL", lambda name: object())
    assert keep_freed_memory() is False
    assert seal_holes() == 0


def test_compiled_programs_lie_in_the_users_cache_unless_told_otherwise(monkeypatch, tmp_path):
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert keep_compiled_programs() == tmp_path / "mrcom" / "compiled"
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "/elsewhere")
    assert keep_compiled_programs() == pathlib.Path("/elsewhere")


def test_finding_a_compiled_program_is_nothing_to_write_about(tmp_path):
    code = """
from mrcom.core.process import keep_compiled_programs
keep_compiled_programs()
import jax
jax.monitoring.register_event_listener(lambda event, **_: print(event))
jax.jit(lambda x: x + 1)(1.0)
"""
    env = os.environ | {"JAX_COMPILATION_CACHE_DIR": str(tmp_path)}
    env.pop("TF_CPP_MIN_LOG_LEVEL", None)
    command = [sys.executable, "-c", code]
    for event in ("cache_misses", "cache_hits"):
        done = subprocess.run(command, capture_output=True, check=True, text=True, env=env)
        assert f"/jax/compilation_cache/{event}" in done.stdout
        assert done.stderr == ""
