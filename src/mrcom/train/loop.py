"""World-model training: collect in all scenarios, learn from the merged experience, repeat."""

import dataclasses
import math
import pathlib
import sys
from typing import Any

import equinox as eqx
from jaxtyping import PRNGKeyArray

from mrcom.agents.agent import Agent
from mrcom.agents.build import build_agent
from mrcom.behaviour.expert import ExpertPolicy
from mrcom.core.config import from_json
from mrcom.core.progress import progress
from mrcom.core.rng import named_generator, named_keys, named_seed, root_key
from mrcom.core.types import Batch, Prompt, Steps
from mrcom.replay.normaliser import empty_normaliser
from mrcom.replay.prompts import make_prompts
from mrcom.replay.store import Store, capacity_within
from mrcom.replay.windows import Windows, draw_windows, gather, write_back
from mrcom.simulate.rollout import RandomPolicy, rollout
from mrcom.simulate.simulator import Simulator
from mrcom.train.checkpoint import Checkpoints
from mrcom.train.collect import (
    Experience,
    collect_random,
    collect_with_agent,
    collect_with_experts,
    returns_by_body,
)
from mrcom.train.learner import run_updates, scalars, stored
from mrcom.train.log import Counters, Log
from mrcom.train.run_folder import RunFolder, create_run
from mrcom.train.settings import RunConfig, Worlds, training_worlds

LOG_EVERY = 20
"""Updates between two lines of the log."""
PROMPT_EPISODE = 300
"""Control steps of the episodes that prompts are taken from."""


@dataclasses.dataclass
class Run:
    """A run in memory: its configuration, its agent and everything that changes."""

    config: RunConfig
    folder: RunFolder
    worlds: Worlds
    agent: Agent
    state: Any
    experience: Experience
    counters: Counters
    phase: int = 0
    """Rounds of collection, each with its updates, that are done."""

    @property
    def num_phases(self) -> int:
        """How many there will be."""
        return self.config.budget.rounds + 1


def train(config: RunConfig, run_dir: pathlib.Path, *, resume: bool = False) -> Run:
    """Train a world model and its behaviour policies in a run folder.

    A checkpoint follows every phase (one round of collection and its updates). All randomness
    is folded from the seed and counters, so that a resumed run equals one that never stopped.

    Raises:
        RunFolderError: the folder exists (or, with `resume`, holds another configuration).
        TrainingDivergedError: a loss or a simulation is not finite.
    """
    run = _begin(config, RunFolder(run_dir))
    folder = create_run(run_dir, config, resume=resume)
    store = run.experience.store
    print(
        f"{folder.path}: {store.num_scenarios} training scenarios; replay takes "
        f"{store.num_bytes / 1e6:.0f} MB of at most {config.replay_bytes / 1e6:.0f} MB, "
        f"{store.capacity} episodes of each",
        file=sys.stderr,
    )
    checkpoints = Checkpoints(folder.checkpoints)
    position = 0
    if resume and checkpoints.steps():
        position = _restore(run, checkpoints)
    else:
        run.state = run.agent.init(_init_key(config))
    simulator = Simulator(run.worlds.scenarios, layout=run.worlds.layout)
    total = config.budget.updates
    with (
        Log(folder.metrics_file, position=position) as log,
        progress("training the world model", total=total) as bar,
    ):
        bar.advance(run.counters.updates)
        while run.phase < run.num_phases:
            _collect_phase(run, simulator, log)
            _learn_phase(run, log, bar)
            run.phase += 1
            _save(run, checkpoints, log)
    return run


def open_trained(folder: RunFolder, step: int | None = None) -> Run:
    """A trained run from its newest checkpoint alone.

    Raises:
        CheckpointError: there is none, or it does not fit this version.
    """
    checkpoints = Checkpoints(folder.checkpoints)
    config = from_json(RunConfig, checkpoints.read_meta(step)["config"])
    run = _begin(config, folder)
    _restore(run, checkpoints, step)
    return run


def agent_of(config: RunConfig, worlds: Worlds) -> Agent:
    """The agent of a run."""
    return build_agent(
        config.method,
        config.size,
        layout=worlds.layout,
        num_scenarios=len(worlds.scenarios),
        observe_reward=config.observe_reward,
        behaviour=config.behaviour,
        updates=config.budget.updates,
    )


def empty_store(config: RunConfig, agent: Agent, worlds: Worlds) -> Store:
    """Room for all episodes that will be collected, or as many as memory allows.

    Raises:
        ConfigError: the memory cannot hold one episode of each scenario.
    """
    budget, num = config.budget, len(worlds.scenarios)
    rounds = budget.random_rounds + budget.expert_rounds + budget.rounds
    steps, written = budget.episode_steps + 1, agent.stored
    most = capacity_within(config.replay_bytes, num, worlds.layout, steps, written)
    return Store(num, worlds.layout, steps=steps, capacity=min(rounds, most), written=written)


def prompts_for(config: RunConfig, agent: Agent, worlds: Worlds, *, seed: int) -> Prompt:
    """What fills the contexts of some scenarios at first, of the run's kind.

    `expert` takes the best stretch of an episode of each scenario's expert; `own` the first
    steps that random actions make there, as an agent that knows nothing would take.
    """
    steps = None
    if config.prompt != "none":
        simulator = Simulator(worlds.scenarios, layout=worlds.layout)
        if config.prompt == "expert":
            policy: Any = ExpertPolicy(
                worlds.scenarios, worlds.layout, plain_obs=simulator.plain_obs
            )
        else:
            policy = RandomPolicy(worlds.masks, seed=seed)
        num_steps = min(config.budget.episode_steps, PROMPT_EPISODE)
        steps = rollout(simulator, policy, num_steps=num_steps, seed=seed)
    return make_prompts(
        config.prompt,
        num=len(worlds.scenarios),
        layout=worlds.layout,
        window=agent.windows.context,
        steps=steps,
    )


def _begin(config: RunConfig, folder: RunFolder) -> Run:
    worlds = training_worlds(config)
    agent = agent_of(config, worlds)
    store = empty_store(config, agent, worlds)
    none = make_prompts(
        "none",
        num=len(worlds.scenarios),
        layout=worlds.layout,
        window=agent.windows.context,
    )
    experience = Experience(store, empty_normaliser(worlds.layout), none)
    # Shapes only: a run that goes on reads its numbers from a checkpoint.
    state = eqx.filter_eval_shape(agent.init, _init_key(config))
    return Run(config, folder, worlds, agent, state, experience, Counters())


def _init_key(config: RunConfig) -> PRNGKeyArray:
    return named_keys(root_key(config.seed), "init").init


def _collect_phase(run: Run, simulator: Simulator, log: Log) -> None:
    budget, seed = run.config.budget, run.config.seed
    if run.phase == 0:
        run.experience.prompt = prompts_for(
            run.config, run.agent, run.worlds, seed=named_seed(seed, "prompt", 0)
        )
        rounds = ["random"] * budget.random_rounds + ["expert"] * budget.expert_rounds
    else:
        rounds = ["behaviour"]
    for number, who in enumerate(rounds):
        steps = _one_round(run, simulator, who, named_seed(seed, who, run.phase + number))
        run.experience.add(steps, run.worlds, expert=who == "expert")
        run.counters = dataclasses.replace(
            run.counters,
            env_steps=run.counters.env_steps + simulator.num * budget.episode_steps,
            episodes=run.counters.episodes + simulator.num,
        )
        by_body = returns_by_body(steps, run.worlds, run.agent.sub_episodes)
        log.write("collect" if who == "behaviour" else f"collect/{who}", run.counters, by_body)
    normaliser = run.experience.normaliser
    run.state = run.agent.with_statistics(run.state, normaliser.mean, normaliser.std)


def _one_round(run: Run, simulator: Simulator, who: str, seed: int) -> Steps:
    amount = {
        "num_steps": run.config.budget.episode_steps,
        "seed": seed,
        "sub_episodes": run.agent.sub_episodes,
    }
    if who == "random":
        return collect_random(simulator, run.worlds, **amount)
    if who == "expert":
        return collect_with_experts(simulator, run.worlds, **amount)
    return collect_with_agent(
        simulator, run.agent, run.state, run.worlds, run.experience.prompt, **amount
    )


def _learn_phase(run: Run, log: Log, bar: Any) -> None:
    windows, budget = run.agent.windows, run.config.budget
    names = [scenario.name for scenario in run.worlds.scenarios]
    last = math.ceil(budget.updates * (run.phase + 1) / run.num_phases)
    first, store = run.counters.updates, run.experience.store
    length = windows.length_in(store.steps)
    drawn: dict[int, Windows] = {}

    def batches(update: int) -> tuple[Batch, list[str]]:
        drawn[update] = draw_windows(
            store,
            named_generator(run.config.seed, "batch", update),
            num_scenarios=windows.scenarios,
            per_scenario=windows.per_scenario,
            length=length,
            place=windows.place,
        )
        batch = gather(
            store,
            run.worlds.masks,
            run.experience.prompt,
            drawn[update],
            context=windows.context,
            length=length,
        )
        return batch, [names[index] for index in drawn[update].scenario]

    loop = run_updates(
        run.agent, run.state, batches, first=first, count=last - first, seed=run.config.seed
    )
    for update, state, metrics in loop:
        run.state = state
        write_back(store, drawn.pop(update), stored(metrics))
        run.counters = dataclasses.replace(
            run.counters,
            updates=update + 1,
            dream_steps=run.counters.dream_steps + run.agent.dream_steps,
        )
        if (update + 1) % LOG_EVERY == 0:
            values = scalars(metrics)
            log.write("train", run.counters, values)
            bar.advance(LOG_EVERY, text=f"loss {values['loss']:.2f}")


def _save(run: Run, checkpoints: Checkpoints, log: Log) -> None:
    checkpoints.save(
        run.counters.updates,
        run.state,
        meta={
            "config": run.config,
            "counters": run.counters,
            "phase": run.phase,
            "log_position": log.position,
        },
        host=run.experience.state_dict(),
    )


def _restore(run: Run, checkpoints: Checkpoints, step: int | None = None) -> int:
    restored = checkpoints.restore(run.state, step)
    run.state = restored.state
    run.experience.restore(restored.host)
    run.counters = Counters(**restored.meta["counters"])
    run.phase = restored.meta["phase"]
    return restored.meta["log_position"]
