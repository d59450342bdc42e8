"""The target scenarios that scores are about, and the order of what was tried in them."""

import collections
import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from mrcom.core.config import from_json
from mrcom.core.generators import named_generator
from mrcom.evaluate.scores import Score, score_matrix
from mrcom.evaluate.statistics import Interval, episode_interval
from mrcom.scenarios.splits import Split

TITLES = {
    "random": "random actions",
    "expert": "expert",
    "behaviour": "behaviour, not adapted",
    "planning": "planning, not adapted",
    "planning-oracle": "planning with true rewards, not adapted",
    "adapted": "adapted",
    "sac": "SAC from scratch",
}
"""What tables call a method, in the order of their rows."""


@dataclasses.dataclass(frozen=True)
class Target:
    """A scenario in which methods are compared."""

    scenario: str
    """Its hash."""
    body: str
    """Its body."""
    target_speed: float
    """Speed that is rewarded [m/s]."""
    inside: bool
    """Whether it lies inside the training range."""

    mark: str = ""
    """Tells it from targets that would be called the same."""

    @property
    def label(self) -> str:
        """What tables and figures call it."""
        where = "inside" if self.inside else "outside"
        return f"{self.body} {self.target_speed:.2f} m/s, {where}{self.mark}"


def share_inside(config: Mapping[str, Any]) -> float | None:
    """How much of a run's test box lies in its training box, where its split is a wide one.

    Args:
        config: of the run, as its folder has it.
    """
    split = from_json(Split, config["split"])
    if split.kind != "wide":
        return None
    return split.share_inside(speeds=config["reward"] != "stand")


def targets_of(scores: Iterable[Score]) -> list[Target]:
    """All targets: bodies in the order of the scores, inside before outside, then by speed."""
    scores = list(scores)
    bodies = list(dict.fromkeys(score.body for score in scores))
    found = {Target(s.scenario, s.body, s.target_speed, s.inside) for s in scores}
    ordered = sorted(
        found,
        key=lambda t: (bodies.index(t.body), not t.inside, t.target_speed, t.scenario),
    )
    labels = collections.Counter(target.label for target in ordered)
    return [
        dataclasses.replace(target, mark=f" [{target.scenario[:4]}]")
        if labels[target.label] > 1
        else target
        for target in ordered
    ]


def methods_of(scores: Iterable[Score]) -> list[str]:
    """All methods, in the order of `TITLES`; unknown ones follow as they come."""
    found = dict.fromkeys(score.method for score in scores)
    return [name for name in TITLES if name in found] + [n for n in found if n not in TITLES]


def title_of(method: str) -> str:
    """What tables call a method."""
    return TITLES.get(method, method)


def returns_of(
    scores: Sequence[Score], target: Target, *, field: str = "episode_return"
) -> dict[str, Float[np.ndarray, " R"]]:
    """Each method's returns in a target: one per run, or per episode of a single run.

    Methods of which the field is missing are left out.
    """
    here = [s for s in scores if s.scenario == target.scenario and getattr(s, field) is not None]
    return {
        method: score_matrix([s for s in here if s.method == method], field=field).values[:, 0]
        for method in methods_of(here)
    }


def interval_of(values: Float[np.ndarray, " R"], target: Target, method: str) -> Interval | None:
    """95 % interval of the mean, the same in every table, figure and claim.

    None of a single value, which has none.
    """
    if len(values) < 2:
        return None
    return episode_interval(values, rng=named_generator(0, "target", target.scenario, method))
