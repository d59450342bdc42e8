"""Losses that are not finite stop a run and say where they came from."""

import jax.numpy as jnp
import pytest
from toy import Toy, toy_run

from mrcom.core.errors import TrainingDivergedError
from mrcom.train.checkpoint import Checkpoints
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
    return run_updates(Counting(breaks_at), 0, batches, first=0, count=count, seeds=[0])


def test_the_loss_and_the_scenario_are_named():
    with pytest.raises(TrainingDivergedError, match=r"'reward'.*update 2.*scenario b"):
        list(updates(breaks_at=2, count=5))


@pytest.mark.parametrize("value", [jnp.nan, jnp.inf, -jnp.inf])
def test_infinities_are_as_bad_as_what_is_not_a_number(value):
    metrics = {"loss": jnp.ones(()), "row/reward": jnp.array([0.0, 1.0, value])}
    with pytest.raises(TrainingDivergedError, match=r"'reward'.*update 7.*scenario c;"):
        check_finite(7, metrics, ["a", "b", "c"])


def test_the_last_update_is_checked_too():
    with pytest.raises(TrainingDivergedError):
        list(updates(breaks_at=4, count=5))


def test_a_checkpoint_that_is_due_right_after_a_loss_that_is_not_finite_is_not_made(
    tmp_path, monkeypatch
):
    real, calls = Toy.update, []

    def diverging(*args):
        state, metrics = real(*args)
        calls.append(1)  # the first is traced, to tell how much memory there must be
        broken = {"row/loss": metrics["row/loss"].at[1].set(jnp.inf)} if len(calls) == 15 else {}
        return state, metrics | broken

    monkeypatch.setattr(Toy, "update", diverging)
    with pytest.raises(TrainingDivergedError, match="'loss' at update 13,"):
        toy_run(tmp_path / "run", save_every=7)
    assert Checkpoints(tmp_path / "run" / "checkpoints").steps() == [7]


def test_every_update_is_yielded_once_in_order():
    assert [(update, state) for update, state, _ in updates(9, 3)] == [(0, 1), (1, 2), (2, 3)]


def test_finite_losses_pass_and_rows_are_not_logged():
    metrics = {"loss": jnp.asarray(2.0), "row/reward": jnp.ones(3)}
    check_finite(0, metrics, ["a", "b", "c"])
    assert scalars(metrics) == {"loss": 2.0}
