"""What a run says of the symbols of the bound, scenario by scenario.

None of these is the symbol itself: `theory.diagnosis.WORTH` says of each what it is.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, PRNGKeyArray

from mrcom.agents.agent import AgentPolicy, WorldModelAgent
from mrcom.agents.presets import Budget
from mrcom.core.errors import ConfigError
from mrcom.core.rng import named_generator, named_keys, root_key
from mrcom.core.types import Batch
from mrcom.evaluate.open_loop import (
    HORIZONS,
    Dreams,
    OpenLoopErrors,
    dream_blindly,
    held_out_windows,
    normalised_windows,
    prediction_errors,
)
from mrcom.evaluate.predictions import AT_ONCE, SEEN, dream_of
from mrcom.evaluate.statistics import episode_interval
from mrcom.simulate.rollout import rollout
from mrcom.simulate.simulator import Simulator
from mrcom.theory.bound import generalisation_bound
from mrcom.theory.diagnosis import Amount, Diagnosis, Estimate, ScenarioEstimates
from mrcom.theory.gaussians import from_unit_normal, sensitivity
from mrcom.theory.looks import Looks, Returns, look, returns
from mrcom.theory.probe import probe_context
from mrcom.train.held_out import HeldOut, held_out
from mrcom.train.run import Run

LEAST_STD = 1e-3
"""Floor of standard deviations, in those of the observation."""


def diagnose(run: Run, agent: WorldModelAgent, budget: Budget, amount: Amount) -> Diagnosis:
    """Estimates in the held-out scenarios of a run.

    Raises:
        ConfigError: trajectories of that budget are too short for the horizon, or the run sees
            pictures alone.
    """
    if run.config.inputs == "images":
        raise ConfigError(
            "inputs='images' shows no observation whose prediction could be judged; a run with "
            "inputs='both' or 'vectors' can be diagnosed."
        )
    longest = budget.evaluation_steps - 2
    if not 1 <= amount.horizon <= longest:
        raise ConfigError(
            f"horizon={amount.horizon} does not fit trajectories of {budget.evaluation_steps} "
            f"steps; it must be from 1 to {longest}."
        )
    unseen = held_out(run, budget)
    own = _behaviour_windows(run, agent, unseen, budget, amount)
    parts = [_windows(agent, unseen, name, amount) for name in unseen.steps]
    both = jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *parts, own)
    keys = named_keys(root_key(unseen.seed), "look", "returns")
    sizes = {"horizon": amount.horizon}
    seen = _in_parts(lambda some, key: look(agent, run.state, some, key, **sizes), both, keys.look)
    discount = agent.discount
    found, ends = _in_parts(
        lambda some, key: returns(agent, run.state, some, key, discount=discount, **sizes),
        own,
        keys.returns,
    )
    dreams = dream_blindly(dream_of(agent, run.state, unseen.seed), both, amount.horizon)
    missing = []
    try:
        value = np.asarray(agent.meta_value(run.state).online(jnp.asarray(ends)))
        value = (1 - discount) * found.real + discount**amount.horizon * value[:, 1] - value[:, 0]
    except ConfigError:
        value = None
        missing.append(f"{run.config.method.name} has no value that all scenarios share.")
    if seen.model_gram is None:
        missing.append(
            f"{run.config.method.name} has no latent state to differentiate by: no C_T, no bound."
        )
    probes = probe_context(run, agent, scenarios=amount.probed, num_steps=amount.probe_steps)
    if not probes:
        missing.append(f"{run.config.method.name} has no context to read a scenario from.")
    looked = jax.device_get(both), jax.device_get(own)
    given = _Given(run, budget.name, unseen, *looked, dreams, seen, found)
    return Diagnosis(
        method=run.config.method.name,
        discount=discount,
        at_most=(1 - discount**amount.horizon) / (1 - discount),
        amount=amount,
        scenarios=tuple(
            _of_scenario(given, number, value, discount) for number in range(len(unseen.scenarios))
        ),
        context=tuple(probes),
        missing=tuple(missing),
    )


@dataclasses.dataclass(frozen=True)
class _Given:
    run: Run
    budget: str
    unseen: HeldOut
    batch: Batch
    own: Batch
    dreams: Dreams
    looks: Looks
    returns: Returns


def _of_scenario(
    given: _Given, number: int, value: Float[np.ndarray, " B"] | None, discount: float
) -> ScenarioEstimates:
    scenario = given.unseen.scenarios[number]
    rows, own = (np.asarray(one.scenario) == number for one in (given.batch, given.own))
    log_likelihood, eps_t, symbols = _symbols(given, rows)
    errors, reward_rmse = _dream_errors(given, rows)
    ours, theirs = (np.asarray(one)[own] for one in (given.returns.real, given.returns.dreamt))
    rng = named_generator(given.unseen.seed, "gap", number)
    bound = functools.partial(_bound, eps_t, symbols, discount)
    return ScenarioEstimates(
        scenario=scenario.hash,
        body=scenario.body,
        open_loop=dataclasses.replace(errors, budget=given.budget),
        reward_rmse=reward_rmse,
        value_rmse=None if value is None else float(np.sqrt(np.square(value[own]).mean())),
        log_likelihood=log_likelihood,
        eps_t=eps_t,
        eps_s=symbols["eps_s"],
        eps_pi=symbols["eps_pi"],
        c_t=symbols.get("c_t"),
        c_pi=symbols["c_pi"],
        real=float(ours.mean()),
        dreamt=float(theirs.mean()),
        gap=episode_interval(ours - theirs, rng=rng),
        bound=bound("mean", as_printed=True),
        bound_of_largest=bound("largest", as_printed=True),
        derived=bound("mean", as_printed=False),
        derived_of_largest=bound("largest", as_printed=False),
    )


def _symbols(
    given: _Given, rows: Bool[np.ndarray, " B"]
) -> tuple[float, float, dict[str, Estimate]]:
    """Log-likelihood, eps_T and the other symbols, over the rows of one scenario."""
    looks = jax.tree.map(np.asarray, given.looks)
    body = np.asarray(given.batch.body)
    real = np.asarray(given.batch.obs_mask)[rows][0] > 0
    # One decoder and one error for all scenarios of a body, so that a bad scenario shows.
    alike = body == body[rows][0]
    root = lambda x: np.sqrt(np.square(x[alike]).mean(axis=(0, 1))).clip(LEAST_STD)[real]
    decoder_std, error_std = root(looks.truth - looks.decoded), root(looks.truth - looks.mean)
    off = (looks.truth[rows] - looks.mean[rows])[..., real]
    claimed = np.sqrt(looks.variance[rows][..., real] + decoder_std**2)
    scaled = _flat(off / claimed)
    density = -0.5 * (scaled**2 + np.log(2 * np.pi)) - np.log(_flat(claimed))
    matched = scaled.mean(axis=0)[None], scaled.std(axis=0).clip(LEAST_STD)[None]
    policies = _flat(looks.policy_gram[rows], 2)
    moved = _flat(looks.policy_mean[rows]), _flat(looks.policy_std[rows])
    symbols = {
        "eps_s": _estimate(looks.apart[rows]),
        "eps_pi": _estimate(from_unit_normal(*moved)),
        # Half the sum of magnitudes is the total variation.
        "c_pi": _estimate(2 * sensitivity(policies, np.ones(policies.shape[:2]))),
    }
    if looks.model_gram is not None:
        products = _flat(looks.model_gram[rows][..., real, :][..., real], 2)
        symbols["c_t"] = _estimate(sensitivity(products, np.tile(error_std, (len(products), 1))))
    return float(density.mean()), float(from_unit_normal(*matched)[0]), symbols


def _dream_errors(
    given: _Given, rows: Bool[np.ndarray, " B"]
) -> tuple[OpenLoopErrors, tuple[float, ...]]:
    """Errors of dreamt observations, and root mean squared ones of rewards, by horizon."""
    normaliser, dreams = given.run.experience.normaliser, given.dreams
    num = dreams.reward.shape[2]
    horizons = tuple(horizon for horizon in HORIZONS if horizon <= num)
    obs = normalised_windows(given.batch, normaliser.mean, normaliser.std)[rows, -num - 1 :]
    mask, reward = (np.asarray(one)[rows] for one in (given.batch.obs_mask, given.batch.reward))
    errors = prediction_errors(dreams.obs[:, rows], obs[:, 1:], obs[:, 0], mask, horizons)
    wrong = dreams.reward[:, rows].mean(axis=0) - reward[:, -num:]
    rmse = np.sqrt(np.square(wrong).mean(axis=0))
    return errors, tuple(float(rmse[horizon - 1]) for horizon in horizons)


def _bound(
    eps_t: float, symbols: Mapping[str, Estimate], discount: float, which: str, *, as_printed: bool
) -> float | None:
    """Theorem 6 of what was estimated; None where something was not."""
    if "c_t" not in symbols:
        return None
    values = {name: getattr(one, which) for name, one in symbols.items()}
    given = {"largest_reward": 1.0, "discount": discount, "as_printed": as_printed}
    return float(generalisation_bound(eps_t=eps_t, **values, **given))


def _windows(agent: WorldModelAgent, unseen: HeldOut, source: str, amount: Amount) -> Batch:
    """The same windows of every method, each with its own history."""
    steps, windows = unseen.steps[source], agent.windows
    return held_out_windows(
        *(steps, unseen.layout, unseen.masks, unseen.prompt),
        named_generator(unseen.seed, "diagnose", source),
        per_scenario=amount.windows,
        context=windows.context,
        length=windows.length,
        horizon=amount.horizon,
        seen=min(SEEN, (steps.reward.shape[1] - 1 - amount.horizon) // 2 or 1),
        place=windows.place,
    )


def _behaviour_windows(
    run: Run, agent: WorldModelAgent, unseen: HeldOut, budget: Budget, amount: Amount
) -> Batch:
    """Windows of what the run's behaviour does there, acting by samples as dreams do."""
    key = named_keys(root_key(unseen.seed), "act").act
    policy = AgentPolicy(agent, run.state, unseen.masks, unseen.prompt, key)
    simulator = Simulator(unseen.scenarios, layout=unseen.layout)
    steps = rollout(simulator, policy, num_steps=budget.evaluation_steps, seed=unseen.seed)
    acted = dataclasses.replace(unseen, steps={"behaviour": steps})
    return _windows(agent, acted, "behaviour", amount)


def _in_parts(what: Callable[[Batch, PRNGKeyArray], Any], batch: Batch, key: PRNGKeyArray) -> Any:
    """Arrays of some rows at a time, so that they fit the memory; all rows, on the host."""
    num, length = batch.reward.shape
    rows, parts = max(1, AT_ONCE // (4 * length)), []
    for first in range(0, num, rows):
        some = jax.tree.map(lambda leaf, at=first: leaf[at : at + rows], batch)
        parts.append(jax.device_get(what(some, jax.random.fold_in(key, first))))
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)


def _estimate(values: np.ndarray) -> Estimate:
    return Estimate(float(values.mean()), float(values.max()))


def _flat(array: np.ndarray, kept: int = 1) -> np.ndarray:
    """Windows and steps as one axis, before the last `kept` ones."""
    return array.reshape(-1, *array.shape[-kept:])
