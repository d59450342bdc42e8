"""DreamerV3: a world model, and an actor and a critic in its dreams. Read with arXiv 2301.04104."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray

from mrcom.agents import acting
from mrcom.agents.acting import SymlogFilter
from mrcom.agents.agent import Metrics
from mrcom.agents.dreamer_config import DREAMER as DREAMER
from mrcom.agents.dreamer_config import SIZES, DreamerConfig
from mrcom.agents.dreamer_terms import MODEL_TERMS, TERMS, Forward, Learnt
from mrcom.agents.latent_agent import AbstractLatentAgent
from mrcom.agents.latent_dynamics import check_jacobian
from mrcom.agents.method import Method, named
from mrcom.behaviour.binned import Behaviour, imagined
from mrcom.behaviour.policy import Actor
from mrcom.behaviour.steps import descend, follow, start_moments
from mrcom.core.rng import named_keys
from mrcom.core.types import Batch, Layout
from mrcom.models.rssm import RSSM
from mrcom.models.rssm_parts import packed
from mrcom.nn.heads import TwoHotHead
from mrcom.objectives.total import total_loss


class DreamerState(eqx.Module):
    """Everything that changes while learning, and nothing else. This is the checkpoint."""

    model: RSSM
    behaviour: Behaviour[TwoHotHead]
    moments: Any
    updates: Int[Array, ""]
    mean: Float[Array, "bodies O"]
    """Of each body's observations; only reports of predictions need it."""
    std: Float[Array, "bodies O"]
    """Of each body's observations; only reports of predictions need it."""

    @property
    def filter(self) -> SymlogFilter:
        """What turns observations into features."""
        return SymlogFilter(self.model, self.mean, self.std)

    @property
    def learnt(self) -> Learnt:
        """What the optimiser moves."""
        return Learnt(self.model, self.behaviour.actor, self.behaviour.critic)


@dataclasses.dataclass(frozen=True)
class Dreamer(AbstractLatentAgent):
    """The method with its sizes fixed; all that changes is in `DreamerState`."""

    config: DreamerConfig

    def __post_init__(self):
        self.method.check_terms(TERMS)
        check_jacobian(self.method, self.config.jacobian)
        self.method.check_recurrent(DREAMER.parts)

    @property
    def dream_steps(self) -> int:
        """Dreamt steps of one update, as long as all scenarios have data."""
        windows = self.windows
        return windows.rows(self.num_scenarios) * windows.length * self.config.horizon

    @property
    def stored(self) -> Mapping[str, jax.ShapeDtypeStruct]:
        """The model's state after each trained step; samples as 1 + their class."""
        model = self.config.model
        return {
            "deter": jax.ShapeDtypeStruct((model.deter,), jnp.float16),
            "stoch": jax.ShapeDtypeStruct((model.stoch,), jnp.uint8),
        }

    def init(self, key: PRNGKeyArray) -> DreamerState:
        """The state before anything was learnt."""
        keys, config = named_keys(key, "model", "actor", "critic"), self.config
        model = RSSM(config.model, self.layout.obs, self.layout.act, key=keys.model)
        actor = Actor(config.model.feature, self.layout.act, config.actor, key=keys.actor)
        critic = TwoHotHead(
            config.model.feature,
            config.model.units,
            config.critic_layers,
            config.model.reward_bins,
            config.model.reward_limit,
            key=keys.critic,
            kind=config.model.layers,
        )
        return DreamerState(
            model=model,
            behaviour=Behaviour(actor, critic, jax.tree.map(jnp.copy, critic), jnp.zeros(())),
            moments=start_moments(config.optimizer.optimizer, Learnt(model, actor, critic)),
            updates=jnp.zeros((), jnp.int32),
            **self.new_statistics(),
        )

    def learn(
        self, state: DreamerState, batch: Batch, key: PRNGKeyArray
    ) -> tuple[DreamerState, Metrics]:
        """One step of world model, actor and critic together; also what replay shall store."""
        learnt, moments, forward, metrics = _step(self, state, batch, key)
        behaviour = Behaviour(
            learnt.actor,
            learnt.critic,
            follow(state.behaviour.slow, learnt.critic, self.config.slow_rate),
            forward.imagined.return_range,
        )
        updates = state.updates + 1
        after = DreamerState(learnt.model, behaviour, moments, updates, state.mean, state.std)
        return after, metrics | _shown(forward)

    @eqx.filter_jit
    def update_model(
        self, state: DreamerState, batch: Batch, key: PRNGKeyArray
    ) -> tuple[DreamerState, Metrics]:
        """One step of the world model on its own terms; the given state can still be used."""
        own = tuple((name, weight) for name, weight in self.method.weights if name in MODEL_TERMS)
        alone = dataclasses.replace(self, method=dataclasses.replace(self.method, weights=own))
        learnt, moments, _, metrics = _step(alone, state, batch, key)
        # Momentum must not move a policy that nobody teaches.
        parts = lambda s: (s.model, s.moments)
        return eqx.tree_at(parts, state, (learnt.model, moments)), metrics


def build(
    method: Method,
    size: str,
    *,
    layout: Layout,
    num_scenarios: int,
    observe_reward: bool = True,
    behaviour: str = "imagination",
    updates: int = 0,
) -> Dreamer:
    """The agent of this method. Its learning rate is constant, however many `updates` there are.

    Raises:
        ConfigError: no such size, or a behaviour that is not this method's own.
    """
    config = named("size", size, SIZES)
    because = "learns to act in dreams, as a part of its one loss"
    method.check_behaviour(behaviour, own="imagination", because=because)
    model = dataclasses.replace(config.model, observe_reward=observe_reward)
    windows = config.windows
    if num_scenarios < windows.scenarios:
        # The batch keeps its size: a single task fills it with windows of one scenario.
        each = windows.scenarios * windows.per_scenario // num_scenarios
        windows = dataclasses.replace(windows, scenarios=num_scenarios, per_scenario=each)
    config = dataclasses.replace(config, model=model, windows=windows)
    return Dreamer(method, config, layout, num_scenarios)


def loss_of(
    learnt: Learnt, agent: Dreamer, state: DreamerState, batch: Batch, key: PRNGKeyArray
) -> tuple[Float[Array, ""], tuple[Forward, dict[str, Float[Array, "B _"]]]]:
    """The one loss, on the T trained steps of a raw batch; also every term of it."""
    keys, config = named_keys(key, "observe", "dream", "jacobian", "error"), agent.config
    trained = acting.steps_of(batch, slice(-config.windows.length, None))
    seen, num = acting.normalised(state.filter, trained), learnt.model.num_sampled
    error = config.latent_error.draw(keys.error, trained.reward.shape, num)
    posterior = learnt.model.observe(seen, key=keys.observe, error=error)
    slow, updates = state.behaviour.slow, state.updates
    dream = imagined(
        learnt.model,
        learnt.model.states_at(posterior, jnp.arange(trained.reward.size)),
        learnt.actor,
        learnt.critic,
        slow,
        state.behaviour.return_range,
        horizon=config.horizon,
        lambda_=config.lambda_,
        scale_rate=config.scale_rate,
        key=keys.dream,
    )
    policy = learnt.actor(dream.feature, dream.act_mask[None])
    forward = Forward(learnt, slow, trained, posterior, dream, policy, updates, keys.jacobian)
    terms = {name: TERMS[name](config, forward) for name in agent.method.terms}
    return total_loss(terms, agent.method.terms), (forward, terms)


def _step(
    agent: Dreamer, state: DreamerState, batch: Batch, key: PRNGKeyArray
) -> tuple[Learnt, Any, Forward, Metrics]:
    """One step down the gradient of the loss, and what it was made from."""
    (loss, (forward, terms)), grads = eqx.filter_value_and_grad(loss_of, has_aux=True)(
        state.learnt, agent, state, batch, key
    )
    learnt, moments = descend(agent.config.optimizer.optimizer, state.learnt, grads, state.moments)
    rows = batch.reward.shape[0]
    by_row = lambda term: jnp.mean(term.reshape(rows, -1), axis=1)
    metrics = {
        "loss": loss,
        "gradient": optax.tree.norm(grads),
        **{f"loss/{name}": jnp.mean(term) for name, term in terms.items()},
        **{f"row/{name}": by_row(term) for name, term in terms.items() if term.size >= rows},
    }
    return learnt, moments, forward, metrics


def _shown(forward: Forward) -> Metrics:
    """What to log of the dreams and of the latent state."""
    dream, posterior = forward.imagined, forward.posterior
    dimensions = jnp.mean(jnp.sum(dream.act_mask, axis=-1))
    return {
        "actor/entropy": jnp.mean(forward.policy.entropy()) / dimensions,
        "actor/return_range": dream.return_range,
        "actor/dreamt_reward": jnp.mean(dream.reward),
        "actor/dreamt_return": jnp.mean(dream.returns),
        "critic/value": jnp.mean(dream.value),
        "latent/prior_entropy": jnp.mean(posterior.prior.entropy()),
        "latent/posterior_entropy": jnp.mean(posterior.posterior.entropy()),
        "stored/deter": posterior.deter.astype(jnp.float16),
        "stored/stoch": packed(posterior.stoch),
    }
