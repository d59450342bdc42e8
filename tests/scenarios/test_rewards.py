import sys

import numpy as np
import pytest

from mrcom.scenarios.rewards import above, reach, track


@pytest.fixture
def tolerance():
    """The suite's own."""
    if sys.version_info >= (3, 13):
        pytest.skip("dm_control cannot be installed here: labmaze has no wheel")
    from dm_control.utils.rewards import tolerance

    return tolerance


def test_track_by_hand():
    speed = np.array([-1.0, 0.0, 1.0, 2.0, 3.0, 4.0, 5.0])
    target = np.full(7, 2.0)
    # The width is the target itself, 2 m/s, on both sides.
    expected = [0.0, 0.0, 0.5, 1.0, 0.5, 0.0, 0.0]
    assert track(speed, target, 10.0).tolist() == expected


def test_track_of_a_slow_target_is_a_tenth_of_the_fastest_wide():
    speed = np.array([0.0, 0.5, -0.25, 1.0])
    assert track(speed, np.zeros(4), 10.0) == pytest.approx([1.0, 0.5, 0.75, 0.0])


def test_track_equals_reach_below_the_target():
    rng = np.random.default_rng(0)
    target = rng.uniform(0.8, 8.0, 200)
    speed = rng.uniform(-1.0, 1.0, 200) * target
    np.testing.assert_allclose(track(speed, target, 8.0), reach(speed, target), atol=1e-15)


def test_reach_by_hand():
    speed = np.array([-1.0, 0.0, 1.0, 2.0, 3.0])
    assert reach(speed, np.full(5, 2.0)).tolist() == [0.0, 0.0, 0.5, 1.0, 1.0]
    assert reach(speed, np.zeros(5)).tolist() == [0.0, 1.0, 1.0, 1.0, 1.0]


@pytest.mark.parametrize(("margin", "value_at_margin"), [(0.5, 0.5), (1.0, 0.0)])
def test_reach_equals_both_linear_tolerances_of_the_suite(margin, value_at_margin, tolerance):
    speed = np.linspace(-3.0, 12.0, 301)
    for target in (0.5, 1.0, 2.0, 8.0):
        theirs = tolerance(
            speed, (target, np.inf), margin * target, "linear", value_at_margin=value_at_margin
        )
        np.testing.assert_allclose(reach(speed, np.full(301, target)), theirs, atol=1e-15)


def test_above_equals_the_suites_gaussian_tolerance(tolerance):
    x = np.linspace(-1.0, 3.0, 101)
    np.testing.assert_allclose(above(x, 1.2, 0.6), tolerance(x, (1.2, np.inf), 0.6), atol=1e-15)
