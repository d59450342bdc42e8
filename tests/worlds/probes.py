"""Small worlds whose values and best actions are known."""

import jax
import jax.numpy as jnp

from mrcom.behaviour.dreams import Dream
from mrcom.core.rng import named_keys

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
