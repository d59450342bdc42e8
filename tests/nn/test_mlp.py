import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mrcom.core.rng import root_key
from mrcom.nn.mlp import MLP, Linear, RMSNorm

X = jax.random.normal(root_key(0), (2, 3, 5))


def test_a_linear_map_by_hand_on_the_last_axis_of_any_array():
    linear = Linear(5, 4, key=root_key(1))
    np.testing.assert_allclose(
        linear(X)[1, 2], X[1, 2] @ linear.weight + linear.bias, rtol=1e-5, atol=1e-6
    )
    np.testing.assert_allclose(linear(X[1, 2]), linear(X)[1, 2], rtol=1e-5, atol=1e-6)


def test_a_linear_map_takes_no_rows_and_no_inputs():
    assert Linear(5, 4, key=root_key(1))(jnp.zeros((2, 0, 5))).shape == (2, 0, 4)
    assert Linear(0, 4, key=root_key(1))(jnp.zeros((2, 3, 0))).shape == (2, 3, 4)


def test_a_linear_map_and_its_gradient_are_products_of_two_matrices():
    loss = lambda linear, x: jnp.sum(jnp.square(linear(x)))
    gradient = jax.grad(loss, argnums=0)
    products = [
        equation
        for equation in jax.make_jaxpr(gradient)(Linear(5, 4, key=root_key(1)), X).eqns
        if equation.primitive.name == "dot_general"
    ]
    assert len(products) == 2
    for product in products:
        (left, right), _ = product.params["dimension_numbers"]
        assert len(left) == len(right) == 1  # sums over one axis, rows or inputs
        assert all(operand.aval.ndim == 2 for operand in product.invars)


@pytest.mark.parametrize(("inputs", "outputs"), [(5, 4), (5, 7)])
def test_derivatives_of_a_linear_map_are_by_hand_in_both_directions(inputs, outputs):
    """With more rows than inputs, and these than outputs, the matrix is turned on the way."""
    linear, out = Linear(inputs, outputs, key=root_key(1)), jnp.cos(jnp.arange(6.0 * outputs))
    out = out.reshape(2, 3, outputs)
    gradient, back = jax.vjp(lambda linear, x: linear(x), linear, X)[1](out)
    np.testing.assert_allclose(gradient.weight, np.einsum("abi,abo->io", X, out), rtol=1e-4)
    np.testing.assert_allclose(back, out @ linear.weight.T, rtol=1e-4, atol=1e-6)
    forwards = jax.jvp(linear, (X,), (jnp.sin(X),))[1]
    np.testing.assert_allclose(forwards, jnp.sin(X) @ linear.weight, rtol=1e-4, atol=1e-6)
    both = jax.tree.map(lambda leaf: jnp.stack([leaf, 2 * leaf]), linear)
    np.testing.assert_allclose(jax.vmap(lambda net: net(X))(both)[1], 2 * linear(X), rtol=1e-4)


def test_weights_start_with_the_variance_of_one_over_inputs():
    weight = Linear(400, 300, key=root_key(1)).weight
    np.testing.assert_allclose(jnp.std(weight), 400**-0.5, rtol=0.02)


def test_scale_zero_starts_at_zero():
    assert not jnp.any(MLP(5, 8, 1, 4, key=root_key(1), out_scale=0.0)(X))


def test_a_normalised_vector_has_root_mean_square_one_times_scale():
    y = 2.0 * RMSNorm(5)(1000.0 * X)
    np.testing.assert_allclose(jnp.sqrt(jnp.mean(y**2, axis=-1)), 2.0, rtol=1e-5)


def test_a_perceptron_is_linear_norm_silu_linear():
    mlp = MLP(5, 8, 1, 4, key=root_key(1))
    hidden = X @ mlp.hidden[0].weight
    hidden = hidden / jnp.sqrt(jnp.mean(hidden**2, -1, keepdims=True))
    expected = (hidden * jax.nn.sigmoid(hidden)) @ mlp.out.weight
    np.testing.assert_allclose(mlp(X), expected, rtol=1e-4, atol=1e-5)


def test_layers_start_different():
    mlp = MLP(8, 8, 2, 8, key=root_key(1))
    assert not jnp.allclose(mlp.hidden[0].weight, mlp.hidden[1].weight)
    assert not jnp.allclose(mlp.hidden[1].weight, mlp.out.weight)


def test_many_gradients_of_the_same_rows_are_those_of_each_alone():
    """A version of the compiler sums wrongly here, from 4,096 rows on."""
    norm, (x, out) = (
        RMSNorm(8),
        (jax.random.normal(root_key(4), shape) for shape in ((1000, 8), (5, 1000, 8))),
    )
    gradient = jax.jit(lambda x, out: jax.vjp(norm, x)[1](out)[0])
    several = jax.jit(jax.vmap(gradient, in_axes=(None, 0)))(x, out)
    alone = np.stack([gradient(x, one) for one in out])
    np.testing.assert_allclose(several, alone, rtol=1e-4, atol=1e-5)
