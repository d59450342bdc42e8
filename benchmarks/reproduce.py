"""Does our DreamerV3 learn as its authors' does? One task, one body, no scenarios but the default.

    python benchmarks/reproduce.py --task walker-walk --out runs/reproduce

Trains on as many environment steps as are asked for, resumable at every episode, prints the curve
of training returns, with what was published beside it where it was, and exits with 1 where it ends
below the gate. Where nothing was published at so many steps it exits with 2 and trains nothing.
Stopped by SIGTERM it saves itself and exits with 3: nothing was judged yet.

Published (training returns, sampled actions): at 100 thousand frames the authors' curves are at
walker-walk 478 and cheetah-run 297; at 500 thousand walker-walk 941 +- 13, walker-run 637 +- 66,
cheetah-run 600 +- 20, hopper-hop 110 +- 37, and independent reruns at 878, 514, 494, 163. The gate
at 500 thousand is the lower of the authors' mean less its spread and of the reruns. At 100 thousand
nobody gives a spread: 0.8 of the curve passes, a tolerance of our own. As the authors do, every
action lasts two control steps and gets 512/1024 of an update; rewards are those at the end of an
action, twice; the agent sees them once, where theirs sees the sum of both steps. The curves at 100
thousand are of their 2023 code, 512 wide, with a faster model; `--size` says ours.
"""

import argparse
import dataclasses
import pathlib
import sys
from collections.abc import Sequence

import numpy as np

from mrcom.agents.dreamer import DREAMER
from mrcom.agents.presets import Budget
from mrcom.core.errors import ConfigError, MrcomError, Stopped
from mrcom.core.process import keep_compiled_programs, keep_freed_memory, seal_after_compiling
from mrcom.scenarios.bodies import body, register
from mrcom.scenarios.splits import Box, Split
from mrcom.train.log import read_log
from mrcom.train.loop import train
from mrcom.train.settings import RunConfig

EPISODE = 1000
"""Control steps of an episode."""
REPEAT = 2
"""Control steps that an action lasts."""
LAST = 10
"""Episodes at the end whose mean return is compared."""
ALLOWED = 0.8
"""Share of a published return without a spread that passes: a tolerance of our own."""


@dataclasses.dataclass(frozen=True)
class Curve:
    """A point of the authors' curve of training returns, whose spread nobody gives."""

    mean: float

    @property
    def least(self) -> float:
        """The lowest return that passes."""
        return ALLOWED * self.mean

    def __str__(self) -> str:
        return f"published {self.mean:.0f}"

    @property
    def reason(self) -> str:
        """Where the gate comes from."""
        return f"{ALLOWED:g} of it, a tolerance of our own"


@dataclasses.dataclass(frozen=True)
class Final:
    """The authors' training return, with the spread of their seeds, and that of reruns."""

    mean: float
    spread: float
    rerun: float

    @property
    def least(self) -> float:
        """The lowest return that passes."""
        return min(self.mean - self.spread, self.rerun)

    def __str__(self) -> str:
        return f"published {self.mean:.0f} +- {self.spread:.0f}, rerun {self.rerun:.0f}"

    @property
    def reason(self) -> str:
        """Where the gate comes from."""
        return "the lower of mean less spread and rerun"


@dataclasses.dataclass(frozen=True)
class Task:
    """A task of the suite as a scenario, and what was published."""

    body: str
    speed: float
    """Target, in per cent of the body's fastest."""
    published: dict[int, Curve | Final]
    """Training return by environment steps."""

    @property
    def runs(self) -> str:
        """The name of the body whose actions last `REPEAT` control steps."""
        return f"{self.body}_x{REPEAT}"

    def gate(self, steps: int) -> Curve | Final:
        """What was published at so many environment steps.

        Raises:
            ConfigError: nothing was.
        """
        if steps in self.published:
            return self.published[steps]
        known = " and ".join(f"{at:,}" for at in self.published)
        raise ConfigError(
            f"--steps {steps:,}: nothing is published for this task there; there is at {known}."
        )


TASKS = {
    "walker-walk": Task("walker", 12.5, {100_000: Curve(478), 500_000: Final(941, 13, 878)}),
    "walker-run": Task("walker", 100.0, {500_000: Final(637, 66, 514)}),
    "cheetah-run": Task("cheetah", 100.0, {100_000: Curve(297), 500_000: Final(600, 20, 494)}),
    "hopper-hop": Task("hopper", 100.0, {500_000: Final(110, 37, 163)}),
}


def with_longer_actions(task: Task) -> str:
    """The name of the task's body whose actions last longer, known from now on."""
    one = body(task.body)
    longer = dataclasses.replace(
        one,
        name=task.runs,
        control_dt=REPEAT * one.control_dt,
        substeps=REPEAT * one.substeps,
    )
    return register(longer).name


def config_of(
    task: Task, *, steps: int, ratio: float, size: str, seed: int, settings: Sequence[str] = ()
) -> RunConfig:
    """The run: one scenario, one episode at a time, the suite's own reward."""
    only = Box(0.0, task.speed, task.speed)
    name, length = with_longer_actions(task), EPISODE // REPEAT
    budget = Budget(
        name=f"{steps // 1000}k",
        scenarios=1,
        episode_steps=length,
        random_rounds=1,
        expert_rounds=0,
        rounds=steps // EPISODE - 1,
        updates=round(ratio * steps / REPEAT),
        held_out=1,
        targets_inside=1,
        targets_outside=0,
        adapt_steps=2 * length,
        adapt_updates=1,
        evaluation_episodes=10,
        evaluation_steps=length,
    )
    return RunConfig(
        method=DREAMER,
        budget=budget,
        split=Split(f"{name}-{task.speed:g}", "same", only, only, 0),
        size=size,
        seed=seed,
        bodies=(name,),
        reward="reach",
        observe_reward=False,
        prompt="none",
        settings=tuple(settings),
    )


def curve(folder: pathlib.Path, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Environment steps, and return, of every episode of the behaviour of a body."""
    lines = [line for line in read_log(folder / "metrics.jsonl") if line["stage"] == "collect"]
    steps = np.array([line["env_steps"] for line in lines])
    return REPEAT * steps, REPEAT * np.array([line[f"return/{name}"] for line in lines])


def verdict(task: Task, folder: pathlib.Path, steps: int) -> bool:
    """Print the curve, by `LAST` episodes; whether its end passes the gate.

    Raises:
        ConfigError: nothing is published at so many steps.
    """
    gate = task.gate(steps)
    at, returns = curve(folder, task.runs)
    before = 0
    for end in range(len(returns) % LAST or LAST, len(returns) + 1, LAST):
        now = at[end - 1]
        known = [str(there) for when, there in task.published.items() if before < when <= now]
        ours = f"{now:>9,} steps: {returns[max(end - LAST, 0) : end].mean():6.1f}"
        print("  ".join([ours, *known]))
        before = now
    reached = float(returns[-LAST:].mean())
    passed = reached >= gate.least
    word = "passes" if passed else "FAILS"
    print(f"{word}: {reached:.1f}; {gate}; needed {gate.least:.0f} ({gate.reason})")
    return passed


def main(arguments: Sequence[str] | None = None) -> int:
    """Train, or go on, and judge."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--task", choices=sorted(TASKS), default="walker-walk")
    parser.add_argument("--steps", type=int, default=100_000, help="environment steps")
    parser.add_argument("--ratio", type=float, default=0.5, help="updates per action")
    parser.add_argument("--size", default="1M")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--set", nargs="+", default=(), metavar="NAME=VALUE", help="other values of the size"
    )
    parser.add_argument("--out", type=pathlib.Path, required=True, help="folder of the runs")
    given = parser.parse_args(arguments)
    if arguments is None:  # then the process is this command's alone
        keep_freed_memory()
        keep_compiled_programs()
        seal_after_compiling()
    task = TASKS[given.task]
    try:
        task.gate(given.steps)
        amount = {"steps": given.steps, "ratio": given.ratio, "seed": given.seed}
        config = config_of(task, size=given.size, settings=given.set, **amount)
        words = (given.task, given.size, config.budget.name, f"{given.ratio:g}", given.seed)
        words += tuple(given.set)
        folder = given.out / "-".join(map(str, words))
        train(config, folder, resume=(folder / "config.json").is_file())
        return 0 if verdict(task, folder, given.steps) else 1
    except MrcomError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except Stopped:
        print("stopped and saved; the same command goes on", file=sys.stderr)
        return 3


if __name__ == "__main__":
    sys.exit(main())
