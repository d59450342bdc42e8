"""`mrcom diagnose`: estimates in a file and in tables, and what a method has not got in a line."""

import dataclasses
import json
import math
import re

import numpy as np
import pytest

from mrcom.agents.presets import budget
from mrcom.cli.main import main
from mrcom.cli.train import Train, config_of
from mrcom.core.errors import ConfigError
from mrcom.core.rng import root_key
from mrcom.theory import diagnosis, estimate
from mrcom.theory.bound import generalisation_bound
from mrcom.theory.diagnosis import Amount, amount_within
from mrcom.theory.estimate import diagnose
from mrcom.theory.probe import LABELS
from mrcom.train import run as train_run
from mrcom.train.run import Run, begin
from mrcom.train.run_folder import create_run

LITTLE = Amount(windows=2, horizon=10, probed=4, probe_steps=8)


@pytest.fixture(scope="module")
def untrained(tmp_path_factory):
    """Makes a run of a method that has learnt nothing, in the smallest size."""

    def make(method: str, **given: str) -> Run:
        given = {"budget": "debug", "bodies": ("hopper",), "prompt": "none"} | given
        config = config_of(Train(method=method, **given))
        run = begin(config, create_run(tmp_path_factory.mktemp("runs") / "run", config))
        run.state = run.agent.init(root_key(0))
        return run

    return make


@pytest.fixture(scope="module")
def run(untrained):
    return untrained("mrcom")


@pytest.fixture
def opened(monkeypatch):
    """Makes the command open a run that is in memory, and look at little of it."""

    def put(run: Run) -> list[str]:
        monkeypatch.setattr(train_run, "open_trained", lambda folder: run)
        monkeypatch.setattr(diagnosis, "amount_within", lambda steps: LITTLE)
        return ["diagnose", str(run.folder.path)]

    return put


@pytest.mark.slow
def test_estimates_are_printed_and_kept(run, opened, capsys):
    assert main(opened(run)) == 0
    said = capsys.readouterr().out
    for title in ("Held-out predictions of MrCoM", "Symbols of the bound", "The bound beside",
                  "What the context says"):  # fmt: skip
        assert title in said
    assert "too small" in said, "every proxy is called one"
    assert re.search(r"gap +printed +of largest +derived +of largest +at most", said)
    assert main([*opened(run), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found == json.loads((run.folder.path / "diagnose.json").read_text())
    assert found["missing"] == []
    longest = sum(found["discount"] ** t for t in range(LITTLE.horizon))
    assert found["at_most"] == pytest.approx(longest)
    assert len(found["scenarios"]) == budget("debug").held_out
    for one in found["scenarios"]:
        check_scenario(one, found["discount"])
    assert [probe["label"] for probe in found["context"]] == list(LABELS)


def check_scenario(one: dict, discount: float) -> None:
    """Ranges, and the bound is the theorem's of what stands beside it."""
    assert one["body"] == "hopper" and len(one["scenario"]) == 12
    assert 0 <= one["eps_t"] <= 1 and 0 <= one["eps_pi"]["mean"] <= one["eps_pi"]["largest"] <= 1
    for name in ("eps_s", "c_t", "c_pi"):
        assert 0 < one[name]["mean"] <= one[name]["largest"]
    assert math.isfinite(one["log_likelihood"]) and one["value_rmse"] >= 0
    assert all(0 <= x <= 1.5 for x in one["reward_rmse"])
    low, high = one["gap"]
    assert low <= one["real"] - one["dreamt"] <= high
    for name, which, as_printed in (
        ("bound", "mean", True), ("bound_of_largest", "largest", True),
        ("derived", "mean", False), ("derived_of_largest", "largest", False),
    ):  # fmt: skip
        symbols = {s: one[s][which] for s in ("eps_s", "eps_pi", "c_t", "c_pi")}
        given = {"largest_reward": 1.0, "discount": discount, "as_printed": as_printed}
        exact = generalisation_bound(eps_t=one["eps_t"], **symbols, **given)
        assert one[name] == pytest.approx(exact)
    assert one["derived"] > one["bound"]


@pytest.mark.slow
def test_the_same_run_has_the_same_diagnosis(run):
    first, again = (diagnose(run, run.agent, budget("debug"), LITTLE) for _ in range(2))
    assert first == again
    assert first.scenarios[0].open_loop.horizons == (1, 5, 10)
    assert {one.open_loop.budget for one in first.scenarios} == {"debug"}


def test_a_horizon_that_does_not_fit_is_refused(run):
    longer = dataclasses.replace(LITTLE, horizon=59)
    with pytest.raises(ConfigError, match=r"horizon=59 does not fit .* from 1 to 58"):
        diagnose(run, run.agent, budget("debug"), longer)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "lacks"),
    [
        ("dreamer", ("has no value that all", "has no context")),
        ("mamba", ("has no value that all", "has no context")),
        ("cadm", ("has no latent state to differentiate by",)),
    ],
)
def test_a_method_without_a_part_says_so_in_one_line(untrained, opened, method, lacks, capsys):
    run = untrained(method)
    assert main(opened(run)) == 0
    said = capsys.readouterr().out
    for part in lacks:
        assert len([line for line in said.splitlines() if part in line]) == 1
    found = json.loads((run.folder.path / "diagnose.json").read_text())
    assert len(found["missing"]) == len(lacks)
    assert np.isfinite([one["gap"] for one in found["scenarios"]]).all()


def test_a_method_without_a_world_model_is_refused_in_one_line(untrained, opened, capsys):
    assert main(opened(untrained("sac"))) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "has no world model to diagnose" in said


@pytest.mark.slow
def test_a_run_that_sees_pictures_beside_observations_is_diagnosed(untrained, opened, capsys):
    run = untrained("mrcom", inputs="both")
    assert main([*opened(run), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["missing"] == []
    assert [probe["label"] for probe in found["context"]] == list(LABELS)
    assert np.isfinite([one["eps_t"] for one in found["scenarios"]]).all()


def test_a_run_that_sees_pictures_alone_is_refused_in_one_line(
    untrained, opened, monkeypatch, capsys
):
    monkeypatch.setattr(estimate, "held_out", lambda *_: pytest.fail("something was computed"))
    assert main(opened(untrained("mrcom", inputs="images"))) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "inputs='images' shows no observation" in said


def test_the_amount_fits_short_trajectories():
    assert amount_within(60) == Amount(horizon=30, probe_steps=60)
    assert amount_within(1000) == Amount()
