"""What is estimated of a run, and what each estimate is worth."""

import dataclasses
from collections.abc import Mapping

from mrcom.evaluate.open_loop import OpenLoopErrors
from mrcom.evaluate.statistics import Interval
from mrcom.theory.probe import Probe

WORTH: Mapping[str, str] = {
    "eps_T": "total variation between the unit normal and a Gaussian matched to one-step errors "
    "in the model's own standard deviations. Errors that cancel over steps are not in it: too "
    "small. But what is matched to few steps is never quite the unit normal: of a perfect model, "
    "240 independent steps of 24 quantities give 0.17, and fewer steps, or steps that are alike, "
    "more. To the letter eps_T is 1: the simulator is deterministic, the model is not.",
    "eps_S": "half the distance between features filtered from the whole history and from half "
    "of it. One of the two is at least so far from the true state, which nobody knows: too small.",
    "eps_pi": "total variation of the policy between a filtered mean and a filtered sample, on "
    "which it learnt. Whoever collected the data is not compared: experts have no probabilities.",
    "C_T": "from the largest singular value of d(next observation) / d(feature), in standard "
    "deviations of the one-step error. At steps that were looked at, and of observations: the "
    "deterministic part of a state has no total variation but 0 and 1.",
    "C_pi": "likewise of the policy's mean and standard deviation.",
    "bound": "Theorem 6 of these estimates, of their means and of the largest found; as printed, "
    "and as derived, which is no smaller. No guarantee, since no estimate is. Rewards lie in "
    "[0, 1], so no gap over these steps is larger than 'at most', and a bound above it says "
    "nothing. R = 1 is taken; half of each number would do, since a constant taken off all rewards "
    "moves both returns alike.",
    "gap": "discounted return of the next steps, real less dreamt from the same step, mean over "
    "windows with its 95 % interval.",
    "value": "the shared value against what the next steps gave plus the value at their end, in "
    "its own unit: reward 1 for ever is worth 1.",
}
"""What each estimate is worth, for people."""


@dataclasses.dataclass(frozen=True)
class Amount:
    """How much is looked at."""

    windows: int = 8
    """Of each scenario and kind of trajectory: experts', random ones, the behaviour's."""
    horizon: int = 50
    """Last steps of a window: what is dreamt, and what is looked at."""
    probed: int = 48
    """Scenarios of each body whose context is probed; half of them judge."""
    probe_steps: int = 64
    """Control steps in each."""


@dataclasses.dataclass(frozen=True)
class Estimate:
    """Of one symbol, over the steps that were looked at."""

    mean: float
    largest: float


@dataclasses.dataclass(frozen=True)
class ScenarioEstimates:
    """What is estimated in one held-out scenario."""

    scenario: str
    """Hash."""
    body: str
    open_loop: OpenLoopErrors
    """In units of the run's own experience."""
    reward_rmse: tuple[float, ...]
    """Of dreamt rewards, at the horizons of `open_loop`."""
    value_rmse: float | None
    """None where the method has no value that all scenarios share."""
    log_likelihood: float
    """Of the next observation, in nats per real dimension, mean over steps."""
    eps_t: float
    eps_s: Estimate
    eps_pi: Estimate
    c_t: Estimate | None
    """None where features cannot be put back into a state."""
    c_pi: Estimate
    real: float
    """Discounted return of the next steps, mean over windows."""
    dreamt: float
    gap: Interval
    """Real less dreamt: 95 % interval."""
    bound: float | None
    """As printed, of the means."""
    bound_of_largest: float | None
    derived: float | None
    """As derived, of the means."""
    derived_of_largest: float | None


@dataclasses.dataclass(frozen=True)
class Diagnosis:
    """Everything that `mrcom diagnose` finds."""

    method: str
    discount: float
    """That the behaviour learnt with."""
    at_most: float
    """No two returns of so many steps can differ by more: every reward lies in [0, 1]."""
    amount: Amount
    scenarios: tuple[ScenarioEstimates, ...]
    context: tuple[Probe, ...]
    """What a linear map reads of a scenario in the context."""
    missing: tuple[str, ...]
    """What the method has not got."""


def amount_within(steps: int) -> Amount:
    """The usual amount, cut to trajectories of so many steps."""
    usual = Amount()
    return dataclasses.replace(
        usual, horizon=min(usual.horizon, steps // 2), probe_steps=min(usual.probe_steps, steps)
    )
