"""A run in memory: how it is made, and how it comes back from its folder."""

import dataclasses
import math
from typing import Any

import equinox as eqx
from jaxtyping import PRNGKeyArray

from mrcom.agents.agent import Agent, PromptReader
from mrcom.agents.build import build_agent
from mrcom.behaviour.expert import ExpertPolicy
from mrcom.core.config import difference, from_json, to_json
from mrcom.core.errors import CheckpointError, ConfigError
from mrcom.core.rng import named_keys, root_key
from mrcom.core.types import Prompt
from mrcom.replay.normaliser import empty_normaliser
from mrcom.replay.prompts import make_prompts
from mrcom.replay.store import Store, capacity_within
from mrcom.simulate.rollout import RandomPolicy, rollout
from mrcom.simulate.simulator import Simulator
from mrcom.train.checkpoint import Checkpoints
from mrcom.train.collect import Experience
from mrcom.train.episodes import EpisodeFiles
from mrcom.train.log import Counters
from mrcom.train.run_folder import RunFolder
from mrcom.train.settings import CHANGEABLE, RunConfig, Worlds, may_change, training_worlds

PROMPT_EPISODE = 300
"""Control steps of the experts' episodes that prompts are taken from."""


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
    """Rounds of collection by the behaviour, each with its updates, that are done; the first
    phase collects with random actions and experts instead."""
    rounds: list[int] = dataclasses.field(default_factory=list)
    """Checksum of every round of collection that is learnt from, in order: the files that belong
    to this run."""
    ahead: list[int] = dataclasses.field(default_factory=list)
    """That of the next phase's round, where a checkpoint inside a phase has it."""

    @property
    def num_phases(self) -> int:
        """How many there will be."""
        return self.config.budget.rounds + 1

    @property
    def last_update(self) -> int:
        """Updates that are made when the phase under way is done."""
        return math.ceil(self.config.budget.updates * (self.phase + 1) / self.num_phases)

    @property
    def next_round_at(self) -> int | None:
        """The update before which the next phase's round begins, halfway; None in the last."""
        if self.phase + 1 >= self.num_phases:
            return None
        first = math.ceil(self.config.budget.updates * self.phase / self.num_phases)
        return (first + self.last_update) // 2

    @property
    def collectors(self) -> list[str]:
        """Who acts in each round up to the phase under way."""
        budget = self.config.budget
        first = ["random"] * budget.random_rounds + ["expert"] * budget.expert_rounds
        return first + ["behaviour"] * self.phase


def begin(config: RunConfig, folder: RunFolder) -> Run:
    """A run that has neither seen nor learnt anything; its state has shapes only.

    Raises:
        ConfigError: its windows are longer than its episodes, or its replay holds none of these.
    """
    worlds = training_worlds(config)
    agent = agent_of(config, worlds)
    store = empty_store(config, agent, worlds)
    if (length := agent.windows.length_in(store.steps)) > store.steps:
        raise ConfigError(
            f"windows.length={length} is more than the {store.steps} steps of an episode, its "
            f"first included; the nearest is {store.steps}."
        )
    none = make_prompts(
        "none",
        num=len(worlds.scenarios),
        layout=worlds.layout,
        window=agent.windows.context,
    )
    experience = Experience(store, empty_normaliser(worlds.layout), none)
    state = eqx.filter_eval_shape(agent.init, init_key(config))
    return Run(config, folder, worlds, agent, state, experience, Counters())


def open_trained(
    folder: RunFolder, step: int | None = None, *, kept: Checkpoints | None = None
) -> Run:
    """A trained run from a checkpoint alone, the newest by default: without its replay.

    Args:
        folder: of the run.
        step: of the checkpoint.
        kept: where it lies; in the run's folder by default.

    Raises:
        CheckpointError: there is none, or it does not fit this version.
    """
    checkpoints = Checkpoints(folder.checkpoints) if kept is None else kept
    config = from_json(RunConfig, checkpoints.read_meta(step)["config"])
    run = begin(config, folder)
    restore(run, checkpoints, step)
    return run


def restore(
    run: Run, checkpoints: Checkpoints, step: int | None = None, *, replay: bool = False
) -> int:
    """Put a checkpoint into a run that was begun, and return where its log ends [bytes].

    Args:
        run: as `begin` made it.
        checkpoints: of its folder.
        step: which one; the newest by default.
        replay: with all that was collected until then, to train on.

    Raises:
        CheckpointError: it is damaged or does not fit, or an episode file of it is.
    """
    _check_config(run, checkpoints, step)
    restored = checkpoints.restore(run.state, step)
    run.state = restored.state
    run.experience.restore(restored.host)
    run.counters = Counters(**restored.meta["counters"])
    run.phase = restored.meta["phase"]
    rounds, num = restored.meta["rounds"], len(run.collectors)
    run.rounds, run.ahead = rounds[:num], rounds[num:]
    if replay:
        files = EpisodeFiles(run.folder.replay)
        seen = (files.read(number, checksum) for number, checksum in enumerate(run.rounds))
        run.experience.restore_store(seen, restored.host)
    return restored.meta["log_position"]


def _check_config(run: Run, checkpoints: Checkpoints, step: int | None) -> None:
    """Raise where a checkpoint is of another configuration, or this version makes another agent of
    its configuration than it holds.
    """
    meta = checkpoints.read_meta(step)
    config, free = from_json(RunConfig, meta["config"]), may_change(CHANGEABLE)
    differ = difference(to_json(config), to_json(run.config))
    if changed := {name: both for name, both in differ.items() if name not in free}:
        said = ", ".join(f"{name}={old!r}, not {new!r}" for name, (old, new) in changed.items())
        raise CheckpointError(
            f"{checkpoints.folder} is not of the configuration beside it: it has {said}."
        )
    here = agent_of(config, run.worlds)
    changed = difference(meta["agent"], values := values_of(here))
    if values.get("jacobian", {}).get("kind") != "spectral":
        # A checkpoint may be older than this setting, which says nothing of other kinds.
        changed.pop("jacobian.iterations", None)
    if changed:
        said = ", ".join(f"{name}={old!r}, not {new!r}" for name, (old, new) in changed.items())
        raise CheckpointError(
            f"{checkpoints.folder} is of another version, whose size {run.config.size!r} has "
            f"{said}. Load it with that version, or train again in a new --run-dir."
        )


def values_of(agent: Agent) -> dict[str, Any]:
    """All values that decide what an agent is, sizes and rates, as plain JSON."""
    return to_json(getattr(agent, "config", {}))


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
        jacobian=config.jacobian,
        latent_error=config.latent_error,
        settings=config.settings,
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
    steps that random actions make there, as an agent that knows nothing would take (`own_steps`).
    """
    steps = None
    if config.prompt != "none":
        simulator = Simulator(worlds.scenarios, layout=worlds.layout)
        if config.prompt == "expert":
            policy: Any = ExpertPolicy(
                worlds.scenarios, worlds.layout, plain_obs=simulator.plain_obs
            )
            num_steps = min(config.budget.episode_steps, PROMPT_EPISODE)
        else:
            policy = RandomPolicy(worlds.masks, seed=seed)
            num_steps = max(1, agent.windows.context - 1)
        steps = rollout(simulator, policy, num_steps=num_steps, seed=seed)
    return make_prompts(
        config.prompt,
        num=len(worlds.scenarios),
        layout=worlds.layout,
        window=agent.windows.context,
        steps=steps,
    )


def own_steps(agent: Agent, kind: str) -> int:
    """Real steps that a scenario's prompt takes of the agent itself; those of experts do not count.

    Args:
        agent: which reads the prompt, or does not.
        kind: of prompt.
    """
    return agent.prompt_steps if kind == "own" and isinstance(agent, PromptReader) else 0


def init_key(config: RunConfig) -> PRNGKeyArray:
    """The key that a run's first state is drawn with."""
    return named_keys(root_key(config.seed), "init").init
