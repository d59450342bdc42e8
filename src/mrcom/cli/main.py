"""`mrcom COMMAND ...`: find the command, run it, and turn errors into one line."""

import contextlib
import dataclasses
import io
import os
import sys
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import tyro
from tyro.conf import subcommand

from mrcom.cli import (
    adapt,
    benchmark,
    compare,
    demo,
    diagnose,
    doctor,
    evaluate,
    expert,
    report,
    robustness,
    scenarios,
    study,
    train,
)
from mrcom.cli.choices import check_choices, check_seeds
from mrcom.core.errors import ConfigError, MrcomError, Stopped, unknown
from mrcom.core.process import keep_compiled_programs, keep_freed_memory, seal_after_compiling

# In the order a newcomer meets them.
Command = (
    Annotated[demo.Demo, subcommand("demo")]
    | Annotated[train.Train, subcommand("train")]
    | Annotated[adapt.Adapt, subcommand("adapt")]
    | Annotated[evaluate.Evaluate, subcommand("evaluate")]
    | Annotated[diagnose.Diagnose, subcommand("diagnose")]
    | Annotated[robustness.Robustness, subcommand("robustness")]
    | Annotated[report.Report, subcommand("report")]
    | Annotated[compare.Compare, subcommand("compare")]
    | Annotated[study.Study, subcommand("study")]
    | Annotated[scenarios.Scenarios, subcommand("scenarios")]
    | Annotated[expert.Expert, subcommand("expert")]
    | Annotated[benchmark.Benchmark, subcommand("benchmark")]
    | Annotated[doctor.Doctor, subcommand("doctor")]
)
RUN: dict[type, Callable[[Any], int | None]] = {
    demo.Demo: demo.run,
    train.Train: train.run,
    adapt.Adapt: adapt.run,
    evaluate.Evaluate: evaluate.run,
    diagnose.Diagnose: diagnose.run,
    robustness.Robustness: robustness.run,
    report.Report: report.run,
    compare.Compare: compare.run,
    study.Study: study.run,
    scenarios.Scenarios: scenarios.run,
    expert.Expert: expert.run,
    benchmark.Benchmark: benchmark.run,
    doctor.Doctor: doctor.run,
}
NAMES = tuple(kind.__name__.lower() for kind in RUN)

FAILED, INTERRUPTED = 2, 130


def main(args: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        args: what follows `mrcom`; the process's own by default.

    Returns:
        The exit code: 0 (also for a run that SIGTERM stopped: it has saved itself), 1 where
        something was found broken, 2 for an error the user can mend (one line on stderr), 130
        after Ctrl-C.
    """
    if args is None:  # then the process is this command's alone
        keep_freed_memory()
        keep_compiled_programs()
    try:
        options = parse(sys.argv[1:] if args is None else args)
        if args is None and not isinstance(options, scenarios.Scenarios):  # all others need JAX
            seal_after_compiling()
        code = RUN[type(options)](options) or 0
        sys.stdout.flush()
    except MrcomError as error:
        print("error:", " ".join(str(error).split()), file=sys.stderr)
        return FAILED
    except Stopped as stopped:
        print(stopped, file=sys.stderr)
        return 0
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # The reader, such as `head`, has seen enough. Python would complain while it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return code


def parse(args: Sequence[str]) -> Any:
    """The options of the command that was asked for.

    Raises:
        ConfigError: no such command or option, or one that cannot be read; the message has the
            nearest.
        SystemExit: help was asked for.
    """
    if args and not args[0].startswith("-") and args[0] not in NAMES:
        raise unknown("command", args[0], NAMES)
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            options = tyro.cli(
                Command,
                prog="mrcom",
                description="World models that work across many worlds. Start with `mrcom demo`.",
                args=list(args) or ["--help"],
                config=(tyro.conf.FlagCreatePairsOff,),
            )
    except SystemExit as end:
        if not end.code:
            raise
        raise ConfigError(f"{_in_one_line(said.getvalue())} See mrcom {args[0]} --help.") from end
    check_choices(options)
    check_seeds(options)
    return dataclasses.replace(options, given=_said(args)) if hasattr(options, "given") else options


def _said(args: Sequence[str]) -> tuple[str, ...]:
    """Names of the fields whose options are there."""
    words = [word.partition("=")[0][2:].replace("-", "_") for word in args if word[:2] == "--"]
    other = {"set": "settings", "no_observe_reward": "observe_reward"}
    return tuple(other.get(word, word) for word in words)


def _in_one_line(box: str) -> str:
    """What a box of the parser of options says first, and the options that it finds similar.

    Its frame is drawn with lines or, where the output cannot show them, with hyphens.
    """
    framed = "╭" in box
    lines = [line.strip("│ ") for line in box.splitlines() if not line.startswith(("╭", "╰"))]
    parts = [[]] if framed else []
    for line in lines:
        if line and not line.strip("─-"):
            parts.append([])
        elif parts:
            parts[-1].append(line)
    said = " ".join(parts[0]).rstrip(". ") + "."
    similar = [line.split()[0] for part in parts[1:] for line in part if line.startswith("--")]
    near = " or ".join(dict.fromkeys(similar[:2]))
    return f"{said} Did you mean {near}?" if near and "Unrecognized" in said else said
