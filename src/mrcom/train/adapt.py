"""Scenario adaptation: a policy for each target, from few real steps and many dreamt ones."""

import dataclasses
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from mrcom.agents.agent import Agent
from mrcom.behaviour.policy import Actor
from mrcom.behaviour.sac import SACConfig, SACState, Transition, init_sac, sac_updates
from mrcom.core.errors import ConfigError
from mrcom.core.progress import Bar
from mrcom.core.rng import named_generator, named_keys, root_key
from mrcom.simulate.simulator import Simulator
from mrcom.train.log import Counters, Log
from mrcom.train.real_steps import RealSteps, empty_real_steps
from mrcom.train.settings import Worlds
from mrcom.train.views import View, act_each


@dataclasses.dataclass(frozen=True)
class AdaptConfig:
    """How a policy is found for a target scenario. Defaults: ours; the paper names none."""

    name: str = "adapted"
    """How tables call the result."""
    policy_init: str = "behaviour"
    """`behaviour` starts from what was learnt in training, `scratch` from nothing."""
    real_share: float = 0.3
    """Share of real transitions in a minibatch; 1 dreams nothing."""
    dreams: int = 256
    """Dreams before each chunk of updates, from real states of the target."""
    first_horizon: int = 1
    """Steps of the first dreams."""
    last_horizon: int = 5
    """Steps of the last ones; in between it grows evenly."""
    chunk: int = 250
    """Real steps between two chunks of updates."""
    keep_states: int = 4000
    """Latest real states that dreams may branch from."""
    sac: SACConfig = SACConfig()
    """The learner; actor and critics get the size of the actor that training left."""

    def __post_init__(self):
        if self.policy_init not in ("behaviour", "scratch"):
            raise ConfigError(
                f"policy_init={self.policy_init!r} must be one of behaviour, scratch."
            )
        if not 0 < self.real_share <= 1:
            raise ConfigError(
                f"real_share={self.real_share} must lie in (0, 1]; the nearest legal value is "
                f"{1.0 if self.real_share > 1 else 0.05}."
            )


@dataclasses.dataclass(frozen=True)
class Amount:
    """How much of everything an adaptation may use."""

    steps: int
    """Real control steps in each target."""
    updates: int
    """Updates of each policy."""
    episode_steps: int
    """Real steps between two resets."""


@dataclasses.dataclass(frozen=True)
class Moment:
    """Where all targets are."""

    feature: Float[Array, "N F"]
    carry: Any


def adapt(
    agent: Agent,
    state: Any,
    worlds: Worlds,
    view: View,
    config: AdaptConfig,
    amount: Amount,
    *,
    seed: int,
    log: Log,
    bar: Bar,
) -> Actor:
    """Policies for all scenarios of `worlds`, each from its own real steps.

    Targets are stepped side by side but learn apart. The world model is frozen.

    Args:
        view: what the policies read. Dreams need the model's state, so a `LatentView`.
        seed: of everything random here.

    Returns:
        The actors, stacked on the first axis of every leaf.

    Raises:
        TrainingDivergedError: a target's simulation diverged.
    """
    num, size = len(worlds.scenarios), agent.actor(state).config
    sac = dataclasses.replace(config.sac, actor=size, units=size.units)
    config = dataclasses.replace(config, sac=sac)
    simulator = Simulator(worlds.scenarios, layout=worlds.layout)
    act_mask, key = jnp.asarray(worlds.masks.act), named_keys(root_key(seed), "act").act
    now = _begin_episode(simulator, view, seed, 0)
    width, act = now.feature.shape[-1], worlds.layout.act
    learners = _learners(agent, state, config, num, width, seed)
    example = now.carry.model if config.real_share < 1 else None
    real = empty_real_steps(num, amount.steps, width, act, example, config.keep_states)
    reported, returns, actors = 0, np.zeros(num), stacked([learner.actor for learner in learners])
    for step in range(amount.steps):
        chosen = act_each(actors, now.feature, act_mask, jax.random.fold_in(key, step))
        action = np.asarray(chosen)
        obs, reward = simulator.step(action)
        simulator.check()
        feature, carry = view.see(now.carry, obs, action, reward)
        seen = now.carry.model if real.states is not None else None
        real.add(np.asarray(now.feature), action, reward, np.asarray(feature), seen)
        now = Moment(feature, carry)
        returns += reward
        if (step + 1) % config.chunk == 0 or step + 1 == amount.steps:
            done = (step + 1) / amount.steps
            learners = [
                _learn(agent, state, learner, real, act_mask[n], config, amount, done, (seed, n))
                for n, learner in enumerate(learners)
            ]
            actors = stacked([learner.actor for learner in learners])
            bar.advance(step + 1 - reported)
            reported = step + 1
        if (step + 1) % amount.episode_steps == 0 or step + 1 == amount.steps:
            _log_returns(log, config, worlds, returns, step + 1, int(learners[0].updates))
            returns = np.zeros(num)
            if step + 1 < amount.steps:
                now = _begin_episode(simulator, view, seed, step + 1)
    return actors


def stacked(actors: list[Actor]) -> Actor:
    """Several actors of one shape on a new first axis of every leaf."""
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *actors)


def _begin_episode(simulator: Simulator, view: View, seed: int, step: int) -> Moment:
    obs = simulator.reset(seed=int(named_generator(seed, "reset", step).integers(2**31)))
    nothing = np.zeros((simulator.num, simulator.layout.act), np.float32)
    return Moment(*view.see(view.start(), obs, nothing, np.zeros(simulator.num, np.float32)))


def _learners(
    agent: Agent, state: Any, config: AdaptConfig, num: int, width: int, seed: int
) -> list[SACState]:
    actor = agent.actor(state) if config.policy_init == "behaviour" else None
    key = named_keys(root_key(seed), "learners").learners
    return [
        init_sac(
            width,
            agent.layout.act,
            config.sac,
            key=jax.random.fold_in(key, n),
            actor=actor,
        )
        for n in range(num)
    ]


def _learn(
    agent: Agent,
    state: Any,
    learner: SACState,
    real: RealSteps,
    act_mask: Float[Array, " A"],
    config: AdaptConfig,
    amount: Amount,
    done: float,
    streams: tuple[int, int],
) -> SACState:
    """One target's share of updates up to `done`, on real and freshly dreamt transitions."""
    seed, target = streams
    before = int(learner.updates)
    num = round(amount.updates * done) - before
    if num <= 0:
        return learner
    rng = named_generator(seed, "minibatches", target, before)
    key = jax.random.fold_in(named_keys(root_key(seed), "dreams").dreams, before)
    key = jax.random.fold_in(key, target)
    num_real = round(config.sac.batch * config.real_share)
    batches = real.draw(target, rng, (num, num_real))
    if num_real == config.sac.batch:
        return _update(learner, batches, act_mask, key, config.sac)
    starts = real.draw_states(target, rng, config.dreams)
    longest = config.last_horizon
    horizon = round(config.first_horizon + done * (longest - config.first_horizon))
    at = rng.integers(config.dreams * horizon, size=(num, config.sac.batch - num_real))
    # Dreams are always of the longest horizon, so that nothing is compiled twice; the steps
    # beyond the present one are not drawn.
    index = (at // horizon) * longest + at % horizon
    return _dream_and_update(
        (agent, config), state, learner, batches, starts, jnp.asarray(index), act_mask, key
    )


@eqx.filter_jit
def _dream_and_update(
    given: tuple[Agent, AdaptConfig],
    state: Any,
    learner: SACState,
    batches: Transition,
    starts: Any,
    index: Int[Array, "n B"],
    act_mask: Float[Array, " A"],
    key: PRNGKeyArray,
) -> SACState:
    agent, config = given
    keys = named_keys(key, "dream", "update")
    dream = agent.dream(state, starts, learner.actor, horizon=config.last_horizon, key=keys.dream)
    flat = lambda array: array.reshape(-1, *array.shape[2:])[index]
    dreamt = Transition(
        feature=flat(dream.feature[:, :-1]),
        action=flat(dream.action),
        reward=flat(dream.reward),
        next_feature=flat(dream.feature[:, 1:]),
        cont=flat(dream.cont),
        weight=jnp.ones(index.shape),
    )
    mixed = jax.tree.map(lambda *parts: jnp.concatenate(parts, axis=1), batches, dreamt)
    return sac_updates(learner, mixed, act_mask, config.sac, key=keys.update)[0]


@eqx.filter_jit
def _update(
    learner: SACState,
    batches: Transition,
    act_mask: Float[Array, " A"],
    key: PRNGKeyArray,
    config: SACConfig,
) -> SACState:
    return sac_updates(learner, batches, act_mask, config, key=key)[0]


def _log_returns(
    log: Log, config: AdaptConfig, worlds: Worlds, returns: np.ndarray, steps: int, updates: int
) -> None:
    num = len(worlds.scenarios)
    counters = Counters(env_steps=steps * num, updates=updates, episodes=0)
    values = {
        f"return/{scenario.body}/{scenario.hash}": value
        for scenario, value in zip(worlds.scenarios, returns, strict=True)
    }
    log.write(config.name, counters, values)
