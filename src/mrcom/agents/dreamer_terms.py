"""Every loss term of DreamerV3 by its name. Read with `dreamer.py` and arXiv 2301.04104."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from mrcom.agents.dreamer_config import DreamerConfig
from mrcom.agents.latent_dynamics import jacobian_term
from mrcom.behaviour.binned import Imagined
from mrcom.behaviour.examples import Examples
from mrcom.behaviour.learning import transitions
from mrcom.behaviour.policy import AbstractActions, Actor
from mrcom.core.types import Batch
from mrcom.models.rssm import RSSM
from mrcom.models.rssm_parts import Posterior
from mrcom.nn.heads import TwoHotHead
from mrcom.objectives.categorical_kl import dynamics_kl, representation_kl
from mrcom.objectives.imagination import binned_critic_loss, reinforce_loss
from mrcom.objectives.prediction import (
    continue_loss,
    image_reconstruction,
    reward_loss,
    symlog_reconstruction,
)
from mrcom.objectives.returns import replay_return


class Learnt(eqx.Module):
    """What the optimiser moves, all in one step."""

    model: RSSM
    actor: Actor
    critic: TwoHotHead


class Forward(eqx.Module):
    """What the loss terms are computed from."""

    learnt: Learnt
    slow: TwoHotHead
    batch: Batch
    """Only the T trained steps, raw."""
    posterior: Posterior
    imagined: Imagined
    policy: AbstractActions
    """The actor's at every step of the dreams, [H, M], with a gradient to its parameters."""
    updates: Int[Array, ""]
    jacobian_key: PRNGKeyArray


Term = Callable[[DreamerConfig, Forward], Float[Array, "B _"]]


def _reconstruction(config: DreamerConfig, forward: Forward) -> Float[Array, "B T"]:
    decoded = forward.learnt.model.decode(forward.posterior.feature)
    return symlog_reconstruction(decoded, forward.batch.obs, forward.batch.obs_mask)


def _image(config: DreamerConfig, forward: Forward) -> Float[Array, "B T"]:
    assert forward.batch.image is not None, "methods with this term are trained on pictures"
    drawn = forward.learnt.model.draw(forward.posterior.feature)
    return image_reconstruction(drawn, forward.batch.image)


def _reward(config: DreamerConfig, forward: Forward) -> Float[Array, "B T"]:
    model = forward.learnt.model
    logits = model.reward_logits(forward.posterior.feature)
    return reward_loss(logits, forward.batch.reward, model.reward_head.bins)


def _continue(config: DreamerConfig, forward: Forward) -> Float[Array, "B T"]:
    logit = forward.learnt.model.cont_logit(forward.posterior.feature)
    goes_on = 1.0 - forward.batch.is_terminal.astype(logit.dtype)
    return continue_loss(logit, goes_on * config.discount)


def _kl_dyn(config: DreamerConfig, forward: Forward) -> Float[Array, "B T"]:
    posterior = forward.posterior
    return dynamics_kl(posterior.posterior, posterior.prior, free_nats=config.free_nats)


def _kl_rep(config: DreamerConfig, forward: Forward) -> Float[Array, "B T"]:
    posterior = forward.posterior
    return representation_kl(posterior.posterior, posterior.prior, free_nats=config.free_nats)


def _jacobian(config: DreamerConfig, forward: Forward) -> Float[Array, "B S"]:
    model, action = forward.learnt.model, forward.batch.action
    given = model, forward.posterior, action, forward.updates
    return jacobian_term(*given, config.jacobian, forward.jacobian_key)


def _l2(config: DreamerConfig, forward: Forward) -> Float[Array, "1 1"]:
    """Half the squared length of all weight matrices that advance a state: cell and prior."""
    model = forward.learnt.model
    arrays = jax.tree.leaves(eqx.filter((model.cell, model.prior_net), eqx.is_inexact_array))
    squares = [jnp.sum(jnp.square(array)) for array in arrays if array.ndim > 1]
    return 0.5 * jnp.sum(jnp.stack(squares))[None, None]


def _actor(config: DreamerConfig, forward: Forward) -> Float[Array, "1 1"]:
    dream = forward.imagined
    loss = reinforce_loss(
        forward.policy.log_prob(dream.action).T,
        dream.returns,
        dream.value,
        forward.policy.entropy().T,
        dream.weight,
        scale=jnp.maximum(dream.return_range, config.scale_floor),
        entropy_weight=config.entropy_weight,
    )
    return loss[None, None]


def _critic(config: DreamerConfig, forward: Forward) -> Float[Array, "M H"]:
    dream = forward.imagined
    losses = binned_critic_loss(
        dream.logits,
        dream.returns.T,
        dream.slow,
        dream.weight.T,
        forward.slow.bins,
        slow_weight=config.slow_weight,
    )
    return losses.T


def _replay_critic(config: DreamerConfig, forward: Forward) -> Float[Array, "B _"]:
    """The critic on real rewards; the only one whose gradient reaches the world model."""
    batch, feature = forward.batch, forward.posterior.feature
    # The next step starts an episode; what follows the window cannot be known and is not used.
    last = jnp.pad(batch.first[:, 1:], ((0, 0), (0, 1))).astype(feature.dtype)
    returns = replay_return(
        batch.reward,
        batch.is_terminal.astype(feature.dtype),
        last,
        forward.imagined.returns[:, 0].reshape(batch.reward.shape),
        discount=config.discount,
        lambda_=config.lambda_,
    )
    return binned_critic_loss(
        forward.learnt.critic.logits(feature[:, :-1]),
        returns,
        forward.slow(feature[:, :-1]),
        1.0 - last[:, :-1],
        forward.slow.bins,
        slow_weight=config.slow_weight,
    )


def _imitation(config: DreamerConfig, forward: Forward) -> Float[Array, "1 1"]:
    batch = forward.batch
    steps = transitions(forward.posterior.feature, batch)
    shown = batch.expert.astype(jnp.float32)
    examples = Examples(steps.feature, steps.action, batch.act_mask, shown)
    return examples.loss(forward.learnt.actor)[None, None]


MODEL_TERMS: dict[str, Term] = {
    "reconstruction": _reconstruction,
    "image": _image,
    "reward": _reward,
    "continue": _continue,
    "kl_dyn": _kl_dyn,
    "kl_rep": _kl_rep,
    "jacobian": _jacobian,
    "l2": _l2,
}
"""Terms of the world model alone."""

TERMS: dict[str, Term] = MODEL_TERMS | {
    "actor": _actor,
    "critic": _critic,
    "replay_critic": _replay_critic,
    "imitation": _imitation,
}
"""Every loss term by its name."""
