"""What is not finite in one row of a batch is not spread over the others before it is noticed."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from agents.small_agents import agent, batch
from mrcom.agents import mrcom
from mrcom.behaviour import sac
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


def test_a_gradient_that_is_not_finite_stops_though_every_loss_is(monkeypatch):
    """A term that is 0 whatever it reads, and whose gradient is not."""
    real = mrcom.TERMS["reconstruction"]

    def broken(config, forward):
        nothing = 0 * forward.model.decode(forward.posterior.feature, forward.batch.body)
        return real(config, forward) + jnp.sqrt(jnp.sum(jnp.square(nothing), axis=-1))

    monkeypatch.setitem(mrcom.TERMS, "reconstruction", broken)
    small = agent()
    state = small.init(root_key(0))
    metrics = small.learn_model(state, batch(small.windows), root_key(1))[3]
    assert all(np.isfinite(metrics[key]).all() for key in metrics if key.startswith(ROW))
    said = r"'gradient' at update 7, though the loss of every row is, in one of a, b, c and 1 more;"
    with pytest.raises(TrainingDivergedError, match=said):
        check_finite(7, metrics, list("abcd"))


def test_an_actor_whose_loss_is_not_finite_stops_at_the_same_update(monkeypatch):
    real = sac.actor_loss
    monkeypatch.setattr(sac, "actor_loss", lambda *args, **of: jnp.nan * real(*args, **of))
    rng = np.random.default_rng(0)
    draw = lambda *shape: jnp.asarray(rng.normal(size=shape), jnp.float32)
    steps = sac.Transition(
        draw(8, 5), jnp.tanh(draw(8, 2)), draw(8), draw(8, 5), jnp.ones(8), jnp.ones(8)
    )
    config = sac.SACConfig(batch=8)
    state = sac.init_sac(5, 2, config, key=root_key(0))
    metrics = sac.sac_update(state, steps, jnp.ones(2), config, key=root_key(1))[1]
    with pytest.raises(TrainingDivergedError, match=r"Not finite: 'actor/gradient' at update 0"):
        check_finite(0, metrics, list("abcdefgh"))
