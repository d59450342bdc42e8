"""A run that sees pictures and vectors is adapted, and tried with what can be wrong with them."""

import dataclasses
import json

import pytest

from mrcom.cli.main import main
from mrcom.cli.train import Train, config_of
from mrcom.core.errors import ConfigError
from mrcom.evaluate import robustness
from mrcom.evaluate.robustness import Cell
from mrcom.evaluate.scores import read_records
from mrcom.train.adapt_config import AdaptConfig
from mrcom.train.adaptation import adapt_run
from mrcom.train.run import begin
from mrcom.train.run_folder import RunFolder

SEEING = Train(method="dreamer", budget="debug", bodies=("cheetah",), prompt="none")


def test_the_loss_term_of_pictures_can_be_left_out_where_there_are_vectors_too():
    config = config_of(dataclasses.replace(SEEING, inputs="both", without=("image",)))
    assert "image" not in config.method.terms and "reconstruction" in config.method.terms
    assert config.inputs == "both"
    with pytest.raises(ConfigError, match="Cannot remove 'image'"):
        config_of(dataclasses.replace(SEEING, without=("image",)))


def test_what_reads_vectors_is_refused_where_there_are_none(tmp_path):
    run = begin(config_of(dataclasses.replace(SEEING, inputs="images")), RunFolder(tmp_path))
    reads = AdaptConfig(policy_init="scratch", reads="observation")
    with pytest.raises(ConfigError, match="no vectors to read"):
        adapt_run(run, reads, run.config.budget, seed=0)


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "seeing"
    asked = ["--method", "dreamer", "--budget", "debug", "--bodies", "cheetah", "--prompt", "none"]
    amount = ["--updates", "6", "--rounds", "1"]
    wrong = ["--latent-error", "0,0.1"]
    given = [*asked, *amount, *wrong, "--inputs", "both", "--run-dir", str(path)]
    assert main(["train", *given]) == 0
    return path


@pytest.mark.slow
def test_a_run_with_pictures_is_adapted_and_tried_with_worse_ones(run_dir, monkeypatch, capsys):
    first = lambda one: dataclasses.replace(one, degrees=one.degrees[:1])
    few = {name: first(one) for name, one in robustness.PERTURBATIONS.items()}
    monkeypatch.setattr(robustness, "PERTURBATIONS", few)
    assert main(["adapt", str(run_dir), "--model", "finetune", "--no-control"]) == 0
    command = ["robustness", str(run_dir), "--policies", "behaviour", "adapted", "--only"]
    assert main([*command, "image-rotation", "latent-drift", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out.split("\n", 1)[1])
    found = read_records(run_dir / "robustness.jsonl", Cell)
    assert len(found) == len(shown)
    turned = {c.policy for c in found if c.perturbation == "image-rotation"}
    assert turned == {"behaviour", "adapted"}


@pytest.mark.slow
def test_perturbations_of_what_is_not_seen_are_refused(run_dir, monkeypatch, capsys):
    from mrcom.train import run as run_module

    real = run_module.restore

    def blind(run, *given, **options):
        position = real(run, *given, **options)
        run.config = dataclasses.replace(run.config, inputs="vectors")
        return position

    monkeypatch.setattr(run_module, "restore", blind)
    assert main(["robustness", str(run_dir), "--only", "image-noise"]) == 2
    assert "--only image-noise is about images" in capsys.readouterr().err
