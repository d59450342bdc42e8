"""How a latent world model is used once it exists: filter, act, predict."""

import abc
import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Int, PRNGKeyArray, UInt8

from mrcom.behaviour.policy import Actor
from mrcom.core.errors import ConfigError
from mrcom.core.numerics import symexp, symlog
from mrcom.core.rng import named_keys
from mrcom.core.types import Batch, Masks, Prompt
from mrcom.models.latent_error import LatentError, Shift
from mrcom.models.world_model import AbstractLatentModel, AbstractWorldModel, DreamContext
from mrcom.models.world_model import State as ModelState

CLIP = 10.0
"""Normalised observations are clipped to this many standard deviations."""


def standardised(
    obs: Float[Array, "*B O"], mean: Float[Array, "... O"], std: Float[Array, "... O"]
) -> Float[Array, "*B O"]:
    """Observations in units of a standard deviation, clipped."""
    return jnp.clip((obs - mean) / std, -CLIP, CLIP)


class AbstractFilter(eqx.Module):
    """A world model with the observation statistics it was trained under."""

    model: eqx.AbstractVar[AbstractWorldModel]
    mean: eqx.AbstractVar[Float[Array, "bodies O"]]
    std: eqx.AbstractVar[Float[Array, "bodies O"]]

    @abc.abstractmethod
    def seen(
        self,
        obs: Float[Array, "*B O"],
        body: Int[Array, "..."],
        obs_mask: Float[Array, "... O"],
    ) -> Float[Array, "*B O"]:
        """Raw observations in the unit that the model reads; 0 where padded."""

    @abc.abstractmethod
    def standard(
        self, decoded: Float[Array, "*B O"], body: Int[Array, "..."] | None
    ) -> Float[Array, "*B O"]:
        """What the model decodes in units of the body's standard deviation.

        `body` has the first axes of `decoded`.
        """


class Filter(AbstractFilter):
    """A world model of normalised observations."""

    model: AbstractWorldModel
    mean: Float[Array, "bodies O"]
    std: Float[Array, "bodies O"]

    def seen(
        self,
        obs: Float[Array, "*B O"],
        body: Int[Array, "..."],
        obs_mask: Float[Array, "... O"],
    ) -> Float[Array, "*B O"]:
        """Observations in units of their body's standard deviation."""
        return standardised(obs, self.mean[body], self.std[body]) * obs_mask

    def standard(
        self, decoded: Float[Array, "*B O"], body: Int[Array, "..."] | None
    ) -> Float[Array, "*B O"]:
        """The same: the model decodes normalised observations."""
        return decoded


class SymlogFilter(AbstractFilter):
    """A world model of the symlog of raw observations; statistics are for its reports only."""

    model: AbstractWorldModel
    mean: Float[Array, "bodies O"]
    std: Float[Array, "bodies O"]

    def seen(
        self,
        obs: Float[Array, "*B O"],
        body: Int[Array, "..."],
        obs_mask: Float[Array, "... O"],
    ) -> Float[Array, "*B O"]:
        """Symlog of what was seen."""
        return symlog(obs) * obs_mask

    def standard(
        self, decoded: Float[Array, "*B O"], body: Int[Array, "..."] | None
    ) -> Float[Array, "*B O"]:
        """Normalised as if the decoded observation were a real one: clipped.

        Raises:
            ConfigError: nobody said which body it is of.
        """
        if body is None:
            raise ConfigError("The unit of an observation is its body's: `body` is None.")
        between = (*body.shape, *[1] * (decoded.ndim - body.ndim - 1), decoded.shape[-1])
        mean, std = (rows[body].reshape(between) for rows in (self.mean, self.std))
        return standardised(symexp(decoded), mean, std)


class Disturbance(eqx.Module):
    """Where the errors of a latent state come from while acting."""

    error: LatentError = eqx.field(static=True)
    key: PRNGKeyArray
    step: Int[Array, ""]

    def next(self, num: int, entries: int) -> tuple[Float[Array, "N E"] | None, "Disturbance"]:
        """The error of N scenarios now, and where the next one comes from."""
        drawn = self.error.draw(jax.random.fold_in(self.key, self.step), (num,), entries)
        return drawn, Disturbance(self.error, self.key, self.step + 1)


class Carry(eqx.Module):
    """What is remembered while acting in N scenarios."""

    model: ModelState
    body: Int[Array, " N"]
    disturbance: Disturbance | None = None
    """What makes the latent state wrong, if anything does."""
    image: UInt8[Array, "N S S 3"] | None = None
    """What is seen now, for a model of pictures; whoever acts puts it here before each step."""


def start(given: AbstractFilter, masks: Masks, prompt: Prompt) -> Carry:
    """What is remembered before the first observation: the prompt, as context."""
    arrays = [jnp.asarray(array) for array in (masks.obs, masks.act, masks.body)]
    return _start(given, *arrays, jax.tree.map(jnp.asarray, prompt))


def observe_step(
    given: AbstractFilter,
    carry: Carry,
    obs: Float[ArrayLike, "N O"],
    action: Float[ArrayLike, "N A"],
    reward: Float[ArrayLike, " N"],
    key: PRNGKeyArray | None,
) -> tuple[Float[Array, "N F"], Carry]:
    """Take in one step; the feature that policies read. Means where `key` is None."""
    seen = [jnp.asarray(array) for array in (obs, action, reward)]
    return _observe_step(given, carry, *seen, key)


def act(
    given: AbstractFilter,
    actor: Actor,
    carry: Carry,
    obs: Float[ArrayLike, "N O"],
    action: Float[ArrayLike, "N A"],
    reward: Float[ArrayLike, " N"],
    key: PRNGKeyArray | None,
    *,
    sample_states: bool,
) -> tuple[Float[Array, "N A"], Carry]:
    """Take in one step and choose the next action: with a key drawn, the state too if so asked."""
    seen = [jnp.asarray(array) for array in (obs, action, reward)]
    return _act(given, actor, carry, *seen, key, sample_states)


@eqx.filter_jit
def predict_open_loop(
    given: AbstractFilter,
    batch: Batch,
    key: PRNGKeyArray,
    *,
    horizon: int,
    num_samples: int,
    dream_context: DreamContext,
) -> tuple[Float[Array, "K B H O"], Float[Array, "K B H"]]:
    """Observations (normalised) and rewards of the last steps, dreamt under their actions."""
    features = dreamt_features(given, batch, key, horizon, num_samples, dream_context)
    body = jnp.broadcast_to(batch.body, features.shape[:2])
    obs = given.standard(given.model.decode(features, body), body)
    return obs * batch.obs_mask[None, :, None], given.model.reward(features)


def dreamt_features(
    given: AbstractFilter,
    batch: Batch,
    key: PRNGKeyArray,
    horizon: int,
    num_samples: int,
    dream_context: DreamContext,
    error: Shift = None,
) -> Float[Array, "K B H F"]:
    """Features of the last steps of a raw batch, dreamt under their actions.

    The model filters all steps before the last `horizon` and sees none of those. An `error` of
    these, [B, L - H, E], makes what it filters wrong; only latent models take one.
    """
    keys = named_keys(key, "observe", "predict")
    # What is stored belongs to the step before the trained ones; here all steps are filtered.
    batch, model = normalised(given, dataclasses.replace(batch, stored={})), given.model
    wrong = {} if error is None else {"error": error}
    posterior = model.observe(steps_of(batch, slice(None, -horizon)), key=keys.observe, **wrong)
    rows, length = posterior.feature.shape[:2]
    last = model.states_at(posterior, jnp.arange(rows) * length + length - 1)
    many = jax.tree.map(lambda x: jnp.repeat(x[None], num_samples, axis=0), last)
    actions = jnp.moveaxis(batch.action[:, -horizon:], 1, 0)

    def step(now: ModelState, inputs: tuple[Array, Array]) -> tuple[ModelState, Array]:
        number, action = inputs
        action = jnp.broadcast_to(action, (num_samples, *action.shape))
        key = jax.random.fold_in(keys.predict, number)
        now, _ = model.predict(now, action, key=key, dream_context=dream_context)
        return now, model.feature(now)

    _, features = jax.lax.scan(step, many, (jnp.arange(horizon), actions))
    return jnp.moveaxis(features, 0, 2)


def expected(
    given: AbstractFilter, start: ModelState, feature: Float[Array, "M *T F"]
) -> tuple[Float[Array, "M *T O"], Float[Array, "M *T"]]:
    """Mean observation and reward that belong to features of dreams from M states.

    The observation is what `Filter.seen` gives of a real one: clipped, 0 where padded.
    """
    obs = jnp.clip(given.standard(given.model.decode(feature, start.body), start.body), -CLIP, CLIP)
    between = (len(feature), *[1] * (feature.ndim - 2), obs.shape[-1])
    return obs * start.obs_mask.reshape(between), given.model.reward(feature)


def normalised(given: AbstractFilter, batch: Batch) -> Batch:
    """The batch as the model sees it."""
    obs = given.seen(batch.obs, batch.body[:, None], batch.obs_mask[:, None])
    return eqx.tree_at(lambda b: b.obs, batch, obs)


def steps_of(batch: Batch, which: slice) -> Batch:
    """Some of a batch's steps."""
    names = ["obs", "action", "reward", "is_terminal", "first", "valid"]
    names += [] if batch.image is None else ["image"]
    per_step = lambda b: [getattr(b, name) for name in names]
    return eqx.tree_at(per_step, batch, [array[:, which] for array in per_step(batch)])


@eqx.filter_jit
def _start(
    given: AbstractFilter,
    obs_mask: Float[Array, "N O"],
    act_mask: Float[Array, "N A"],
    body: Int[Array, " N"],
    prompt: Prompt,
) -> Carry:
    obs = given.seen(prompt.obs, body[:, None], obs_mask[:, None])
    known = eqx.tree_at(lambda p: p.obs, prompt, obs)
    return Carry(given.model.initial(known, obs_mask, act_mask, body), body)


@eqx.filter_jit
def _observe_step(
    given: AbstractFilter,
    carry: Carry,
    obs: Float[Array, "N O"],
    action: Float[Array, "N A"],
    reward: Float[Array, " N"],
    key: PRNGKeyArray | None,
) -> tuple[Float[Array, "N F"], Carry]:
    seen = given.seen(obs, carry.body, carry.model.obs_mask)
    model, source = given.model, carry.disturbance
    picture = {} if carry.image is None else {"image": carry.image}
    if source is None:
        now, _ = model.correct(carry.model, seen, action, reward, key=key, **picture)
        return model.feature(now), Carry(now, carry.body)
    if not isinstance(model, AbstractLatentModel):
        raise ConfigError("This method's world model has no latent state to add an error to.")
    error, source = source.next(len(reward), model.num_sampled)
    now, _ = model.correct(carry.model, seen, action, reward, key=key, error=error, **picture)
    return model.feature(now), Carry(now, carry.body, source)


@eqx.filter_jit
def _act(
    given: AbstractFilter,
    actor: Actor,
    carry: Carry,
    obs: Float[Array, "N O"],
    action: Float[Array, "N A"],
    reward: Float[Array, " N"],
    key: PRNGKeyArray | None,
    sample_states: bool,
) -> tuple[Float[Array, "N A"], Carry]:
    keys = None if key is None else named_keys(key, "observe", "act")
    observe = keys.observe if keys is not None and sample_states else None
    read, carry = _observe_step(given, carry, obs, action, reward, observe)
    policy = actor(read, carry.model.act_mask)
    return policy.mode() if keys is None else policy.sample(keys.act)[0], carry
