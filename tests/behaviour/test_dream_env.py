"""The dream as a Gymnasium vector environment, with a tiny untrained model."""

import dataclasses

import equinox as eqx
import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode

from mrcom.behaviour.dream_env import DreamEnv, DreamEnvConfig
from mrcom.core.errors import ConfigError
from mrcom.core.rng import root_key
from mrcom.core.types import Prompt
from mrcom.models.context import ContextConfig
from mrcom.models.contextual import ContextualModel
from mrcom.models.latent import ContextualConfig

OBS, ACT, STARTS = 5, 3, 6
OBS_MASK, ACT_MASK = np.array([1.0, 1.0, 1.0, 1.0, 0.0]), np.array([1.0, 1.0, 0.0])
CONFIG = DreamEnvConfig(num_envs=3, horizon_steps=4)


@pytest.fixture(scope="module")
def model():
    config = ContextualConfig(
        stoch=4,
        deter=8,
        aux=2,
        units=8,
        layers=1,
        context=ContextConfig(window=4, width=12, heads=3, layers=2),
    )
    model = ContextualModel(config, OBS, ACT, key=root_key(0))
    # Rewards that differ, and dreams that never end by themselves.
    head, cont = model.reward_head.net.out, model.cont_head.net.out
    return eqx.tree_at(
        lambda m: (m.reward_head.net.out.weight, m.cont_head.net.out.bias),
        model,
        (jax.random.normal(root_key(1), head.weight.shape), jnp.full_like(cont.bias, 1e3)),
    )


@pytest.fixture(scope="module")
def starts(model):
    draw = lambda name, *shape: jax.random.normal(jax.random.fold_in(root_key(2), name), shape)
    prompt = Prompt(
        draw(0, STARTS, 4, OBS), draw(1, STARTS, 4, ACT), draw(2, STARTS, 4), jnp.ones((STARTS, 4))
    )
    masks = [jnp.tile(jnp.asarray(mask, jnp.float32), (STARTS, 1)) for mask in (OBS_MASK, ACT_MASK)]
    return eqx.filter_jit(model.initial)(prompt, *masks)


def dream(model, starts, **changes):
    return DreamEnv(model, starts, OBS_MASK, ACT_MASK, dataclasses.replace(CONFIG, **changes))


def actions(seed):
    return np.random.default_rng(seed).uniform(-1, 1, (3, 2)).astype(np.float32)


def test_spaces_have_the_bodys_own_widths(model, starts):
    env = dream(model, starts)
    assert env.single_action_space.shape == (2,)
    assert env.action_space.shape == (3, 2)
    assert env.single_observation_space.shape == (14,)
    assert dream(model, starts, seen="observation").single_observation_space.shape == (4,)
    assert env.metadata["autoreset_mode"] == AutoresetMode.NEXT_STEP


@pytest.mark.parametrize("seen", ["feature", "observation"])
def test_everything_returned_lies_in_its_space(model, starts, seen):
    env = dream(model, starts, seen=seen)
    obs, _ = env.reset(seed=0)
    assert obs in env.observation_space
    for _ in range(6):
        obs, reward, terminations, truncations, _ = env.step(env.action_space.sample())
        assert obs in env.observation_space
        assert reward.shape == terminations.shape == truncations.shape == (3,)
        assert terminations.dtype == truncations.dtype == bool


def test_the_same_seed_and_actions_give_the_same_dream(model, starts):
    def run(seed):
        env = dream(model, starts)
        first, _ = env.reset(seed=seed)
        return [first, *(part for t in range(6) for part in env.step(actions(t))[:4])]

    one, two, other = run(7), run(7), run(8)
    for left, right in zip(one, two, strict=True):
        np.testing.assert_array_equal(left, right)
    assert not np.array_equal(one[-4], other[-4])


def test_a_dream_is_what_the_model_predicts(model, starts):
    """A slow twin: the first start, predicted by hand with the environment's key."""
    one = jax.tree.map(lambda leaf: leaf[:1], starts)
    env = dream(model, one)
    env.reset(seed=0)
    obs, reward, *_ = env.step(actions(0))
    state = jax.tree.map(lambda leaf: jnp.tile(leaf[:1], (3,) + (1,) * (leaf.ndim - 1)), starts)
    padded = jnp.asarray(np.pad(actions(0), ((0, 0), (0, 1))))
    key = jax.random.fold_in(root_key(int(np.random.default_rng(0).integers(2**31))), 1)
    state, _ = eqx.filter_jit(model.predict)(state, padded, key=key)
    np.testing.assert_allclose(obs, model.feature(state), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(reward, model.reward(model.feature(state)), rtol=1e-4, atol=1e-5)


def test_the_horizon_cuts_off_and_the_next_step_starts_anew(model, starts):
    env = dream(model, starts)
    env.reset(seed=0)
    known = np.asarray(model.feature(starts))
    for round_ in range(2):
        for t in range(4):
            _, _, terminations, truncations, _ = env.step(actions(t))
            assert not terminations.any()
            assert truncations.all() == (t == 3), round_
        obs, reward, terminations, truncations, _ = env.step(actions(9))
        assert not (terminations | truncations).any()
        np.testing.assert_array_equal(reward, 0.0)
        for row in obs:  # one of the given starts, whatever the action was
            assert np.min(np.abs(known - row).sum(axis=1)) < 1e-4


def test_a_dream_ends_where_the_model_says_so(model, starts):
    ending = eqx.tree_at(lambda m: m.cont_head.net.out.bias, model, -model.cont_head.net.out.bias)
    env = dream(ending, starts)
    env.reset(seed=0)
    _, _, terminations, truncations, _ = env.step(actions(0))
    assert terminations.all()
    assert not truncations.any()
    _, _, terminations, _, _ = env.step(actions(0))
    assert not terminations.any()


def test_a_step_before_the_first_reset_is_refused(model, starts):
    with pytest.raises(gymnasium.error.ResetNeeded):
        dream(model, starts).step(actions(0))


def test_bad_settings_are_refused():
    with pytest.raises(ConfigError, match=r"horizon_steps=0 must be at least 1"):
        DreamEnvConfig(horizon_steps=0)
    with pytest.raises(ConfigError, match=r"'features'.*'feature'"):
        DreamEnvConfig(seen="features")


class First(gymnasium.Env):
    """The first dream as an environment of its own: Gymnasium checks only such."""

    def __init__(self, env):
        self.env = env
        self.action_space = env.single_action_space
        self.observation_space = env.single_observation_space

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.env.reset(seed=seed, options=options)[0][0], {}

    def step(self, action):
        obs, reward, terminated, truncated, _ = self.env.step(action[None])
        return obs[0], float(reward[0]), bool(terminated[0]), bool(truncated[0]), {}


# The space has no bounds because features have none; there is nothing to draw.
@pytest.mark.filterwarnings("ignore:.*infinity:UserWarning")
@pytest.mark.filterwarnings("ignore:.*alternative render modes:UserWarning")
@pytest.mark.parametrize("seen", ["feature", "observation"])
def test_gymnasium_finds_nothing_wrong(model, starts, seen):
    check_env(First(dream(model, starts, num_envs=1, seen=seen)))
