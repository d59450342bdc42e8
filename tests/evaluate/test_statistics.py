import math

import numpy as np
import pytest

from mrcom.core.errors import ConfigError
from mrcom.evaluate.statistics import (
    difference_interval,
    episode_interval,
    improvement_interval,
    interquartile_mean,
    mean,
    probability_of_improvement,
    stratified_interval,
    stratified_mean,
)

SCORES = np.random.default_rng(0).normal(size=(5, 8))


def generator(seed=7):
    return np.random.default_rng(seed)


def test_interquartile_mean_by_hand():
    # Eight scores: two are cut off at each end, (3 + 4 + 5 + 6) / 4 are left.
    assert interquartile_mean(np.array([[8.0, 1, 6, 3], [4, 5, 2, 7]])) == 4.5
    # Six: one at each end.
    assert interquartile_mean(np.array([[100.0, 1, 2, 3, 4, -50]])) == 2.5
    assert interquartile_mean(np.array([[3.0, 5]])) == mean(np.array([[3.0, 5]])) == 4


def test_interquartile_mean_ignores_one_wild_run_and_the_mean_does_not():
    wild = SCORES.copy()
    wild[0, 0] = 1e6
    assert abs(interquartile_mean(wild) - interquartile_mean(SCORES)) < 0.5
    assert mean(wild) - mean(SCORES) > 1e4


def test_the_order_of_runs_and_scenarios_does_not_matter():
    mixed = SCORES[::-1, generator().permutation(8)]
    assert math.isclose(interquartile_mean(mixed), interquartile_mean(SCORES))
    assert math.isclose(probability_of_improvement(mixed, mixed), 0.5)


def test_the_mean_over_a_box_weighs_its_parts_by_their_size():
    # A fifth of the box is worth 10 and 30, the rest 100: 0.2 x 20 + 0.8 x 100.
    scores, inside = np.array([[9.0, 100, 29], [11, 100, 31]]), np.array([True, False, True])
    assert stratified_mean(inside, 0.2)(scores) == pytest.approx(84)
    assert stratified_mean(inside, 2 / 3)(scores) == pytest.approx(mean(scores))
    both = stratified_mean(inside, 0.2)(np.stack([scores, 2 * scores]))
    np.testing.assert_allclose(both, [84, 168])


def test_an_interval_depends_on_its_generator_and_on_nothing_else():
    np.random.seed(1)  # noqa: NPY002
    a = stratified_interval(SCORES, interquartile_mean, rng=generator(), resamples=200)
    np.random.seed(2)  # noqa: NPY002
    b = stratified_interval(SCORES, interquartile_mean, rng=generator(), resamples=200)
    assert a == b and a[0] < interquartile_mean(SCORES) < a[1]


def test_runs_are_resampled_within_their_scenario_only():
    # Scenarios far apart, runs equal: nothing is left to resample, the interval is a point.
    scores = np.tile(np.array([0.0, 50, 1000]), (4, 1))
    assert stratified_interval(scores, mean, rng=generator(), resamples=50) == (350, 350)


def test_scenarios_are_resampled_independently_of_each_other():
    # Sixteen equal columns: independent draws average out, a shared draw would not.
    one = generator(2).normal(size=(30, 1))
    low, high = stratified_interval(one, mean, rng=generator())
    lows, highs = stratified_interval(np.repeat(one, 16, axis=1), mean, rng=generator())
    assert math.isclose((highs - lows) / (high - low), 1 / 4, rel_tol=0.1)


def test_the_interval_of_a_mean_has_the_width_theory_gives():
    # The bootstrap's standard error of the mean of n normal numbers is std / sqrt(n).
    returns = generator(1).normal(100, 20, size=400)
    low, high = episode_interval(returns, rng=generator(), resamples=8000)
    width = 2 * 1.96 * returns.std() / math.sqrt(400)
    assert abs(high - low - width) < 0.05 * width
    assert abs((low + high) / 2 - returns.mean()) < 0.05 * width


def test_a_higher_level_is_a_wider_interval_inside_the_data():
    narrow = episode_interval(SCORES[:, 0], rng=generator(), level=0.5)
    wide = episode_interval(SCORES[:, 0], rng=generator(), level=0.99)
    assert SCORES[:, 0].min() <= wide[0] < narrow[0] < narrow[1] < wide[1] <= SCORES[:, 0].max()


def test_two_episodes_by_hand():
    # Means of resampled (0, 10) are 0, 5 and 10 with shares 1/4, 1/2, 1/4.
    assert episode_interval(np.array([0.0, 10]), rng=generator(), level=0.95) == (0, 10)
    assert episode_interval(np.array([0.0, 10]), rng=generator(), level=0.4) == (5, 5)


def test_probability_of_improvement_by_hand():
    # Scenario 1: of (1, 3) against (2, 3): lose, lose, win, tie = 1.5 / 4; scenario 2: all win.
    ours, theirs = np.array([[1.0, 9], [3, 9]]), np.array([[2.0, 0], [3, 0]])
    assert probability_of_improvement(ours, theirs) == (1.5 / 4 + 1) / 2
    assert probability_of_improvement(theirs, ours) == 1 - (1.5 / 4 + 1) / 2


def test_improvement_does_not_change_with_the_unit_of_a_scenario():
    stretched = np.array([1, 10, 100, 1, 1, 1, 1, 1.0]) * SCORES
    other, same = SCORES[::-1] + 0.3, np.array([1, 10, 100, 1, 1, 1, 1, 1.0])
    assert probability_of_improvement(stretched, same * other) == probability_of_improvement(
        SCORES, other
    )


def test_an_improvement_s_interval_holds_it_and_is_certain_where_all_runs_are_better():
    low, high = improvement_interval(SCORES, SCORES[:4] - 0.5, rng=generator(), resamples=300)
    assert low < probability_of_improvement(SCORES, SCORES[:4] - 0.5) < high
    assert improvement_interval(SCORES, SCORES - 99, rng=generator(), resamples=9) == (1, 1)


def test_the_difference_of_equal_policies_holds_zero_and_of_better_ones_does_not():
    returns = SCORES[:, 0]
    low, high = difference_interval(returns, returns[:3], rng=generator())
    assert low < 0 < high
    low, high = difference_interval(returns + 10, returns, rng=generator())
    assert 0 < low < 10 < high


def test_one_run_has_no_interval():
    with pytest.raises(ConfigError, match="two runs per scenario, got 1"):
        stratified_interval(SCORES[:1], mean, rng=generator())
    with pytest.raises(ConfigError, match="two runs"):
        improvement_interval(SCORES, SCORES[:1], rng=generator())
    with pytest.raises(ConfigError, match="more episodes"):
        episode_interval(SCORES[0, :1], rng=generator())


def test_many_tables_at_once_equal_one_after_the_other():
    tables = generator().normal(size=(3, 5, 8))
    for statistic in (mean, interquartile_mean):
        np.testing.assert_allclose(statistic(tables), [float(statistic(t)) for t in tables])
    np.testing.assert_allclose(
        probability_of_improvement(tables, tables[::-1, :3]),
        [probability_of_improvement(a, b) for a, b in zip(tables, tables[::-1, :3], strict=True)],
    )
