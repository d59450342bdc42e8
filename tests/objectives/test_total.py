import jax.numpy as jnp
import pytest

from mrcom.core.errors import ConfigError
from mrcom.objectives.total import total_loss

TERMS = {"one": jnp.array([[1.0, 3.0]]), "two": jnp.array([[10.0]])}


def test_the_weighted_sum_of_means_by_hand():
    assert total_loss(TERMS, {"one": 2.0, "two": 0.5}) == 2.0 * 2.0 + 0.5 * 10.0


def test_a_name_on_one_side_only_is_named():
    with pytest.raises(
        ConfigError, match=r"Without a weight: \['two'\]; without a term: \['six'\]"
    ):
        total_loss(TERMS, {"one": 1.0, "six": 1.0})


def test_nothing_to_weigh_is_zero():
    assert total_loss({}, {}) == 0.0
