"""What can be wrong with pictures, by hand."""

import numpy as np
import pytest

from mrcom.core.errors import ConfigError
from mrcom.scenarios.images import masked, noisy, rotated


def marked(side=5):
    """Black, with one white pixel on the right of the middle row."""
    image = np.zeros((side, side, 3), np.uint8)
    image[side // 2, -1] = 255
    return image


def test_a_quarter_turn_brings_the_right_to_the_top():
    expected = np.zeros((5, 5, 3), np.uint8)
    expected[0, 2] = 255
    np.testing.assert_array_equal(rotated(marked(), 90), expected)
    np.testing.assert_array_equal(rotated(marked(), 90), np.rot90(marked()))


def test_no_turn_and_a_whole_one_change_nothing():
    image = np.random.default_rng(0).integers(0, 256, (2, 3, 8, 8, 3)).astype(np.uint8)
    np.testing.assert_array_equal(rotated(image, 0), image)
    np.testing.assert_array_equal(rotated(image, 360), image)


def test_what_a_turn_brings_in_from_outside_is_black():
    white = np.full((9, 9, 3), 255, np.uint8)
    turned = rotated(white, 45)
    assert not turned[0, 0].any()
    assert turned[4, 4].all()


def test_exactly_a_share_of_the_pixels_is_masked_and_others_in_every_picture():
    white = np.full((3, 8, 8, 3), 255, np.uint8)
    found = masked(white, 0.25, np.random.default_rng(0))
    assert ((found == 0).all(axis=-1).sum(axis=(1, 2)) == 16).all()
    assert set(np.unique(found)) == {0, 255}
    assert (found[0] != found[1]).any()
    np.testing.assert_array_equal(masked(white, 0, np.random.default_rng(0)), white)
    assert not masked(white, 1, np.random.default_rng(0)).any()


def test_noise_has_the_standard_deviation_it_is_given_and_stays_in_range():
    grey = np.full((4, 64, 64, 3), 128, np.uint8)
    found = noisy(grey, 0.1, np.random.default_rng(0)).astype(float)
    assert found.std() == pytest.approx(25.5, rel=0.02)
    assert found.mean() == pytest.approx(128, abs=0.5)
    bright = noisy(np.full((64, 64, 3), 250, np.uint8), 0.1, np.random.default_rng(0))
    assert bright.max() == 255  # clipped, not wrapped round to 0
    assert bright.min() > 100
    np.testing.assert_array_equal(noisy(grey, 0, np.random.default_rng(0)), grey)


def test_impossible_amounts_are_refused():
    with pytest.raises(ConfigError, match=r"share=1.5.*\[0, 1\]: 1"):
        masked(marked(), 1.5, np.random.default_rng(0))
    with pytest.raises(ConfigError, match=r"std=-0\.1"):
        noisy(marked(), -0.1, np.random.default_rng(0))
