import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mrcom.core.errors import ConfigError
from mrcom.core.rng import root_key
from mrcom.nn.attention import BandedAttention, Block

WIDTH, HEADS, BAND = 12, 3, 4
X = jax.random.normal(root_key(0), (2, 9, WIDTH))


def attention(band=BAND):
    fresh = BandedAttention(WIDTH, HEADS, band, key=root_key(1))
    return eqx.tree_at(lambda a: a.bias, fresh, jax.random.normal(root_key(2), (HEADS, band)))


def test_all_at_once_equals_a_loop_over_steps_heads_and_ages():
    net = attention()
    query, key, value = np.split(np.asarray(net.project(X)).astype(float), 3, axis=-1)
    expected = np.zeros_like(query)
    for b, t, head in np.ndindex(2, 9, HEADS):
        at = slice(head * 4, head * 4 + 4)
        ages = range(min(BAND, t + 1))
        scores = [query[b, t, at] @ key[b, t - a, at] / 2 + net.bias[head, a] for a in ages]
        weights = np.exp(scores) / np.exp(scores).sum()
        expected[b, t, at] = sum(
            w * value[b, t - a, at] for w, a in zip(weights, ages, strict=True)
        )
    expected = expected @ np.asarray(net.out.weight) + np.asarray(net.out.bias)
    np.testing.assert_allclose(net(X)[0], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["attention", "block"])
def test_step_by_step_equals_all_at_once(kind):
    net = attention() if kind == "attention" else Block(WIDTH, HEADS, BAND, 2, key=root_key(3))
    together, memory = net(X)
    now = memory[:, : BAND - 1]
    for t in range(BAND - 1, 9):
        one, now = net.step(X[:, t], now)
        np.testing.assert_allclose(one, together[:, t], rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(now, memory[:, t - BAND + 2 : t + 1], rtol=1e-5, atol=1e-5)


def test_a_step_sees_exactly_its_band():
    seen = jax.jacobian(lambda x: attention()(x[None])[0][0].sum(-1))(X[0])
    seen = np.abs(seen).max(-1) > 1e-7
    age = np.arange(9)[:, None] - np.arange(9)[None]
    np.testing.assert_array_equal(seen, (age >= 0) & (age < BAND))


def test_positions_are_relative():
    moved, _ = attention()(X[:, 2:])
    np.testing.assert_allclose(
        moved[:, BAND - 1 :], attention()(X)[0][:, 2 + BAND - 1 :], rtol=1e-4, atol=1e-5
    )


def test_a_band_of_one_is_the_value_of_the_step_itself():
    net = attention(band=1)
    expected = net.out(net.project(X)[..., 2 * WIDTH :])
    np.testing.assert_allclose(net(X)[0], expected, rtol=1e-5, atol=1e-5)
    alone, memory = net.step(X[:, 0], jnp.zeros((2, 0, 2 * WIDTH)))
    np.testing.assert_allclose(alone, expected[:, 0], rtol=1e-5, atol=1e-5)
    assert memory.shape == (2, 0, 2 * WIDTH)


def test_a_width_that_heads_do_not_divide_is_refused_with_the_nearest():
    with pytest.raises(ConfigError, match=r"100 .* 3 heads; the nearest are 99 and 102"):
        BandedAttention(100, 3, 4, key=root_key(0))
