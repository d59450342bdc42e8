"""The stages after training, each from a run folder's files to more files in it."""

import dataclasses
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mrcom.agents.agent import AgentPolicy, WorldModelAgent, dreaming
from mrcom.agents.presets import Budget
from mrcom.behaviour.expert import ExpertPolicy
from mrcom.behaviour.sac import SACConfig
from mrcom.core.config import to_json
from mrcom.core.progress import progress
from mrcom.core.rng import named_generator, named_keys, root_key
from mrcom.core.types import Batch, Masks
from mrcom.evaluate.dreams import dreamt_starts, save_starts
from mrcom.evaluate.evaluate import MakePolicy, evaluate, evaluate_random, scores_of
from mrcom.evaluate.normalise import normalised_score
from mrcom.evaluate.open_loop import (
    HORIZONS,
    Dreams,
    dream_blindly,
    held_out_windows,
    open_loop_errors,
    rescaled,
)
from mrcom.evaluate.scores import append_scores
from mrcom.replay.normaliser import empty_normaliser
from mrcom.report.run_report import dreams_folder, open_loop_file
from mrcom.scenarios.bodies import body as body_named
from mrcom.scenarios.observation import PLAIN
from mrcom.scenarios.scenario import Scenario
from mrcom.simulate.simulator import Simulator
from mrcom.train.adapt import adapt
from mrcom.train.adapt_config import AdaptConfig, Amount, settings
from mrcom.train.adapted import (
    Record,
    adapted_names,
    adapted_policy,
    adapted_record,
    policy_size,
    prompts_of_rows,
    same_adaptation,
    save_adapted,
    views_of,
)
from mrcom.train.collect import collect_random, collect_with_experts
from mrcom.train.log import Log
from mrcom.train.loop import Run, prompts_for
from mrcom.train.run_folder import write_json
from mrcom.train.settings import Target, target_scenarios, worlds_of

# There are few updates: targets follow quickly and look less far ahead than in training.
_SAC = SACConfig(critic_rate=1e-3, slow_rate=0.05, discount=0.97, init_temperature=0.01)
# Critics that know nothing would spoil a policy that was learnt in training: they get the first
# updates for themselves, and then it moves in small steps, exploring as little as it learnt to.
_GENTLE = dataclasses.replace(
    _SAC,
    actor_start=750,
    actor_rate=3e-5,
    anchor=0.2,
    init_temperature=0.001,
    target_entropy=-2.0,
)
ADAPTED = AdaptConfig(sac=_GENTLE)
"""The paper's adaptation: dreams of the frozen model."""
CONTROL = AdaptConfig(
    name="sac", policy_init="scratch", reads="observation", real_share=1.0, sac=_SAC
)
"""SAC from scratch on the same real steps with as many updates: does the world model help?"""

DREAMT = 8
"""Dreams whose mean is the model's prediction."""
SEEN = 64
"""Real steps before every dream, of every method: the longest windows that any learns from."""
AT_ONCE = 65536
"""Steps that are filtered at once; more of them, such as whole episodes, would fill memory."""


def adaptation(name: str, *, policy_init: str, **choices: str) -> AdaptConfig:
    """The paper's adaptation with other choices. A policy from nothing has nothing to be spoilt.

    Raises:
        ConfigError: an unknown choice, or two that do not go together.
    """
    sac = _GENTLE if policy_init == "behaviour" else _SAC
    return dataclasses.replace(ADAPTED, name=name, policy_init=policy_init, sac=sac, **choices)


def targets_of_run(run: Run, budget: Budget) -> list[Target]:
    """The unseen scenarios a run is adapted to and judged in."""
    return target_scenarios(run.config, budget.targets_inside, budget.targets_outside, "target")


def measure_open_loop(run: Run, budget: Budget) -> None:
    """Prediction errors on held-out scenarios, and some dreams for figures.

    A method without a world model predicts nothing. Half of the trajectories are the experts',
    half have random actions: the same for every method that is compared, whatever its own
    behaviour is like. So are the places that dreams begin at, each method with its own history.
    """
    if not isinstance(run.agent, WorldModelAgent):
        return
    held_out = target_scenarios(run.config, budget.held_out, 0, "held_out")
    worlds = worlds_of(run.config, [target.scenario for target in held_out])
    simulator = Simulator(worlds.scenarios, layout=worlds.layout)
    seed = _seed(run, "open_loop")
    prompt = prompts_for(run.config, run.agent, worlds, seed=seed)
    amount = {"num_steps": budget.evaluation_steps, "seed": seed}
    own, held = run.experience.normaliser, empty_normaliser(worlds.layout)
    windows, longest = run.agent.windows, max(HORIZONS)
    batches = {}
    for source in ("expert", "random"):
        if source == "expert":
            steps = collect_with_experts(simulator, worlds, **amount)
        else:
            steps = collect_random(simulator, worlds, **amount)
        held = held.updated(steps.obs, worlds.masks)
        batches[source] = held_out_windows(
            steps,
            worlds.layout,
            worlds.masks,
            prompt,
            named_generator(seed, "windows", source),
            per_scenario=max(1, 256 // len(worlds.scenarios)),
            context=windows.context,
            length=windows.length,
            horizon=longest,
            seen=min(SEEN, (budget.evaluation_steps - longest) // 2),
            place=windows.place,
        )
    both = jax.tree.map(lambda *parts: jnp.concatenate(parts), *batches.values())
    dream = _dreamer(run, seed)
    dreams = dream_blindly(dream, both, longest)
    # The unit is that of the held-out trajectories, the same for every method.
    dreams = rescaled(dreams, both, np.stack([own.mean, held.mean]), np.stack([own.std, held.std]))
    errors = open_loop_errors(dreams, both, worlds.layout, held.mean, held.std)
    write_json(open_loop_file(run.folder), to_json(errors))
    _keep_dreams(run, dream, batches["expert"], worlds.scenarios, longest)


def adapt_run(run: Run, config: AdaptConfig, budget: Budget, *, seed: int) -> None:
    """Policies for all targets, kept in the run's folder; a finished one is left as it is.

    A method without a world model adapts on real steps alone.

    Raises:
        CheckpointError: one of this name was made with other settings.
    """
    if not isinstance(run.agent, WorldModelAgent):
        config = dataclasses.replace(config, real_share=1.0)
    scenarios = tuple(target.scenario for target in targets_of_run(run, budget))
    amount = Amount(budget.adapt_steps, budget.adapt_updates, budget.episode_steps)
    record = Record(config, scenarios, amount, seed)
    if same_adaptation(run, record):
        return
    worlds = worlds_of(run.config, scenarios)
    views = views_of(run, config, scenarios, worlds.masks, seed=seed)
    title = f"{config.name}: {len(scenarios)} targets"
    with Log(run.folder.metrics_file) as log, progress(title, total=amount.steps) as bar:
        found = adapt(
            run.agent,
            run.state,
            worlds,
            views,
            config,
            amount,
            seed=seed,
            log=log,
            bar=bar,
            size=policy_size(run, config),
        )
    save_adapted(run, found, record)


def evaluate_run(run: Run, budget: Budget, *, seed: int) -> None:
    """Returns of every policy in every target, appended to the run's scores.

    Random actions, the expert, the behaviour without adaptation, and what was adapted to all of
    these targets. All act by their modes, from the same initial states.
    """
    targets = targets_of_run(run, budget)
    scenarios = [target.scenario for target in targets]
    plain = [dataclasses.replace(scenario, observation=PLAIN) for scenario in scenarios]
    worlds = worlds_of(run.config, scenarios)
    amount: dict[str, Any] = {
        "episodes": budget.evaluation_episodes,
        "seed": seed,
        "layout": worlds.layout,
        "num_steps": budget.evaluation_steps,
    }
    policies: dict[str, tuple[MakePolicy, int, int, str]] = {
        "expert": (lambda rows, _: ExpertPolicy(rows, worlds.layout), 0, 0, ""),
        "behaviour": (
            lambda rows, masks: _behaviour(run, rows, masks), 0, run.counters.updates, "",
        ),
    }  # fmt: skip
    for name in adapted_names(run):
        record = adapted_record(run, name)
        if not set(scenarios) <= set(record.targets):
            print(f"not evaluated: {name}, which was not made for these targets", file=sys.stderr)
            continue
        make = lambda rows, masks, name=name: adapted_policy(run, name, rows, masks)
        used = record.amount.steps, record.amount.updates
        policies[name] = (make, *used, settings(record.config))
    with progress("evaluating", total=1 + len(policies)) as bar:
        returns = {"random": evaluate_random(scenarios, **amount)}
        bar.advance(1)
        for name, (make_policy, *_) in policies.items():
            # The expert sees what is, not what the observation function makes of it.
            seen = plain if name == "expert" else scenarios
            returns[name] = evaluate(make_policy, seen, **amount)
            bar.advance(1, text=name)
    zero, hundred = returns["random"].mean(axis=1), returns["expert"].mean(axis=1)
    for name, values in returns.items():
        _, env_steps, updates, chosen = policies.get(name, (None, 0, 0, ""))
        records = scores_of(
            values,
            normalised_score(values, zero, hundred),
            scenarios,
            method=name,
            seed=run.config.seed,
            inside=[target.inside for target in targets],
            env_steps=env_steps,
            updates=updates,
            budget=budget.name,
            settings=chosen,
        )
        append_scores(run.folder.scores_file, records)


def _behaviour(run: Run, rows: tuple[Scenario, ...], masks: Masks) -> AgentPolicy:
    prompts = prompts_of_rows(run, rows, seed=_seed(run, "prompt"))
    return AgentPolicy(run.agent, run.state, masks, prompts)


def _dreamer(run: Run, seed: int) -> Any:
    key = named_keys(root_key(seed), "open_loop").open_loop

    def dream(batch: Batch, horizon: int) -> Dreams:
        num, length = batch.reward.shape
        parts, rows = [], max(1, AT_ONCE // length)
        for first in range(0, num, rows):
            some = jax.tree.map(lambda leaf, at=first: leaf[at : at + rows], batch)
            own = jax.random.fold_in(key, first)
            parts.append(
                dreaming(run.agent).predict_open_loop(
                    run.state, some, horizon=horizon, num_samples=DREAMT, key=own
                )
            )
        return Dreams(*[np.concatenate(part, axis=1) for part in zip(*parts, strict=True)])

    return dream


def _keep_dreams(
    run: Run, dream: Any, batch: Batch, scenarios: tuple[Scenario, ...], horizon: int
) -> None:
    dreams, normaliser = dream_blindly(dream, batch, horizon), run.experience.normaliser
    body_of, scenario_of = np.asarray(batch.body), np.asarray(batch.scenario)
    for index, name in enumerate(run.worlds.layout.bodies):
        rows = np.flatnonzero(body_of == index)
        rows = rows[:: max(1, len(rows) // 3)][:3]
        embodiment = body_named(name)
        starts = dreamt_starts(
            dreams,
            batch,
            rows,
            normaliser.mean,
            normaliser.std,
            titles=[f"target {scenarios[scenario_of[row]].target_speed:.1f} m/s" for row in rows],
            num_obs=embodiment.obs,
        )
        path = dreams_folder(run.folder) / f"{name}.npz"
        save_starts(path, name, embodiment.control_dt, starts)


def _seed(run: Run, name: str) -> int:
    return int(named_generator(run.config.seed, name).integers(2**31))
