"""Policies are judged on one scale, and what is found is handed over at once."""

import dataclasses
import time

import numpy as np
import pytest

from mrcom.agents.presets import budget
from mrcom.core.errors import ConfigError
from mrcom.core.progress import SilentBar
from mrcom.evaluate.judge import Trial, judge
from mrcom.scenarios.layout import layout_of
from mrcom.scenarios.scenario import Scenario
from mrcom.scenarios.splits import Box, sample_scenarios
from mrcom.simulate.rollout import RandomPolicy

SCENARIOS = (Scenario("cheetah", target_speed=1.0), Scenario("cheetah", target_speed=3.0))
AMOUNT = dataclasses.replace(budget("debug"), evaluation_episodes=2, evaluation_steps=6)
TRIAL = Trial(SCENARIOS, (True, False), layout_of(SCENARIOS), AMOUNT, seed=4)


@dataclasses.dataclass(frozen=True)
class Told:
    """A contestant by hand."""

    make_policy: object
    env_steps: int = 10
    updates: int = 20
    settings: str = "by hand"


class Slow:
    """Takes its time, the first step most of all."""

    def start(self, num):
        return 0

    def act(self, carry, obs, action, reward):
        time.sleep(0.5 if carry == 0 else 0.05)
        return np.zeros_like(action), carry + 1


def at_random(rows, masks):
    return RandomPolicy(masks, seed=TRIAL.seed)


def broken(rows, masks):
    raise KeyboardInterrupt


def test_a_contestant_has_a_score_of_every_episode_with_all_it_cost():
    found = list(judge({"mine": Told(at_random)}, TRIAL, run_seed=3))
    assert [{s.method for s in scores} for scores in found] == [{"random"}, {"expert"}, {"mine"}]
    mine = found[-1]
    assert [(s.episode, s.inside) for s in mine] == [(0, True), (1, True), (0, False), (1, False)]
    assert {(s.seed, s.evaluation_seed) for s in mine} == {(3, 4)}
    assert {(s.env_steps, s.updates, s.settings) for s in mine} == {(10, 20, "by hand")}
    # It acts as random actions do, from the same states.
    same = [(a.episode_return, b.episode_return) for a, b in zip(mine, found[0], strict=True)]
    assert all(a == b for a, b in same)


def test_what_was_found_before_an_interruption_is_not_lost():
    kept = []
    with pytest.raises(KeyboardInterrupt):
        for scores in judge({"a": Told(at_random), "b": Told(broken)}, TRIAL, run_seed=0):
            kept.append(scores[0].method)
    assert kept == ["random", "expert", "a"]


def test_the_time_of_a_step_leaves_out_the_first_which_compiles():
    measured = TRIAL.seconds_a_step(lambda rows, masks: Slow(), steps=3)
    assert 0.05 <= measured < 0.25
    with pytest.raises(ConfigError, match="steps=0"):
        TRIAL.seconds_a_step(lambda rows, masks: Slow(), steps=0)


def test_experts_see_what_is_whatever_is_observed():
    masked = sample_scenarios("cheetah", Box(20.0, 100.0), 1, 0, observation="msk_f")
    blind = tuple(dataclasses.replace(s, observation=masked[0].observation) for s in SCENARIOS)
    trial = dataclasses.replace(TRIAL, scenarios=blind, layout=layout_of(blind))
    returns = [one.expert_returns(SilentBar()) for one in (TRIAL, trial)]
    np.testing.assert_array_equal(*returns)
