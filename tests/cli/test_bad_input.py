"""What a user gets wrong is answered in one line, with code 2, before anything is computed."""

import dataclasses
import json
import pathlib

import jax.numpy as jnp
import pytest

from mrcom.cli.main import main
from mrcom.cli.train import Train, config_of
from mrcom.train.checkpoint import RECORD, Checkpoints
from mrcom.train.log import Counters
from mrcom.train.run import agent_of, values_of
from mrcom.train.run_folder import create_run
from mrcom.train.settings import training_worlds

DEBUG = Train(budget="debug", bodies=("cheetah",), prompt="none")
DEBUG_ARGS = ["--budget", "debug", "--bodies", "cheetah", "--prompt", "none"]


def failure(capsys, *args: str) -> str:
    """What a failing command says: one line, with code 2."""
    code = main(args)
    said = capsys.readouterr().err
    assert (code, said.count("\n"), said[:7]) == (2, 1, "error: "), said
    return said


@pytest.fixture
def run_dir(tmp_path) -> pathlib.Path:
    """A run whose checkpoint has another shape than its configuration says."""
    config = config_of(DEBUG)
    folder = create_run(tmp_path / "run", config)
    checkpoints = Checkpoints(folder.checkpoints)
    agent = values_of(agent_of(config, training_worlds(config)))
    meta = {"config": config, "agent": agent, "counters": Counters(), "phase": 0, "rounds": ()}
    checkpoints.save(0, {"x": jnp.zeros(3)}, meta=meta)
    checkpoints.close()
    return folder.path


@pytest.mark.parametrize("command", ["train", "demo"])
def test_a_run_folder_that_exists(capsys, command, tmp_path):
    create_run(tmp_path / "run", config_of(DEBUG))
    said = failure(capsys, command, "--budget", "debug", "--run-dir", str(tmp_path / "run"))
    assert "exists already" in said


@pytest.mark.parametrize("command", ["train", "demo"])
def test_a_folder_that_cannot_be_written(capsys, command, tmp_path):
    (tmp_path / "file").touch()
    said = failure(capsys, command, "--budget", "debug", "--run-dir", str(tmp_path / "file/run"))
    assert "cannot be written" in said


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--bodies", "chetah"], "Did you mean 'cheetah'?"),
        (["--bodies", "cheetah", "hopper", "cheetah"], "body 'cheetah' is given 2 times"),
        (["--split", "table1-e"], "Unknown split"),
        (["--without", "dreams"], "dreams"),
        (["--split", "shell:20,100:10,50"], "'shell', but its test box"),
        (["--split", "shell:10,50"], "must be KIND:TRAIN:TEST: shell:10,50:20,100"),
        (["--split", "wide:10,50:x,50"], "box 'x,50' must be ALPHA,BETA"),
    ],
)
def test_a_name_that_does_not_exist(capsys, tmp_path, args, said):
    assert said in failure(capsys, "train", "--run-dir", "run", *args)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--alpha", "91"], "alpha=91 % must lie in [0, 90]; the nearest legal value is 90."),
        (["--alpha", "-1"], "the nearest legal value is 0."),
        (["--beta", "101"], "beta=101 % must lie in (0, 100]; the nearest legal value is 100."),
        (["--beta", "0"], "the nearest legal value is any value above 0"),
        (["--count", "0"], "count=0 must be at least 1"),
        (["--body", "wlaker"], "Did you mean 'walker'?"),
    ],
)
def test_a_scenario_that_cannot_be(capsys, args, said):
    assert said in failure(capsys, "scenarios", "--body", "walker", *args)


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("windows.length=62", "the 61 steps of an episode, its first included; the nearest is 61."),
        ("windows.context=1000", "windows.context=1000 must equal model.context.window="),
    ],
)
def test_windows_that_do_not_fit(capsys, tmp_path, setting, said):
    args = ("--budget", "debug", "--run-dir", "run", "--set", setting)
    assert said in failure(capsys, "train", *args)
    assert not (tmp_path / "run").exists()


def test_resuming_with_another_setting(capsys, tmp_path):
    create_run(tmp_path / "run", config_of(DEBUG))
    said = failure(capsys, "train", "--resume", "run", *DEBUG_ARGS, "--seed", "5")
    assert "seed=0, not 5" in said


@pytest.mark.parametrize(
    ("option", "words"),
    [(["--seed=0"], "seed=5, not 0"), (["--reward", "track"], "reward='reach', not 'track'")],
)
def test_resuming_with_the_default_of_a_setting_that_has_another_value(
    capsys, tmp_path, option, words
):
    other = {"seed": 5, "reward": "reach"}
    create_run(tmp_path / "run", dataclasses.replace(config_of(DEBUG), **other))
    assert words in failure(capsys, "train", "--resume", "run", *option)


def test_resuming_with_more_updates_that_were_not_allowed(capsys, tmp_path):
    create_run(tmp_path / "run", config_of(DEBUG))
    said = failure(capsys, "train", "--resume", "run", "--updates", "20")
    assert "budget.updates=8, not 20" in said and "--allow-change budget.updates," in said
    said = failure(capsys, "train", "--resume", "run", "--allow-change", "budget.update")
    assert "Did you mean 'budget.updates'?" in said


def test_the_name_of_a_budget_says_what_was_changed_in_it():
    amount = config_of(dataclasses.replace(DEBUG, rounds=3)).budget
    assert (amount.name, amount.rounds, amount.updates) == ("debug-3x8", 3, 8)


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--updates", "0"], "--updates 0 must be at least 1"),
        (["--rounds", "-1"], "--rounds -1 must be at least 0"),
        (["--save-every", "0"], "save_every=0 must be at least 1"),
        (["--memory-limit", "0.0001"], "--memory-limit 0.0001 [GB] is too little"),
        (["--memory-limit", "nan"], "--memory-limit nan [GB] is too little"),
    ],
)
def test_a_number_that_cannot_be(capsys, tmp_path, args, said):
    assert said in failure(capsys, "train", "--run-dir", "run", *DEBUG_ARGS, *args)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--reads", "observation"], "policy_init='scratch'"),
        (
            ["--reads", "observation", "--policy-init", "scratch", "--learner", "imagination"],
            "reads='feature'",
        ),
        (["--name", "a/b"], "'a-b'"),
        (["--name", "sac"], "'sac-adapted'"),
        (["--name", "expert"], "'expert-adapted'"),
    ],
)
def test_an_adaptation_that_cannot_be(capsys, args, said):
    assert said in failure(capsys, "adapt", "nowhere", *args)


@pytest.mark.parametrize("command", ["adapt", "evaluate", "report"])
def test_a_folder_that_is_no_run(capsys, command):
    assert "not a run folder" in failure(capsys, command, "nowhere")


@pytest.mark.parametrize("command", ["adapt", "evaluate"])
def test_a_run_without_a_checkpoint(capsys, command, tmp_path):
    create_run(tmp_path / "run", config_of(DEBUG))
    assert "no checkpoint" in failure(capsys, command, "run")


def test_a_checkpoint_of_another_shape(capsys, run_dir):
    assert "of another model" in failure(capsys, "adapt", str(run_dir))


def test_a_checkpoint_of_another_version(capsys, run_dir):
    path = run_dir / "checkpoints" / "0" / RECORD
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 99, "mrcom": "9.9"}))
    assert "format 99, written by mrcom 9.9" in failure(capsys, "adapt", str(run_dir))


def test_a_configuration_of_another_version(capsys, run_dir):
    path = run_dir / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 99}))
    assert "format 99" in failure(capsys, "report", str(run_dir))
