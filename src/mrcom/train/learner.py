"""Many updates in a row, watched for losses that are no longer finite."""

from collections.abc import Callable, Iterable, Iterator, Sequence
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

KEPT = "what was saved before is kept"
"""Of a run that stops, whether it has saved anything yet or not."""


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
    """Raise if any row of any loss term is not finite, or any gradient.

    Raises:
        TrainingDivergedError: names the terms and the scenarios of the rows; a gradient that is
            broken where every loss is finite has no row, and may be of any scenario of the batch.
    """
    terms, rows = [], set()
    for key, values in metrics.items():
        if key.startswith(ROW):
            bad = np.flatnonzero(~np.isfinite(np.asarray(values)))  # of several runs: their rows
            if bad.size:
                terms.append(f"'{key.removeprefix(ROW)}'")
                rows |= {names[row] for row in bad.tolist()}
    gradients = [key for key in metrics if key.rpartition("/")[2] == "gradient"]
    broken = [f"'{key}'" for key in gradients if not np.isfinite(np.asarray(metrics[key])).all()]
    if terms:
        where = f"the loss {', '.join(terms)} at update {update}, in scenario {_some(rows)}"
    elif broken:
        which = f"{', '.join(broken)} at update {update}, though the loss of every row is"
        where = f"{which}, in one of {_some(names)}"
    else:
        return
    raise TrainingDivergedError(
        f"Not finite: {where}; {KEPT}. Lower the learning rate or look at the observations there."
    )


def _some(names: Iterable[str]) -> str:
    """A few of the scenarios."""
    known = sorted(set(names))
    more = f" and {len(known) - 3} more" if len(known) > 3 else ""
    return ", ".join(known[:3]) + more


def check_state(updates: int, state: Any) -> None:
    """Raise if a number of what learns is not finite, as a broken gradient of a finite loss makes.

    Raises:
        TrainingDivergedError: names the first array.
    """
    for name, leaf in leaves(state).items():
        if jnp.issubdtype(leaf.dtype, jnp.inexact) and not np.isfinite(np.asarray(leaf)).all():
            raise TrainingDivergedError(
                f"Not finite: {name.lstrip('.')} after {updates} updates, though every loss was; "
                f"{KEPT}. Lower the learning rate."
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
