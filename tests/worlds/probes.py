"""Small worlds whose values and best actions are known."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

from behaviour.replayed import windows
from mrcom.behaviour.dreams import Dream
from mrcom.core.rng import named_keys
from mrcom.core.types import Layout

STEP = 0.5
"""How far the whole of action 1 moves the point."""


def point_feature(place):
    """What is read of a point on a line: a smooth code of its place."""
    centres = jnp.linspace(-1.5, 1.5, 7)
    return jnp.exp(-2 * (place[..., None] - jnp.broadcast_to(centres, (*place.shape, 7))) ** 2)


def point_reward(place, target):
    """1 at the target, less the further away."""
    return jnp.exp(-((place - target) ** 2))


def point_starts(key, num):
    """Places to start from."""
    return jax.random.uniform(key, (num,), minval=-1.0, maxval=1.0)


def point_dream(place, target, act_mask, horizon, key):
    """Exact dreams of a point that action 0 moves along a line; the other actions do nothing."""

    def dream_fn(actor):
        def body(place, t):
            now = named_keys(jax.random.fold_in(key, t), "act")
            action, _ = actor.sample(jax.lax.stop_gradient(point_feature(place)), act_mask, now.act)
            arrived = place + STEP * action[:, 0]
            return arrived, (point_feature(arrived), action, point_reward(arrived, target))

        _, steps = jax.lax.scan(body, place, jnp.arange(horizon))
        feature, action, reward = jax.tree.map(lambda x: jnp.moveaxis(x, 0, 1), steps)
        feature = jnp.concatenate([point_feature(place)[:, None], feature], axis=1)
        return Dream(feature, action, reward, jnp.ones_like(reward))

    return dream_fn


def fixed_dream(feature, reward, cont, act):
    """The same dream whatever the actor does."""

    def dream_fn(actor):
        return Dream(feature, jnp.zeros((*reward.shape, act)), reward, cont)

    return dream_fn


NEAR = 3
"""Steps before the end from which on it can be seen."""
LASTING = Layout(("one",), NEAR + 2, 1)
"""Of `lasting_and_ending`: how near the end is, or that it is not near."""


def lasting_and_ending(rng, rows, length, *, discount):
    """Two kinds of scenarios, in turn, whose future is worth 1 and in which actions do nothing.

    One pays `1 - discount` a step for ever, the other 1 on arriving at the end, its last step.
    """
    ending = np.arange(rows) % 2 == 1
    left = np.where(ending[:, None], np.arange(length)[::-1], NEAR + 1)
    return batch_of(
        2.0 * (left[..., None] == np.arange(LASTING.obs)),
        rng.uniform(-1, 1, size=(rows, length, 1)),
        np.where(ending[:, None], 1.0 * (left == 0), 1 - discount),
        scenario=np.arange(rows),
        ends=left == 0,
    )


QUESTIONS = Layout(("one",), 2, 1)
"""Of `answered`: the place, and whether this is a question."""
GAINS = np.array([-1.0, -0.6, 0.6, 1.0])
"""Of the training scenarios."""
HELD_OUT = np.array([-0.8, 0.8])
"""Of scenarios that nobody learns from."""


def answered(gain, action, time):
    """Observation and reward of a world with a hidden gain, at steps `time` of an episode.

    Every second step is a question: the place is 0, whatever happened before. An answer moves
    the point to the side of the gain, the further the greater the action; the best one is the
    greatest where the gain is positive and the least where it is not. So a single observation
    tells nothing where something is asked, and nothing is asked where it tells something.
    """
    asked = time % 2 == 0
    place = np.where(asked, 0.0, gain * (3 + action) / 2)
    reward = np.where(asked, 0.0, (2 + gain * (1 + action)) / 4)
    return np.stack([place, asked], axis=-1).astype(np.float32), reward.astype(np.float32)


def questions(rng, gain, agent):
    """Windows of random answers, a row of each gain in turn, at or after episodes' beginnings."""
    context, rows = agent.windows.context, agent.windows.rows(len(gain))
    begin = rng.integers(-1, context + 1, size=rows) if context else np.zeros(rows, int)
    scenario = np.repeat(np.arange(len(gain)), rows // len(gain))
    time = np.arange(context + agent.windows.length) - begin[:, None]
    action = rng.uniform(-1, 1, size=time.shape) * (time > 0)
    obs, reward = answered(gain[scenario, None], action, time)
    known = told_of(gain[scenario])
    return batch_of(obs, action[..., None], reward, scenario=scenario, begin=begin, told=known)


def told_of(gain):
    """What is told to whom anything is told."""
    return np.stack([gain, 0 * gain, 0 * gain], axis=-1).astype(np.float32)


def batch_of(obs, action, reward, *, scenario, ends=None, begin=None, told=None):
    """Windows of one body as a batch.

    Nothing is before the step at which a row's episode begins; by default that is the first.
    """
    rows, length = reward.shape
    time = np.arange(length) - (np.zeros((rows, 1), int) if begin is None else begin[:, None])
    there = (time >= 0).astype(np.float32)
    known = there[..., None]
    _, batch = windows(obs, action * known, reward * there, scenario=scenario, ends=ends)
    return dataclasses.replace(
        batch,
        obs=jnp.asarray(obs * known, jnp.float32),
        first=jnp.asarray(time == 0),
        valid=jnp.asarray(there),
        obs_mask=jnp.ones((rows, obs.shape[-1])),
        told=jnp.zeros((rows, 3)) if told is None else jnp.asarray(told),
    )
