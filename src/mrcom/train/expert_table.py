"""Returns of the experts that ship, by target speed and torso range, beside random actions.

`python -m mrcom.train.expert_table` prints the tables of `experts/returns.md`, which ship with the
weights, and that of the suite's tasks in `docs/experts.md`.
"""

import argparse
import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from mrcom.behaviour.expert import Expert, ExpertPolicy, load_expert
from mrcom.core.errors import MrcomError
from mrcom.scenarios.bodies import body as body_named
from mrcom.scenarios.scenario import Scenario
from mrcom.scenarios.splits import Box, sample_scenarios
from mrcom.simulate.rollout import RandomPolicy, rollout
from mrcom.simulate.simulator import Simulator

ALPHAS = (5.0, 10.0, 20.0)
STREAM = "expert table"
"""Scenarios drawn under this name are never trained on, nor used to choose weights."""

SUITE = {
    "hopper stand": Scenario("hopper", 0.0, reward="stand"),
    "hopper hop": Scenario("hopper", 2.0, reward="reach"),
    "walker walk": Scenario("walker", 1.0, reward="reach"),
    "walker run": Scenario("walker", 8.0, reward="reach"),
    "cheetah run": Scenario("cheetah", 10.0, reward="reach"),
}
"""The suite's own tasks for these bodies. Experts learn from none of these rewards."""


@dataclasses.dataclass(frozen=True)
class ExpertTable:
    """Returns of one body: rows are bins of target speed."""

    body: str
    """Name of the body."""
    alphas: tuple[float, ...]
    """Torso ranges of the columns [%]."""
    expert: Float[np.ndarray, "alphas bins count"]
    """Of mode actions, one episode for each scenario."""
    random: Float[np.ndarray, "alphas bins count"]
    """Of uniform actions in the same scenarios from the same initial states."""

    def lines(self) -> list[str]:
        """The table as markdown."""
        bins = self.expert.shape[1]
        edges = np.linspace(0.0, body_named(self.body).max_speed, bins + 1)
        names = [f"expert, alpha {alpha:g} %" for alpha in self.alphas]
        lines = [
            f"| target [m/s] | {' | '.join(names)} | random |",
            "|" + " --- |" * (len(names) + 2),
        ]
        for b in range(bins):
            cells = [f"{edges[b]:.2f} - {edges[b + 1]:.2f}"]
            cells += [_cell(self.expert[a, b]) for a in range(len(self.alphas))]
            lines.append("| " + " | ".join([*cells, f"{self.random[:, b].mean():.0f}"]) + " |")
        cells = ["**all**", *(f"**{_cell(values.ravel())}**" for values in self.expert)]
        lines.append("| " + " | ".join([*cells, f"**{self.random.mean():.0f}**"]) + " |")
        return lines


def _cell(returns: Float[np.ndarray, " K"]) -> str:
    return f"{returns.mean():.0f} ({np.percentile(returns, 10):.0f})"


def measure_expert(
    expert: Expert,
    *,
    alphas: Sequence[float] = ALPHAS,
    bins: int = 8,
    count: int = 12,
    seed: int = 0,
    num_threads: int | None = None,
) -> ExpertTable:
    """One episode of each of `count` scenarios in every bin of target speed and torso range."""
    edges = np.linspace(0.0, 100.0, bins + 1)
    found = {"expert": [], "random": []}
    for alpha in alphas:
        scenarios = [
            scenario
            for low, high in itertools.pairwise(edges)
            for scenario in sample_scenarios(
                expert.body, Box(alpha, float(high), float(low)), count, seed, stream=STREAM
            )
        ]
        simulator = Simulator(scenarios, num_threads=num_threads)
        policies = {
            "expert": ExpertPolicy(scenarios, simulator.layout, experts={expert.body: expert}),
            "random": RandomPolicy(simulator.masks, seed),
        }
        for name, policy in policies.items():
            returns = rollout(simulator, policy, seed=seed).reward.sum(axis=1)
            found[name].append(returns.reshape(bins, count))
    return ExpertTable(
        expert.body, tuple(alphas), np.stack(found["expert"]), np.stack(found["random"])
    )


def measure_suite(expert: Expert, *, count: int = 10, seed: int = 0) -> list[str]:
    """Returns in the suite's tasks for a body, `count` episodes of each, as lines of markdown."""
    lines = []
    for task, scenario in SUITE.items():
        if scenario.body != expert.body:
            continue
        scenarios = [scenario] * count
        simulator = Simulator(scenarios)
        policy = ExpertPolicy(scenarios, simulator.layout, experts={expert.body: expert})
        returns = rollout(simulator, policy, seed=seed).reward.sum(axis=1)
        numbers = f"{returns.mean():.0f} | {returns.min():.0f} to {returns.max():.0f}"
        lines.append(f"| {task} | {numbers} |")
    return lines


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--body", nargs="*", default=["hopper", "walker", "cheetah"])
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    try:
        experts = [load_expert(body) for body in options.body]
    except MrcomError as error:
        parser.error(str(error))
    for expert in experts:
        table = measure_expert(expert, seed=options.seed)
        print(f"## {expert.body}\n", *table.lines(), "", sep="\n")
    suite = [line for expert in experts for line in measure_suite(expert, seed=options.seed)]
    print("| task of the suite | return | lowest to highest |", "| --- | --- | --- |", sep="\n")
    print(*suite, sep="\n")


if __name__ == "__main__":
    main()
