"""What a process is told before JAX starts."""

import pathlib
import subprocess
import sys

import pytest

from mrcom.core.process import keep_compiled_programs, keep_freed_memory

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


def test_a_c_library_without_the_setting_is_left_alone(monkeypatch):
    monkeypatch.setattr("mrcom.core.process.ctypes.CDLL", lambda name: object())
    assert keep_freed_memory() is False


def test_compiled_programs_lie_in_the_users_cache_unless_told_otherwise(monkeypatch, tmp_path):
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert keep_compiled_programs() == tmp_path / "mrcom" / "compiled"
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "/elsewhere")
    assert keep_compiled_programs() == pathlib.Path("/elsewhere")
