"""What a run can be judged by: the policies it has, and what they cost to find."""

import dataclasses
import sys
from collections.abc import Callable, Mapping, Sequence

from mrcom.agents.agent import AgentPolicy, WorldModelAgent
from mrcom.agents.disturbed import DisturbedPolicy
from mrcom.agents.planning import ORACLE, PlanningPolicy, described, planning_of
from mrcom.behaviour.observed_reward import observed_reward
from mrcom.core.errors import CheckpointError, ConfigError
from mrcom.core.rng import named_keys, root_key
from mrcom.core.types import Masks
from mrcom.models.latent_error import LatentError
from mrcom.models.world_model import AbstractLatentModel
from mrcom.scenarios.scenario import Scenario
from mrcom.simulate.rollout import Policy
from mrcom.train.adapt_config import settings
from mrcom.train.adapted import (
    adapted_names,
    adapted_policy,
    adapted_record,
    check_prompt,
    prompts_of_rows,
)
from mrcom.train.run import Run, own_steps


@dataclasses.dataclass(frozen=True)
class Contestant:
    """A policy for scenarios yet to be named."""

    make_policy: Callable[[tuple[Scenario, ...], Masks], Policy]
    """Given one scenario per row of a simulator and their masks, what acts in them."""
    env_steps: int
    """Real control steps that it took in each of these scenarios before."""
    updates: int
    """Gradient steps of what acts."""
    settings: str = ""
    """How it was found, where that differs from what is usual."""


def behaviour(run: Run, prompt: str) -> Contestant:
    """What was learnt in training, without adaptation.

    Args:
        run: whose.
        prompt: what kind of it fills the model's context at first.
    """

    def behave(rows: tuple[Scenario, ...], masks: Masks) -> AgentPolicy:
        return AgentPolicy(run.agent, run.state, masks, prompts_of_rows(run, rows, prompt))

    return Contestant(behave, own_steps(run.agent, prompt), run.counters.updates)


def with_prompt(run: Run, prompt: str) -> dict[str, Contestant]:
    """The behaviour with another kind of prompt than in training; its name says so.

    Adapted policies have the prompts that they were adapted with.

    Raises:
        ConfigError: the run's method reads no prompt.
    """
    check_prompt(run, prompt)
    return {f"behaviour, prompt {prompt}": behaviour(run, prompt)}


def contestants(run: Run, scenarios: Sequence[Scenario]) -> dict[str, Contestant]:
    """The behaviour without adaptation, and what was adapted to all of these scenarios.

    Says of an adaptation that is left out why. All act by their modes.
    """
    found = {"behaviour": behaviour(run, run.config.prompt)}
    for name in adapted_names(run):
        record = adapted_record(run, name)
        if not set(scenarios) <= set(record.targets):
            print(f"not evaluated: {name}, which was not made for these targets", file=sys.stderr)
            continue
        try:
            record.check_of(run, run.folder.path / "adapted" / name)
        except CheckpointError as error:
            print(f"not evaluated: {error}", file=sys.stderr)
            continue
        make = lambda rows, masks, name=name: adapted_policy(run, name, rows, masks)
        amount, steps = record.amount, record.amount.steps
        if record.config.asks_model:
            steps += own_steps(run.agent, record.config.prompt)
        found[name] = Contestant(make, steps, amount.updates, settings(record.config))
    return found


def with_latent_error(
    run: Run, found: Mapping[str, Contestant], error: LatentError, *, seed: int
) -> dict[str, Contestant]:
    """The same policies, acting on latent states that are wrong by an error.

    Says of a policy that is left out, because it reads observations.

    Raises:
        ConfigError: the run's method has no latent state.
    """
    if not isinstance(run.agent, WorldModelAgent) or not isinstance(
        run.agent.model(run.state), AbstractLatentModel
    ):
        raise ConfigError(
            f"{run.config.method.name} has no latent state that an error could be added to: leave "
            f"out the latent error {error.text}, or take a run of mrcom, dreamer or mamba."
        )
    disturbed = {}
    for name, one in found.items():
        if name in adapted_names(run) and adapted_record(run, name).config.reads != "feature":
            print(f"without latent error: {name}, which reads observations", file=sys.stderr)
            continue
        make = lambda rows, masks, one=one: DisturbedPolicy(
            one.make_policy(rows, masks), error, seed=seed
        )
        disturbed[name] = dataclasses.replace(one, make_policy=make)
    return disturbed


def planner(run: Run, name: str, *, seed: int) -> Contestant:
    """The run's frozen model and a planner; nothing is learnt, and no policy is asked.

    Raises:
        ConfigError: the method does not say how to plan.
    """
    chosen = described(planning_of(run.agent), oracle=name == ORACLE)

    def plan(rows: tuple[Scenario, ...], masks: Masks) -> PlanningPolicy:
        return planning_policy(run, name, rows, masks, seed=seed)

    return Contestant(plan, 0, run.counters.updates, chosen)


def planning_policy(
    run: Run, name: str, rows: Sequence[Scenario], masks: Masks, *, seed: int
) -> PlanningPolicy:
    """How a run acts by planning.

    Args:
        name: one of `agents.planning.PLANNERS`.
        rows: the scenario of each row.
        masks: of each row.
        seed: of the candidates and of the dreams that compare them.

    Raises:
        ConfigError: the method does not say how to plan, or the true reward of a row is no function
            of what is observed.
    """
    planning = planning_of(run.agent)
    oracle = observed_reward(rows) if name == ORACLE else None
    prompt, key = prompts_of_rows(run, rows), named_keys(root_key(seed), "planning").planning
    return PlanningPolicy(run.agent, run.state, masks, prompt, planning, oracle, key=key)
