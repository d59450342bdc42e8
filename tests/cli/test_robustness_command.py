"""A run with the Jacobian's term and a latent error, and what perturbations do to it."""

import json

import pytest

from mrcom.cli.main import main
from mrcom.evaluate.robustness import Cell
from mrcom.evaluate.scores import read_records, read_scores
from mrcom.train.log import read_log

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
