"""Every loss term of MAMBA by its name. Read with `mamba.py` and arXiv 2403.09859."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray

from mrcom.agents.latent_dynamics import jacobian_term
from mrcom.agents.mamba_config import MambaConfig
from mrcom.behaviour.examples import Examples
from mrcom.behaviour.policy import Actor
from mrcom.behaviour.through_dreams import Judged
from mrcom.core.numerics import symlog
from mrcom.core.types import Batch
from mrcom.models.local_heads import LocalHeads, read_beside
from mrcom.models.timed import Posterior, TimedRSSM
from mrcom.nn.heads import BinnedHead
from mrcom.objectives.categorical_kl import dynamics_kl, representation_kl
from mrcom.objectives.imagination import binned_critic_loss, dynamics_loss
from mrcom.objectives.prediction import continue_loss, reward_loss, symlog_reconstruction
from mrcom.objectives.some_steps import Pairs, at_steps, local_pairs, within


class World(eqx.Module):
    """What the world model's optimiser moves."""

    model: TimedRSSM
    local: LocalHeads


class Forward(eqx.Module):
    """What the world model's terms are computed from."""

    world: World
    batch: Batch
    """Raw."""
    posterior: Posterior
    until: Int[Array, ""]
    """Steps of each row that are learnt from."""
    step: Int[Array, "B S"]
    """Some of them, at random."""
    updates: Int[Array, ""]
    jacobian_key: PRNGKeyArray

    @property
    def whole(self) -> Float[Array, "B L E"]:
        """Raw observation, last reward and time."""
        extras = self.world.model.extras(self.batch.reward, self.posterior.steps)
        return jnp.concatenate([self.batch.obs, extras], axis=-1)

    @property
    def mask(self) -> Float[Array, "B E"]:
        """Which entries of that are real."""
        return self.world.model.whole_mask(self.batch.obs_mask)

    @property
    def goes_on(self) -> Float[Array, "B L"]:
        """0 where an episode is over."""
        return 1.0 - self.batch.is_terminal.astype(jnp.float32)

    def at(self, array: Array) -> Array:
        """What stands at the random steps."""
        return at_steps(array, self.step)

    def beside(self, config: MambaConfig) -> tuple[Pairs, Float[Array, "B P I"]]:
        """Steps that belong together, and what the local heads read of them."""
        pairs = local_pairs(self.step, self.until, window=config.local_window)
        feature = at_steps(self.posterior.feature, pairs.memory)
        return pairs, read_beside(feature, at_steps(self.posterior.rssm.token, pairs.seen))


ModelTerm = Callable[[MambaConfig, Forward], Float[Array, "B _"]]


def _reconstruction(config: MambaConfig, forward: Forward) -> Float[Array, "B S"]:
    decoded = forward.world.model.decode_whole(forward.at(forward.posterior.feature))
    return symlog_reconstruction(decoded, forward.at(forward.whole), forward.mask)


def _reward(config: MambaConfig, forward: Forward) -> Float[Array, "B S"]:
    rssm, reward = forward.world.model.rssm, symlog(forward.at(forward.batch.reward))
    logits = rssm.reward_logits(forward.at(forward.posterior.feature))
    return reward_loss(logits, reward, rssm.reward_head.bins)


def _continue(config: MambaConfig, forward: Forward) -> Float[Array, "B S"]:
    logit = forward.world.model.rssm.cont_logit(forward.at(forward.posterior.feature))
    return continue_loss(logit, forward.at(forward.goes_on))


def _local_reconstruction(config: MambaConfig, forward: Forward) -> Float[Array, "B P"]:
    pairs, read = forward.beside(config)
    meant = at_steps(forward.whole, pairs.meant)
    decoded = forward.world.local.decode(read)
    return pairs.there * symlog_reconstruction(decoded, meant, forward.mask)


def _local_reward(config: MambaConfig, forward: Forward) -> Float[Array, "B P"]:
    (pairs, read), local = forward.beside(config), forward.world.local
    meant = symlog(at_steps(forward.batch.reward, pairs.meant))
    return pairs.there * reward_loss(local.reward_logits(read), meant, local.reward_head.bins)


def _local_continue(config: MambaConfig, forward: Forward) -> Float[Array, "B P"]:
    pairs, read = forward.beside(config)
    meant = at_steps(forward.goes_on, pairs.meant)
    return pairs.there * continue_loss(forward.world.local.cont_logit(read), meant)


def _kl_dyn(config: MambaConfig, forward: Forward) -> Float[Array, "B L"]:
    rssm = forward.posterior.rssm
    term = dynamics_kl(rssm.posterior, rssm.prior, free_nats=config.free_nats)
    return term * within(forward.until, term.shape[1])[None]


def _kl_rep(config: MambaConfig, forward: Forward) -> Float[Array, "B L"]:
    rssm = forward.posterior.rssm
    term = representation_kl(rssm.posterior, rssm.prior, free_nats=config.free_nats)
    return term * within(forward.until, term.shape[1])[None]


def _jacobian(config: MambaConfig, forward: Forward) -> Float[Array, "B S"]:
    given = forward.world.model, forward.posterior, forward.batch.action, forward.updates
    return jacobian_term(*given, config.jacobian, forward.jacobian_key, forward.until)


MODEL_TERMS: dict[str, ModelTerm] = {
    "reconstruction": _reconstruction,
    "reward": _reward,
    "continue": _continue,
    "local_reconstruction": _local_reconstruction,
    "local_reward": _local_reward,
    "local_continue": _local_continue,
    "kl_dyn": _kl_dyn,
    "kl_rep": _kl_rep,
    "jacobian": _jacobian,
}
"""Terms of the world model."""


def _actor(config: MambaConfig, actor: Actor, dream: Judged, shown: Examples) -> Array:
    # The value has a gradient to the actions before its step: what a later return holds of them
    # counts once, not in the return of every step up to it.
    loss = dynamics_loss(
        dream.returns - dream.value,
        dream.entropy,
        dream.weight,
        scale=jnp.maximum(dream.return_range, config.scale_floor),
        entropy_weight=config.entropy_weight,
    )
    return loss[None, None]


def _imitation(config: MambaConfig, actor: Actor, dream: Judged, shown: Examples) -> Array:
    return shown.loss(actor)[None, None]


ActorTerm = Callable[[MambaConfig, Actor, Judged, Examples], Float[Array, "1 1"]]

ACTOR_TERMS: dict[str, ActorTerm] = {"actor": _actor, "imitation": _imitation}
"""Terms of the actor."""


def examples_of(forward: Forward) -> Examples:
    """Moves from the random steps, constants: what was done there is stored with the next step."""
    now = jnp.minimum(forward.step, forward.until - 2)
    return jax.lax.stop_gradient(
        Examples(
            feature=at_steps(forward.posterior.feature, now),
            action=at_steps(forward.batch.action, now + 1),
            act_mask=forward.batch.act_mask,
            shown=forward.batch.expert.astype(jnp.float32),
        )
    )


def critic_term(
    config: MambaConfig, critic: BinnedHead, slow: BinnedHead, dream: Judged
) -> Float[Array, "M H"]:
    """Cross-entropies with the returns and the slow critic's values; `dream` is a constant."""
    return binned_critic_loss(
        critic.logits(dream.feature),
        symlog(dream.returns),
        symlog(slow(dream.feature)),
        dream.weight,
        critic.bins,
        slow_weight=config.slow_weight,
    )


def shown(forward: Forward, dream: Judged, grads: Actor) -> dict[str, Float[Array, ""]]:
    """What to log of the dreams and of the latent state."""
    rssm, until = forward.posterior.rssm, forward.until
    some = lambda entropy: jnp.mean(at_steps(entropy, forward.step))
    per_dimension = jnp.mean(jnp.sum(forward.batch.act_mask, axis=-1))
    return {
        "actor/gradient": optax.tree.norm(grads),
        "actor/entropy": jnp.mean(dream.entropy) / per_dimension,
        "actor/return_range": dream.return_range,
        "actor/dreamt_reward": jnp.mean(dream.reward),
        "actor/dreamt_return": jnp.mean(dream.returns),
        "critic/value": jnp.mean(dream.value),
        "latent/prior_entropy": some(rssm.prior.entropy()),
        "latent/posterior_entropy": some(rssm.posterior.entropy()),
        "latent/steps_learnt_from": until.astype(jnp.float32),
    }
