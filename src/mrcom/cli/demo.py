"""`mrcom demo`: the main job from start to end."""

import dataclasses
import json
import pathlib
from typing import Annotated

import tyro

from mrcom.cli.choices import Choice
from mrcom.cli.options import EVALUATION_SEED, METHOD, Budget, Given, Resume, RunDir, Seed, Size

SEVERAL = Choice("method", (*METHOD.names, "all"))


@dataclasses.dataclass(frozen=True)
class Demo:
    """Train one world model, adapt it to unseen scenarios, judge it, print a table."""

    seed: Seed = 0
    budget: Budget = "tiny"
    size: Size = None
    methods: Annotated[
        tuple[str, ...],
        SEVERAL,
        tyro.conf.arg(
            help="One method, several, or all: each in a folder of its own, compared.",
            metavar=f"[{SEVERAL.metavar} ...]",
        ),
    ] = ("mrcom",)
    run_dir: RunDir = None
    resume: Resume = None
    given: Given = ()


@dataclasses.dataclass(frozen=True)
class _One:
    """The demo of one method."""

    seed: int = 0
    budget: Budget = "tiny"
    size: Size = None
    method: str = "mrcom"
    run_dir: pathlib.Path | None = None
    resume: pathlib.Path | None = None
    given: tuple[str, ...] = ()


PLAN = "demo.json"
"""What a demo of several methods was asked for, beside their folders."""
SETTINGS = ("seed", "budget", "size", "methods")
"""What it holds."""


def run(options: Demo) -> int | None:
    """Run the command."""
    from mrcom.cli.options import place_of_run
    from mrcom.core.errors import ConfigError

    names = METHOD.names if "all" in options.methods else tuple(dict.fromkeys(options.methods))
    if not names:
        raise ConfigError(f"--methods names none; give one or more of {', '.join(SEVERAL.names)}.")
    options = dataclasses.replace(options, methods=names)
    path, resume = place_of_run(options.run_dir, options.resume, "demo")
    if len(names) == 1 and not (resume and (path / PLAN).is_file()):
        # Of a run that is resumed the folder knows the method, and how much is left of it.
        if not resume:
            print(_time_needed(names, options.budget, options.size), flush=True)
        _demo(options, names[0], path, resume=resume)
        return None
    from mrcom.cli.report import print_tables
    from mrcom.report.comparison import compare
    from mrcom.train.run_folder import open_run

    options = _resumed(options, path) if resume else _begun(options, path)
    names = options.methods
    print(_time_needed(names, options.budget, options.size), flush=True)
    for name in names:
        # A method that was not begun when the rest was interrupted starts now.
        _demo(options, name, path / name, resume=resume and (path / name / "config.json").is_file())
    print_tables(compare([open_run(path / name) for name in names]).tables)
    return None


def _begun(options: Demo, path: pathlib.Path) -> Demo:
    """Write down what was asked for: methods that are not begun in time need it later."""
    from mrcom.core.errors import RunFolderError
    from mrcom.train.run_folder import check_writable, write_json

    if path.is_dir() and any(path.iterdir()):
        raise RunFolderError(
            f"{path} exists already; go on with it by --resume {path}, or choose another --run-dir."
        )
    check_writable(path)
    write_json(path / PLAN, {name: getattr(options, name) for name in SETTINGS})
    return options


def _resumed(options: Demo, path: pathlib.Path) -> Demo:
    """What was asked for when the demo was begun; what is given now must agree with it."""
    from mrcom.core.errors import RunFolderError

    try:
        plan = json.loads((path / PLAN).read_text())
        stored = {name: plan[name] for name in SETTINGS} | {"methods": tuple(plan["methods"])}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunFolderError(
            f"{path} is not the folder of a demo of several methods: its {PLAN} cannot be read."
        ) from error
    for name in SETTINGS:
        given = getattr(options, name)
        said = name in options.given or given != getattr(Demo(), name)
        if said and given != stored[name]:
            raise RunFolderError(
                f"The demo in {path} has {name}={stored[name]!r}, not {given!r}; resume it with "
                f"the same settings or start a new one with another --run-dir."
            )
    return dataclasses.replace(options, **stored)


def _demo(options: Demo, method: str, path: pathlib.Path, *, resume: bool) -> None:
    from mrcom.cli.evaluate import judge_run, predict_held_out
    from mrcom.cli.report import print_report
    from mrcom.cli.train import train_or_resume
    from mrcom.train.adaptation import CONTROL, adapt_run, adaptation

    place = {"resume": path} if resume else {"run_dir": path}
    said = tuple("method" if name == "methods" else name for name in options.given)
    one = _One(options.seed, options.budget, options.size, method, **place, given=said)
    (run,) = train_or_resume(one, "demo")
    budget = run.config.budget
    predict_held_out(run, budget)
    for config in (adaptation(run), CONTROL):
        adapt_run(run, config, budget, seed=run.config.seed)
    judge_run(run, budget, seed=EVALUATION_SEED)
    print_report(run.folder, budget.name)


def _time_needed(names: tuple[str, ...], budget: str, size: str | None) -> str:
    """Minutes of the methods that were asked for: measured, or else estimated and said to be."""
    from mrcom.agents.presets import BUDGETS, MINUTES

    usual = budget == "tiny" and size in (None, "tiny")
    # Of the whole demo learning takes the most; of methods that nobody timed we know no better.
    longer = BUDGETS[budget].updates / BUDGETS["tiny"].updates
    typical = sum(MINUTES.values()) / len(MINUTES)
    said, total = [], 0.0
    for name in names:
        minutes = MINUTES.get(name, typical) * longer
        total += max(minutes, 1.0)
        known = "measured" if usual and name in MINUTES else "estimate"
        said.append(f"{name} {max(minutes, 1.0):.0f} ({known})")
    several = f"{len(names)} methods one after the other" if len(names) > 1 else "One method"
    text = f"{several}, about {total:.0f} minutes on two idle cores: {', '.join(said)}"
    if usual:
        return text
    return f"{text}. Estimates count updates alone, from {', '.join(MINUTES)} at tiny"
