"""What can be wrong with a machine or an installation, and what to do about it."""

import dataclasses
import functools
import importlib
import importlib.metadata
import os
import pathlib
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable
from typing import Any

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from mrcom.core.errors import RunFolderError

GIB = 2**30
# JAX, MuJoCo, compiled learners and their states; 1.8 GiB were seen at `tiny`, replay included.
BASE_BYTES = 5 * GIB // 2
DRAWING_S = 60
"""Until a process that is to draw a picture is no longer waited for [s]."""
REMAKE = "run `make clean setup` for a fresh .venv from the lock"


@dataclasses.dataclass(frozen=True)
class Check:
    """One thing that was looked at."""

    name: str
    state: str
    """`ok`, `warn` (works, but worse than it could) or `broken`."""
    found: str
    """What is there."""
    advice: str = ""
    """What to do, where the state is not `ok`."""


def check_python() -> list[Check]:
    """The interpreter's version."""
    found = platform.python_version()
    good = SpecifierSet(_requirement_of_python()).contains(found, prereleases=True)
    return [Check("python", "ok" if good else "broken", found, "" if good else REMAKE)]


def check_libraries() -> list[Check]:
    """Installed versions against the ranges the package asks for."""
    checks = []
    for needed in map(Requirement, sorted(importlib.metadata.requires("mrcom") or [])):
        if needed.marker is not None and not needed.marker.evaluate():
            continue
        name, wanted = needed.name, needed.specifier
        try:
            found = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            checks.append(Check(name, "broken", "not installed", REMAKE))
            continue
        if wanted.contains(found, prereleases=True):
            checks.append(Check(name, "ok", found))
        else:
            checks.append(Check(name, "broken", f"{found}, needed {wanted}", REMAKE))
    return checks


def check_mujoco() -> list[Check]:
    """Whether the simulator's library is whole; its version is checked with the others."""
    mujoco = importlib.import_module("mujoco")
    # Going back from mujoco 4 inside one environment leaves a package without contents.
    if not hasattr(mujoco, "MjModel"):
        return [Check("mujoco library", "broken", "the package is empty", REMAKE)]
    importlib.import_module("mujoco.batch")
    return [Check("mujoco library", "ok", str(mujoco.__version__))]


def check_threads() -> list[Check]:
    """Processor threads this process may use."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    if (count or 1) > 1:
        return [Check("threads", "ok", str(count))]
    return [
        Check("threads", "warn", "1", "give the process two cores; simulation and learning share")
    ]


def check_memory() -> list[Check]:
    """Free memory against what each budget needs."""
    from mrcom.agents.presets import BUDGETS
    from mrcom.replay.store import bytes_per_episode
    from mrcom.scenarios.layout import layout_of
    from mrcom.train.settings import RunConfig

    free = memory_available()
    if free is None:
        return [Check("memory", "warn", "cannot be told here", "see that 4 GiB are free")]
    layout = layout_of(RunConfig.bodies)
    checks = []
    for budget in BUDGETS.values():
        rounds = budget.random_rounds + budget.expert_rounds + budget.rounds
        episodes = rounds * budget.scenarios * len(RunConfig.bodies)
        replay = episodes * bytes_per_episode(layout, budget.episode_steps + 1)
        need = BASE_BYTES + min(replay, RunConfig.replay_bytes)
        found = f"{free / GIB:.1f} GiB free, about {need / GIB:.1f} needed"
        if free >= need:
            checks.append(Check(f"memory for {budget.name}", "ok", found))
        else:
            advice = "close other programs or choose a smaller --budget"
            checks.append(Check(f"memory for {budget.name}", "warn", found, advice))
    return checks


def check_writing(run_dir: pathlib.Path) -> list[Check]:
    """Whether runs can be written, and the room there."""
    from mrcom.train.run_folder import check_writable

    is_new = not run_dir.exists()
    try:
        check_writable(run_dir)
    except RunFolderError as error:
        return [Check("run folder", "broken", str(error), "choose another --run-dir")]
    free = shutil.disk_usage(run_dir).free
    if is_new:
        run_dir.rmdir()
    found = f"{run_dir} can be written, {free / GIB:.1f} GiB free"
    if free > GIB:
        return [Check("run folder", "ok", found)]
    return [Check("run folder", "warn", found, "make room: a run may take up to 1 GiB")]


def check_experts() -> list[Check]:
    """The experts that ship with the package, one per body."""
    from mrcom.behaviour.expert import load_expert
    from mrcom.scenarios.bodies import BODIES

    checks = []
    for body in BODIES:
        try:
            load_expert(body)
        except Exception as error:
            advice = f"train it with `mrcom expert --body {body}`, or use --prompt own"
            checks.append(Check(f"expert of {body}", "warn", _first_line(error), advice))
        else:
            checks.append(Check(f"expert of {body}", "ok", "loads"))
    return checks


def check_jax() -> list[Check]:
    """A compiled function gives the right number."""
    jax = importlib.import_module("jax")
    total = jax.jit(lambda x: (x * x).sum())(jax.numpy.arange(4.0))
    devices = ", ".join(sorted({device.platform for device in jax.devices()}))
    good = float(total) == 14.0
    return [Check("compiler", "ok" if good else "broken", f"runs on {devices}")]


def check_simulator() -> list[Check]:
    """One control step of every body."""
    numpy = importlib.import_module("numpy")
    from mrcom.scenarios.bodies import BODIES
    from mrcom.scenarios.scenario import Scenario
    from mrcom.simulate.simulator import Simulator

    scenarios = [Scenario(name, target_speed=1.0) for name in BODIES]
    simulator = Simulator(scenarios, seed=0)
    simulator.reset(seed=0)
    obs, reward = simulator.step(numpy.zeros((simulator.num, simulator.layout.act), "float32"))
    good = bool(numpy.isfinite(obs).all() and numpy.isfinite(reward).all())
    found = f"steps {', '.join(BODIES)}"
    return [Check("simulator", "ok" if good else "broken", found, "" if good else REMAKE)]


def check_drawing() -> list[Check]:
    """Whether pictures can be drawn, by each way there is; in a process of its own.

    Drivers may end the process that asks them, and one process cannot ask two of them.
    """
    from mrcom.simulate.render import LIBRARIES, is_installed

    checks = {name: _drawing_by(name) for name in LIBRARIES}
    draws = [name for name, check in checks.items() if check.state == "ok"]
    usual = os.environ.get("MUJOCO_GL") or next(filter(is_installed, LIBRARIES), "")
    for name, check in checks.items():
        if draws and check.state != "ok":
            instead = f"set MUJOCO_GL={draws[0]}, or"
            beside = "not needed while another draws; otherwise"
            advice = f"{instead if name == usual else beside} {check.advice}"
            checks[name] = dataclasses.replace(check, advice=advice)
    return list(checks.values())


def _drawing_by(name: str) -> Check:
    """Whether one way to draw is there and draws."""
    from mrcom.simulate.render import LIBRARIES, MENDING, is_installed

    finding = functools.partial(Check, f"pictures by {name}")
    if not is_installed(name):
        return finding("warn", "is not installed", f"apt install {LIBRARIES[name][1]}")
    environment = os.environ | {"MUJOCO_GL": name, "PYOPENGL_PLATFORM": name}
    asked = [sys.executable, "-c", _DRAWS]
    try:
        done = subprocess.run(asked, env=environment, capture_output=True, timeout=DRAWING_S)
    except subprocess.TimeoutExpired:
        return finding(
            "warn", f"did not draw within {DRAWING_S} s", "look again while less else runs here"
        )
    if done.returncode == 0:
        return finding("ok", "draws")
    return finding("warn", "is installed, but cannot draw", MENDING[name])


_DRAWS = """
import numpy
from mrcom.scenarios.scenario import Scenario
from mrcom.simulate.render import Renderer
picture = Renderer([Scenario("cheetah")], 64).draw(numpy.zeros((1, 9)))
assert picture.std() > 0
"""


def guarded(name: str, check: Callable[..., list[Check]], *args: Any) -> list[Check]:
    """The check's findings; whatever it raises is a finding too."""
    try:
        return check(*args)
    except Exception as error:
        return [Check(name, "broken", f"{type(error).__name__}: {_first_line(error)}", REMAKE)]


def memory_available() -> int | None:
    """Bytes this process may still take, by the machine and by its control group."""
    try:
        lines = pathlib.Path("/proc/meminfo").read_text().splitlines()
        free = next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration):
        return None
    bounds = [free * 1024]
    group = pathlib.Path("/sys/fs/cgroup")
    for limit, usage in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        try:
            bounds.append(int((group / limit).read_text()) - int((group / usage).read_text()))
        except (OSError, ValueError):
            continue
    return max(0, min(bounds))


def _requirement_of_python() -> str:
    return importlib.metadata.metadata("mrcom")["Requires-Python"]


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
