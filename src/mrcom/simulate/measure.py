"""Numbers about a body that are measured once and stored beside it."""

import numpy as np
from jaxtyping import Float

from mrcom.scenarios.scenario import Scenario
from mrcom.simulate.rollout import RandomPolicy, rollout
from mrcom.simulate.simulator import Simulator


def observation_std(
    body: str, *, episodes: int = 128, num_steps: int = 1000, seed: int = 0
) -> Float[np.ndarray, " O"]:
    """Standard deviation of each observed quantity of the default body under random actions.

    Over all steps of all episodes; `Embodiment.obs_std` holds the result for Add-G.
    """
    simulator = Simulator([Scenario(body)] * episodes, seed=seed)
    steps = rollout(simulator, RandomPolicy(simulator.masks, seed), num_steps=num_steps, seed=seed)
    return steps.obs.reshape(-1, simulator.layout.obs).astype(np.float64).std(axis=0)
