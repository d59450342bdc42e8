"""Invented experience in the shapes of a real run: numbers of any value cost the same time."""

import dataclasses
from typing import Any

import equinox as eqx
import numpy as np
from jaxtyping import PRNGKeyArray

from mrcom.agents.agent import Agent
from mrcom.agents.build import build_agent, method_named
from mrcom.core.rng import root_key
from mrcom.core.types import Batch, Masks, Prompt, Steps
from mrcom.replay.prompts import make_prompts
from mrcom.replay.store import Store
from mrcom.replay.windows import Windows, draw_windows, gather
from mrcom.scenarios.layout import layout_of

BODIES = ("hopper", "walker", "cheetah")
SCENARIOS = 48
"""Training scenarios of the `tiny` to `full` budgets: 16 of each body."""
ROUNDS = 2


def measured_agent(
    name: str,
    size: str,
    *,
    bodies: tuple[str, ...] = BODIES,
    scenarios: int = SCENARIOS,
    behaviour: str | None = None,
) -> Any:
    """The agent of a method as `mrcom train` would build it.

    Raises:
        ConfigError: no such method or size.
    """
    return build_agent(
        method_named(name),
        size,
        layout=layout_of(bodies),
        num_scenarios=scenarios,
        behaviour=behaviour,
        updates=1000,
    )


@dataclasses.dataclass(frozen=True)
class Invented:
    """A replay full of random numbers, and what batches need besides."""

    agent: Agent
    store: Store
    masks: Masks
    prompt: Prompt

    def draw(self, update: int) -> Windows:
        """The windows of one update."""
        windows = self.agent.windows
        return draw_windows(
            self.store,
            np.random.default_rng(update),
            num_scenarios=windows.scenarios,
            per_scenario=windows.per_scenario,
            length=windows.length,
            place=windows.place,
        )

    def batch(self, windows: Windows) -> Batch:
        """The steps at those places."""
        given = self.agent.windows
        amount = {"context": given.context, "length": given.length}
        return gather(self.store, self.masks, self.prompt, windows, **amount)


def invent(agent: Agent, num_scenarios: int = SCENARIOS, rounds: int = ROUNDS) -> Invented:
    """A replay for an agent; episodes are two of its windows long."""
    layout, rng = agent.layout, np.random.default_rng(0)
    length = agent.windows.length
    steps = length if agent.windows.place == "start" else 2 * length
    store = Store(num_scenarios, layout, steps=steps, capacity=rounds, written=agent.stored)
    draw = lambda *shape: rng.normal(size=(num_scenarios, steps, *shape)).astype(np.float32)
    for number in range(rounds):
        seen = Steps(draw(layout.obs), np.tanh(draw(layout.act)), abs(draw()) / 3, draw() > np.inf)
        store.add(np.arange(num_scenarios), seen, expert=number == 0)
    ones = lambda width: np.ones((num_scenarios, width), np.float32)
    body = np.arange(num_scenarios) * len(layout.bodies) // num_scenarios
    masks = Masks(ones(layout.obs), ones(layout.act), body.astype(np.int32), ones(3))
    prompt = make_prompts("none", num=num_scenarios, layout=layout, window=agent.windows.context)
    return Invented(agent, store, masks, prompt)


def shapes_of_update(agent: Any) -> tuple[Any, Batch, PRNGKeyArray]:
    """State, batch and key of an update; the state has shapes only."""
    invented = invent(agent, agent.num_scenarios, rounds=1)
    batch = invented.batch(invented.draw(0))
    return eqx.filter_eval_shape(agent.init, root_key(0)), batch, root_key(0)
