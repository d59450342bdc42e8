"""World models that go on learning in a target: one copy for each, on its own real steps."""

import dataclasses
from typing import Any

import jax
import numpy as np

from mrcom.agents.agent import Agent, dreaming
from mrcom.core.rng import named_generator, named_keys, root_key
from mrcom.core.types import Masks, Prompt
from mrcom.replay.prompts import choose_prompts
from mrcom.replay.store import Store
from mrcom.replay.windows import sample_batch
from mrcom.train.learner import check_finite


@dataclasses.dataclass(frozen=True)
class Teacher:
    """What it takes to go on with a world model's learning."""

    agent: Agent
    masks: Masks
    """Of all targets."""
    prompt: Prompt
    """Of all targets; it fills the context where an episode has no earlier step."""
    names: tuple[str, ...]
    """What errors call the targets."""
    seed: int

    def learn(self, state: Any, target: int, store: Store, *, first: int, num: int) -> Any:
        """The agent's state after `num` updates of its world model alone.

        Nothing is learnt while no episode is as long as a training window.

        Args:
            state: of the agent, with the target's model in it; it can still be used.
            target: index of the target.
            store: its own steps, and no others.
            first: number of the first update.
            num: how many.

        Raises:
            TrainingDivergedError: a loss is not finite.
        """
        agent = dreaming(self.agent)
        windows, at = agent.windows, np.array([target])
        length = windows.length_in(store.steps)
        if store.ring.length.max() < length:
            return state
        prompt = choose_prompts(self.prompt, at)
        rows = windows.scenarios * windows.per_scenario
        root = named_keys(root_key(self.seed), "model_updates").model_updates
        key = jax.random.fold_in(root, target)
        for update in range(first, first + num):
            batch = sample_batch(
                store,
                self.masks.rows(at),
                prompt,
                named_generator(self.seed, "model_batch", target, update),
                num_scenarios=1,
                per_scenario=rows,
                context=windows.context,
                length=length,
                place=windows.place,
            )
            state, metrics = agent.update_model(state, batch, jax.random.fold_in(key, update))
            check_finite(update, metrics, [self.names[target]] * rows)
        return state
