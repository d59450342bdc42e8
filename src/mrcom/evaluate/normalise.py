"""Returns on a scale where random actions are 0 and the scenario's expert is 100."""

import numpy as np
from jaxtyping import Float

LEAST_GAP = 10.0
"""Smallest distance of expert and random, in return, over which a score means anything."""


def normalised_score(
    returns: Float[np.ndarray, "N E"],
    random: Float[np.ndarray, " N"],
    expert: Float[np.ndarray, " N"],
    *,
    least_gap: float = LEAST_GAP,
) -> Float[np.ndarray, "N E"]:
    """100 (R - R_random) / (R_expert - R_random), per scenario.

    Not clipped: a policy may be worse than random or better than the expert.

    Args:
        returns: of E episodes in each of N scenarios.
        random: mean return of random actions in each scenario.
        expert: mean return of the expert that knows the scenario's parameters.
        least_gap: NaN where the expert is not at least so much above random; dividing by
            less would report noise.
    """
    gap = expert - random
    gap = np.where(gap >= least_gap, gap, np.nan)
    return 100 * (returns - random[:, None]) / gap[:, None]
