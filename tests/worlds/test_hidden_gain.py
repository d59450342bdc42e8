"""A world in which only who infers the hidden scenario from what was seen before can score."""

import numpy as np
import pytest

from mrcom.core.types import Masks
from mrcom.replay.prompts import make_prompts
from worlds.probes import GAINS, HELD_OUT, QUESTIONS, answered, questions, told_of
from worlds.quick_agents import learnt, quick_agent

pytestmark = pytest.mark.learns

ROWS, SHOWN, ASKED = 32, 10, 10
UPDATES = 1000
GAIN = np.tile(HELD_OUT, ROWS // 2)


def agent_of(name, missing=()):
    memory = SHOWN + ASKED + 1
    return quick_agent(name, QUESTIONS, num_scenarios=len(GAINS), memory=memory, missing=missing)


def scores(agent, state, shown=GAIN):
    """Of every question, 1 being best and -1 worst, in held-out scenarios.

    Actions are random for `SHOWN` steps, and the agent's most likely ones after them; until then
    the gain is `shown`.
    """
    rng, ones = np.random.default_rng(5), np.ones(ROWS, np.float32)
    masks = Masks(np.tile(ones[:, None], 2), ones[:, None], np.zeros(ROWS, np.int32), told_of(GAIN))
    prompt = make_prompts("none", num=ROWS, layout=QUESTIONS, window=max(agent.windows.context, 1))
    carry, action, found = agent.start(state, masks, prompt), np.zeros(ROWS), []
    for time in range(SHOWN + ASKED):
        gain = shown if time <= SHOWN else GAIN
        obs, reward = answered(gain, action, np.full(ROWS, time))
        led = action[:, None].astype(np.float32)
        chosen, carry = agent.act(state, carry, obs, led, reward, None)
        action = rng.uniform(-1, 1, ROWS) if time < SHOWN else np.asarray(chosen)[:, 0]
        if time >= SHOWN and time % 2 == 0:
            found.append(np.sign(GAIN) * action)
    return np.array(found)


def taught(name, missing=()):
    agent = agent_of(name, missing)
    draw = lambda seed: questions(np.random.default_rng(seed), GAINS, agent)
    return agent, learnt(agent, draw, updates=UPDATES)


@pytest.mark.parametrize("name", ["mrcom", "mamba", "cadm"])
def test_who_remembers_answers_right_in_scenarios_never_seen(name):
    agent, state = taught(name)
    found = scores(agent, state)
    # The first question opens a new half of MAMBA's meta-episodes: only the one before tells it.
    assert found.mean() > 0.8 and found[0].mean() > 0.8
    # What came before is all there is to go by: another scenario's past makes it wrong.
    assert scores(agent, state, shown=-GAIN)[0].mean() < -0.6


@pytest.mark.parametrize(
    ("name", "missing"),
    [
        ("sac", ()),
        ("mrcom", ("context", "deter", "aux", "kl_aux")),
    ],
    ids=["sac", "mrcom_without_memory"],
)
def test_who_forgets_cannot(name, missing):
    assert abs(scores(*taught(name, missing)).mean()) < 0.5


def test_who_forgets_but_is_told_can_with_as_many_updates():
    assert scores(*taught("sac-told")).mean() > 0.8
