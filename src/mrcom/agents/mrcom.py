"""MrCoM: one world model for many scenarios. Read with sections 3.1 to 3.4 of arXiv 2511.06252."""

import dataclasses
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, PRNGKeyArray

from mrcom.agents import acting
from mrcom.agents.agent import Metrics
from mrcom.agents.latent_dynamics import check_jacobian, jacobian_term
from mrcom.agents.method import JACOBIAN
from mrcom.agents.modular_agent import AbstractModularAgent, ModularState
from mrcom.agents.mrcom_config import DREAMT_CONTEXT, MrComConfig
from mrcom.agents.mrcom_config import MRCOM as MRCOM
from mrcom.behaviour.learning import BehaviourState
from mrcom.core.errors import ConfigError
from mrcom.core.rng import named_keys
from mrcom.core.types import Batch
from mrcom.models.contextual import ContextualConfig, ContextualModel, Posterior
from mrcom.models.world_model import DreamContext
from mrcom.objectives.kl import balanced_kl
from mrcom.objectives.meta_state import meta_state_bound, meta_state_reweight
from mrcom.objectives.meta_value import value_consistency
from mrcom.objectives.prediction import (
    continue_loss,
    image_reconstruction,
    reconstruction,
    reward_loss,
)
from mrcom.objectives.total import total_loss


class Forward(eqx.Module):
    """What the loss terms are computed from."""

    model: ContextualModel
    batch: Batch
    """Only the T trained steps, normalised."""
    posterior: Posterior
    kl_stoch: Float[Array, "B T"]
    behaviour: BehaviourState
    key: PRNGKeyArray
    """Of the draws inside the meta-value term."""
    jacobian_key: PRNGKeyArray


Term = Callable[[MrComConfig, Forward], Float[Array, "B _"]]


@dataclasses.dataclass(frozen=True)
class MrCom(AbstractModularAgent):
    """The method with its sizes fixed; all that changes is in `ModularState`."""

    config: MrComConfig

    def __post_init__(self):
        self.method.check_terms(TERMS)
        check_jacobian(self.method, self.config.jacobian)
        parts = [part for part in self.method.parts if "context" not in part]
        about = self.config.jacobian.blocks or parts
        if JACOBIAN in self.method.terms and not {"deter", "aux"} & set(about):
            raise ConfigError(
                f"The Jacobian of {self.method.name} about {', '.join(about)} is 0 whatever is "
                f"learnt: context and action alone tell the next 'stoch'. Add 'deter' or 'aux'."
            )
        self.config.model.check_behaviour()
        filled, window = self.config.windows.context, self.config.model.context.window
        if filled != window:
            raise ConfigError(
                f"windows.context={filled} must equal model.context.window={window}: a window of "
                f"experience begins with what fills the context. Set both, or neither."
            )

    @property
    def dream_context(self) -> DreamContext:
        """Whether dreamt steps enter the context."""
        return "push" if DREAMT_CONTEXT in self.method.parts else "frozen"

    @property
    def prompt_steps(self) -> int:
        """Actions that a prompt shows: its first step is a reset's. None without a context."""
        return self.windows.context - 1 if "context" in self.method.parts else 0

    @property
    def model_config(self) -> ContextualConfig:
        """The model with the method's parts, and what its terms need besides."""
        bound = self.config.meta_state == "bound" and "meta_state" in self.method.terms
        parts = tuple(part for part in self.method.parts if part != DREAMT_CONTEXT)
        parts = (*parts, "reference") if bound else parts
        return dataclasses.replace(self.config.model, parts=parts)

    def init(self, key: PRNGKeyArray) -> ModularState[ContextualModel]:
        """The state before anything was learnt."""
        keys = named_keys(key, "model", "behaviour")
        sizes, bodies = (self.layout.obs, self.layout.act), len(self.layout.bodies)
        model = ContextualModel(self.model_config, *sizes, bodies=bodies, key=keys.model)
        return ModularState(
            model=model,
            moments=self.config.optimizer.init(eqx.filter(model, eqx.is_inexact_array)),
            behaviour=self.behaviour.init(
                self.model_config.feature,
                self.layout.act,
                self.num_scenarios,
                key=keys.behaviour,
            ),
            **self.new_statistics(),
        )

    def learn_model(
        self, state: ModularState, batch: Batch, key: PRNGKeyArray
    ) -> tuple[ContextualModel, Any, Posterior, Metrics]:
        """Steps of the world model on equal shares of a batch, and what they were made from."""
        num, optimizer = self.config.steps_on(batch.reward.shape[0]), self.config.optimizer
        shares = jax.tree.map(lambda x: x.reshape(num, x.shape[0] // num, *x.shape[1:]), batch)
        # What is not an array cannot be carried through the loop.
        arrays, rest = eqx.partition(state.model, eqx.is_array)

        def step(carry: tuple[Any, Any], given: tuple[Array, Batch]) -> tuple[Any, Any]:
            number, share = given
            model = eqx.combine(carry[0], rest)
            (_, (posterior, terms)), grads = eqx.filter_value_and_grad(model_loss, has_aux=True)(
                model, self, share, state.behaviour, jax.random.fold_in(key, number)
            )
            params = eqx.filter(model, eqx.is_inexact_array)
            norm = optax.tree.norm(grads)
            # A broken share must not break the next ones: only its own rows are to be named.
            finite = jnp.isfinite(norm)
            grads = jax.tree.map(lambda x: jnp.where(finite, x, 0), grads)
            steps, moments = optimizer.update(grads, carry[1], params)
            after = eqx.filter(eqx.apply_updates(model, steps), eqx.is_array)
            return (after, moments), (posterior, terms, norm)

        start = (arrays, state.moments)
        loop = jax.lax.scan if batch.image is None else _written_out
        (arrays, moments), seen = loop(step, start, (jnp.arange(num), shares))
        # Sizes written out: a part that the method has not got has width 0, and -1 cannot be
        # inferred.
        whole = lambda x: x.reshape(x.shape[0] * x.shape[1], *x.shape[2:])
        posterior, terms = jax.tree.map(whole, seen[:2])
        metrics = {
            "loss": total_loss(terms, self.method.terms),
            "gradient": jnp.mean(seen[2]),
            **{f"loss/{name}": jnp.mean(term) for name, term in terms.items()},
            **{f"row/{name}": jnp.mean(term, axis=1) for name, term in terms.items()},
        }
        return eqx.combine(arrays, rest), moments, posterior, metrics


def _written_out(step: Callable[[Any, Any], Any], start: Any, given: Any) -> tuple[Any, Any]:
    """`jax.lax.scan` without its loop, inside which convolutions on processors are slow.

    A gradient of 8 windows took 0.5 s, and 7.2 s in a scan of one step.
    """
    carry, found = start, []
    for number in range(len(given[0])):
        carry, one = step(carry, jax.tree.map(lambda x, at=number: x[at], given))
        found.append(one)
    return carry, jax.tree.map(lambda *parts: jnp.stack(parts), *found)


def _reconstruction(config: MrComConfig, forward: Forward) -> Float[Array, "B T"]:
    decoded = forward.model.decode(forward.posterior.feature, forward.batch.body)
    return reconstruction(
        decoded, forward.batch.obs, forward.batch.obs_mask, std=config.decoder_std
    )


def _image(config: MrComConfig, forward: Forward) -> Float[Array, "B T"]:
    assert forward.batch.image is not None, "methods with this term are trained on pictures"
    drawn = forward.model.draw(forward.posterior.feature)
    return image_reconstruction(drawn, forward.batch.image)


def _reward(config: MrComConfig, forward: Forward) -> Float[Array, "B T"]:
    logits = forward.model.reward_logits(forward.posterior.feature)
    return reward_loss(logits, forward.batch.reward, forward.model.reward_head.bins)


def _continue(config: MrComConfig, forward: Forward) -> Float[Array, "B T"]:
    logit = forward.model.cont_logit(forward.posterior.feature)
    return continue_loss(logit, 1.0 - forward.batch.is_terminal.astype(logit.dtype))


def _kl_stoch(config: MrComConfig, forward: Forward) -> Float[Array, "B T"]:
    return forward.kl_stoch


def _kl_aux(config: MrComConfig, forward: Forward) -> Float[Array, "B T"]:
    posterior = forward.posterior
    if not posterior.aux.shape[-1]:
        return jnp.zeros(posterior.aux.shape[:-1])
    return balanced_kl(posterior.aux_posterior, posterior.aux_prior, config.kl_aux)


def _meta_state(config: MrComConfig, forward: Forward) -> Float[Array, "B T"]:
    if config.meta_state == "reweight":
        return meta_state_reweight(forward.kl_stoch)
    reference = forward.posterior.reference
    assert reference is not None, "the model has a reference wherever the bound is asked for"
    return meta_state_bound(forward.posterior.stoch_posterior, reference, config.kl)


def _meta_value(config: MrComConfig, forward: Forward) -> Float[Array, "B _"]:
    behaviour, posterior = forward.behaviour, forward.posterior
    predicted = forward.model.next_features(
        posterior,
        num_samples=config.value_samples,
        key=forward.key if config.value_samples else None,
    )
    # The slow copy is frozen: with a value that learns here, a constant one would be best.
    frozen = behaviour.meta.slow
    floor = config.behaviour.scale_floor * (1 - config.behaviour.discount)
    loss = value_consistency(
        frozen(posterior.feature[:, 1:]),
        frozen(predicted),
        jnp.maximum(behaviour.return_range, floor),
    )
    return jnp.where(behaviour.updates >= config.value_warmup, loss, jnp.zeros_like(loss))


def _jacobian(config: MrComConfig, forward: Forward) -> Float[Array, "B S"]:
    updates, action = forward.behaviour.updates, forward.batch.action
    given = forward.model, forward.posterior, action, updates
    return jacobian_term(*given, config.jacobian, forward.jacobian_key)


TERMS: dict[str, Term] = {
    "reconstruction": _reconstruction,
    "image": _image,
    "reward": _reward,
    "continue": _continue,
    "kl_stoch": _kl_stoch,
    "kl_aux": _kl_aux,
    "meta_state": _meta_state,
    "meta_value": _meta_value,
    "jacobian": _jacobian,
}
"""Every loss term of the world model by its name."""


def model_loss(
    model: ContextualModel,
    agent: MrCom,
    batch: Batch,
    behaviour: BehaviourState,
    key: PRNGKeyArray,
) -> tuple[Float[Array, ""], tuple[Posterior, dict[str, Float[Array, "B _"]]]]:
    """Eq. 16 on a normalised batch; also the filtered states and every term."""
    keys = named_keys(key, "observe", "meta_value", "jacobian", "error")
    trained = acting.steps_of(batch, slice(-agent.windows.length, None))
    error = agent.config.latent_error.draw(keys.error, trained.reward.shape, model.num_sampled)
    posterior = model.observe(batch, key=keys.observe, error=error)
    kl_stoch = balanced_kl(posterior.stoch_posterior, posterior.stoch_prior, agent.config.kl)
    forward = Forward(
        model, trained, posterior, kl_stoch, behaviour, keys.meta_value, keys.jacobian
    )
    weights = agent.method.terms
    terms = {name: TERMS[name](agent.config, forward) for name in weights}
    return total_loss(terms, weights), (posterior, terms)
