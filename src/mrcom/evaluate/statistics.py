"""Aggregates of scores and how far to trust them.

Source: Agarwal et al. 2021, arXiv 2108.13264.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float

from mrcom.core.errors import ConfigError

Statistic = Callable[[Float[np.ndarray, "*S R N"]], Float[np.ndarray, "*S"]]
"""A number for each table of R runs on N scenarios; there may be S tables at once."""
Interval = tuple[float, float]


def mean(scores: Float[np.ndarray, "*S R N"]) -> Float[np.ndarray, "*S"]:
    """Mean of all runs on all scenarios."""
    return np.asarray(scores.mean(axis=(-2, -1)))


def interquartile_mean(scores: Float[np.ndarray, "*S R N"]) -> Float[np.ndarray, "*S"]:
    """Mean of the middle half of all runs on all scenarios.

    A quarter of the scores, rounded down, is cut off at each end.

    Equation: agarwal.iqm
    """
    ordered = np.sort(scores.reshape(*scores.shape[:-2], -1), axis=-1)
    size = ordered.shape[-1]
    return np.asarray(ordered[..., size // 4 : size - size // 4].mean(axis=-1))


def stratified_mean(inside: Bool[np.ndarray, " N"], share_inside: float) -> Statistic:
    """The mean over a box of scenarios of which some were drawn in a part and some outside it.

    Args:
        inside: which were drawn, evenly, in the part; the others evenly in the rest of the box.
        share_inside: how much of the box the part is.
    """
    weights = np.where(inside, share_inside / inside.sum(), (1 - share_inside) / (~inside).sum())
    return lambda scores: np.asarray((scores.mean(axis=-2) * weights).sum(axis=-1))


def stratified_interval(
    scores: Float[np.ndarray, "R N"],
    statistic: Statistic,
    *,
    rng: np.random.Generator,
    level: float = 0.95,
    resamples: int = 2000,
) -> Interval:
    """Percentile interval of a statistic; runs are resampled within each scenario.

    With the episodes of one run in place of runs it is the interval over episodes: it then
    says how well that run was measured, not how another run would fare.

    Args:
        scores: score of run r on scenario n.
        statistic: what is computed of each resampled table.
        rng: the only source of randomness, so that a table can be printed again.
        level: share of the resampled statistics inside the interval.
        resamples: how many.

    Returns:
        (low, high), in the unit of `statistic`.

    Raises:
        ConfigError: fewer than two runs, where no interval exists.
    """
    _check_runs(len(scores))
    return _percentiles(statistic(_resampled(scores, rng, resamples)), level)


def episode_interval(
    returns: Float[np.ndarray, " E"],
    *,
    rng: np.random.Generator,
    level: float = 0.95,
    resamples: int = 2000,
) -> Interval:
    """Percentile interval of the mean return in one scenario; episodes are resampled.

    Raises:
        ConfigError: fewer than two episodes.
    """
    _check_runs(len(returns), "episodes of a scenario", "Evaluate more episodes")
    return _percentiles(_resampled_means(returns, rng, resamples), level)


def difference_interval(
    ours: Float[np.ndarray, " E"],
    theirs: Float[np.ndarray, " F"],
    *,
    rng: np.random.Generator,
    level: float = 0.95,
    resamples: int = 2000,
) -> Interval:
    """Percentile interval of the difference of two mean returns; each side is resampled.

    Raises:
        ConfigError: fewer than two episodes on a side.
    """
    for side in (ours, theirs):
        _check_runs(len(side), "episodes of a scenario", "Evaluate more episodes")
    drawn = _resampled_means(ours, rng, resamples) - _resampled_means(theirs, rng, resamples)
    return _percentiles(drawn, level)


def probability_of_improvement(
    ours: Float[np.ndarray, "*S R N"], theirs: Float[np.ndarray, "*S Q N"]
) -> Float[np.ndarray, "*S"]:
    """How likely one of our runs beats one of theirs, mean over scenarios; a tie is half.

    Equation: agarwal.improvement
    """
    apart = np.sign(ours[..., :, None, :] - theirs[..., None, :, :])
    return np.asarray(0.5 + 0.5 * apart.mean(axis=(-3, -2, -1)))


def improvement_interval(
    ours: Float[np.ndarray, "R N"],
    theirs: Float[np.ndarray, "Q N"],
    *,
    rng: np.random.Generator,
    level: float = 0.95,
    resamples: int = 2000,
) -> Interval:
    """Percentile interval of the probability of improvement; both sides are resampled.

    Raises:
        ConfigError: fewer than two runs on a side.
    """
    _check_runs(min(len(ours), len(theirs)))
    most = 200  # at once; all of them would be large
    sizes = [min(most, resamples - done) for done in range(0, resamples, most)]
    drawn = [
        probability_of_improvement(_resampled(ours, rng, num), _resampled(theirs, rng, num))
        for num in sizes
    ]
    return _percentiles(np.concatenate(drawn), level)


def _resampled(scores: np.ndarray, rng: np.random.Generator, num: int) -> np.ndarray:
    drawn = rng.integers(len(scores), size=(num, *scores.shape))
    return scores[drawn, np.arange(scores.shape[1])]


def _resampled_means(returns: np.ndarray, rng: np.random.Generator, resamples: int) -> np.ndarray:
    return returns[rng.integers(len(returns), size=(resamples, len(returns)))].mean(axis=1)


def _percentiles(drawn: np.ndarray, level: float) -> Interval:
    tail = (1 - level) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail])
    return float(low), float(high)


def _check_runs(num: int, what: str = "runs per scenario", remedy: str = "Add seeds") -> None:
    if num < 2:
        raise ConfigError(f"An interval needs at least two {what}, got {num}. {remedy}.")
