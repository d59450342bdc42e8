"""Scenario adaptation: a policy for each target, from few real steps and many dreamt ones."""

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, PRNGKeyArray

from mrcom.agents.agent import Agent
from mrcom.behaviour.policy import Actor, ActorConfig
from mrcom.core.errors import TrainingDivergedError
from mrcom.core.progress import Bar, StepWithin
from mrcom.core.rng import named_generator, named_keys, root_key
from mrcom.train.adapt_config import AdaptConfig, Amount
from mrcom.train.adapt_imagination import ImaginationLearner
from mrcom.train.adapt_learner import Share, TargetLearner
from mrcom.train.adapt_ppo import PPOLearner
from mrcom.train.adapt_sac import SacLearner
from mrcom.train.log import Counters, Log
from mrcom.train.run import own_steps
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


@dataclasses.dataclass(frozen=True)
class Tried:
    """A policy that acted an episode in a target."""

    actor: Actor
    state: Any
    """Of the agent, whose world model the policy looked through."""
    earned: float
    """Return of that episode."""


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

    Each policy acts a whole episode, learns from all real steps so far, and acts the next; none
    learns after the last. What comes back is the policy whose episode earned most: values of few
    steps err, and only what was really tried is known to be no worse than the behaviour.

    Targets are stepped side by side but learn apart: no target's data change another's policy
    or world model. The model is frozen unless the configuration says otherwise.

    Args:
        views: what the policies read; dreams need the model's states too.
        seed: of everything random here.
        bar: counts updates, of all targets.
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
    own = own_steps(agent, config.prompt) if config.asks_model else 0
    best = [Tried(one.actor, state, -math.inf) for one in learnings]
    states, dreamt = [state] * num, 0
    for episode in range(amount.episodes):
        actors = stacked([one.actor for one in learnings])
        returns = _act(targets, actors, amount, episode, config, keys.act, bar)
        done = (own + targets.real.count, dreamt, int(learnings[0].updates))
        _log_returns(log, config, worlds, returns, done, amount)
        for n, earned in enumerate(returns):
            if better := earned > best[n].earned:
                best[n] = Tried(learnings[n].actor, states[n], float(earned))
            if episode > 0:
                learnings[n] = learner.judged(learnings[n], best[n].actor, better=bool(better))
        if episode + 1 == amount.episodes:
            break
        if config.model == "finetune":
            bar.advance(0, text="models learn in their targets")
            made = math.ceil(config.model_ratio * amount.episode_steps)
            states = _teach(
                agent, states, worlds, views, targets, seed, first=episode * made, num=made
            )
            targets.look_again(states)
        for n, one in enumerate(learnings):
            share = _share(worlds, amount, episode, (seed, n), made=int(one.updates))
            bar.advance(0, text=f"learning in target {n + 1} of {num}")
            learnings[n] = learner.learn(one, states[n], targets.real, share)
            dreamt += learner.dream_steps(share.num)
            bar.advance(share.num)
        _check(learnings, worlds, targets.real.count)
        targets.begin_episode(targets.real.count)
    return Adapted(stacked([one.actor for one in best]), tuple(one.state for one in best))


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


def _act(
    targets: Targets,
    actors: Actor,
    amount: Amount,
    episode: int,
    config: AdaptConfig,
    key: PRNGKeyArray,
    bar: Bar,
) -> Float[np.ndarray, " N"]:
    """Returns of one episode of every target."""
    returns = np.zeros(len(targets.real.reward))
    title = f"real episode {episode + 1} of {amount.episodes}, steps"
    shown = StepWithin(bar, title, amount.episode_steps)
    for step in range(amount.episode_steps):
        count = episode * amount.episode_steps + step
        drawn = jax.random.fold_in(key, count) if config.explores(step) else None
        returns += targets.step(actors, drawn)
        shown.advance()
    return returns


def _teach(
    agent: Agent,
    states: list[Any],
    worlds: Worlds,
    views: Views,
    targets: Targets,
    seed: int,
    *,
    first: int,
    num: int,
) -> list[Any]:
    """Each target's own model after `num` more updates on the target's steps."""
    assert views.latent is not None, "a model that learns is asked for its states"
    names = tuple(scenario.name for scenario in worlds.scenarios)
    teacher = Teacher(agent, worlds.masks, views.latent.prompt, names, seed)
    return [
        teacher.learn(state, n, targets.store(n), first=first, num=num)
        for n, state in enumerate(states)
    ]


def _share(
    worlds: Worlds, amount: Amount, episode: int, streams: tuple[int, int], *, made: int
) -> Share:
    """One target's updates after an episode; all are made before the last one."""
    seed, target = streams
    due = round(amount.updates * (episode + 1) / (amount.episodes - 1))
    key = named_keys(root_key(seed), "dreams").dreams
    return Share(
        target=target,
        num=due - made,
        total=amount.updates,
        act_mask=jnp.asarray(worlds.masks.act)[target],
        rng=named_generator(seed, "minibatches", target, made),
        key=jax.random.fold_in(jax.random.fold_in(key, made), target),
        name=worlds.scenarios[target].name,
    )


def _check(learnings: list[Any], worlds: Worlds, steps: int) -> None:
    """Raise where a policy is no longer finite: its losses were not."""
    for scenario, one in zip(worlds.scenarios, learnings, strict=True):
        if not all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(one.actor)):
            raise TrainingDivergedError(
                f"Not finite: the policy of target {scenario.name} after {steps} real steps; "
                f"nothing of this adaptation is kept. Lower its learning rates."
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
        episodes=num * (steps // amount.episode_steps),
    )
    values = {
        f"return/{scenario.body}/{scenario.hash}": value
        for scenario, value in zip(worlds.scenarios, returns, strict=True)
    }
    log.write(config.name, counters, values)
