"""In tests each function of the package refuses what its annotations do not allow."""

import jax.numpy as jnp
import pytest
from beartype import beartype
from jaxtyping import Array, Float, TypeCheckError, jaxtyped

from mrcom.core.rng import root_key
from mrcom.objectives.returns import lambda_return

REWARD, VALUE = jnp.ones((2, 3)), jnp.ones((2, 4))


@jaxtyped(typechecker=beartype)
def first(one: Float[Array, " N"], other: Float[Array, " M"]) -> Float[Array, " N"]:
    return one[: len(lengthened(other)) - 4]


@jaxtyped(typechecker=beartype)
def lengthened(one: Float[Array, " N"]) -> Float[Array, " N+1"]:
    return jnp.pad(one, (0, 1))


@jaxtyped(typechecker=beartype)
def quoted(one: "Float[Array, ' N']") -> "Float[Array, ' N']":
    return one[1:]


def test_another_type_is_refused():
    with pytest.raises(TypeCheckError, match="seven"):
        root_key("seven")
    with pytest.raises(TypeCheckError, match="int32"):
        lambda_return(REWARD.astype(int), REWARD, VALUE, discount=0.9, lambda_=0.9)


def test_axes_of_one_name_have_one_length_in_arguments_and_result():
    lambda_return(REWARD, REWARD, VALUE, discount=0.9, lambda_=0.9)
    for wrong in (VALUE[:1], VALUE[:, 1:]):
        with pytest.raises(TypeCheckError):
            lambda_return(REWARD, REWARD, wrong, discount=0.9, lambda_=0.9)
    with pytest.raises(TypeCheckError):
        first(jnp.ones(3), jnp.ones(1))


def test_a_name_is_that_of_another_axis_in_a_function_that_is_called():
    assert first(jnp.ones(2), jnp.ones(5)).shape == (2,)


def test_annotations_in_quotes_count_too():
    with pytest.raises(TypeCheckError):
        quoted(jnp.ones(3))
