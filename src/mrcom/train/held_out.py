"""Trajectories of scenarios that no model of a run was trained on."""

import dataclasses
from collections.abc import Mapping

from mrcom.agents.presets import Budget
from mrcom.behaviour.expert import has_expert
from mrcom.core.progress import progress
from mrcom.core.rng import named_seed
from mrcom.core.types import Layout, Masks, Prompt, Steps
from mrcom.scenarios.scenario import Scenario
from mrcom.simulate.simulator import Simulator
from mrcom.train.collect import Acting, collect_random, collect_with_experts
from mrcom.train.run import Run, prompts_for
from mrcom.train.settings import target_scenarios, worlds_of


@dataclasses.dataclass(frozen=True)
class HeldOut:
    """What happened in scenarios that a run knows nothing of."""

    scenarios: tuple[Scenario, ...]
    """Body by body."""
    layout: Layout
    """Of the run."""
    masks: Masks
    """Of the scenarios."""
    prompt: Prompt
    """Of the scenarios."""
    steps: Mapping[str, Steps]
    """A trajectory of every scenario, by who acted."""
    seed: int
    """Of everything that is drawn from these."""


def held_out(run: Run, budget: Budget) -> HeldOut:
    """One trajectory of every held-out scenario by its expert, one with random actions.

    They are the same for every method and every seed that is compared, whatever its own behaviour
    is like: their seed is the split's. Where a body has no expert there are only random actions.
    """
    targets = target_scenarios(run.config, budget.held_out, 0, "held_out")
    worlds = worlds_of(run.config, [target.scenario for target in targets])
    simulator = Simulator(worlds.scenarios, layout=worlds.layout)
    seed = named_seed(run.config.split.seed, "open_loop")
    length, collect = budget.evaluation_steps, {"random": collect_random}
    if all(has_expert(body) for body in run.config.bodies):
        collect = {"expert": collect_with_experts, **collect}
    with progress("acting in held-out scenarios", total=len(collect) * length) as bar:
        amount = Acting(num_steps=length, progress=bar)
        return HeldOut(
            scenarios=worlds.scenarios,
            layout=worlds.layout,
            masks=worlds.masks,
            prompt=prompts_for(run.config, run.agent, worlds, seed=seed),
            steps={
                name: act(simulator, worlds, seed=seed, **amount) for name, act in collect.items()
            },
            seed=seed,
        )
