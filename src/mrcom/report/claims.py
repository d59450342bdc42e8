"""What a run was meant to show, and whether it does."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

from mrcom.core.generators import named_generator
from mrcom.evaluate.open_loop import OpenLoopErrors
from mrcom.evaluate.scores import Score
from mrcom.evaluate.statistics import difference_interval
from mrcom.report.targets import interval_of, returns_of, targets_of

NEEDED_AT_10 = {"cheetah": 0.6, "hopper": 0.85, "walker": 0.85}
"""Largest error of the model at horizon 10, in errors of the last observation."""


@dataclasses.dataclass(frozen=True)
class Claim:
    """A sentence about a run that is true or not."""

    name: str
    """The sentence."""
    holds: bool
    """Whether it is true of this run."""
    value: float
    """What was measured."""
    needed: str
    """What the value must be for the claim to hold."""


def open_loop_claims(
    errors: Mapping[str, OpenLoopErrors], needed_at_10: Mapping[str, float] = NEEDED_AT_10
) -> list[Claim]:
    """For each body: better than the last observation everywhere, and by how much at 10."""
    claims = []
    for body, error in errors.items():
        worst, of = max(error.ratio), f"ratio of RMSE{_with(error.budget)}"
        text = f"{body}: prediction error below that of the last observation at every horizon"
        claims.append(Claim(text, worst < 1, worst, f"< 1 (largest {of})"))
        if body in needed_at_10 and 10 in error.horizons:
            ratio, needed = error.at(10), needed_at_10[body]
            text = f"{body}: prediction error at horizon 10 against the last observation"
            claims.append(Claim(text, ratio <= needed, ratio, f"<= {needed:g} ({of})"))
    return claims


def target_claims(
    scores: Sequence[Score], *, above_control: Sequence[str] = ("cheetah",)
) -> list[Claim]:
    """For each target: above random, and for some bodies above learning from scratch.

    A target where a side was measured once only has no interval and makes no claim.

    Args:
        scores: of `random`, `adapted` and `sac`, all with one budget.
        above_control: bodies on whose targets the adapted policy should beat the control.
    """
    claims = []
    for target in targets_of(scores):
        returns = returns_of(scores, target)
        if "adapted" not in returns or "random" not in returns:
            continue
        adapted, random = returns["adapted"], returns["random"]
        ours = interval_of(adapted, target, "adapted")
        theirs = interval_of(random, target, "random")
        if ours is None or theirs is None:
            continue
        low, high = ours[0], theirs[1]
        budget = _with(scores[0].budget)
        text = f"{target.label}: the adapted policy's interval lies above that of random actions"
        claims.append(Claim(text, low > high, low, f"> {high:.1f} (return{budget})"))
        if target.body in above_control and len(returns.get("sac", ())) > 1:
            rng = named_generator(0, "claims", target.scenario)
            low = difference_interval(adapted, returns["sac"], rng=rng)[0]
            text = f"{target.label}: the adapted policy beats SAC from scratch"
            claims.append(Claim(text, low > 0, low, f"> 0 (lower end of the difference{budget})"))
    return claims


def _with(budget: str) -> str:
    return f", budget {budget}" if budget else ""


def summary(claims: Sequence[Claim]) -> dict[str, Any]:
    """The claims as plain JSON values: the content of `summary.json`."""
    return {
        "claims": [
            dataclasses.asdict(claim)
            | {"value": claim.value if math.isfinite(claim.value) else None}
            for claim in claims
        ]
    }


def claims_text(claims: Sequence[Claim]) -> str:
    """One line per claim that says whether it holds, and a line that counts them."""
    if not claims:
        return "This run makes no claims.\n"
    lines = [
        f"{'HOLDS         ' if claim.holds else 'DOES NOT HOLD '} {claim.name}: "
        f"{claim.value:.3g}, needed {claim.needed}"
        for claim in claims
    ]
    num = sum(claim.holds for claim in claims)
    return "\n".join([*lines, f"{num} of {len(claims)} claims hold in this run."]) + "\n"
