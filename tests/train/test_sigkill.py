"""A run that is killed again and again ends with the same bits as one that never was."""

import dataclasses
import multiprocessing
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import threading
import time

import pytest
from toy import contents

from mrcom.core.rng import named_generator

KILLS = 20
METHODS = {"sac": 14, "dreamer": 6}
"""How often each is killed. Updates of the second write into replay."""
TOGETHER = "together"
"""Two runs of SAC that learn in one program."""
WITHIN = {"rename": 12, "fsync": 9, "write": 6, "replace": 6, "outside": 2}
"""A run dies at a write before this one, which most reach before they are done."""


def train_once(path: pathlib.Path, method: str, resume: bool, ends: tuple[str, int]) -> None:
    """Train in this process; `ends` kills it at the n-th call of a function that writes."""
    import jax

    import one_context  # noqa: F401

    jax.config.update("jax_compilation_cache_dir", str(path.parent / "compiled"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    # Without optimisations a version of the compiler makes a gradient of runs side by side that is
    # not finite; with them it is the one of each alone.
    jax.config.update("jax_disable_most_optimizations", method != TOGETHER)
    from mrcom.agents.build import behaviour_of, method_named
    from mrcom.agents.presets import budget
    from mrcom.scenarios.splits import split
    from mrcom.train.loop import How, train, train_population
    from mrcom.train.population import variants
    from mrcom.train.settings import RunConfig

    config = RunConfig(
        method := method_named("sac" if (several := method == TOGETHER) else method),
        dataclasses.replace(budget("debug"), rounds=3, updates=60),
        split("table1-d-shell"),
        size="debug",
        seed=3,
        bodies=("hopper",),
        behaviour=behaviour_of(method.family),
    )
    die_in(*ends)
    how = How(save_every=5)
    if several:
        train_population(variants(config, 2), path, resume=resume, how=how)
    else:
        train(config, path, resume=resume, how=how)


def die_in(name: str, count: int) -> None:
    """SIGKILL in the middle of the n-th write of a log line or an episode file, or before a name.

    Checkpoints get their names by `rename`, all other files by `replace`.
    """
    if name == "outside":
        return
    real, left = getattr(os, name), [count]

    def dying(*args):
        left[0] -= name != "write" or args[1].startswith(b'{"stage"')
        if left[0] == 0:
            if name == "write":
                real(args[0], args[1][: len(args[1]) // 2])
            if name == "fsync" and os.readlink(f"/proc/self/fd/{args[0]}").endswith(".draft"):
                # Half of an episode file.
                os.ftruncate(args[0], os.fstat(args[0]).st_size // 2)
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*args)

    setattr(os, name, dying)


def one_life(path, method, ends=("outside", 0), seconds=None):
    """A process that trains, or goes on, until it is killed or done; whether it was done."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["mrcom.train.loop", "mrcom.agents.build", "tensorboardX", "orbax.checkpoint"]
    )
    resume = any((path / name).exists() for name in ("config.json", "population.json"))
    process = context.Process(target=train_once, args=(path, method, resume, ends))
    process.start()
    process.join(seconds)
    process.kill()
    process.join()
    assert process.exitcode in (0, -signal.SIGKILL)
    return process.exitcode == 0


def killed(folder, method, num, failures):
    """Kill runs of a method so many times in all; each that ends equals one left alone."""
    try:
        whole, path = folder / f"{method}-whole", folder / method
        assert one_life(whole, method)
        expected, rng, count = all_in(whole), named_generator(0, "kills", method), 0
        while count < num:
            kind = ("outside", "rename", "fsync", "write", "replace")[count % 5]
            seconds = rng.uniform(0.3, 4) if kind == "outside" else None
            if one_life(path, method, (kind, int(rng.integers(1, WITHIN[kind]))), seconds):
                assert all_in(path) == expected
                shutil.rmtree(path)
            else:
                count += 1
        assert one_life(path, method)
        assert all_in(path) == expected
        assert not list(path.rglob(".*.draft"))
    except BaseException as error:
        failures.append(error)
        raise


def all_in(path):
    """The contents of a run, or of all runs that learn together."""
    runs = sorted(path.glob("seed-*"))
    return {run.name: contents(run) for run in runs} if runs else contents(path)


@pytest.mark.slow
def test_after_sigkills_runs_that_learn_together_equal_ones_that_were_never_interrupted(tmp_path):
    killed(tmp_path, TOGETHER, 5, [])
    assert len(all_in(tmp_path / TOGETHER)) == 2


@pytest.mark.slow
def test_after_twenty_sigkills_a_run_equals_one_that_was_never_interrupted(tmp_path):
    assert sum(METHODS.values()) == KILLS
    failures: list[BaseException] = []
    threads = [
        threading.Thread(target=killed, args=(tmp_path, method, num, failures))
        for method, num in METHODS.items()
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]


@pytest.mark.slow
def test_so_does_one_whose_programs_are_optimised_as_users_have_them(tmp_path):
    own = ("JAX_DISABLE_MOST_OPTIMIZATIONS", "XLA_FLAGS")
    env = {name: value for name, value in os.environ.items() if name not in own}
    start = lambda *args: subprocess.Popen(
        [sys.executable, "-m", "mrcom.cli", "train", *args], env=env
    )
    amount = ("--method", "sac", "--bodies", "hopper", "--budget", "debug")
    amount += ("--rounds", "2", "--updates", "40")
    whole, path = tmp_path / "whole", tmp_path / "killed"
    assert start(*amount, "--run-dir", str(whole)).wait() == 0
    process = start(*amount, "--run-dir", str(path))
    while not any(path.glob("checkpoints/[0-9]*")):
        assert process.poll() is None
        time.sleep(0.005)
    process.kill()
    process.wait()
    assert start("--resume", str(path)).wait() == 0
    assert contents(path) == contents(whole)
