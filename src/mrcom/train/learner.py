"""Many updates in a row, watched for losses that are no longer finite."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from mrcom.agents.agent import Learner, Metrics
from mrcom.core.errors import TrainingDivergedError
from mrcom.core.rng import named_keys, root_key
from mrcom.train.leaves import leaves
from mrcom.train.population import joined

ROW = "row/"
"""Metrics under this prefix hold one number per row of the batch; they are never logged."""
STORED = "stored/"
"""Those under this one go back into replay, beside the steps that they were made of."""


def run_updates(
    agent: Learner,
    state: Any,
    batches: Callable[[int], tuple[Any, Sequence[str]]],
    *,
    first: int,
    count: int,
    seeds: Sequence[int],
) -> Iterator[tuple[int, Any, Metrics]]:
    """Updates `first` to `first + count - 1`, one at a time, each with its number.

    Every key is folded from a seed and the update's number, so that stopping and going on
    from a stored state equals not stopping.

    Args:
        batches: the batch of an update and the name of the scenario behind each of its rows.
        seeds: of each run that learns here. The batches and states of several are joined, and so
            are their keys.

    Raises:
        TrainingDivergedError: a loss is not finite; names the term and the scenario.
    """
    roots = [named_keys(root_key(seed), "update").update for seed in seeds]
    before: tuple[int, Metrics, Sequence[str]] | None = None
    for update in range(first, first + count):
        batch, names = batches(update)
        key = joined([jax.random.fold_in(root, update) for root in roots])
        state, metrics = agent.update(state, batch, key)
        # The update before is checked while this one still runs on the device.
        if before is not None:
            check_finite(*before)
        before = (update, metrics, names)
        yield update, state, metrics
    if before is not None:
        check_finite(*before)


def check_finite(update: int, metrics: Metrics, names: Sequence[str]) -> None:
    """Raise if any row of any loss term is not finite."""
    terms, rows = [], set()
    for key, values in metrics.items():
        if key.startswith(ROW):
            bad = np.flatnonzero(~np.isfinite(np.asarray(values)))  # of several runs: their rows
            if bad.size:
                terms.append(f"'{key.removeprefix(ROW)}'")
                rows |= {names[row] for row in bad.tolist()}
    if terms:
        raise TrainingDivergedError(
            f"Not finite: the loss {', '.join(terms)} at update {update}, in scenario "
            f"{', '.join(sorted(rows)[:3])}; the last good checkpoint is kept. Lower the learning "
            f"rate or look at this scenario's observations."
        )


def check_state(updates: int, state: Any) -> None:
    """Raise if a number of what learns is not finite, as a broken gradient of a finite loss makes.

    Raises:
        TrainingDivergedError: names the first array.
    """
    for name, leaf in leaves(state).items():
        if jnp.issubdtype(leaf.dtype, jnp.inexact) and not np.isfinite(np.asarray(leaf)).all():
            raise TrainingDivergedError(
                f"Not finite: {name.lstrip('.')} after {updates} updates, though every loss was; "
                f"the last good checkpoint is kept. Lower the learning rate."
            )


def scalars(metrics: Metrics) -> dict[str, np.ndarray]:
    """The loggable numbers of an update."""
    names = [key for key in metrics if not key.startswith((ROW, STORED))]
    return {key: np.asarray(metrics[key]) for key in names}


def stored(metrics: Metrics) -> dict[str, Array]:
    """What an update wants to be written beside the steps it was made of."""
    return {
        key.removeprefix(STORED): value for key, value in metrics.items() if key.startswith(STORED)
    }
