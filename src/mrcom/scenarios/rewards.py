"""How well a target speed is met, and the suite's tolerance, as functions of arrays."""

import math

import numpy as np
from jaxtyping import Float

REWARDS: tuple[str, ...] = ("track", "reach", "stand")

# Share of the fastest speed below which the width of `track` shrinks no further: otherwise a
# target near 0 m/s would be met at one single speed.
TRACK_FLOOR = 0.1


def track(
    speed: Float[np.ndarray, " N"], target: Float[np.ndarray, " N"], max_speed: float
) -> Float[np.ndarray, " N"]:
    """1 at the target speed, falling linearly on both sides of it.

    clip(1 - |speed - v| / max(v, 0.1 v_max), 0, 1), which for v >= 0.1 v_max equals `reach`
    below the target, where that is 0 at rest.
    """
    width = np.maximum(target, TRACK_FLOOR * max_speed)
    return np.maximum(1.0 - np.abs(speed - target) / width, 0.0)


def reach(
    speed: Float[np.ndarray, " N"], target: Float[np.ndarray, " N"], at_rest: float = 0.0
) -> Float[np.ndarray, " N"]:
    """The suite's one-sided shape: clip(b + (1 - b) speed / v, 0, 1) with the value b at rest.

    At v = 0 it is 1 for any speed >= 0. The suite writes it as a linear tolerance with margin
    v/2 and value 0.5 there (hopper, walker), margin v and value 0 (cheetah): both have b = 0;
    or margin v and value 0.5 (quadruped), which is b = 0.5.
    """
    still = target == 0
    share = np.clip(at_rest + (1.0 - at_rest) * (speed / np.where(still, 1.0, target)), 0.0, 1.0)
    return np.where(still, (speed >= 0).astype(share.dtype), share)


def above(
    x: Float[np.ndarray, " N"], bound: float, margin: float, value_at_margin: float = 0.1
) -> Float[np.ndarray, " N"]:
    """1 at or above the bound; below it a Gaussian that is `value_at_margin` at the margin."""
    scale = math.sqrt(-2.0 * math.log(value_at_margin))
    below = np.maximum(bound - x, 0.0) / margin
    return np.exp(-0.5 * (below * scale) ** 2)
