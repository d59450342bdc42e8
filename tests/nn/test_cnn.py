"""Convolutions between pictures and vectors."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mrcom.core.errors import ConfigError
from mrcom.nn.cnn import Conv, ConvDecoder, ConvEncoder, smallest

KEY = jax.random.key(0)


def test_a_convolution_is_a_sum_over_five_by_five_neighbours():
    """The slow twin: loops over pixels, with zeros around the picture."""
    conv = eqx.tree_at(lambda c: c.bias, Conv(2, 3, key=KEY), jnp.array([0.1, 0.2, 0.3]))
    x = np.random.default_rng(0).normal(size=(1, 6, 6, 2)).astype(np.float32)
    padded = np.pad(x[0], ((2, 2), (2, 2), (0, 0)))
    expected = np.zeros((6, 6, 3))
    for row in range(6):
        for column in range(6):
            near = padded[row : row + 5, column : column + 5]
            expected[row, column] = np.einsum("hwi,hwio->o", near, np.asarray(conv.weight))
    expected += [0.1, 0.2, 0.3]
    np.testing.assert_allclose(conv(jnp.asarray(x))[0], expected, rtol=1e-4, atol=1e-5)


def test_weights_vary_as_the_number_of_inputs_says():
    weight = Conv(16, 64, key=KEY).weight
    assert float(weight.std()) == pytest.approx((5 * 5 * 16) ** -0.5, rel=0.03)


@pytest.mark.parametrize(("depth", "width"), [(4, 256), (16, 1024)])
def test_pictures_of_64_become_vectors_of_the_authors_widths(depth, width):
    # Four halvings: 4 x 4 pixels of 4 depths of channels. depth 4 at 1M, 16 at 12M.
    encoder = ConvEncoder(3, depth, key=KEY)
    assert eqx.filter_eval_shape(encoder, jnp.zeros((2, 64, 64, 3))).shape == (2, width)


def test_layers_have_the_authors_channels():
    encoder = ConvEncoder(3, 4, key=KEY)
    assert [conv.weight.shape[2:] for conv in encoder.layers] == [
        (3, 8),
        (8, 12),
        (12, 16),
        (16, 16),
    ]
    decoder = ConvDecoder(8, 6, 10, 64, 3, 4, key=KEY)
    assert [conv.weight.shape[2:] for conv in decoder.layers] == [
        (16, 16),
        (16, 12),
        (12, 8),
        (8, 3),
    ]


def test_drawn_pictures_lie_between_black_and_white_and_depend_on_both_states():
    decoder = eqx.filter_jit(ConvDecoder(16, 6, 10, 32, 3, 2, key=KEY))
    memory, rest = jnp.ones((2, 16)), jnp.ones((2, 6))
    picture = decoder(memory, rest)
    assert picture.shape == (2, 32, 32, 3)
    assert float(picture.min()) > 0
    assert float(picture.max()) < 1
    assert (decoder(2 * memory, rest) != picture).any()
    assert (decoder(memory, 2 * rest) != picture).any()


def test_a_memory_in_groups_makes_groups_of_channels():
    decoder = ConvDecoder(16, 6, 10, 16, 3, 2, key=KEY)
    memory = jnp.zeros((1, 16)).at[0, 2:4].set(1.0)  # the second of eight groups
    (flat,) = decoder.memory.shares(memory, 1)
    grouped = np.asarray(flat).reshape(8, -1)
    assert grouped[1].any()
    assert not np.delete(grouped, 1, axis=0).any()


def test_sides_that_cannot_be_halved_four_times_are_refused():
    assert smallest(64) == 4
    with pytest.raises(ConfigError, match=r"side=70.*: 64"):
        smallest(70)
    with pytest.raises(ConfigError, match=r"multiples of 8.*nearest are 24 and 8"):
        ConvDecoder(20, 6, 10, 64, 3, 2, key=KEY)
