"""What fills contexts at first: whose steps it is, what it costs, and who may choose it."""

import dataclasses

import jax
import numpy as np
import pytest

from mrcom.agents.dreamer import DREAMER
from mrcom.agents.method import without
from mrcom.agents.mrcom import MRCOM
from mrcom.agents.presets import budget
from mrcom.cli.main import main
from mrcom.core.errors import ConfigError
from mrcom.core.rng import root_key
from mrcom.evaluate.scores import read_scores, select
from mrcom.replay.normaliser import empty_normaliser
from mrcom.replay.prompts import make_prompts
from mrcom.scenarios.splits import split
from mrcom.simulate.simulator import Simulator
from mrcom.train.adapt_config import AdaptConfig, settings
from mrcom.train.adaptation import adaptation, amount_of
from mrcom.train.adapted import check_prompt, prompts_of_rows
from mrcom.train.collect import Experience
from mrcom.train.contestants import contestants, with_prompt
from mrcom.train.held_out import held_out
from mrcom.train.log import Counters, read_log
from mrcom.train.run import Run, agent_of, empty_store, own_steps
from mrcom.train.run_folder import RunFolder
from mrcom.train.settings import RunConfig, training_worlds

AMOUNT = budget("debug")


def begun(folder, method=MRCOM, **given):
    """A run that has learnt nothing."""
    config = RunConfig(method, AMOUNT, split("table1-d-shell"), "debug", bodies=("hopper",))
    config = dataclasses.replace(config, **given)
    worlds = training_worlds(config)
    agent, num = agent_of(config, worlds), len(worlds.scenarios)
    none = make_prompts("none", num=num, layout=worlds.layout, window=agent.windows.context)
    seen = Experience(empty_store(config, agent, worlds), empty_normaliser(worlds.layout), none)
    state = agent.init(root_key(config.seed))
    return Run(config, RunFolder(folder), worlds, agent, state, seen, Counters())


def same(ours, theirs):
    pairs = zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True)
    return all(np.array_equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("kind", ["expert", "own", "none"])
def test_a_kind_that_is_chosen_later_is_the_kind_of_a_run_that_was_trained_with_it(tmp_path, kind):
    run, other = begun(tmp_path / "a"), begun(tmp_path / "b", prompt=kind)
    rows = run.worlds.scenarios
    assert same(prompts_of_rows(run, rows, kind), prompts_of_rows(other, rows))
    assert same(prompts_of_rows(run, rows), prompts_of_rows(run, rows, kind)) == (kind == "expert")


@pytest.mark.parametrize("kind", ["expert", "own"])
def test_runs_of_all_seeds_are_judged_with_the_same_prompts_and_trajectories(tmp_path, kind):
    run, other = (begun(tmp_path / str(seed), prompt=kind, seed=seed) for seed in (0, 5))
    rows = run.worlds.scenarios
    assert same(prompts_of_rows(run, rows), prompts_of_rows(other, rows))
    ours, theirs = held_out(run, AMOUNT), held_out(other, AMOUNT)
    assert same(ours.prompt, theirs.prompt) and ours.seed == theirs.seed
    for who, steps in ours.steps.items():
        assert same(vars(steps), vars(theirs.steps[who]))


def test_another_seed_of_the_split_is_judged_with_others(tmp_path):
    wide = split("table1-d-shell")
    run = begun(tmp_path / "a", prompt="own")
    other = begun(tmp_path / "b", prompt="own", split=dataclasses.replace(wide, seed=1))
    rows = run.worlds.scenarios
    assert not same(prompts_of_rows(run, rows), prompts_of_rows(other, rows))


def test_the_agents_own_first_steps_are_counted_as_they_are_taken(tmp_path, monkeypatch):
    taken, step = [], Simulator.step
    monkeypatch.setattr(
        Simulator, "step", lambda self, action: (taken.append(len(action)), step(self, action))[1]
    )
    run = begun(tmp_path, prompt="own")
    rows = run.worlds.scenarios[:2]
    prompt = prompts_of_rows(run, rows)
    assert np.all(np.asarray(prompt.valid) == 1)
    assert own_steps(run.agent, "own") == run.agent.windows.context - 1 == len(taken)
    assert own_steps(run.agent, "expert") == own_steps(run.agent, "none") == 0


@pytest.mark.parametrize("method", [DREAMER, without(MRCOM, "context")], ids=lambda m: m.name)
def test_a_method_that_reads_no_prompt_is_not_charged_for_it_nor_given_another(tmp_path, method):
    run = begun(tmp_path, method)
    assert own_steps(run.agent, "own") == 0
    check_prompt(run, run.config.prompt)
    with pytest.raises(ConfigError, match=r"prompt='own' would change nothing: .* reads no prompt"):
        with_prompt(run, "own")


def test_policies_are_charged_for_their_own_prompts(tmp_path):
    run = begun(tmp_path, prompt="own")
    own = run.agent.windows.context - 1
    assert contestants(run, run.worlds.scenarios)["behaviour"].env_steps == own
    ((name, other),) = with_prompt(run, "expert").items()
    assert (name, other.env_steps) == ("behaviour, prompt expert", 0)


def test_an_adaptation_has_the_runs_prompts_or_those_it_was_told(tmp_path):
    run = begun(tmp_path, prompt="none")
    assert adaptation(run).prompt == "none" and adaptation(run, prompt="own").prompt == "own"
    assert "prompt own" in settings(adaptation(run, prompt="own"))
    assert "prompt" not in settings(AdaptConfig())
    with pytest.raises(ConfigError, match=r"Unknown prompt 'onw'.*Did you mean 'own'"):
        AdaptConfig(prompt="onw")


@pytest.mark.slow
def test_a_run_is_adapted_and_judged_with_prompts_of_another_kind(tmp_path, capsys):
    path = tmp_path / "run"
    given = ["--budget", "debug", "--bodies", "cheetah", "--prompt", "own"]
    assert main(["train", *given, "--run-dir", str(path)]) == 0
    again = ["adapt", str(path), "--no-control"]
    assert main(again) == 0
    assert main([*again, "--prompt", "none", "--name", "blind"]) == 0
    assert main([*again, "--prompt", "expert"]) == 2
    assert "other settings" in capsys.readouterr().err
    assert main(["evaluate", str(path)]) == 0
    assert main(["evaluate", str(path), "--prompt", "expert"]) == 0
    scores, own = read_scores(path / "scores.jsonl"), 15
    steps = {score.method: score.env_steps for score in scores}
    amount = amount_of(AMOUNT).steps
    assert steps == {"random": 0, "expert": 0, "behaviour": own, "behaviour, prompt expert": 0,
                     "adapted": amount + own, "blind": amount}  # fmt: skip
    told = [select(scores, method=name) for name in ("behaviour", "behaviour, prompt expert")]
    assert len({tuple(score.episode_return for score in rows) for rows in told}) == 2
    report = (path / "report.md").read_text()
    assert "prompt none" in report
    assert f"behaviour, not adapted: {own} real steps in each target." in report
    log = read_log(path / "metrics.jsonl")
    num = AMOUNT.scenarios
    assert log[0]["env_steps"] == num * (own + AMOUNT.episode_steps)
    last = {record["stage"]: record["env_steps"] for record in log}
    targets = AMOUNT.targets_inside + AMOUNT.targets_outside
    assert last["adapted"] == targets * (amount + own) and last["blind"] == targets * amount
