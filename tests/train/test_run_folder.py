"""A run folder belongs to one run."""

import dataclasses
import json
import os

import pytest

import mrcom
from mrcom.core.config import short_hash
from mrcom.core.errors import RunFolderError
from mrcom.train.run_folder import create_run, free_path, locked, open_run, write_config, write_json


@dataclasses.dataclass(frozen=True)
class Model:
    width: int = 8


@dataclasses.dataclass(frozen=True)
class Run:
    seed: int = 0
    bodies: tuple[str, ...] = ("hopper", "walker")
    model: Model = dataclasses.field(default_factory=Model)


def test_a_new_folder_holds_the_whole_configuration_its_hash_and_the_version(tmp_path):
    folder = create_run(tmp_path / "runs" / "a", Run(seed=3))
    record = json.loads(folder.config_file.read_text())
    assert record["config"] == {"seed": 3, "bodies": ["hopper", "walker"], "model": {"width": 8}}
    assert record["hash"] == short_hash(Run(seed=3))
    assert record["mrcom"] == mrcom.__version__
    assert open_run(folder.path).config == record["config"]


def test_a_folder_that_exists_is_refused_and_left_alone(tmp_path):
    create_run(tmp_path / "a", Run(seed=3))
    with pytest.raises(RunFolderError, match=r"exists already.*--resume"):
        create_run(tmp_path / "a", Run(seed=4))
    assert open_run(tmp_path / "a").config["seed"] == 3


def test_an_empty_folder_may_be_used(tmp_path):
    create_run(tmp_path, Run())
    assert open_run(tmp_path)


def test_a_file_in_its_place_is_refused(tmp_path):
    (tmp_path / "a").touch()
    with pytest.raises(RunFolderError, match="exists already"):
        create_run(tmp_path / "a", Run())


def test_resuming_opens_the_same_run(tmp_path):
    create_run(tmp_path / "a", Run())
    assert create_run(tmp_path / "a", Run(), resume=True) == open_run(tmp_path / "a")


def test_resuming_with_another_setting_is_refused_by_name(tmp_path):
    create_run(tmp_path / "a", Run())
    with pytest.raises(RunFolderError, match=r"model\.width=8, not 16"):
        create_run(tmp_path / "a", Run(model=Model(16)), resume=True)


def test_a_setting_that_is_newer_than_the_folder_has_its_default(tmp_path):
    folder = create_run(tmp_path / "a", Run())
    record = json.loads(folder.config_file.read_text())
    del record["config"]["seed"]
    write_json(folder.config_file, record | {"hash": short_hash(record["config"])})
    assert create_run(tmp_path / "a", Run(), resume=True) == folder
    with pytest.raises(RunFolderError, match="seed=0, not 1"):
        create_run(tmp_path / "a", Run(seed=1), resume=True)


def test_a_configuration_that_is_not_the_one_of_its_hash_is_refused(tmp_path):
    folder = create_run(tmp_path / "a", Run())
    record = json.loads(folder.config_file.read_text())
    record["config"]["seed"] = 1
    write_json(folder.config_file, record)
    with pytest.raises(RunFolderError, match=r"was changed: .*`mrcom doctor .*/a` restores it"):
        create_run(tmp_path / "a", Run(seed=1), resume=True)


def test_resuming_what_is_not_there_names_the_runs_beside_it(tmp_path):
    create_run(tmp_path / "a", Run())
    with pytest.raises(RunFolderError, match=r"not a run folder.*beside it: a\."):
        create_run(tmp_path / "b", Run(), resume=True)


@pytest.mark.parametrize("parent", ["/proc", "file"])
def test_an_unwritable_place_is_refused(tmp_path, parent):
    (tmp_path / "file").touch()
    with pytest.raises(RunFolderError, match="cannot be written"):
        create_run(tmp_path / parent / "a", Run())


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 1}'])
def test_a_damaged_configuration_is_refused(tmp_path, text):
    folder = create_run(tmp_path / "a", Run())
    folder.config_file.write_text(text)
    with pytest.raises(RunFolderError, match="cannot be read"):
        open_run(folder.path)


def test_another_format_is_refused(tmp_path):
    folder = create_run(tmp_path / "a", Run())
    write_json(folder.config_file, json.loads(folder.config_file.read_text()) | {"format": 9})
    with pytest.raises(RunFolderError, match="format 9"):
        open_run(folder.path)


def test_default_names_never_meet(tmp_path):
    names = []
    for _ in range(3):
        path = free_path("tiny-0", tmp_path)
        create_run(path, Run())
        names.append(path.name)
    assert names == ["tiny-0", "tiny-0-2", "tiny-0-3"]


def test_a_folder_in_which_a_run_was_killed_before_it_began_may_be_used(tmp_path):
    for name in (".writable", ".lock", ".config.json.draft"):
        (tmp_path / name).touch()
    assert create_run(tmp_path, Run())


def test_what_may_differ_is_written_down_when_it_does(tmp_path):
    folder = create_run(tmp_path / "a", Run())
    with pytest.raises(RunFolderError, match=r"seed=0, not 1; .*add --allow-change seed, or"):
        create_run(tmp_path / "a", Run(seed=1), resume=True, changeable=("seed",))
    create_run(tmp_path / "a", Run(seed=1), resume=True, allowed=("seed",))
    assert folder.config["seed"] == 0, "what goes on decides when it is true"
    write_config(folder, Run(seed=1), [{"seed": [0, 1]}])
    assert (folder.config["seed"], folder.changed) == (1, [{"seed": [0, 1]}])


def test_a_folder_is_written_by_one_process_at_a_time(tmp_path):
    folder = create_run(tmp_path / "a", Run())
    said = f"by process {os.getpid()};"
    # A second opening of the file is refused, even in one process.
    with locked(folder), pytest.raises(RunFolderError, match=said), locked(folder):
        pass
    with locked(folder):
        pass
