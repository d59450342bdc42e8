"""A file is the old or the new one, never half of either."""

import errno
import os
import pathlib
import threading
import time

import numpy as np
import pytest

from mrcom.core.errors import RunFolderError
from mrcom.core.files import draft_of, drop_leftovers, read_arrays, write_arrays, write_whole


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_the_old_file_stays_when_the_new_one_cannot_be_written(tmp_path, monkeypatch, call):
    path = tmp_path / "a"
    write_whole(path, lambda file: file.write(b"old"))

    def full(*args):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, call, full)
    with pytest.raises(RunFolderError, match="No space left") as error:
        write_whole(path, lambda file: file.write(b"new"))
    assert "\n" not in str(error.value)
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == ["a"]


def test_two_writers_of_one_file_take_turns(tmp_path):
    path, begun, second = tmp_path / "a", threading.Event(), []

    def slow(file):
        file.write(b"first, ")
        begun.set()
        time.sleep(0.2)  # the other one waits as long
        file.write(b"whole")

    first = threading.Thread(target=write_whole, args=(path, slow))
    first.start()
    begun.wait()
    write_whole(path, lambda file: (second.append(path.read_bytes()), file.write(b"second")))
    first.join()
    assert second == [b"first, whole"] and path.read_bytes() == b"second"
    assert os.listdir(tmp_path) == ["a"]


def test_a_writer_that_fails_leaves_the_one_that_waits_its_draft(tmp_path, monkeypatch):
    path, begun, unlink = tmp_path / "a", threading.Event(), pathlib.Path.unlink

    def full(file):
        begun.set()
        time.sleep(0.1)  # the other one waits as long
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def late(draft, **given):
        time.sleep(0.1)
        unlink(draft, **given)

    def failing():
        with pytest.raises(RunFolderError, match="No space left"):
            write_whole(path, full)

    monkeypatch.setattr(pathlib.Path, "unlink", late)
    first = threading.Thread(target=failing)
    first.start()
    begun.wait()
    write_whole(path, lambda file: (time.sleep(0.3), file.write(b"second")))
    first.join()
    assert path.read_bytes() == b"second" and os.listdir(tmp_path) == ["a"]


def test_what_a_killed_writer_left_is_removed(tmp_path):
    draft_of(tmp_path / "replay" / "x.npz").parent.mkdir()
    draft_of(tmp_path / "replay" / "x.npz").write_bytes(b"half")
    write_whole(tmp_path / "b", lambda file: file.write(b"whole"))
    half = tmp_path / "checkpoints" / "6.orbax-checkpoint-tmp"
    (half / "arrays").mkdir(parents=True)
    assert drop_leftovers(tmp_path) == [half.name, ".x.npz.draft"]
    assert drop_leftovers(tmp_path) == [] and (tmp_path / "b").exists() and not half.exists()


def test_arrays_come_back_by_name(tmp_path):
    write_arrays(tmp_path / "a.npz", {"x": np.arange(3), "y": np.zeros(())})
    found = read_arrays(tmp_path / "a.npz")
    assert set(found) == {"x", "y"}
    np.testing.assert_array_equal(found["x"], np.arange(3))


def test_a_bit_that_flipped_is_noticed_or_changes_nothing(tmp_path, flipped):
    path, arrays = tmp_path / "a.npz", {"x": np.arange(3.0), "y": np.array(True)}
    write_arrays(path, arrays)
    changes, noticed = flipped(path.read_bytes(), every=5), 0
    for changed in changes:
        path.write_bytes(changed)
        try:
            found = read_arrays(path)
        except (OSError, ValueError):
            noticed += 1
            continue
        assert set(found) <= set(arrays)  # the list of contents can lose one
        for name in found:
            np.testing.assert_array_equal(found[name], arrays[name])
    assert noticed > len(changes) / 2
