"""Losses that are not finite stop a run and say where they came from."""

import jax.numpy as jnp
import pytest

from mrcom.core.errors import TrainingDivergedError
from mrcom.train.learner import check_finite, run_updates, scalars


class Counting:
    """An agent whose state counts, with a loss that breaks at one update in one row."""

    def __init__(self, breaks_at: int):
        self._breaks_at = breaks_at

    def update(self, state, batch, key):
        row = jnp.zeros(3)
        if state == self._breaks_at:
            row = row.at[batch].set(jnp.nan)
        return state + 1, {"loss": jnp.ones(()), "row/reward": row}


def updates(breaks_at: int, count: int):
    batches = lambda update: (1, ["a", "b", "c"])
    return run_updates(Counting(breaks_at), 0, batches, first=0, count=count, seed=0)


def test_the_loss_and_the_scenario_are_named():
    with pytest.raises(TrainingDivergedError, match=r"'reward'.*update 2.*scenario b"):
        list(updates(breaks_at=2, count=5))


def test_the_last_update_is_checked_too():
    with pytest.raises(TrainingDivergedError):
        list(updates(breaks_at=4, count=5))


def test_every_update_is_yielded_once_in_order():
    assert [(update, state) for update, state, _ in updates(9, 3)] == [(0, 1), (1, 2), (2, 3)]


def test_finite_losses_pass_and_rows_are_not_logged():
    metrics = {"loss": jnp.asarray(2.0), "row/reward": jnp.ones(3)}
    check_finite(0, metrics, ["a", "b", "c"])
    assert scalars(metrics) == {"loss": 2.0}
