"""Invented windows, as a world model would have filtered them."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mrcom.core.rng import root_key
from mrcom.core.types import Batch
from mrcom.models.context import ContextConfig
from mrcom.models.contextual import ContextualModel
from mrcom.models.latent import ContextualConfig


class Seen(eqx.Module):
    """All that learning from replay reads of a posterior."""

    expected: Float[Array, "B T F"]


def windows(feature, action, reward, *, scenario, ends=None, act_mask=None):
    """A posterior and its batch."""
    rows, steps = reward.shape
    body = jnp.zeros(rows, jnp.int32)
    return Seen(jnp.asarray(feature, jnp.float32)), Batch(
        obs=jnp.zeros((rows, steps, 1)),
        action=jnp.asarray(action, jnp.float32),
        reward=jnp.asarray(reward, jnp.float32),
        is_terminal=jnp.zeros((rows, steps), bool) if ends is None else jnp.asarray(ends),
        first=jnp.zeros((rows, steps), bool),
        valid=jnp.ones((rows, steps)),
        obs_mask=jnp.ones((rows, 1)),
        act_mask=jnp.ones((rows, action.shape[-1])) if act_mask is None else act_mask,
        told=jnp.zeros((rows, 3)),
        scenario=jnp.asarray(np.asarray(scenario), jnp.int32),
        body=body,
        expert=jnp.zeros(rows, bool),
        stored={},
    )


def any_model():
    """A world model for who does not ask it anything."""
    config = ContextualConfig(
        stoch=2, deter=2, aux=1, units=4, aux_units=4,
        context=ContextConfig(window=2, layers=1, heads=1, width=4),
    )  # fmt: skip
    return ContextualModel(config, 1, 1, key=root_key(0))
