"""The same numbers as the authors' code, for the same inputs and weights."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest
from reference import array, reference, reference_model

from mrcom.behaviour.laprop import LaPropConfig
from mrcom.core.numerics import symexp_bins
from mrcom.nn.categorical import categorical_of
from mrcom.nn.heads import two_hot_mean
from mrcom.objectives.prediction import two_hot_loss
from mrcom.objectives.returns import replay_return

RTOL = 1e-5


def close(ours, name):
    """Within 1e-5 of the size of the reference's entries."""
    theirs = reference()[name]
    np.testing.assert_allclose(ours, theirs, rtol=RTOL, atol=RTOL * np.abs(theirs).mean())


def test_lambda_return_equals_the_reference():
    given = (array(f"lambda_return/{n}") for n in ("reward", "terminal", "last", "bootstrap"))
    rates = (float(reference()[f"lambda_return/{n}"]) for n in ("discount", "lambda"))
    discount, lambda_ = rates
    close(replay_return(*given, discount=discount, lambda_=lambda_), "lambda_return/returns")


def test_two_hot_equals_the_reference():
    bins = symexp_bins(reference()["two_hot/bins"].size)
    np.testing.assert_allclose(bins, reference()["two_hot/bins"], rtol=RTOL)
    logits = array("two_hot/logits")
    close(two_hot_loss(logits, array("two_hot/target"), bins), "two_hot/loss")
    np.testing.assert_allclose(
        two_hot_mean(logits, bins), reference()["two_hot/prediction"], rtol=RTOL
    )


def test_categorical_equals_the_reference():
    unimix = float(reference()["categorical/unimix"])
    posterior, prior = (
        categorical_of(array(f"categorical/{name}_logits"), unimix)
        for name in ("posterior", "prior")
    )
    close(posterior.divergence(prior), "categorical/kl")
    close(posterior.entropy(), "categorical/posterior_entropy")


def test_optimizer_equals_the_reference():
    names = [n.removeprefix("optimizer/params/") for n in reference() if "optimizer/params/" in n]
    steps = len({n.split("/")[1] for n in reference() if n.startswith("optimizer/step")})
    assert names and steps
    optimizer = LaPropConfig(warmup=0).optimizer
    params = {name: array(f"optimizer/params/{name}") for name in names}
    state = optimizer.init(params)
    for step in range(steps):
        grads = {name: array(f"optimizer/step{step}/grad/{name}") for name in names}
        updates, state = optimizer.update(grads, state, params)
        params = optax.apply_updates(params, updates)
        for name in names:
            close(params[name], f"optimizer/step{step}/params/{name}")
    for name in names:
        # Parameters hardly move in so few steps; the way they went says more. What is left of a
        # small step in a large number of single precision is known to about 1e-7 of the number.
        start, end = (reference()[f"optimizer/{at}params/{name}"] for at in ("", f"step{step}/"))
        size = np.abs(start).max()
        np.testing.assert_allclose(params[name] - start, end - start, rtol=1e-4, atol=4e-7 * size)


def test_rssm_equals_the_reference():
    model = reference_model()
    stoch = array("rssm/stoch")
    deter = model.remember(array("rssm/deter"), stoch, array("rssm/action"))
    close(deter, "rssm/next_deter")
    shaped = lambda logits: logits.reshape(stoch.shape)
    close(shaped(model.prior_net(deter)), "rssm/prior_logits")
    read = jnp.concatenate([deter, array("rssm/tokens")], axis=-1)
    close(shaped(model.posterior_net(read)), "rssm/posterior_logits")


def test_the_reference_is_not_met_by_other_weights():
    """The comparison can fail: one scale of one norm is enough."""
    model = reference_model()
    changed = model.cell.norm.scale.at[0].add(1e-2)
    object.__setattr__(model.cell.norm, "scale", changed)
    deter = model.remember(array("rssm/deter"), array("rssm/stoch"), array("rssm/action"))
    with pytest.raises(AssertionError):
        close(deter, "rssm/next_deter")
