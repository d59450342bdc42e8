"""What a world model that learnt with latent errors is worth: dreams, returns, gain."""

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from mrcom.agents.acting import AbstractFilter, dreamt_features, normalised
from mrcom.agents.agent import Agent, AgentPolicy
from mrcom.agents.disturbed import DisturbedPolicy
from mrcom.agents.latent_dynamics import jacobian_term
from mrcom.core.rng import named_generator, named_keys, root_key
from mrcom.core.types import Batch, Layout, Masks, Steps
from mrcom.evaluate.evaluate import evaluate
from mrcom.evaluate.open_loop import held_out_windows, hide_future
from mrcom.models.latent_error import NONE, LatentError
from mrcom.models.world_model import AbstractLatentModel
from mrcom.objectives.jacobian import JacobianConfig
from mrcom.replay.prompts import make_prompts
from mrcom.scenarios.layout import masks_of
from mrcom.scenarios.scenario import Scenario
from mrcom.simulate.rollout import Policy

DREAMT = 4
"""Dreams whose mean is the model's prediction."""
SEEN = 32
"""Real steps before every dream."""
DIVERGED = 10.0
"""A run has diverged where its dreams are wrong by more than this many variances of what is
observed, or where a number is not finite."""

Numbers = tuple[float, ...]


@dataclasses.dataclass(frozen=True)
class Curves:
    """Mean squared errors of dreams, 1, 2, ... steps after their start."""

    latent: Numbers
    """Of the features, against those that the same model filters from what really followed,
    without an error; in variances of these, so that a model whose features are small gains
    nothing by it. A model that knows only their mean is at 1."""
    obs: Numbers
    """Of the observations, in variances of each quantity."""
    reward: Numbers
    """Of the rewards, squared units."""


@dataclasses.dataclass(frozen=True)
class Cell:
    """A model that learnt on a body, with an error and with what is done against it."""

    body: str
    control: str
    error: str
    seed: int
    amount: str
    """How much it learnt and was measured, by name."""
    updates: int
    diverged: str = ""
    """Why it counts as diverged; empty where it does not. What is not finite is not kept."""
    episode_return: float | None = None
    """Mean return of the behaviour, which acts under the error that it learnt with."""
    gain: float | None = None
    """Mean squared gain of a step of the latent dynamics on held-out episodes."""
    erring: Curves | None = None
    """Of dreams that start from states with the error that the model learnt with."""
    exact: Curves | None = None
    """Of dreams that start from states without an error."""
    apart: Curves | None = None
    """How far the dreams of the one kind are from those of the other, with the same draws: what is
    left of the error itself, whatever else is wrong. Nothing where there is no error."""

    @property
    def key(self) -> tuple[Any, ...]:
        """What makes two cells the same measurement."""
        return self.body, self.control, self.error, self.seed, self.amount, self.updates


@dataclasses.dataclass(frozen=True)
class Probe:
    """By what all models of a body are judged, under one seed."""

    scenario: Scenario
    layout: Layout
    windows: Batch
    """Held-out windows, each ending in the steps that are dreamt."""
    horizon: int
    """How many these are."""
    episodes: int
    """Of the behaviour."""
    steps: int
    """Control steps of each."""
    seed: int


def probe_of(
    rounds: Sequence[Steps],
    scenario: Scenario,
    layout: Layout,
    *,
    context: int,
    per_episode: int,
    horizon: int,
    episodes: int,
    steps: int,
    seed: int,
) -> Probe:
    """Windows of rounds of held-out episodes of one scenario."""
    parts = []
    for number, held in enumerate(rounds):
        rows = len(held.reward)
        windows = held_out_windows(
            held,
            layout,
            masks_of((scenario,) * rows, layout),
            make_prompts("none", num=rows, layout=layout, window=context),
            named_generator(seed, "windows", number),
            per_scenario=per_episode,
            context=context,
            length=SEEN,
            horizon=horizon,
            seen=min(SEEN, held.reward.shape[1] - 1 - horizon),
        )
        parts.append(windows)
    both = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *parts)
    return Probe(scenario, layout, both, horizon, episodes, steps, seed)


def measured(cell: Cell, agent: Agent, state: Any, error: LatentError, probe: Probe) -> Cell:
    """The cell with all that is measured of what it learnt."""
    keys = named_keys(root_key(probe.seed), "dream", "gain")
    real, unit = _really(state.filter, probe.windows, probe.horizon)
    own = lambda wrong: _dreamt(state.filter, probe.windows, keys.dream, probe.horizon, wrong)
    right = own(NONE)
    wrong = right if error == NONE else own(error)
    exact, erring = (told.distance(real, unit) for told in (right, wrong))
    apart = None if error == NONE else wrong.distance(right, unit)
    gain = float(mean_squared_gain(state.filter, probe.windows, keys.gain))
    if reason := divergence(erring, gain):
        return dataclasses.replace(cell, diverged=reason)
    return dataclasses.replace(
        cell,
        episode_return=_mean_return(agent, state, error, probe),
        gain=gain,
        erring=erring,
        exact=exact,
        apart=apart,
    )


def divergence(curves: Curves, gain: float) -> str:
    """Why a model with such errors counts as diverged; empty where it does not."""
    numbers = np.concatenate([curves.latent, curves.obs, curves.reward, [gain]])
    if not np.isfinite(numbers).all():
        return "dreams are not finite"
    worst = max(curves.obs)
    return f"dreams are wrong by {worst:.3g} variances" if worst > DIVERGED else ""


def open_loop_curves(
    given: AbstractFilter, batch: Batch, key: PRNGKeyArray, *, horizon: int, error: LatentError
) -> Curves:
    """Errors of dreams of the last steps of windows, started from states with an error."""
    real, unit = _really(given, batch, horizon)
    return _dreamt(given, batch, key, horizon, error).distance(real, unit)


@eqx.filter_jit
def mean_squared_gain(given: AbstractFilter, batch: Batch, key: PRNGKeyArray) -> Float[Array, ""]:
    """How much a step of the dynamics enlarges an error: the mean over steps and over errors."""
    seen, model = normalised(given, dataclasses.replace(batch, stored={})), given.model
    assert isinstance(model, AbstractLatentModel), "there is no latent dynamics"
    keys, config = named_keys(key, "observe", "probes"), JacobianConfig(probes=4)
    posterior = model.observe(seen, key=keys.observe)
    term = jacobian_term(model, posterior, seen.action, jnp.zeros((), int), config, keys.probes)
    return jnp.mean(term)


class _Unit(NamedTuple):
    """What differences are measured by."""

    spread: Float[Array, ""]
    """Variance of a feature."""
    real: Float[Array, "B O"]
    """1 for the quantities that a body has."""


class _Told(NamedTuple):
    """The last steps of B windows, as they were or as one dreamt them."""

    feature: Float[Array, "B H F"]
    obs: Float[Array, "B H O"]
    """In standard deviations."""
    reward: Float[Array, "B H"]

    def distance(self, other: "_Told", unit: _Unit) -> Curves:
        """Mean squared differences at each step."""
        latent = jnp.mean(jnp.square(self.feature - other.feature), axis=(0, 2)) / unit.spread
        real = unit.real[:, None]
        obs = jnp.sum(real * jnp.square(self.obs - other.obs), axis=(0, 2)) / jnp.sum(real)
        reward = jnp.mean(jnp.square(self.reward - other.reward), axis=0)
        return Curves(*(tuple(curve.tolist()) for curve in (latent, obs, reward)))


@eqx.filter_jit
def _dreamt(
    given: AbstractFilter, batch: Batch, key: PRNGKeyArray, horizon: int, error: LatentError
) -> _Told:
    """The mean of the dreams of the last steps, started from states with an error."""
    keys, model = named_keys(key, "dream", "error"), given.model
    assert isinstance(model, AbstractLatentModel), "there is no latent state to be wrong"
    rows, length = batch.reward.shape
    shift = error.draw(keys.error, (rows, length - horizon), model.num_sampled)
    hidden = hide_future(batch, horizon)
    features = dreamt_features(given, hidden, keys.dream, horizon, DREAMT, "frozen", shift)
    body = jnp.broadcast_to(batch.body, features.shape[:2])
    obs = given.standard(model.decode(features, body), body)
    return _Told(*(jnp.mean(x, axis=0) for x in (features, obs, model.reward(features))))


@eqx.filter_jit
def _really(given: AbstractFilter, batch: Batch, horizon: int) -> tuple[_Told, _Unit]:
    """What happened in the last steps, and what differences from it are measured by."""
    seen = normalised(given, dataclasses.replace(batch, stored={}))
    filtered = given.model.observe(seen, key=None).feature[:, -horizon:]
    obs = given.standard(seen.obs[:, -horizon:], batch.body)
    real = _Told(filtered, obs, batch.reward[:, -horizon:])
    return real, _Unit(jnp.mean(jnp.var(filtered, axis=(0, 1))), batch.obs_mask)


def _mean_return(agent: Agent, state: Any, error: LatentError, probe: Probe) -> float:
    def make(rows: tuple[Scenario, ...], masks: Masks) -> Policy:
        window = agent.windows.context
        prompt = make_prompts("none", num=len(rows), layout=probe.layout, window=window)
        policy = AgentPolicy(agent, state, masks, prompt)
        return policy if error == NONE else DisturbedPolicy(policy, error, seed=probe.seed)

    returns = evaluate(
        make,
        (probe.scenario,),
        episodes=probe.episodes,
        seed=probe.seed,
        layout=probe.layout,
        num_steps=probe.steps,
    )
    return float(returns.mean())
