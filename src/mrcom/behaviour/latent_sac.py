"""Behaviour from replay: soft actor-critic on the features of replayed windows, without dreams."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from mrcom.behaviour.critic import (
    CriticConfig,
    MetaValue,
    ScenarioCritics,
    fit_critics,
    fit_meta,
    init_critics,
    init_meta,
)
from mrcom.behaviour.examples import unlikeness
from mrcom.behaviour.learning import AbstractBehaviour, Metrics, transitions
from mrcom.behaviour.policy import Actor
from mrcom.behaviour.sac import SACConfig, SACState, Transition, init_sac, sac_update
from mrcom.behaviour.steps import running_mean
from mrcom.core.errors import check_shares
from mrcom.core.rng import named_keys
from mrcom.core.types import Batch, Number
from mrcom.models.world_model import AbstractWorldModel, Posterior
from mrcom.objectives.imagination import return_range, value_target


@dataclasses.dataclass(frozen=True)
class LatentSacConfig:
    """SAC on replayed features, with a value of each scenario beside it. Defaults: ours."""

    sac: SACConfig = dataclasses.field(default_factory=SACConfig)
    """Actor, twin critics and temperature, one of each for all scenarios. A minibatch is every
    transition of an update's windows; `SACConfig.batch` has no say here."""
    critic: CriticConfig = dataclasses.field(
        default_factory=lambda: CriticConfig(slow_rate=0.1, slow_weight=0.0)
    )
    """Scenarios' critics and meta value. Slow copies make the one-step targets, so they follow
    faster than those of lambda-returns, and online critics are not held to them besides."""
    imitation: float = 1.0
    """Weight of the experts' steps in a batch as examples for the actor, where experts collected
    any; 0 learns from values alone."""
    scale_rate: float = 0.01
    """Share by which the range of returns moves at each update."""
    scale_floor: float = 1.0
    """Ranges below this reward are not enlarged; a sum of rewards, not our unit of value."""

    def __post_init__(self):
        check_shares(self, "scale_rate")

    @property
    def discount(self) -> Number:
        """Per control step, of all values here."""
        return self.sac.discount


OF_ACTOR = ("entropy", "gradient", "temperature")
"""What is said of the actor besides."""


class LatentSacState(eqx.Module):
    """Everything that changes while behaviour is learnt.

    Attributes:
        return_range: running mean of the range of values, in our unit of value.
    """

    sac: SACState
    critics: ScenarioCritics
    meta: MetaValue
    return_range: Float[Array, ""]

    @property
    def actor(self) -> Actor:
        """The policy, one for all scenarios."""
        return self.sac.actor

    @property
    def updates(self) -> Int[Array, ""]:
        """How many have been made."""
        return self.sac.updates


@dataclasses.dataclass(frozen=True)
class LatentSac(AbstractBehaviour):
    """SAC on replayed features."""

    config: LatentSacConfig
    per_scenario: int
    """Rows of a batch that belong to one scenario."""

    def init(
        self, feature: int, act: int, num_scenarios: int, *, key: PRNGKeyArray
    ) -> LatentSacState:
        """Actor, critics and meta value before anything is learnt."""
        return LatentSacState(
            sac=init_sac(feature, act, self.config.sac, key=key),
            critics=init_critics(feature, num_scenarios, self.config.critic, key=key),
            meta=init_meta(feature, self.config.critic, key=key),
            return_range=jnp.zeros(()),
        )

    def update(
        self,
        state: LatentSacState,
        model: AbstractWorldModel | None,
        posterior: Posterior,
        batch: Batch,
        *,
        key: PRNGKeyArray,
    ) -> tuple[LatentSacState, Metrics]:
        """One step of everything on all transitions of the windows; the model is not asked."""
        steps = transitions(posterior.expected, batch)
        rows, length, act = steps.action.shape
        of_step = jnp.broadcast_to(batch.act_mask[:, None], (rows, length, act))
        flat, mask = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), (steps, of_step))
        shown = jnp.repeat(batch.expert.astype(jnp.float32), length)
        sac, learnt = sac_update(
            state.sac,
            flat,
            mask,
            self.config.sac,
            key=named_keys(key, "sac").sac,
            besides=lambda policy: unlikeness(policy, flat.action, shown),
            weight=self.config.imitation,
        )
        scenario = batch.scenario[:: self.per_scenario]
        after, metrics = self._fit_values(state, posterior.expected, steps, scenario)
        names = ("loss", "value", "target", "disagreement")
        metrics |= {
            "actor/imitation": learnt["actor/besides"],
            **{f"actor/{name}": learnt[f"actor/{name}"] for name in OF_ACTOR},
            **{f"twin/{name}": learnt[f"critic/{name}"] for name in names},
            "row/twin": jnp.mean(learnt["row/critic"].reshape(rows, length), axis=1),
        }
        return eqx.tree_at(lambda s: s.sac, after, sac), metrics

    def dream_steps(self, rows: int) -> int:
        """None: nothing is dreamt."""
        return 0

    def _fit_values(
        self,
        state: LatentSacState,
        feature: Float[Array, "B T F"],
        steps: Transition,
        scenario: Int[Array, " S"],
    ) -> tuple[LatentSacState, Metrics]:
        """One step of the scenarios' critics towards Eq. 14, and of the meta value to them."""
        config, num = self.config, scenario.shape[0]
        by_scenario = lambda x: x.reshape(num, -1, *x.shape[2:])
        critics = state.critics.gather(scenario)
        target = value_target(
            steps.reward,
            steps.cont,
            critics.slow_value(by_scenario(feature)).reshape(feature.shape[:2]),
            discount=config.discount,
            lambda_=0.0,
        )
        data = [by_scenario(x) for x in (steps.feature, target, steps.weight)]
        fitted, losses = fit_critics(critics, *data, config.critic)
        value = critics.value(data[0])
        meta, meta_loss = fit_meta(state.meta, data[0], value, config.critic)
        running = running_mean(
            state.return_range, return_range(target, num), state.updates, config.scale_rate
        )
        after = LatentSacState(
            sac=state.sac,
            critics=state.critics.scatter(scenario, fitted),
            meta=meta,
            return_range=running,
        )
        metrics = {
            "actor/return_range": running,
            "critic/loss": jnp.mean(losses),
            "critic/value": jnp.mean(value),
            "meta/loss": meta_loss,
            "row/critic": jnp.repeat(losses, self.per_scenario),
        }
        return after, metrics
