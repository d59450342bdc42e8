"""Scenario adaptation: a policy for each target, from few real steps and many dreamt ones."""

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mrcom.agents.agent import Agent
from mrcom.behaviour.policy import Actor, ActorConfig
from mrcom.core.errors import TrainingDivergedError
from mrcom.core.progress import Bar
from mrcom.core.rng import named_generator, named_keys, root_key
from mrcom.train.adapt_config import AdaptConfig, Amount
from mrcom.train.adapt_imagination import ImaginationLearner
from mrcom.train.adapt_learner import Chunk, TargetLearner
from mrcom.train.adapt_ppo import PPOLearner
from mrcom.train.adapt_sac import SacLearner
from mrcom.train.log import Counters, Log
from mrcom.train.settings import Worlds
from mrcom.train.target_models import Teacher
from mrcom.train.targets import Targets, Views


@dataclasses.dataclass(frozen=True)
class Adapted:
    """What an adaptation found."""

    actors: Actor
    """A policy for each target, stacked on the first axis of every leaf."""
    states: tuple[Any, ...]
    """The agent's state in each target; only its world model may differ from the one given."""


def adapt(
    agent: Agent,
    state: Any,
    worlds: Worlds,
    views: Views,
    config: AdaptConfig,
    amount: Amount,
    *,
    seed: int,
    log: Log,
    bar: Bar,
    size: ActorConfig | None = None,
) -> Adapted:
    """Policies for all scenarios of `worlds`, each from its own real steps.

    Targets are stepped side by side but learn apart: no target's data change another's policy
    or world model. The model is frozen unless the configuration says otherwise.

    Args:
        views: what the policies read; dreams need the model's states too.
        seed: of everything random here.
        size: of the policies; that of the behaviour by default.

    Raises:
        TrainingDivergedError: a target's simulation or its model's loss diverged.
    """
    num = len(worlds.scenarios)
    config = sized(config, agent.actor(state).config if size is None else size)
    learner = _learner(agent, views, config)
    targets = Targets(worlds, views, config, amount, seed=seed)
    keys = named_keys(root_key(seed), "act", "learners")
    width = targets.now.feature.shape[-1]
    learnings = [
        learner.begin(state, width, key=jax.random.fold_in(keys.learners, n)) for n in range(num)
    ]
    states, made = [state] * num, 0
    reported, returns, actors = 0, np.zeros(num), stacked([one.actor for one in learnings])
    dreamt = 0
    for step in range(amount.steps):
        returns += targets.step(actors, jax.random.fold_in(keys.act, step))
        if (step + 1) % config.chunk == 0 or step + 1 == amount.steps:
            if config.model == "finetune":
                states = _teach(agent, states, worlds, views, targets, config, made, seed)
                made += config.model_updates
                targets.look_again(states)
            done, before = (step + 1) / amount.steps, int(learnings[0].updates)
            learnings = [
                _learn(learner, one, states[n], targets, worlds, amount, done, (seed, n))
                for n, one in enumerate(learnings)
            ]
            actors = stacked([one.actor for one in learnings])
            _check(actors, worlds, step + 1)
            if (newly := int(learnings[0].updates) - before) > 0:
                dreamt += num * learner.dream_steps(newly)
            bar.advance(step + 1 - reported)
            reported = step + 1
        if (step + 1) % amount.episode_steps == 0 or step + 1 == amount.steps:
            updates = int(learnings[0].updates)
            _log_returns(log, config, worlds, returns, (step + 1, dreamt, updates), amount)
            returns = np.zeros(num)
            if step + 1 < amount.steps:
                targets.begin_episode(step + 1)
    return Adapted(actors, tuple(states))


def stacked(actors: list[Actor]) -> Actor:
    """Several actors of one shape on a new first axis of every leaf."""
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *actors)


def sized(config: AdaptConfig, actor: ActorConfig) -> AdaptConfig:
    """The configuration with networks of the size of an actor."""
    imagination = config.imagination
    actor_critic = dataclasses.replace(imagination.actor_critic, actor=actor)
    return dataclasses.replace(
        config,
        sac=dataclasses.replace(config.sac, actor=actor, units=actor.units),
        imagination=dataclasses.replace(imagination, actor_critic=actor_critic),
    )


def _learner(agent: Agent, views: Views, config: AdaptConfig) -> TargetLearner:
    if config.learner == "imagination":
        return ImaginationLearner(agent, config)
    if config.learner == "ppo":
        return PPOLearner(agent, config.ppo, config.sac.actor, config.policy_init)
    return SacLearner(agent, config, views.policy.shown)


def _teach(
    agent: Agent,
    states: list[Any],
    worlds: Worlds,
    views: Views,
    targets: Targets,
    config: AdaptConfig,
    made: int,
    seed: int,
) -> list[Any]:
    """Each target's own model after some more updates on the target's steps."""
    assert views.latent is not None, "a model that learns is asked for its states"
    names = tuple(scenario.name for scenario in worlds.scenarios)
    teacher = Teacher(agent, worlds.masks, views.latent.prompt, names, seed)
    return [
        teacher.learn(state, n, targets.store(n), first=made, num=config.model_updates)
        for n, state in enumerate(states)
    ]


def _learn(
    learner: TargetLearner,
    learning: Any,
    state: Any,
    targets: Targets,
    worlds: Worlds,
    amount: Amount,
    done: float,
    streams: tuple[int, int],
) -> Any:
    """One target's share of updates up to `done`."""
    seed, target = streams
    before = int(learning.updates)
    num = round(amount.updates * done) - before
    if num <= 0:
        return learning
    key = jax.random.fold_in(named_keys(root_key(seed), "dreams").dreams, before)
    chunk = Chunk(
        target=target,
        num=num,
        done=done,
        act_mask=jnp.asarray(worlds.masks.act)[target],
        rng=named_generator(seed, "minibatches", target, before),
        key=jax.random.fold_in(key, target),
    )
    return learner.learn(learning, state, targets.real, chunk)


def _check(actors: Actor, worlds: Worlds, steps: int) -> None:
    """Raise where a policy is no longer finite: its losses were not."""
    for leaf in jax.tree.leaves(actors):
        if len(bad := np.flatnonzero(~np.isfinite(np.asarray(leaf)).reshape(len(leaf), -1).all(1))):
            raise TrainingDivergedError(
                f"Not finite: the policy of target {worlds.scenarios[bad[0]].name} after {steps} "
                f"real steps; nothing of this adaptation is kept. Lower its learning rates."
            )


def _log_returns(
    log: Log,
    config: AdaptConfig,
    worlds: Worlds,
    returns: np.ndarray,
    done: tuple[int, int, int],
    amount: Amount,
) -> None:
    """Each target's return of the episode that ended; `done` counts steps, dreams and updates."""
    num, (steps, dreamt, updates) = len(worlds.scenarios), done
    counters = Counters(
        env_steps=steps * num,
        dream_steps=dreamt,
        updates=updates,
        episodes=num * math.ceil(steps / amount.episode_steps),
    )
    values = {
        f"return/{scenario.body}/{scenario.hash}": value
        for scenario, value in zip(worlds.scenarios, returns, strict=True)
    }
    log.write(config.name, counters, values)
