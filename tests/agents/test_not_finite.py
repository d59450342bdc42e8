"""What is not finite in one row of a batch is not spread over the others before it is noticed."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from agents.small_agents import agent, batch
from mrcom.core.errors import TrainingDivergedError
from mrcom.core.rng import root_key
from mrcom.train.learner import ROW, check_finite, check_state


@pytest.mark.parametrize("broken", [0, 3])
def test_only_the_broken_row_is_named_whichever_share_of_the_batch_it_is_in(broken):
    small = agent()
    two_steps = dataclasses.replace(small, config=dataclasses.replace(small.config, model_steps=2))
    given = batch(small.windows)
    given = eqx.tree_at(lambda b: b.reward, given, given.reward.at[broken].set(jnp.nan))
    state = two_steps.init(root_key(0))
    model, _, _, metrics = eqx.filter_jit(two_steps.learn_model)(state, given, root_key(1))
    rows = {key: np.isfinite(value) for key, value in metrics.items() if key.startswith(ROW)}
    for finite in rows.values():
        assert [row for row in range(4) if not finite[row]] in ([], [broken])
    assert not rows["row/reward"][broken]
    assert all(np.isfinite(x).all() for x in _floats(model))
    with pytest.raises(TrainingDivergedError, match=f"in scenario {'abcd'[broken]};"):
        check_finite(0, {"row/reward": metrics["row/reward"]}, list("abcd"))


def test_a_state_that_is_not_finite_is_not_kept():
    state = {
        "net": {"weight": jnp.ones(3)},
        "updates": jnp.zeros((), jnp.int32),
        "key": root_key(0),
    }
    check_state(5, state)
    state["net"]["weight"] = jnp.asarray([1.0, jnp.inf, 0.0])
    with pytest.raises(TrainingDivergedError, match=r"'weight'.* after 5 updates"):
        check_state(5, state)


def _floats(tree):

    return jax.tree.leaves(eqx.filter(tree, eqx.is_inexact_array))
