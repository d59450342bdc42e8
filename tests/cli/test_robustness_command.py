"""A run with the Jacobian's term and a latent error, and what perturbations do to it."""

import json

import pytest

from mrcom.cli.main import main
from mrcom.cli.train import Train, config_of
from mrcom.core.rng import root_key
from mrcom.evaluate.judge import Trial
from mrcom.evaluate.robustness import Cell
from mrcom.evaluate.scores import read_records, read_scores
from mrcom.train import contestants
from mrcom.train import run as train_run
from mrcom.train.log import read_log
from mrcom.train.run import begin
from mrcom.train.run_folder import create_run

DEBUG = ["--budget", "debug", "--updates", "20", "--bodies", "cheetah", "--prompt", "none"]


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "dreamer"
    asked = ["--jacobian", "0.01", "--latent-error", "0..1,0.1", "--run-dir", str(path)]
    assert main(["train", "--method", "dreamer", *DEBUG, *asked]) == 0
    return path


@pytest.mark.slow
def test_the_jacobian_is_in_the_log_and_in_the_configuration(run_dir):
    assert all(line["loss/jacobian"] > 0 for line in read_log(run_dir / "metrics.jsonl", "train"))
    config = json.loads((run_dir / "config.json").read_text())["config"]
    assert config["method"]["name"] == "DreamerV3 + jacobian 0.01"
    assert config["latent_error"] == {"drift": [0.0, 1.0], "variance": [0.1, 0.1]}


@pytest.mark.slow
def test_robustness_is_measured_once_shown_and_drawn(run_dir, capsys):
    command = ["robustness", str(run_dir), "--only", "gravity", "latent-drift"]
    assert main(command) == 0
    shown = capsys.readouterr()
    assert "7.357 m/s^2" in shown.out and "latent drift" in shown.out
    assert (run_dir / "figures" / "robustness.png").is_file()
    before = (run_dir / "robustness.jsonl").read_bytes()
    assert main([*command, "--json"]) == 0
    assert (run_dir / "robustness.jsonl").read_bytes() == before
    assert len(json.loads(capsys.readouterr().out)) == len(
        read_records(run_dir / "robustness.jsonl", Cell)
    )


@pytest.mark.slow
def test_scores_with_a_latent_error_stand_beside_the_others(run_dir):
    assert main(["evaluate", str(run_dir), "--latent-error", "0,1"]) == 0
    methods = {score.method for score in read_scores(run_dir / "scores.jsonl")}
    assert methods == {"random", "expert", "behaviour, latent error 0,1"}


@pytest.mark.parametrize("method", ["cadm", "dreamer"])
def test_latent_errors_that_no_policy_feels_are_refused_before_anything_is_measured(
    method, tmp_path, monkeypatch, capsys
):
    config = config_of(Train(method=method, budget="debug", bodies=("cheetah",), prompt="none"))
    run = begin(config, create_run(tmp_path / "run", config))
    run.state = run.agent.init(root_key(0))
    monkeypatch.setattr(train_run, "open_trained", lambda folder: run)
    monkeypatch.setattr(Trial, "random_returns", lambda *_: pytest.fail("something was measured"))
    if method == "dreamer":  # as where the only policy reads observations
        monkeypatch.setattr(contestants, "with_latent_error", lambda *_, **__: {})
    assert main(["robustness", str(tmp_path / "run"), "--only", "latent-error"]) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert "--only latent-error is felt by policies that act on a latent state" in said
    assert "0,0" not in said
