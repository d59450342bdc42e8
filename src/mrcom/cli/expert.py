"""`mrcom expert`: a policy that knows its scenario, for prompts and as the 100 of scores."""

import dataclasses
import math
import pathlib
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

from mrcom.cli.bodies import SUFFIX, Body, single
from mrcom.cli.options import Resume, RunDir, Seed, place_of_run
from mrcom.core.errors import ConfigError
from mrcom.core.progress import Bar, duration, progress

SECONDS = 5400.0
"""How long an expert is trained where nothing else was asked for."""


@dataclasses.dataclass(frozen=True)
class Expert:
    """Train the expert of one body on the real simulator."""

    body: Body
    seconds: float | None = None
    """Stop after this many seconds of training in this call; 5400 by default, or no such limit
    where --env-steps is given."""
    env_steps: int | None = None
    """Stop after this many actions, summed over all simulations and earlier calls."""
    seed: Seed = 0
    run_dir: RunDir = None
    resume: Resume = None


def run(options: Expert) -> None:
    """Train, and say where the weights are."""
    from mrcom.train.run_folder import check_expert

    name = single(options.body)
    run_dir, resume = place_of_run(options.run_dir, options.resume, f"expert-{name}-{options.seed}")
    seconds, total = _limits(options)
    check_expert(run_dir, resume=resume)
    if options.seconds is None and seconds is not None:
        said = f"training for {duration(seconds)}; choose otherwise by --seconds or --env-steps"
        print(said, file=sys.stderr, flush=True)

    # Late: an option that cannot work is answered before JAX is there.
    from mrcom.train.expert import train_expert

    with progress(f"training the expert of {name}", total=total) as bar:
        report = _report_to(bar, total, by_time=seconds is not None)
        weights = train_expert(
            name,
            seconds=seconds,
            env_steps=options.env_steps,
            run_dir=run_dir,
            seed=options.seed,
            resume=resume,
            report=report,
        )
    print(f"best weights so far: {weights}")
    if options.body.endswith(SUFFIX):
        place = pathlib.Path(options.body).with_name(f"{name}.npz")
        print(f"copy them to {place}: there, they are the expert of {name}")


def _limits(options: Expert) -> tuple[float | None, int]:
    """Seconds of training, if they are limited, and where the bar ends: these, or actions."""
    seconds, env_steps = options.seconds, options.env_steps
    if env_steps is not None and env_steps < 1:
        raise ConfigError(f"--env-steps {env_steps} must be at least 1; the nearest is 1.")
    if seconds is not None and not 0 < seconds < math.inf:
        raise ConfigError(f"--seconds {seconds:g} must be a finite number above 0, such as 60.")
    if seconds is None and env_steps is not None:
        return None, env_steps
    seconds = SECONDS if seconds is None else seconds
    return seconds, math.ceil(seconds)


def _report_to(bar: Bar, total: int, *, by_time: bool) -> Callable[[dict[str, Any]], None]:
    """A function that moves the bar to where a line of the log says training is."""
    done, start = 0, time.monotonic()

    def report(line: Mapping[str, Any]) -> None:
        nonlocal done
        now = time.monotonic() - start if by_time else line["env_steps"]
        step = min(int(now), total) - done
        text = f"best return {line['best']:.0f}" if line["best"] >= 0 else ""
        bar.advance(step, text=text)
        done += step

    return report
