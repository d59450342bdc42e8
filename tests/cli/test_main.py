"""The command line answers at once, and fails in one line with a code."""

import os
import re
import subprocess
import sys

import pytest

from mrcom.cli import main as cli
from mrcom.core.errors import TrainingDivergedError

HEAVY = {"jax", "numpy", "mujoco", "equinox", "optax", "orbax", "matplotlib", "tensorboardX"}
ASK_ALL_FOR_HELP = f"""
import sys
from mrcom.cli.main import NAMES, main
for args in (["--help"], *([name, "--help"] for name in NAMES)):
    try:
        main(args)
    except SystemExit as end:
        assert end.code == 0
print("imported:", sorted({HEAVY!r} & set(sys.modules)))
"""


def failure(capsys, *args: str) -> str:
    """What a failing command says: one line, with code 2."""
    assert cli.main(args) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("error: ")
    assert said.err.count("\n") == 1
    return said.err


def test_help_imports_nothing_heavy():
    done = subprocess.run(
        [sys.executable, "-c", ASK_ALL_FOR_HELP], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "imported: []"
    assert all(name in done.stdout for name in cli.NAMES)


def test_an_unknown_command_is_answered_with_the_nearest(capsys):
    assert "Unknown command 'trian'. Did you mean 'train'?" in failure(capsys, "trian")


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["doctor", "--jsno"], "Unrecognized options: --jsno. Did you mean --json?"),
        (["scenarios", "--alpah", "3"], "Did you mean --alpha?"),
        (["train", "--seed", "x"], "--seed: .*'x'"),
        (["train", "--resume"], "Missing value for argument '--resume'"),
        (["adapt"], "Missing from mrcom adapt: RUN"),
        (["train", "--seed", "-1"], "--seed -1 must lie in .*the nearest is 0"),
        (["study", "latent-error", "--seeds", "1", "4294967296"], "the nearest is 2147483647"),
    ],
)
def test_an_option_that_cannot_be_read_is_answered_in_one_line(capsys, args, said):
    assert re.search(said, failure(capsys, *args))


def test_an_error_of_several_lines_is_printed_in_one(capsys, monkeypatch):
    def diverge(options):
        raise TrainingDivergedError("kl is nan\n  in walker")

    monkeypatch.setitem(cli.RUN, cli.doctor.Doctor, diverge)
    assert failure(capsys, "doctor") == "error: kl is nan in walker\n"


def test_an_interrupted_command_has_code_130(capsys, monkeypatch):
    def interrupt(options):
        raise KeyboardInterrupt

    monkeypatch.setitem(cli.RUN, cli.doctor.Doctor, interrupt)
    assert cli.main(["doctor"]) == 130


def test_a_mistake_of_ours_is_not_hidden(monkeypatch):
    def mistake(options):
        raise KeyError("a bug")

    monkeypatch.setitem(cli.RUN, cli.doctor.Doctor, mistake)
    with pytest.raises(KeyError):
        cli.main(["doctor"])


def test_a_reader_that_stops_reading_is_no_error():
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-m", "mrcom.cli", "scenarios", "--json"],
        stdout=write,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ("--body wakler", "Did you mean 'walker'?"),
        ("--alpha 95", "nearest legal value is 90"),
        ("--alpha -1", "nearest legal value is 0"),
        ("--beta 0", "beta=0"),
        ("--beta 101", "nearest legal value is 100"),
        ("--count 0", "count=0"),
        ("--reward tarck", "Did you mean 'track'?"),
        ("--observation plane", "Did you mean 'plain'?"),
    ],
)
def test_bad_scenarios_are_refused_in_one_line(capsys, args, said):
    assert said in failure(capsys, "scenarios", *args.split())


def test_two_folders_for_one_run_are_refused(capsys):
    said = failure(capsys, "expert", "--body", "walker", "--run-dir", "a", "--resume", "b")
    assert "two folders" in said
