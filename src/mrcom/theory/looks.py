"""What a world model makes of held-out steps, as arrays: what all estimates are computed from."""

import dataclasses
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from mrcom.agents import acting
from mrcom.agents.agent import WorldModelAgent
from mrcom.behaviour.policy import AbstractActions, Actor, PlainNormal, SquashedNormal
from mrcom.core.rng import named_keys
from mrcom.core.types import Batch
from mrcom.models.world_model import AbstractLatentModel
from mrcom.theory.gaussians import gram

SAMPLES = 16
"""Draws of every prediction."""
STRIDE = 5
"""Of a window's last steps every so many are looked at."""
JACOBIANS = 2
"""Steps of every window at which Jacobians are computed."""


class Looks(eqx.Module):
    """B windows, S steps of each; observations in units of their standard deviation."""

    truth: Float[Array, "B S O"]
    """What was observed after each step."""
    mean: Float[Array, "B S O"]
    """Of the model's predictions of it, without looking."""
    variance: Float[Array, "B S O"]
    """Of these predictions, that of the observation given the latent not included."""
    decoded: Float[Array, "B S O"]
    """The same after looking: how well the latent holds what was seen."""
    apart: Float[Array, "B S"]
    """Half the distance between features filtered from the whole history and from its half."""
    policy_mean: Float[Array, "B S A"]
    """The policy on a sampled feature, in standard deviations from that on the mean feature."""
    policy_std: Float[Array, "B S A"]
    """The same of its standard deviation: 1 where equal."""
    policy_gram: Float[Array, "B J P P"]
    """J J' of the policy's mean and log standard deviation, both in its standard deviations."""
    model_gram: Float[Array, "B J O O"] | None
    """J J' of the next observation over the feature; None where features are no states."""


class Returns(eqx.Module):
    """B windows whose last steps really happened, and were dreamt."""

    real: Float[Array, " B"]
    """Discounted return of the last H steps."""
    dreamt: Float[Array, " B"]
    """Mean of that of dreams from the same step, by the same policy."""


class _Near(eqx.Module):
    """Some filtered steps of all windows side by side: M of them."""

    filter: Any
    state: Any
    action: Float[Array, "M A"]
    """That really followed."""
    body: Int[Array, " M"]
    mask: Float[Array, "M O"]

    def shown(self, feature: Float[Array, "M F"]) -> Float[Array, "M O"]:
        """Decoded, in units of the observation's standard deviation."""
        decoded = self.filter.model.decode(feature, self.body)
        return self.filter.standard(decoded, self.body) * self.mask

    def ahead(self, state: Any, key: PRNGKeyArray | None) -> Float[Array, "M O"]:
        """What is expected to be observed next; means of latents where `key` is None."""
        model = self.filter.model
        after, _ = model.predict(state, self.action, key=key, dream_context="frozen")
        return self.shown(model.feature(after))


def _near(given: Any, seen: Batch, posterior: Any, at: Int[np.ndarray, " S"]) -> _Near:
    rows, length = posterior.feature.shape[:2]
    index = (jnp.arange(rows)[:, None] * length + at[None]).ravel()
    action = _last(seen.action, length, at + 1).reshape(len(index), -1)
    body, mask = (jnp.repeat(array, len(at), axis=0) for array in (seen.body, seen.obs_mask))
    return _Near(given, given.model.states_at(posterior, index), action, body, mask)


def _last(array: Float[Array, "B L *X"], length: int, at: Int[np.ndarray, " S"]) -> Array:
    """Times of the last `length` steps, out of an array that may begin earlier or later."""
    return array[:, at - length + array.shape[1]]


@eqx.filter_jit
def look(
    agent: WorldModelAgent, state: Any, batch: Batch, key: PRNGKeyArray, *, horizon: int
) -> Looks:
    """Look at the last `horizon` steps of windows, each filtered with all that came before it."""
    keys = named_keys(key, "filter", "ahead")
    given, model = state.filter, agent.model(state)
    seen = acting.normalised(given, dataclasses.replace(batch, stored={}))
    whole = model.observe(seen, key=None)
    rows, length = whole.feature.shape[:2]
    at = np.arange(length - 1 - horizon, length - 1, STRIDE)
    near = _near(given, seen, whole, at)
    draws = jax.lax.map(
        lambda number: near.ahead(near.state, jax.random.fold_in(keys.ahead, number)),
        jnp.arange(SAMPLES),
    )
    per_step = lambda array: array.reshape(rows, len(at), -1)
    unit = given.mean[batch.body][:, None], given.std[batch.body][:, None]
    truth = acting.standardised(batch.obs, *unit) * batch.obs_mask[:, None]
    half = acting.steps_of(seen, slice((length - 1 - horizon) // 2, None))
    feature, other, sampled = (
        _last(found, length, at)
        for found in (
            whole.feature,
            model.observe(half, key=None).feature,
            model.observe(seen, key=keys.filter).feature,
        )
    )
    actor, act_mask = agent.actor(state), batch.act_mask[:, None]
    (mean, std), (other_mean, other_std) = (
        _gaussian(actor(each, act_mask)) for each in (feature, sampled)
    )
    some = at[:: -(-len(at) // JACOBIANS)]
    policy, prediction = _grams(actor, _near(given, seen, whole, some), rows)
    return Looks(
        truth=_last(truth, length, at + 1),
        mean=per_step(draws.mean(axis=0)),
        variance=per_step(draws.var(axis=0)),
        decoded=per_step(
            near.shown(_last(whole.feature, length, at + 1).reshape(rows * len(at), -1))
        ),
        apart=0.5 * jnp.linalg.norm(feature - other, axis=-1),
        policy_mean=(other_mean - mean) / std,
        policy_std=other_std / std,
        policy_gram=policy,
        model_gram=prediction,
    )


def _grams(actor: Actor, near: _Near, rows: int) -> tuple[Array, Array | None]:
    """J J' of the policy and of the next observation over the feature, by window."""
    model = near.filter.model

    def policy(feature: Float[Array, "M F"]) -> Float[Array, "M P"]:
        mean, std = _gaussian(actor(feature, near.state.act_mask))
        unit = jax.lax.stop_gradient(std)
        # A standard deviation that changes by a share counts as the root of two of a mean.
        return jnp.concatenate([mean / unit, jnp.sqrt(2.0) * jnp.log(std)], axis=-1)

    point = model.feature(near.state)
    by_window = lambda found: found.reshape(rows, -1, *found.shape[1:])
    policies = by_window(gram(policy, point))
    if not isinstance(model, AbstractLatentModel):
        return policies, None
    after = lambda feature: near.ahead(model.with_feature(near.state, feature), None)
    return policies, by_window(gram(after, point))


@eqx.filter_jit
def returns(
    agent: WorldModelAgent,
    state: Any,
    batch: Batch,
    key: PRNGKeyArray,
    *,
    horizon: int,
    discount: float,
) -> tuple[Returns, Float[Array, "B 2 F"]]:
    """Returns of the last steps of windows, and the features that they begin and end with."""
    model = agent.model(state)
    seen = acting.normalised(state.filter, dataclasses.replace(batch, stored={}))
    posterior = model.observe(seen, key=None)
    rows, length = posterior.feature.shape[:2]
    start = model.states_at(posterior, jnp.arange(rows) * length + length - 1 - horizon)
    actor, weight = agent.actor(state), discount ** jnp.arange(horizon)

    def one(number: Array) -> Array:
        dream = agent.dream_from(state, start, horizon=horizon, key=jax.random.fold_in(key, number))
        return dream(actor).reward @ weight

    dreamt = jax.lax.map(one, jnp.arange(SAMPLES)).mean(axis=0)
    ends = posterior.feature[:, jnp.array([length - 1 - horizon, length - 1])]
    return Returns(batch.reward[:, -horizon:] @ weight, dreamt), ends


def _gaussian(actions: AbstractActions) -> tuple[Array, Array]:
    """Mean and standard deviation of a policy, before squashing if it squashes.

    Squashing both of two distributions leaves their total variation as it was.
    """
    if isinstance(actions, SquashedNormal):
        return actions.mean, jnp.exp(actions.log_std)
    assert isinstance(actions, PlainNormal), "there are two kinds of policies"
    return actions.mean, actions.std
