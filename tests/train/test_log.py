"""Every line of a log is whole, carries all counters, and is never lost or repeated."""

import contextlib
import json
import math
import os
import socket

import numpy as np
import pytest

from mrcom.core.errors import RunFolderError
from mrcom.train.log import Counters, Log, read_log


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run" / "metrics.jsonl"


def test_a_line_holds_stage_counters_time_and_values(path):
    with Log(path, tensorboard=False) as log:
        log.write("train", Counters(4, 3, 2, 1), {"loss": np.float32(0.5)})
    (record,) = read_log(path)
    assert record.pop("wall_s") >= 0
    assert record == {
        "stage": "train",
        "env_steps": 4,
        "dream_steps": 3,
        "updates": 2,
        "episodes": 1,
        "loss": 0.5,
    }


def test_a_line_can_be_read_as_soon_as_it_is_written(path):
    with Log(path, tensorboard=False) as log:
        log.write("train", Counters(), {})
        assert len(read_log(path)) == 1


def test_every_line_is_strict_json_also_where_a_value_is_not_finite(path):
    with Log(path, tensorboard=False) as log:
        log.write("train", Counters(), {"a": math.nan, "b": -math.inf, "c": 1.0})
    json.loads(path.read_text(), parse_constant=pytest.fail)
    assert [read_log(path)[0][name] for name in "abc"] == [None, None, 1.0]


def test_a_torn_line_is_not_read_and_the_next_one_does_not_join_it(path):
    with Log(path, tensorboard=False) as log:
        log.write("train", Counters(updates=1), {})
    with path.open("a") as file:
        file.write('{"stage": "tr')
    assert len(read_log(path)) == 1
    with Log(path, tensorboard=False) as log:
        log.write("train", Counters(updates=2), {})
    assert [record["updates"] for record in read_log(path)] == [1, 2]


def test_going_on_from_a_checkpoint_drops_what_was_logged_after_it(path):
    with Log(path, tensorboard=False) as log:
        log.write("train", Counters(updates=1), {})
        position = log.position
        log.write("train", Counters(updates=2), {"loss": 1.0})
    with Log(path, position=position, again=("train",), tensorboard=False) as log:
        log.write("train", Counters(updates=2), {"loss": 2.0})
    assert [record.get("loss") for record in read_log(path)] == [None, 2.0]


def test_going_on_keeps_the_lines_of_stages_that_are_not_logged_again(path):
    with Log(path, tensorboard=False) as log:
        log.write("train", Counters(updates=1), {})
        position = log.position
        for stage in ("collect/random", "adapted", "train", "sac"):
            log.write(stage, Counters(updates=2), {})
    with path.open("a") as file:
        file.write('{"stage": "adap')
    Log(path, position=position, again=("collect", "train"), tensorboard=False).close()
    assert [record["stage"] for record in read_log(path)] == ["train", "adapted", "sac"]


def test_a_line_that_does_not_fit_on_the_disk_leaves_no_half_behind(path, monkeypatch):
    real = os.write
    with Log(path, tensorboard=False) as log:
        log.write("train", Counters(updates=1), {})
        monkeypatch.setattr(os, "write", lambda file, line: real(file, line[:9]))
        with pytest.raises(RunFolderError, match=r"No space left.*make room"):
            log.write("train", Counters(updates=2), {})
        monkeypatch.setattr(os, "write", real)
        log.write("train", Counters(updates=2), {})
    assert [json.loads(line)["updates"] for line in path.read_text().splitlines()] == [1, 2]


def test_two_event_files_of_one_second_are_two_files(path, monkeypatch):
    monkeypatch.setattr("time.time", lambda: 1e9)
    for _ in range(2):
        with Log(path) as log:
            log.write("train", Counters(), {"loss": 0.5})
    assert len(list((path.parent / "tensorboard").iterdir())) == 2


def test_time_counts_on_after_an_interruption(path):
    path.parent.mkdir()
    path.write_text('{"stage": "train", "wall_s": 100.0}\n')
    with Log(path, tensorboard=False) as log:
        log.write("train", Counters(), {})
    assert 100 <= read_log(path)[1]["wall_s"] < 160


def test_one_stage_can_be_asked_for(path):
    with Log(path, tensorboard=False) as log:
        log.write("train", Counters(), {"a": 1})
        log.write("adapt", Counters(), {"a": 2})
    assert [record["a"] for record in read_log(path, "adapt")] == [2]


def test_a_damaged_line_is_named_by_its_number(path):
    path.parent.mkdir()
    path.write_text('{"stage": "train"}\nnonsense\n')
    with pytest.raises(RunFolderError, match="line 2"):
        read_log(path)


def test_whatever_bit_flips_in_a_log_it_is_read_or_refused_and_goes_on(path, flipped):
    with Log(path, tensorboard=False) as log:
        for updates in range(2):
            log.write("train", Counters(updates=updates), {"loss": 0.5})
    for damaged in flipped(path.read_bytes(), every=3):
        path.write_bytes(damaged)
        for stage in (None, "train"):
            with contextlib.suppress(RunFolderError):
                read_log(path, stage)
        Log(path, tensorboard=False).close()
        Log(path, position=0, again=("train",), tensorboard=False).close()


def test_time_counts_on_behind_a_damaged_line(path):
    path.parent.mkdir()
    path.write_bytes(b'{"stage": "train", "wall_s": 100.0}\n{"stage": "\xff", "wall_s": 200.0}\n')
    with Log(path, tensorboard=False) as log:
        log.write("train", Counters(), {})
    assert 100 <= json.loads(path.read_bytes().splitlines()[-1])["wall_s"] < 160


def test_no_log_is_a_one_line_error(path, tmp_path):
    with pytest.raises(RunFolderError, match="cannot be read"):
        read_log(path)
    (tmp_path / "file").touch()
    with pytest.raises(RunFolderError, match="cannot be written"):
        Log(tmp_path / "file" / "metrics.jsonl")


def events_of(path):
    from tensorboardX.proto.event_pb2 import Event

    (file,) = (path.parent / "tensorboard").iterdir()
    data, events = file.read_bytes(), []
    while data:  # length, its checksum, the event, its checksum
        length = int.from_bytes(data[:8], "little")
        events.append(Event.FromString(data[12 : 12 + length]))
        data = data[16 + length :]
    return events


def test_tensorboard_has_the_same_numbers_by_stage_and_updates(path):
    with Log(path) as log:
        log.write("train", Counters(updates=7), {"loss": 0.5})
    scalars = [(v.tag, e.step, v.simple_value) for e in events_of(path) for v in e.summary.value]
    assert scalars == [("train/loss", 7, 0.5)]


@pytest.fixture
def full_disk(path, monkeypatch):
    """A full disk for TensorBoard's file alone."""
    monkeypatch.setattr("time.time", lambda: 1e9)
    folder = path.parent / "tensorboard"
    folder.mkdir(parents=True)
    (folder / "other").touch()
    name = f"events.out.tfevents.1000000000.{socket.gethostname()}.2"
    (folder / name).symlink_to("/dev/full")


@pytest.mark.timeout(30)
def test_a_full_disk_costs_tensorboard_and_no_line_of_the_log(path, full_disk, capfd):
    values = {f"loss_{number}": 0.5 for number in range(20)}
    with Log(path) as log:
        for updates in range(50):
            log.write("train", Counters(updates=updates), values)
    assert [record["updates"] for record in read_log(path)] == list(range(50))
    (said,) = capfd.readouterr().err.splitlines()
    assert said.startswith("without TensorBoard: ") and "No space left" in said


@pytest.mark.timeout(30)
def test_a_full_disk_is_said_by_the_log_and_not_by_tensorboard(path, full_disk, monkeypatch):
    real = os.write
    with pytest.raises(RunFolderError, match=r"metrics.jsonl cannot be written"), Log(path) as log:
        log.write("train", Counters(), {"loss": 0.5})
        monkeypatch.setattr(os, "write", lambda file, line: real(file, line[:9]))
        log.write("train", Counters(), {"loss": 0.5})


def test_a_tensorboard_folder_that_cannot_be_made_stops_nothing(path, capfd):
    path.parent.mkdir()
    (path.parent / "tensorboard").touch()
    with Log(path) as log:
        for updates in range(2):
            log.write("train", Counters(updates=updates), {"loss": 0.5})
    assert len(read_log(path)) == 2
    assert len(capfd.readouterr().err.splitlines()) == 1


def test_tensorboard_shows_nothing_twice_after_going_on(path):
    Log(path, tensorboard=False).close()
    with Log(path, position=0) as log:
        log.write("train", Counters(updates=7), {"loss": 0.5})
    starts = [event.step for event in events_of(path) if event.session_log.status]
    assert starts == [7]
