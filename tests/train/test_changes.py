"""What a run refuses before it begins or goes on, and what may change in it."""

import dataclasses
import re
import shutil

import pytest
from toy import CONFIG, toy_run

from mrcom.core.errors import CheckpointError, ConfigError, RunFolderError
from mrcom.train.checkpoint import Checkpoints
from mrcom.train.repair import repair
from mrcom.train.run_folder import open_run, write_config


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The folder of a run that nothing disturbed."""
    path = tmp_path_factory.mktemp("whole") / "run"
    toy_run(path)
    return path


def test_a_run_that_needs_more_memory_than_allowed_is_refused_before_it_begins(tmp_path, capsys):
    with pytest.raises(ConfigError, match=r"needs about .* MB replay, .* compiler\)") as error:
        toy_run(tmp_path / "run", memory_limit=0.01)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "run").exists()
    least = float(re.search(r"Give (\S+) or more", str(error.value)).group(1))
    with pytest.raises(ConfigError):
        toy_run(tmp_path / "run", memory_limit=least - 0.001)
    toy_run(tmp_path / "run", memory_limit=least)
    assert re.search(r"run: memory: about \S+ [MG]B \(.* within an update", capsys.readouterr().err)


def longer(**amount):
    return dataclasses.replace(CONFIG, budget=dataclasses.replace(CONFIG.budget, **amount))


def test_another_configuration_is_refused_naming_every_key_that_differs(tmp_path, whole):
    other = dataclasses.replace(longer(updates=80), seed=4)
    with pytest.raises(RunFolderError) as error:
        toy_run(whole, other, resume=True)
    said = str(error.value)
    assert "budget.updates=60, not 80, seed=3, not 4;" in said
    assert "--allow-change budget.updates, or" in said
    with pytest.raises(RunFolderError, match="has seed=3, not 4;"):
        toy_run(whole, other, resume=True, allow_change=("budget.updates",))
    with pytest.raises(ConfigError, match=r"'seed'.*budget\.rounds, budget\.updates"):
        toy_run(whole, other, resume=True, allow_change=("budget.updates", "seed"))


def test_a_checkpoint_of_another_configuration_than_the_one_beside_it_is_refused(tmp_path, whole):
    path = shutil.copytree(whole, tmp_path / "run")
    other = dataclasses.replace(CONFIG, seed=4)
    write_config(open_run(path), other)
    with pytest.raises(CheckpointError, match="it has seed=3, not 4"):
        toy_run(path, other, resume=True)


def test_more_rounds_without_more_updates_are_collected_once(tmp_path, whole):
    path = shutil.copytree(whole, tmp_path / "run")
    run = toy_run(path, longer(rounds=4), resume=True, allow_change=("budget.rounds",))
    assert (len(run.rounds), run.counters.updates) == (6, 60)
    assert Checkpoints(path / "checkpoints").read_meta()["rounds"] == run.rounds


def test_a_finished_run_becomes_longer_where_that_is_allowed(tmp_path, whole):
    path = tmp_path / "run"
    shutil.copytree(whole, path)
    allowed = ("budget.rounds", "budget.updates")
    run = toy_run(path, longer(rounds=4, updates=100), resume=True, allow_change=allowed)
    assert (run.counters.updates, run.phase, len(run.rounds)) == (100, 5, 6)
    kept = Checkpoints(path / "checkpoints").read_meta()
    assert kept["config"]["budget"]["updates"] == 100
    (note,) = open_run(path).changed
    assert note == {
        "at_update": 60,
        "from_to": {"budget.rounds": [2, 4], "budget.updates": [60, 100]},
    }
    again = toy_run(path, longer(rounds=4, updates=100), resume=True)
    assert again.counters == run.counters
    open_run(path).config_file.unlink()
    repair(path)
    assert open_run(path).changed == [note], "the checkpoint holds it too"


def test_a_change_that_the_stored_state_does_not_fit_is_refused_in_one_line(tmp_path, whole):
    path = tmp_path / "run"
    shutil.copytree(whole, path)
    with pytest.raises(CheckpointError, match="The stored seen has shape") as error:
        toy_run(path, longer(rounds=1), resume=True, allow_change=("budget.rounds",))
    assert "\n" not in str(error.value)
