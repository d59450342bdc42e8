"""Budgets: how much of everything a run may use. Every result names the one it had."""

import dataclasses

from mrcom.agents.method import named


@dataclasses.dataclass(frozen=True)
class Budget:
    """Amounts of experience and learning. All counts are of one run."""

    name: str
    """What results call it."""
    scenarios: int
    """Training scenarios per body."""
    episode_steps: int
    """Control steps of one episode collected in training. Short ones hold more beginnings, where
    bodies lie about at random and have to get up."""
    random_rounds: int
    """Rounds of collection with random actions before learning; one episode a scenario each."""
    expert_rounds: int
    """Rounds of collection with the training scenarios' experts, their actions disturbed. What a
    few minutes of learning cannot find by itself, such as a hopper that stands, is in there."""
    rounds: int
    """Rounds of collection by the behaviour policies, spread evenly over the updates."""
    updates: int
    """Updates of the world model; the behaviour learns in each of them too."""
    held_out: int
    """Held-out scenarios per body on which open-loop prediction is measured."""
    targets_inside: int
    """Target scenarios per body drawn from the training box."""
    targets_outside: int
    """Target scenarios per body drawn from outside the training box."""
    adapt_steps: int
    """Real control steps in each target: whole episodes, after each of which but the last the
    policy learns."""
    adapt_updates: int
    """Updates of the policy in each target; the control from scratch gets as many."""
    evaluation_episodes: int
    """Evaluation episodes per policy and target."""
    evaluation_steps: int
    """Control steps of an episode that policies or predictions are judged on, and of one in a
    target while a policy adapts to it: what goes wrong late must be met to be unlearnt."""


BUDGETS = {
    budget.name: budget
    for budget in (
        Budget("debug", 2, 60, 1, 1, 1, 8, 1, 1, 0, 120, 8, 2, 60),
        Budget("tiny", 16, 250, 2, 8, 12, 2400, 4, 1, 1, 3000, 1500, 8, 1000),
        Budget("small", 16, 500, 2, 8, 30, 6000, 8, 2, 2, 10000, 4500, 10, 1000),
        Budget("full", 16, 1000, 4, 0, 200, 200000, 16, 16, 16, 50000, 49000, 10, 1000),
    )
}


MINUTES = {"mrcom": 9}
"""How long the whole demo of a method took at `tiny` on two idle cores. Source: our runs."""


def budget(name: str) -> Budget:
    """The budget of that name.

    Raises:
        ConfigError: no such budget; the message names the nearest.
    """
    return named("budget", name, BUDGETS)
