"""Policies of adaptation, and disturbed ones, where the world model sees pictures."""

import numpy as np
import pytest

from mrcom.agents.agent import AgentPolicy
from mrcom.agents.build import build_agent, method_named
from mrcom.agents.disturbed import DisturbedPolicy
from mrcom.agents.method import with_images
from mrcom.core.rng import root_key
from mrcom.core.steps import Layout
from mrcom.models.latent_error import LatentError
from mrcom.replay.prompts import make_prompts
from mrcom.scenarios import Scenario
from mrcom.scenarios.layout import masks_of
from mrcom.simulate.rollout import SeesPictures
from mrcom.train.adapt import stacked
from mrcom.train.views import ActorsPolicy, LatentView, LatentViews

LAYOUT = Layout(("cheetah",), 17, 6, image=16, blind=True)
MASKS = masks_of([Scenario("cheetah", 1.0), Scenario("cheetah", 2.0)], LAYOUT)
STEPS = 4


@pytest.fixture(scope="module")
def learner():
    agent = build_agent(
        with_images(method_named("dreamer")), "debug", layout=LAYOUT, num_scenarios=2
    )
    return agent, agent.init(root_key(0))


@pytest.fixture(scope="module")
def view(learner):
    prompt = make_prompts("none", num=2, layout=LAYOUT, window=16)
    return LatentView(*learner, MASKS, prompt)


def seen(seed=0):
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (2, STEPS, 16, 16, 3)).astype(np.uint8)
    action = rng.uniform(-1, 1, (2, STEPS, 6)).astype(np.float32)
    return np.zeros((2, STEPS, 17), np.float32), action, np.zeros((2, STEPS), np.float32), image


def features(view, parts):
    carry, found = view.start(), []
    for step in range(STEPS):
        feature, carry = view.see(carry, *[part[:, step] for part in parts])
        found.append(np.asarray(feature))
    return np.stack(found, axis=1)


def test_episodes_are_followed_at_once_as_step_by_step(view):
    at_once, _ = view.follow(*seen())
    np.testing.assert_allclose(at_once, features(view, seen()), rtol=1e-4, atol=1e-5)


def test_what_is_seen_is_in_the_feature(view):
    one, two = seen(0), seen(1)
    apart = features(view, one) - features(view, (*one[:3], two[3]))
    assert np.abs(apart).max() > 0.1


def test_several_models_see_each_its_own_rows_pictures(view, learner):
    parts = [view.rows(np.array([n]), learner[1]) for n in (1, 0)]
    both = LatentViews(parts, [np.array([1]), np.array([0])])
    np.testing.assert_allclose(features(both, seen()), features(view, seen()), rtol=1e-4, atol=1e-5)


def test_a_policy_acts_on_the_picture_that_it_was_shown(view, learner):
    agent, state = learner
    actors = stacked([agent.actor(state)] * 2)
    policy = ActorsPolicy(view, actors, np.arange(2), MASKS, seed=0)
    assert isinstance(policy, SeesPictures)
    obs, action, reward, image = (part[:, 0] for part in seen())
    chosen = []
    for shown in (image, 255 - image):
        policy.show(shown)
        chosen.append(policy.act(policy.start(2), obs, action, reward)[0])
    assert np.abs(chosen[0] - chosen[1]).max() > 1e-4


def test_a_policy_whose_latent_state_is_wrong_still_sees(learner, view):
    plain = AgentPolicy(*learner, MASKS, view.prompt)
    wrong = DisturbedPolicy(plain, LatentError(drift=(1.0, 1.0)), seed=0)
    obs, action, reward, image = (part[:, 0] for part in seen())
    chosen = []
    for shown in (image, 255 - image):
        wrong.show(shown)
        chosen.append(wrong.act(wrong.start(2), obs, action, reward)[0])
    assert np.isfinite(chosen[0]).all()
    assert np.abs(chosen[0] - chosen[1]).max() > 1e-4
