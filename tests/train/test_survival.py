"""Whatever stops a run, nothing that was saved is lost, and going on gives the same bits."""

import dataclasses
import errno
import multiprocessing
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from toy import CONFIG, LOG, contents, toy_run

from mrcom.cli.main import main
from mrcom.core import files
from mrcom.core.errors import CheckpointError, ConfigError, RunFolderError, Stopped
from mrcom.train import loop, member
from mrcom.train.log import read_log
from mrcom.train.repair import repair
from mrcom.train.run_folder import RunFolder, locked, open_run

# A read that fails leaves the storage library's event loop to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


class Cut(BaseException):
    """What ends a run here: nobody catches it."""


def cut_at(monkeypatch, owner, name, count, error=Cut):
    """The n-th call of a function fails; those before and after do not."""
    real, calls = getattr(owner, name), []

    def failing(*args, **kwargs):
        calls.append(1)
        if len(calls) == count:
            raise error
        return real(*args, **kwargs)

    monkeypatch.setattr(owner, name, failing)


@pytest.mark.parametrize("update", [1, 7, 8, 20, 21, 45])
def test_going_on_from_inside_a_phase_gives_the_same_bits(tmp_path, whole, monkeypatch, update):
    cut_at(monkeypatch, member, "write_back", update)
    with pytest.raises(Cut):
        toy_run(tmp_path / "run")
    toy_run(tmp_path / "run", resume=True)
    assert contents(tmp_path / "run") == contents(whole)


def test_how_often_is_saved_changes_no_number(tmp_path, whole):
    toy_run(tmp_path / "run", save_every=1000)
    assert contents(tmp_path / "run") == contents(whole)
    with pytest.raises(ConfigError, match="save_every=0"):
        toy_run(tmp_path / "other", save_every=0)


def test_what_was_collected_after_the_checkpoint_is_not_in_the_replay(tmp_path, monkeypatch):
    cut_at(monkeypatch, member.Checkpoints, "save", 2)  # a round is stored, nothing says so yet
    with pytest.raises(Cut):
        toy_run(tmp_path / "run")
    assert len(list((tmp_path / "run" / "replay").iterdir())) == 3
    seen = []
    simulator = member.Simulator
    monkeypatch.setattr(member, "Simulator", lambda *a, **k: seen.append(1) or simulator(*a, **k))
    cut_at(monkeypatch, loop, "collect", 1)
    with pytest.raises(Cut):
        toy_run(tmp_path / "run", resume=True)
    assert seen and len(list((tmp_path / "run" / "replay").iterdir())) == 2


@pytest.mark.parametrize(
    ("call", "count"), [("fsync", 1), ("fsync", 3), ("fsync", 6), ("rename", 1), ("rename", 5)]
)
def test_a_full_disk_loses_nothing(tmp_path, whole, monkeypatch, call, count):
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    cut_at(monkeypatch, files.os, call, count, full)
    with pytest.raises(RunFolderError, match=r"No space left.*make room.*--resume"):
        toy_run(tmp_path / "run")
    assert not files.drop_leftovers(tmp_path)
    toy_run(tmp_path / "run", resume=(tmp_path / "run" / "config.json").exists())
    assert contents(tmp_path / "run") == contents(whole)


def mounts():
    """Whether this process may mount file systems of its own."""
    tried = ["unshare", "-m", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    return (
        bool(shutil.which("unshare")) and subprocess.run(tried, capture_output=True).returncode == 0
    )


@pytest.mark.slow
@pytest.mark.skipif(not mounts(), reason="needs the right to mount")
def test_a_disk_that_is_really_full_and_one_that_is_read_only(tmp_path, whole):
    folder = tmp_path / "disk"
    folder.mkdir()
    script = tmp_path / "once.py"
    script.write_text(
        "import pathlib, sys\n"
        f"sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "from mrcom.core.errors import MrcomError\n"
        "from toy import toy_run\n"
        "path = pathlib.Path(sys.argv[1])\n"
        "try:\n"
        "    toy_run(path, resume=path.exists())\n"
        "except MrcomError as error:\n"
        "    print('error:', error)\n"
    )
    # Threads of the storage library print traces of their own.
    once = f"{sys.executable} {script} {folder}/run 2>>{tmp_path}/traces"
    lines = [
        f"mount -t tmpfs -o size=36k tmpfs {folder}",
        once,
        f"mount -o remount,size=10m {folder}",
        f"mount -o remount,ro {folder}",
        once,
        f"mount -o remount,rw {folder}",
        once,
        f"cp -r {folder}/run {tmp_path}/copy",
    ]
    shell = ["unshare", "-m", "sh", "-c", "; ".join(lines)]
    printed = subprocess.run(shell, capture_output=True, text=True, cwd=tmp_path).stdout
    said = [line for line in printed.splitlines() if line.startswith("error:")]
    assert len(said) == 2, printed + (tmp_path / "traces").read_text()
    assert re.search(r"error: .*No space left on device.*--resume", said[0])
    assert re.search(r"error: .*Read-only file system", said[1])
    assert contents(tmp_path / "copy") == contents(whole)


def damaged(path: Path, how: str) -> None:
    if path.is_dir():
        path = max((file for file in path.rglob("*") if file.is_file()), key=os.path.getsize)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data if how == "altered" else data[: len(data) // 2])


@pytest.mark.parametrize("how", ["truncated", "altered"])
@pytest.mark.parametrize("part", ["checkpoints/47/arrays", "replay/000003.npz"])
def test_a_damaged_file_is_refused_and_the_run_goes_on_from_before(
    tmp_path, whole, monkeypatch, capsys, part, how
):
    path = tmp_path / "run"
    cut_at(monkeypatch, member, "write_back", 48)
    with pytest.raises(Cut):
        toy_run(path, save_every=47)
    # Checkpoints after 20 updates (three rounds), 40 and 47 (four).
    damaged(path / part, how)
    with pytest.raises(CheckpointError, match=r"damaged.*doctor"):
        toy_run(path, resume=True)
    assert main(["doctor", str(path)]) == 0
    assert "moved to" in capsys.readouterr().out
    assert list((path / "broken").iterdir())
    toy_run(path, resume=True)
    assert contents(path) == contents(whole)
    assert main(["doctor", str(path)]) == 0


def test_an_episode_of_another_run_is_noticed(tmp_path, monkeypatch):
    cut_at(monkeypatch, member, "write_back", 30)
    with pytest.raises(Cut):
        toy_run(tmp_path / "run")
    replay = tmp_path / "run" / "replay"
    shutil.copy(replay / "000000.npz", replay / "000001.npz")  # whole, but not what was collected
    with pytest.raises(CheckpointError, match="not those that were collected"):
        toy_run(tmp_path / "run", resume=True)


def test_a_clock_that_was_set_back_changes_nothing(tmp_path, whole, monkeypatch):
    cut_at(monkeypatch, member, "write_back", 30)
    with pytest.raises(Cut):
        toy_run(tmp_path / "run")
    events = {file.name for file in (tmp_path / "run" / "tensorboard").iterdir()}
    first = min(float(name.split(".")[3]) for name in events)
    monkeypatch.setattr(time, "time", lambda: first)
    toy_run(tmp_path / "run", resume=True)
    assert contents(tmp_path / "run") == contents(whole)
    assert {file.name for file in (tmp_path / "run" / "tensorboard").iterdir()} > events
    seconds = [line["wall_s"] for line in read_log(tmp_path / "run" / LOG)]
    assert seconds == sorted(seconds)


def test_lines_of_other_stages_outlive_going_on(tmp_path, whole, monkeypatch):
    cut_at(monkeypatch, member, "write_back", 30)
    with pytest.raises(Cut):
        toy_run(tmp_path / "run")
    line = '{"stage": "adapted", "wall_s": 1.0}\n'
    with (tmp_path / "run" / "metrics.jsonl").open("a") as file:
        file.write(line)
    for _ in range(2):  # the second time the run is finished, and its log is left alone
        toy_run(tmp_path / "run", resume=True)
        assert (tmp_path / "run" / "metrics.jsonl").read_text().count(line) == 1
    stages = [record["stage"] for record in read_log(tmp_path / "run" / LOG)]
    assert len(stages) == len(read_log(whole / LOG)) + 1


def hold(path, ready):
    with locked(open_run(path)):
        ready.set()
        time.sleep(60)


def test_a_second_process_is_refused_with_the_number_of_the_first(tmp_path, whole):
    path = tmp_path / "run"
    shutil.copytree(whole, path)
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    process = context.Process(target=hold, args=(path, ready))
    process.start()
    try:
        assert ready.wait(60)
        for command in (lambda: toy_run(path, resume=True), lambda: repair(path)):
            with pytest.raises(RunFolderError, match=f"by process {process.pid};"):
                command()
    finally:
        process.kill()
        process.join()
    toy_run(path, resume=True)  # a dead process holds nothing


@pytest.mark.parametrize("update", [3, 20, 30])
def test_sigterm_finishes_the_update_saves_and_stops(tmp_path, whole, monkeypatch, update):
    real, calls = member.write_back, []

    def interrupted(*args):
        real(*args)
        calls.append(1)
        if len(calls) == update:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(member, "write_back", interrupted)
    with pytest.raises(Stopped, match=rf"after {update} updates; go on with --resume"):
        toy_run(tmp_path / "run", save_every=1000)
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    assert len(calls) == update
    toy_run(tmp_path / "run", resume=True)
    assert len(calls) == 60, "no update is made twice"
    assert contents(tmp_path / "run") == contents(whole)


def test_sigterms_between_rounds_keep_those_that_are_collected(tmp_path, monkeypatch):
    amount = dataclasses.replace(CONFIG.budget, random_rounds=3, rounds=0)
    config = dataclasses.replace(CONFIG, budget=amount)
    toy_run(tmp_path / "whole", config)
    real, calls = member.EpisodeFiles.write, []

    def interrupted(*args, **kwargs):
        calls.append(1)
        if len(calls) < 3:
            os.kill(os.getpid(), signal.SIGTERM)
        return real(*args, **kwargs)

    monkeypatch.setattr(member.EpisodeFiles, "write", interrupted)
    for resume in (False, True):
        with pytest.raises(Stopped, match="after 0 updates"):
            toy_run(tmp_path / "run", config, resume=resume)
    toy_run(tmp_path / "run", config, resume=True)
    assert len(calls) == 3 + amount.expert_rounds, "no round is collected twice"
    assert contents(tmp_path / "run") == contents(tmp_path / "whole")


def test_a_run_that_sigterm_stopped_exits_with_0(monkeypatch, capsys):
    def stopped(options, name):
        raise Stopped("stopped after 3 updates")

    monkeypatch.setattr("mrcom.cli.train.train_or_resume", stopped)
    assert main(["train"]) == 0
    assert capsys.readouterr().err == "stopped after 3 updates\n"


def test_a_phase_without_updates_is_kept_too(tmp_path):
    few = dataclasses.replace(
        CONFIG, budget=dataclasses.replace(CONFIG.budget, rounds=4, updates=2)
    )
    run = toy_run(tmp_path / "run", few)
    before = contents(tmp_path / "run")
    assert before["record"]["meta"]["counters"] == dataclasses.asdict(run.counters)
    again = toy_run(tmp_path / "run", few, resume=True)
    assert (again.counters, again.phase) == (run.counters, run.phase)
    assert contents(tmp_path / "run") == before


def test_a_folder_in_which_nothing_was_begun_says_how_to_begin(tmp_path):
    path = tmp_path / "run"
    path.mkdir()
    (path / ".lock").touch()
    with pytest.raises(RunFolderError, match="Nothing was begun in it: give it as --run-dir"):
        toy_run(path, resume=True)
    toy_run(path)


def test_who_comes_second_to_a_new_folder_changes_nothing_in_it(tmp_path):
    path = tmp_path / "run"
    path.mkdir()
    with (
        locked(RunFolder(path)),
        pytest.raises(RunFolderError, match=f"is being written by process {os.getpid()}"),
    ):
        toy_run(path)
    assert [file.name for file in path.iterdir()] == [".lock"]
