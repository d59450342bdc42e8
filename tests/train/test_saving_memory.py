"""What checkpoints take while they are written is told before a run begins."""

import dataclasses
import multiprocessing
import pathlib
import re

import jax
import numpy as np
import pytest
from toy import CONFIG, Toy

from mrcom.train import run as run_module
from mrcom.train.checkpoint import Checkpoints
from mrcom.train.memory import A_CHECKPOINT, LOADED, memory_of
from mrcom.train.run import begin
from mrcom.train.run_folder import RunFolder

BYTES = 200_000_000


@dataclasses.dataclass(frozen=True)
class Scribe(Toy):
    """Writes much beside every step."""

    stored = {"seen": jax.ShapeDtypeStruct((1_000_000,), np.float16)}  # noqa: RUF012


def test_a_run_that_writes_much_into_its_replay_needs_as_much_again_to_save_it(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(run_module, "agent_of", lambda config, worlds: Scribe(worlds.layout))
    run = begin(CONFIG, RunFolder(tmp_path))
    written = run.experience.store.written["seen"].nbytes
    memory = memory_of([run], at_once=1)
    assert memory.program >= LOADED + A_CHECKPOINT * written
    assert memory.replay >= written


def grown(path, found):
    def peak():
        # Not what getrusage says, which a process has from the one that started it.
        (line,) = re.findall(r"VmHWM:\s+(\d+) kB", pathlib.Path("/proc/self/status").read_text())
        return 1024 * int(line)

    checkpoints = Checkpoints(path)
    checkpoints.save(0, {}, meta={})  # what is loaded for the first
    written = np.random.default_rng(0).bytes(BYTES)
    before = peak()
    checkpoints.save(1, {}, meta={}, host={"written": np.frombuffer(written, np.uint8)})
    found.put(peak() - before)


@pytest.mark.skipif(not pathlib.Path("/proc/self/status").exists(), reason="told by Linux alone")
def test_saving_takes_as_many_copies_as_are_told(tmp_path):
    context = multiprocessing.get_context("spawn")
    found = context.Queue()
    process = context.Process(target=grown, args=(tmp_path / "checkpoints", found))
    process.start()
    taken = found.get(timeout=120)
    process.join()
    assert (A_CHECKPOINT - 1) * BYTES < taken < (A_CHECKPOINT + 0.1) * BYTES
