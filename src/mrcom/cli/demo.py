"""`mrcom demo`: the main job from start to end."""

import dataclasses
import json
import pathlib
from typing import Annotated

import tyro

from mrcom.cli.options import Budget, Resume, RunDir, Seed, Size


@dataclasses.dataclass(frozen=True)
class Demo:
    """Train one world model, adapt it to unseen scenarios, judge it, print a table."""

    seed: Seed = 0
    budget: Budget = "tiny"
    size: Size = None
    methods: Annotated[
        tuple[str, ...],
        tyro.conf.arg(help="One method, several, or all: each in a folder of its own, compared."),
    ] = ("mrcom",)
    run_dir: RunDir = None
    resume: Resume = None


@dataclasses.dataclass(frozen=True)
class _One:
    """The demo of one method."""

    seed: int = 0
    budget: Budget = "tiny"
    size: Size = None
    method: str = "mrcom"
    run_dir: pathlib.Path | None = None
    resume: pathlib.Path | None = None


PLAN = "demo.json"
"""What a demo of several methods was asked for, beside their folders."""
SETTINGS = ("seed", "budget", "size", "methods")
"""What it holds."""


def run(options: Demo) -> int | None:
    """Run the command."""
    from mrcom.agents.build import METHODS, method_named
    from mrcom.cli.options import place_of_run

    names = tuple(METHODS) if options.methods == ("all",) else tuple(dict.fromkeys(options.methods))
    for name in names:
        method_named(name)
    options = dataclasses.replace(options, methods=names)
    path, resume = place_of_run(options.run_dir, options.resume, "demo")
    if len(names) == 1 and not (resume and (path / PLAN).is_file()):
        _demo(options, names[0], path, resume=resume)
        return None
    from mrcom.cli.report import print_tables
    from mrcom.report.comparison import compare
    from mrcom.train.run_folder import open_run

    options = _resumed(options, path) if resume else _begun(options, path)
    names = options.methods
    print(_time_needed(names, options.budget), flush=True)
    for name in names:
        # A method that was not begun when the rest was interrupted starts now.
        _demo(options, name, path / name, resume=resume and (path / name).exists())
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
        if given not in (getattr(Demo(), name), stored[name]):
            raise RunFolderError(
                f"The demo in {path} has {name}={stored[name]!r}, not {given!r}; resume it with "
                f"the same settings or start a new one with another --run-dir."
            )
    return dataclasses.replace(options, **stored)


def _demo(options: Demo, method: str, path: pathlib.Path, *, resume: bool) -> None:
    from mrcom.cli.report import print_report
    from mrcom.cli.stages import ADAPTED, CONTROL, adapt_run, evaluate_run, measure_open_loop
    from mrcom.cli.train import train_or_resume

    place = {"resume": path} if resume else {"run_dir": path}
    one = _One(options.seed, options.budget, options.size, method, **place)
    run = train_or_resume(one, "demo")
    budget = run.config.budget
    measure_open_loop(run, budget)
    for config in (ADAPTED, CONTROL):
        adapt_run(run, config, budget, seed=run.config.seed)
    evaluate_run(run, budget, seed=run.config.seed)
    print_report(run.folder, budget.name)


def _time_needed(names: tuple[str, ...], budget: str) -> str:
    from mrcom.agents.presets import MINUTES

    known = [MINUTES[name] for name in names if budget == "tiny" and name in MINUTES]
    if len(known) < len(names):
        each = ", ".join(f"{name} {minutes}" for name, minutes in MINUTES.items())
        return f"{len(names)} methods one after the other; at tiny, minutes on two cores: {each}"
    return f"{len(names)} methods, about {sum(known)} minutes on two idle cores"
