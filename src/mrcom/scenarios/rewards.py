"""How well a target speed is met, and the suite's tolerance, as functions of arrays.

They take NumPy's and JAX's: the simulator judges with them, and who plans with true rewards.
"""

import math
from typing import Any

from jaxtyping import Float

Values = Float[Any, " N"]
"""Of a NumPy or JAX array."""

REWARDS: tuple[str, ...] = ("track", "reach", "stand")

# Share of the fastest speed below which the width of `track` shrinks no further: otherwise a
# target near 0 m/s would be met at one single speed.
TRACK_FLOOR = 0.1


def track(speed: Values, target: Values, max_speed: float) -> Values:
    """1 at the target speed, falling linearly on both sides of it.

    clip(1 - |speed - v| / max(v, 0.1 v_max), 0, 1), which for v >= 0.1 v_max equals `reach`
    below the target, where that is 0 at rest.
    """
    xp = speed.__array_namespace__()
    width = xp.maximum(target, TRACK_FLOOR * max_speed)
    return xp.maximum(1.0 - abs(speed - target) / width, 0.0)


def reach(speed: Values, target: Values, at_rest: float = 0.0) -> Values:
    """The suite's one-sided shape: clip(b + (1 - b) speed / v, 0, 1) with the value b at rest.

    At v = 0 it is 1 for any speed >= 0. The suite writes it as a linear tolerance with margin
    v/2 and value 0.5 there (hopper, walker), margin v and value 0 (cheetah): both have b = 0;
    or margin v and value 0.5 (quadruped), which is b = 0.5.
    """
    xp = speed.__array_namespace__()
    still = target == 0
    share = xp.clip(at_rest + (1.0 - at_rest) * (speed / xp.where(still, 1.0, target)), 0.0, 1.0)
    return xp.where(still, (speed >= 0).astype(share.dtype), share)


def above(x: Values, bound: float, margin: float, value_at_margin: float = 0.1) -> Values:
    """1 at or above the bound; below it a Gaussian that is `value_at_margin` at the margin."""
    scale = math.sqrt(-2.0 * math.log(value_at_margin))
    xp = x.__array_namespace__()
    below = xp.maximum(bound - x, 0.0) / margin
    return xp.exp(-0.5 * (below * scale) ** 2)
