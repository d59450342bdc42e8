"""Returns of a policy in some scenarios, all episodes at once."""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float

from mrcom.core.errors import ConfigError
from mrcom.core.progress import Bar
from mrcom.core.steps import Layout, Masks
from mrcom.evaluate.scores import Score
from mrcom.scenarios.layout import layout_of, masks_of
from mrcom.scenarios.scenario import Scenario
from mrcom.simulate.rollout import Policy, RandomPolicy, rollout
from mrcom.simulate.simulator import Simulator

MakePolicy = Callable[[tuple[Scenario, ...], Masks], Policy]
"""Given one scenario per row of the simulator and their masks, what acts in them.

Row n of E episodes each is an episode of scenario n // E.
"""


def evaluate(
    make_policy: MakePolicy,
    scenarios: Sequence[Scenario],
    *,
    episodes: int,
    seed: int,
    layout: Layout | None = None,
    num_steps: int = 1000,
    progress: Bar | None = None,
) -> Float[np.ndarray, "N E"]:
    """Return of every episode: all episodes of all scenarios run side by side.

    Args:
        make_policy: builds the policy for the rows of the simulator. It should act by its
            mode; a random policy should be seeded.
        scenarios: N of them, of any bodies.
        episodes: E of each.
        seed: of the initial states: the same for every method that is compared.
        layout: widths the policy was built for; those of the scenarios when absent.
        num_steps: control steps of an episode.
        progress: advanced by one at every step of all episodes.

    Raises:
        ConfigError: no scenario or no episode.
    """
    if not scenarios or episodes < 1:
        raise ConfigError(
            f"An evaluation needs a scenario and an episode, got {len(scenarios)} scenarios and "
            f"{episodes} episodes."
        )
    rows = tuple(scenario for scenario in scenarios for _ in range(episodes))
    layout = layout_of(scenarios) if layout is None else layout
    simulator = Simulator(rows, layout=layout, seed=seed)
    policy = make_policy(rows, masks_of(rows, layout))
    steps = rollout(simulator, policy, num_steps=num_steps, seed=seed, progress=progress)
    # Summed in double precision: a thousand rewards near 1 lose digits otherwise.
    return steps.reward.sum(axis=1, dtype=np.float64).reshape(len(scenarios), episodes)


def evaluate_random(
    scenarios: Sequence[Scenario],
    *,
    episodes: int,
    seed: int,
    layout: Layout | None = None,
    num_steps: int = 1000,
    progress: Bar | None = None,
) -> Float[np.ndarray, "N E"]:
    """Return of uniformly random actions: the 0 of the normalised score."""
    return evaluate(
        lambda _, masks: RandomPolicy(masks, seed=seed),
        scenarios,
        episodes=episodes,
        seed=seed,
        layout=layout,
        num_steps=num_steps,
        progress=progress,
    )


def scores_of(
    returns: Float[np.ndarray, "N E"],
    normalised: Float[np.ndarray, "N E"],
    scenarios: Sequence[Scenario],
    *,
    method: str,
    seed: int,
    inside: Sequence[bool],
    env_steps: int,
    updates: int,
    budget: str,
    settings: str = "",
    evaluation_seed: int | None = None,
) -> list[Score]:
    """One record per episode, ready for the file; NaN becomes a missing score."""
    return [
        Score(
            method=method,
            seed=seed,
            scenario=scenario.hash,
            body=scenario.body,
            inside=bool(inside[n]),
            target_speed=float(scenario.target_speed),
            episode=episode,
            episode_return=float(returns[n, episode]),
            normalised=None if np.isnan(normalised[n, episode]) else float(normalised[n, episode]),
            env_steps=env_steps,
            updates=updates,
            budget=budget,
            settings=settings,
            evaluation_seed=evaluation_seed,
        )
        for n, scenario in enumerate(scenarios)
        for episode in range(returns.shape[1])
    ]
