"""A contextual world model small enough for tests, and batches for it."""

import dataclasses
import functools

import equinox as eqx
import jax
import jax.numpy as jnp

from mrcom.core.rng import root_key
from mrcom.core.types import Batch, Prompt
from mrcom.models.context import ContextConfig
from mrcom.models.contextual import ContextualModel
from mrcom.models.latent import ContextualConfig

OBS, ACT, WINDOW, TRAINED, ROWS = 5, 3, 4, 6, 2
LENGTH = WINDOW + TRAINED

CONFIG = ContextualConfig(
    stoch=4,
    deter=8,
    aux=3,
    units=16,
    layers=1,
    aux_units=8,
    reward_bins=15,
    context=ContextConfig(window=WINDOW, layers=2, width=12, heads=3),
)


@functools.cache
def model_with(**changes):
    """A model with some of its configuration changed, and no output left at zero."""
    config = dataclasses.replace(CONFIG, **changes)
    model = ContextualModel(config, OBS, ACT, bodies=2, key=root_key(0))
    weight = model.reward_head.net.out.weight
    drawn = jax.random.normal(root_key(9), weight.shape)
    bias = lambda model: [block.attention.bias for block in model.context.blocks]
    if "context" in model.config.parts:
        drawn_bias = [jax.random.normal(root_key(8), leaf.shape) for leaf in bias(model)]
        model = eqx.tree_at(bias, model, drawn_bias)
    return eqx.tree_at(lambda m: m.reward_head.net.out.weight, model, drawn)


def batch_of(seed=1, rows=ROWS, length=LENGTH):
    """Random windows; the second row's body has two observations and one action less."""
    keys = [jax.random.fold_in(root_key(seed), number) for number in range(3)]
    return Batch(
        obs=jax.random.normal(keys[0], (rows, length, OBS)),
        action=jax.random.uniform(keys[1], (rows, length, ACT), minval=-1.0),
        reward=jax.random.uniform(keys[2], (rows, length)),
        is_terminal=jnp.zeros((rows, length), bool),
        first=jnp.zeros((rows, length), bool),
        valid=jnp.ones((rows, length)),
        obs_mask=jnp.ones((rows, OBS)).at[1::2, 3:].set(0.0),
        act_mask=jnp.ones((rows, ACT)).at[1::2, 2:].set(0.0),
        told=jnp.zeros((rows, 3)),
        scenario=jnp.arange(rows),
        body=jnp.arange(rows) % 2,
        expert=jnp.zeros(rows, bool),
        stored={},
    )


def prompt_of(batch):
    """The first window of a batch, as the prompt of an episode that goes on with the rest."""
    return Prompt(
        obs=batch.obs[:, :WINDOW],
        action=batch.action[:, :WINDOW],
        reward=batch.reward[:, :WINDOW],
        valid=batch.valid[:, :WINDOW],
    )


def with_padding(batch, value):
    """The same batch with another value in every padded entry."""
    obs = jnp.where(batch.obs_mask[:, None] > 0, batch.obs, value)
    action = jnp.where(batch.act_mask[:, None] > 0, batch.action, value)
    return eqx.tree_at(lambda b: (b.obs, b.action), batch, (obs, action))
