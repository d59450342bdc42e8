"""Policies against each other: on a scale between random actions and the expert."""

import dataclasses
import itertools
import math
import statistics
import time
from collections.abc import Iterator, Mapping
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from mrcom.agents.presets import Budget
from mrcom.behaviour.expert import ExpertPolicy, has_expert
from mrcom.core.errors import ConfigError
from mrcom.core.progress import Bar, progress
from mrcom.core.steps import Layout
from mrcom.evaluate.evaluate import MakePolicy, evaluate, evaluate_random, scores_of
from mrcom.evaluate.normalise import normalised_score
from mrcom.evaluate.scores import Score
from mrcom.scenarios.observation import PLAIN
from mrcom.scenarios.scenario import Scenario


@runtime_checkable
class Contestant(Protocol):
    """What is judged, and what it cost to find."""

    @property
    def make_policy(self) -> MakePolicy:
        """What acts."""
        ...

    @property
    def env_steps(self) -> int:
        """Real control steps that it took in each scenario before."""
        ...

    @property
    def updates(self) -> int:
        """Gradient steps of what acts."""
        ...

    @property
    def settings(self) -> str:
        """How it was found, where that differs from what is usual."""
        ...


@dataclasses.dataclass(frozen=True)
class Trial:
    """Where policies are judged; the same for all that are compared."""

    scenarios: tuple[Scenario, ...]
    """Of any bodies."""
    inside: tuple[bool, ...]
    """Whether each lies inside the training range."""
    layout: Layout
    """Widths that the policies were built for."""
    budget: Budget
    """Episodes, and their length."""
    seed: int
    """Of the initial states, and of random actions."""

    @property
    def plain(self) -> tuple[Scenario, ...]:
        """The scenarios as they are, not as they are observed."""
        return tuple(dataclasses.replace(one, observation=PLAIN) for one in self.scenarios)

    def returns(self, make_policy: MakePolicy, bar: Bar) -> Float[np.ndarray, "N E"]:
        """Of every episode of a policy; the bar counts control steps."""
        return self._returns(make_policy, self.scenarios, self.budget.evaluation_steps, bar)

    def expert_returns(self, bar: Bar) -> Float[np.ndarray, "N E"]:
        """Of the experts, who see what is, not what the observation function makes of it.

        NaN in the scenarios of bodies that have none.
        """
        make: MakePolicy = lambda rows, _: ExpertPolicy(rows, self.layout)
        budget, known = self.budget, np.array([has_expert(one.body) for one in self.scenarios])
        found = np.full((len(known), budget.evaluation_episodes), np.nan)
        if known.any():
            rows = tuple(itertools.compress(self.plain, known))
            found[known] = self._returns(make, rows, budget.evaluation_steps, bar)
        else:
            bar.advance(budget.evaluation_steps)
        return found

    def random_returns(self, bar: Bar) -> Float[np.ndarray, "N E"]:
        """Of random actions."""
        budget = self.budget
        return evaluate_random(
            self.scenarios,
            episodes=budget.evaluation_episodes,
            seed=self.seed,
            layout=self.layout,
            num_steps=budget.evaluation_steps,
            progress=bar,
        )

    def seconds_a_step(self, make_policy: MakePolicy, *, steps: int = 3) -> float:
        """What one control step of all episodes takes, compiling left out: measured on a few."""
        if steps < 1:
            raise ConfigError(f"steps={steps} must be at least 1.")
        watch = _Stopwatch()
        self._returns(make_policy, self.scenarios, steps + 1, watch)
        return statistics.median(b - a for a, b in itertools.pairwise(watch.marks))

    def _returns(
        self, make_policy: MakePolicy, scenarios: tuple[Scenario, ...], num_steps: int, bar: Bar
    ) -> Float[np.ndarray, "N E"]:
        return evaluate(
            make_policy,
            scenarios,
            episodes=self.budget.evaluation_episodes,
            seed=self.seed,
            layout=self.layout,
            num_steps=num_steps,
            progress=bar,
        )


def judge(
    contestants: Mapping[str, Contestant], trial: Trial, *, run_seed: int
) -> Iterator[list[Score]]:
    """Scores of random actions, of the experts, then of each contestant, as they are found.

    All act from the same initial states. What is yielded can be kept at once: a later contestant
    may take long, and be interrupted.

    Args:
        contestants: by the name that scores call them.
        trial: where they are judged.
        run_seed: of the run that they come from.
    """
    num = (2 + len(contestants)) * trial.budget.evaluation_steps
    with progress("evaluating", total=num) as bar:
        bar.advance(0, text="random")
        random = trial.random_returns(bar)
        bar.advance(0, text="expert")
        expert = trial.expert_returns(bar)
        zero, hundred = random.mean(axis=1), expert.mean(axis=1)

        def records(
            name: str,
            returns: Float[np.ndarray, "N E"],
            env_steps: int = 0,
            updates: int = 0,
            settings: str = "",
        ) -> list[Score]:
            return scores_of(
                returns,
                normalised_score(returns, zero, hundred),
                trial.scenarios,
                method=name,
                seed=run_seed,
                inside=trial.inside,
                env_steps=env_steps,
                updates=updates,
                budget=trial.budget.name,
                settings=settings,
                evaluation_seed=trial.seed,
            )

        yield records("random", random)
        yield [score for score in records("expert", expert) if math.isfinite(score.episode_return)]
        for name, one in contestants.items():
            bar.advance(0, text=name)
            returns = trial.returns(one.make_policy, bar)
            yield records(name, returns, one.env_steps, one.updates, one.settings)


class _Stopwatch:
    """A bar that remembers when it was advanced."""

    def __init__(self):
        self.marks: list[float] = []

    def advance(self, by: int = 1, text: str = "") -> None:
        """Remember now."""
        self.marks.append(time.monotonic())
