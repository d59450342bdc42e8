"""What is told of a program before it is compiled, counted by hand."""

import jax
import jax.numpy as jnp
import pytest

from mrcom.core.programs import bytes_between, num_equations

ROW = 4 * 100
"""Bytes of a vector of 100 numbers."""
X = jnp.zeros(100)


def chain(x):
    y = x + 1
    z = y * 2  # y is not needed any more
    return z - 3


def both_kept(x):
    y = x + 1
    z = jnp.sin(y)
    return y * z


def folded(x):
    step = lambda total, row: (total + row, row * 2)
    return jax.lax.scan(step, jnp.zeros(10), x.reshape(10, 10))


@pytest.mark.parametrize(
    ("function", "most"),
    [
        (chain, 2 * ROW),
        (both_kept, 3 * ROW),
        (lambda x: jax.jit(chain)(x), 2 * ROW),
        (lambda x: jax.lax.cond(x[0] > 0, both_kept, chain, x), 3 * ROW + 1 + 4),
        # Argument as rows, total before and after, all results; and what one round makes.
        (folded, 2 * ROW + 40 + 40 + 2 * 40),
    ],
    ids=["chain", "both kept", "call", "branches", "loop"],
)
def test_memory_is_the_most_that_lives_at_once(function, most):
    program = jax.make_jaxpr(function)(X)
    assert bytes_between(program) == pytest.approx(most, abs=12)


def test_a_backward_pass_keeps_what_it_needs_of_every_step():
    def loss(x, steps):
        return jax.lax.scan(lambda y, _: (jnp.sin(y), None), x, length=steps)[0].sum()

    few, many = (
        bytes_between(jax.make_jaxpr(jax.grad(lambda x, n=n: loss(x, n)))(X)) for n in (10, 110)
    )
    assert many - few == pytest.approx(100 * ROW, rel=0.01)


def test_equations_count_wherever_they_are_and_loops_once():
    assert num_equations(jax.make_jaxpr(chain)(X)) == 3
    assert num_equations(jax.make_jaxpr(lambda x: jax.jit(chain)(x))(X)) == 1 + 3
    loop = jax.make_jaxpr(folded)(X)
    assert num_equations(loop) == len(loop.jaxpr.eqns) + 2
