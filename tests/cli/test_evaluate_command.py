"""`mrcom evaluate`: planning as a policy of its own, and episodes of several seeds."""

import dataclasses
import re
from types import SimpleNamespace
from unittest import mock

import numpy as np
import pytest

import mrcom
from mrcom.agents import planning
from mrcom.agents.cadm import CADM, VANILLA
from mrcom.agents.mrcom import MRCOM
from mrcom.agents.presets import budget
from mrcom.cli.main import main
from mrcom.cli.train import Train, config_of
from mrcom.core.errors import ConfigError
from mrcom.evaluate.scores import read_scores, select
from mrcom.train.run import agent_of, open_trained
from mrcom.train.run_folder import create_run, open_run
from mrcom.train.settings import training_worlds

AMOUNT = budget("debug")
DEBUG = ["--budget", "debug", "--bodies", "cheetah", "--prompt", "none"]


@pytest.fixture(scope="module")
def planned(tmp_path_factory):
    """The folder of a run of CaDM, and what was said while it was judged with its planner."""
    path = tmp_path_factory.mktemp("runs") / "cadm"
    assert main(["train", "--method", "cadm", *DEBUG, "--run-dir", str(path)]) == 0
    said = []
    with mock.patch("builtins.print", lambda *args, **_: said.append(" ".join(map(str, args)))):
        assert main(["evaluate", str(path), "--planner", "--oracle-planner"]) == 0
    return path, said


@pytest.mark.slow
def test_planning_has_rows_of_its_own_in_scores_and_report(planned):
    path, _ = planned
    scores = read_scores(path / "scores.jsonl")
    rows = select(scores, method="planning")
    num_targets = AMOUNT.targets_inside + AMOUNT.targets_outside
    assert len(rows) == num_targets * AMOUNT.evaluation_episodes
    assert {(s.env_steps, s.updates) for s in rows} == {(0, AMOUNT.updates)}
    assert all("CrossEntropy, horizon 3, candidates 8" in s.settings for s in rows)
    returns = {m: [s.episode_return for s in select(scores, method=m)] for m in
               ("planning", "planning-oracle", "behaviour", "random")}  # fmt: skip
    assert len(set(map(tuple, returns.values()))) == 4
    oracle = select(scores, method="planning-oracle")
    assert len(oracle) == len(rows) and all(s.settings.endswith("true rewards") for s in oracle)
    report = (path / "report.md").read_text()
    assert "| planning with true rewards, not adapted |" in report
    assert "| planning, not adapted |" in report and "planning, not adapted: CrossEntropy" in report


@pytest.mark.slow
def test_how_long_planning_takes_is_said_before_it_starts(planned):
    (said,) = [line for line in planned[1] if line.startswith("planning: ")]
    assert re.fullmatch(
        r"planning: 60 steps of 2 episodes, \S+ s for a step of all: about .*", said
    )
    assert said in planned[1][0], "before any table"


@pytest.mark.slow
def test_planning_acts_in_python_too(planned):
    run = mrcom.load(planned[0])
    env, policy = run.env(), run.policy(name="planning")
    obs, reward = env.reset(seed=1), None
    for _ in range(2):
        action = policy(obs, reward)
        obs, reward = env.step(action)
    assert np.isfinite(action).all() and (np.abs(action) <= 1).all() and np.ptp(action) > 0
    start = env.reset(seed=1)
    again, other = (run.policy(name="planning", seed=seed) for seed in (0, 9))
    np.testing.assert_array_equal(policy(start), again(start))
    assert (policy(start) != other(start)).any()


@pytest.mark.slow
def test_episodes_of_another_evaluation_seed_are_kept_beside_the_first(planned, capsys):
    path, _ = planned
    before = read_scores(path / "scores.jsonl")
    assert {s.evaluation_seed for s in before} == {0}
    assert main(["evaluate", str(path), "--seed", "5"]) == 0
    both = read_scores(path / "scores.jsonl")
    assert both[: len(before)] == before, "nothing is lost"
    added = both[len(before) :]
    assert {s.evaluation_seed for s in added} == {5}
    assert {s.method for s in added} == {"random", "expert", "behaviour"}
    behaviour = select(both, method="behaviour")
    assert len({s.episode_return for s in behaviour}) == 2 * AMOUNT.evaluation_episodes
    said = capsys.readouterr().out
    assert "2 or 4 episodes of one run" in said
    assert "Evaluation seeds: 0, 5; planning, not adapted 0 alone" in said
    assert main(["evaluate", str(path), "--seed", "5"]) == 0
    assert read_scores(path / "scores.jsonl") == both, "the same again replaces itself"


@pytest.mark.slow
def test_true_rewards_that_are_not_observed_are_refused_before_anything_is_judged(
    planned, monkeypatch, capsys
):
    run = open_trained(open_run(planned[0]))
    noisy = dataclasses.replace(run, config=dataclasses.replace(run.config, observation="add_g"))
    monkeypatch.setattr("mrcom.train.run.open_trained", lambda folder: noisy)
    assert main(["evaluate", str(planned[0]), "--oracle-planner"]) == 2
    said = capsys.readouterr()
    assert said.err.count("\n") == 1 and said.out == ""
    assert "its observation function is 'add_g', not 'plain'" in said.err


def test_a_method_without_a_planner_is_refused_in_one_line(tmp_path, monkeypatch, capsys):
    config = config_of(Train(budget="debug"))
    folder = create_run(tmp_path / "run", config)
    agent = agent_of(config, training_worlds(config))
    run = SimpleNamespace(config=config, folder=folder, agent=agent)
    monkeypatch.setattr("mrcom.train.run.open_trained", lambda folder: run)
    assert main(["evaluate", str(folder.path), "--planner"]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "MrCom does not act by planning" in said and "cadm" in said


@pytest.mark.parametrize("method", ["cadm", "cadm-vanilla", "mrcom", "sac", "dreamer", "mamba"])
def test_only_methods_that_say_how_to_plan_can(method):
    config = config_of(Train(budget="debug", method=method, bodies=("cheetah",)))
    agent = agent_of(config, training_worlds(config))
    if config.method in (CADM, VANILLA):
        assert planning.planning_of(agent) == agent.config.planning
    else:
        with pytest.raises(ConfigError, match="does not act by planning"):
            planning.planning_of(agent)
    assert config.method != MRCOM or not isinstance(agent.config, planning.Plans)
