"""MAMBA: a memory kept over episodes of one task, and what is dreamt from it.

Read with arXiv 2403.09859, and with arXiv 2301.04104v1 for the world model it builds on.
"""

import dataclasses
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray

from mrcom.agents import acting
from mrcom.agents.acting import SymlogFilter
from mrcom.agents.agent import Metrics
from mrcom.agents.latent_agent import AbstractLatentAgent
from mrcom.agents.latent_dynamics import check_jacobian
from mrcom.agents.mamba_config import GROWING, SIZES, MambaConfig
from mrcom.agents.mamba_config import MAMBA as MAMBA
from mrcom.agents.mamba_terms import (
    ACTOR_TERMS,
    MODEL_TERMS,
    Forward,
    World,
    critic_term,
    examples_of,
    shown,
)
from mrcom.agents.method import Method, named
from mrcom.behaviour.binned import Behaviour
from mrcom.behaviour.dreams import dream_with
from mrcom.behaviour.policy import Actor
from mrcom.behaviour.steps import descend, follow, start_moments
from mrcom.behaviour.through_dreams import Judged, judged
from mrcom.core.rng import named_keys
from mrcom.core.types import Batch, Layout
from mrcom.models.local_heads import LocalHeads
from mrcom.models.timed import TimedRSSM
from mrcom.nn.heads import BINNED_HEADS, BinnedHead
from mrcom.objectives.some_steps import at_steps, grown, random_steps
from mrcom.objectives.total import total_loss


class Moments(eqx.Module):
    """States of the three optimisers."""

    world: Any
    actor: Any
    critic: Any


class MambaState(eqx.Module):
    """Everything that changes while learning, and nothing else. This is the checkpoint."""

    model: TimedRSSM
    local: LocalHeads
    behaviour: Behaviour[BinnedHead]
    moments: Moments
    updates: Int[Array, ""]
    mean: Float[Array, "bodies O"]
    """Of each body's observations; only reports of predictions need it."""
    std: Float[Array, "bodies O"]
    """Of each body's observations; only reports of predictions need it."""

    @property
    def filter(self) -> SymlogFilter:
        """What turns observations into features."""
        return SymlogFilter(self.model, self.mean, self.std)


@dataclasses.dataclass(frozen=True)
class Mamba(AbstractLatentAgent):
    """The method with its sizes fixed; all that changes is in `MambaState`."""

    config: MambaConfig

    def __post_init__(self):
        self.method.check_terms((*MODEL_TERMS, *ACTOR_TERMS, "critic"))
        check_jacobian(self.method, self.config.jacobian)
        self.method.check_recurrent(MAMBA.parts)

    @property
    def sub_episodes(self) -> int:
        """Episodes of one meta-episode."""
        return self.config.sub_episodes

    @property
    def dream_steps(self) -> int:
        """Dreamt steps of one update, as long as all scenarios have data."""
        config = self.config
        return self.windows.rows(self.num_scenarios) * config.starts * config.horizon

    def init(self, key: PRNGKeyArray) -> MambaState:
        """The state before anything was learnt."""
        keys, config = named_keys(key, "model", "local", "actor", "critic"), self.config
        rssm, layout = config.model.rssm, self.layout
        model = TimedRSSM(config.model, layout.obs, layout.act, key=keys.model)
        local = LocalHeads(rssm, layout.obs + config.model.extra, key=keys.local)
        actor = Actor(rssm.feature, layout.act, config.actor, key=keys.actor)
        critic = BINNED_HEADS[rssm.reward_head](
            rssm.feature,
            rssm.units,
            config.critic_layers,
            rssm.reward_bins,
            rssm.reward_limit,
            key=keys.critic,
            kind=rssm.layers,
        )
        return MambaState(
            model=model,
            local=local,
            behaviour=Behaviour(actor, critic, jax.tree.map(jnp.copy, critic), jnp.zeros(())),
            moments=Moments(
                start_moments(config.model_rates.optimizer, World(model, local)),
                start_moments(config.actor_rates.optimizer, actor),
                start_moments(config.critic_rates.optimizer, critic),
            ),
            updates=jnp.zeros((), jnp.int32),
            **self.new_statistics(),
        )

    def steps_learnt_from(self, updates: Int[Array, ""], length: int) -> Int[Array, ""]:
        """How many steps of a window of `length` are learnt from after so many updates."""
        config = self.config
        return grown(updates, first=config.first_steps, last=length, over=config.grown_after)

    def learn(
        self, state: MambaState, batch: Batch, key: PRNGKeyArray
    ) -> tuple[MambaState, Metrics]:
        """One step of the world model, then of actor and critic on dreams of the new one."""
        return _learn(self, state, batch, key)

    @eqx.filter_jit
    def update_model(
        self, state: MambaState, batch: Batch, key: PRNGKeyArray
    ) -> tuple[MambaState, Metrics]:
        """One step of the world model alone; the given state can still be used."""
        world, moments, _, metrics = _learn_world(self, state, batch, key)
        parts = lambda s: (s.model, s.local, s.moments.world)
        return eqx.tree_at(parts, state, (world.model, world.local, moments)), metrics


def build(
    method: Method,
    size: str,
    *,
    layout: Layout,
    num_scenarios: int,
    observe_reward: bool = True,
    behaviour: str = "imagination",
    updates: int = 0,
) -> Mamba:
    """The agent of this method. It learns from whole meta-episodes after half of `updates`.

    Raises:
        ConfigError: no such size, or a behaviour that is not this method's own.
    """
    config = named("size", size, SIZES)
    because = "learns to act in dreams, by gradients through them"
    method.check_behaviour(behaviour, own="imagination", because=because)
    model = dataclasses.replace(config.model, observe_reward=observe_reward)
    config = dataclasses.replace(config, model=model, grown_after=round(GROWING * updates))
    return Mamba(method, config, layout, num_scenarios)


def world_loss(
    world: World, agent: Mamba, state: MambaState, batch: Batch, key: PRNGKeyArray
) -> tuple[Float[Array, ""], tuple[Forward, dict[str, Float[Array, "B _"]]]]:
    """The world model's loss on a raw batch; also every term of it."""
    keys = named_keys(key, "observe", "steps", "jacobian", "error")
    seen, num = acting.normalised(state.filter, batch), world.model.num_sampled
    error = agent.config.latent_error.draw(keys.error, batch.reward.shape, num)
    posterior = world.model.observe(seen, key=keys.observe, error=error)
    until = agent.steps_learnt_from(state.updates, batch.reward.shape[1])
    some = random_steps(keys.steps, batch.reward.shape[0], agent.config.some, until)
    forward = Forward(world, batch, posterior, until, some, state.updates, keys.jacobian)
    weights = {name: weight for name, weight in agent.method.weights if name in MODEL_TERMS}
    terms = {name: MODEL_TERMS[name](agent.config, forward) for name in weights}
    return total_loss(terms, weights), (forward, terms)


def actor_loss(
    actor: Actor,
    agent: Mamba,
    behaviour: Behaviour[BinnedHead],
    forward: Forward,
    key: PRNGKeyArray,
) -> tuple[Float[Array, ""], tuple[Judged, dict[str, Float[Array, "1 1"]]]]:
    """The actor's loss on one dream from random steps of every row; the world is a constant."""
    keys, config, model = named_keys(key, "starts", "dream"), agent.config, forward.world.model
    rows, length = forward.batch.reward.shape
    at = random_steps(keys.starts, rows, config.starts, forward.until)
    start = model.states_at(forward.posterior, (jnp.arange(rows)[:, None] * length + at).ravel())
    dream = judged(
        actor,
        dream_with(model, start, start.act_mask, horizon=config.horizon, key=keys.dream),
        start.act_mask,
        at_steps(forward.goes_on, at).ravel(),
        behaviour.critic,
        behaviour.return_range,
        discount=config.discount,
        lambda_=config.lambda_,
        scale_rate=config.scale_rate,
    )
    examples = examples_of(forward)
    weights = {name: weight for name, weight in agent.method.weights if name in ACTOR_TERMS}
    terms = {name: ACTOR_TERMS[name](config, actor, dream, examples) for name in weights}
    return total_loss(terms, weights), (jax.lax.stop_gradient(dream), terms)


def _learn_world(
    agent: Mamba, state: MambaState, batch: Batch, key: PRNGKeyArray
) -> tuple[World, Any, Forward, Metrics]:
    world = World(state.model, state.local)
    (loss, (forward, terms)), grads = eqx.filter_value_and_grad(world_loss, has_aux=True)(
        world, agent, state, batch, key
    )
    world, moments = descend(agent.config.model_rates.optimizer, world, grads, state.moments.world)
    metrics = {"loss": loss, "gradient": optax.tree.norm(grads)} | _means(terms)
    metrics |= {f"row/{name}": jnp.mean(term, axis=1) for name, term in terms.items()}
    forward = jax.lax.stop_gradient(eqx.tree_at(lambda f: f.world, forward, world))
    return world, moments, forward, metrics


def _means(terms: dict[str, Array]) -> Metrics:
    return {f"loss/{name}": jnp.mean(term) for name, term in terms.items()}


def _learn(
    agent: Mamba, state: MambaState, batch: Batch, key: PRNGKeyArray
) -> tuple[MambaState, Metrics]:
    config, behaviour, keys = agent.config, state.behaviour, named_keys(key, "world", "actor")
    world, model_moments, forward, metrics = _learn_world(agent, state, batch, keys.world)
    grads, (dream, terms) = eqx.filter_grad(actor_loss, has_aux=True)(
        behaviour.actor, agent, behaviour, forward, keys.actor
    )
    moments = state.moments
    actor, actor_moments = descend(
        config.actor_rates.optimizer, behaviour.actor, grads, moments.actor
    )

    def critic_loss(critic: Any) -> tuple[Array, Array]:
        term = critic_term(config, critic, behaviour.slow, dream)
        weights = {name: weight for name, weight in agent.method.weights if name == "critic"}
        return total_loss({name: term for name in weights}, weights), term

    critic_grads, term = eqx.filter_grad(critic_loss, has_aux=True)(behaviour.critic)
    critic, critic_moments = descend(
        config.critic_rates.optimizer, behaviour.critic, critic_grads, moments.critic
    )
    slow = follow(behaviour.slow, critic, config.slow_rate)
    after = MambaState(
        model=world.model,
        local=world.local,
        behaviour=Behaviour(actor, critic, slow, dream.return_range),
        moments=Moments(model_moments, actor_moments, critic_moments),
        updates=state.updates + 1,
        mean=state.mean,
        std=state.std,
    )
    rows = {"row/critic": jnp.mean(term.reshape(len(batch.body), -1), axis=1)}
    return after, metrics | _means(terms | {"critic": term}) | rows | shown(forward, dream, grads)
