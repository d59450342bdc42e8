"""What a control of the study of latent errors changes, seed by seed."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from mrcom.core.generators import named_generator
from mrcom.evaluate.latent_study import Cell, Curves
from mrcom.evaluate.statistics import episode_interval
from mrcom.train.latent_study import NO_PENALTY

LEFT = "left of the error"
"""How far observations dreamt from states with the error are from those without it."""


def cells_at(cells: Sequence[Cell], body: str, error: str, control: str) -> list[Cell]:
    """Those of one body, error and control: a seed each."""
    wanted = body, error, control
    return [cell for cell in cells if (cell.body, cell.error, cell.control) == wanted]


def rmse(curves: Curves | None, quantity: str) -> Float[np.ndarray, " H"]:
    """Root mean squared errors of a quantity, 1, 2, ... steps ahead."""
    assert curves is not None, "diverged cells have no curves"
    return np.sqrt(np.asarray(getattr(curves, quantity)))


def curve_of(cell: Cell, quantity: str) -> Float[np.ndarray, " H"]:
    """Of a cell that did not diverge, one of `QUANTITIES` or what is `LEFT`, step by step."""
    return rmse(cell.apart, "obs") if quantity == LEFT else rmse(cell.erring, quantity)


def change_of(
    cells: Sequence[Cell], body: str, error: str, control: str, quantity: str = "obs"
) -> Float[np.ndarray, " R"]:
    """Of every seed, error of the longest dreams with a control less that without any.

    Seeds that diverged in one of both are left out: they are counted elsewhere.
    """
    last = lambda name: {
        cell.seed: curve_of(cell, quantity)[-1]
        for cell in cells_at(cells, body, error, name)
        if not cell.diverged
    }
    ours, theirs = last(control), last(NO_PENALTY)
    return np.array([ours[seed] - theirs[seed] for seed in sorted(ours.keys() & theirs.keys())])


def below_zero(change: Float[np.ndarray, " R"]) -> bool:
    """Whether the interval of the mean change over seeds lies below 0."""
    return len(change) > 1 and interval(change)[1] < 0


def interval(change: Float[np.ndarray, " R"]) -> tuple[float, float]:
    """95 % bootstrap interval of the mean change over seeds."""
    return episode_interval(change, rng=named_generator(0, "latent_study"))
