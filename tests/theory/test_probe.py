"""What a linear map reads of a scenario: labels that are there, that are not, that never vary."""

import numpy as np

from mrcom.scenarios.scenario import Scenario
from mrcom.theory.probe import LABELS, held_out_r2, labels_of

SCENARIOS, STEPS, WIDTH = 40, 8, 30


def contexts(label: np.ndarray, share: float) -> np.ndarray:
    """Noise in all directions, and in one of them the label."""
    rng = np.random.default_rng(0)
    direction = rng.normal(size=WIDTH)
    noise = rng.normal(size=(SCENARIOS, STEPS, WIDTH))
    return noise + share * label[:, None, None] * direction


def labels() -> np.ndarray:
    return np.random.default_rng(1).uniform(-1, 1, SCENARIOS)


def test_a_label_that_is_there_is_read():
    assert held_out_r2(contexts(labels(), 10.0), labels()) > 0.95


def test_a_label_that_is_not_there_is_not_read_however_wide_the_context():
    assert -0.3 < held_out_r2(contexts(labels(), 0.0), labels()) < 0.1
    shuffled = np.random.default_rng(2).permutation(labels())
    assert held_out_r2(contexts(labels(), 10.0), shuffled) < 0.3


def test_a_label_that_never_varies_counts_as_not_read():
    constant = np.full(SCENARIOS, 0.5)
    assert held_out_r2(contexts(constant, 1.0), constant) == 0


def test_units_of_the_context_do_not_matter():
    x, scale = contexts(labels(), 1.0), np.geomspace(0.01, 100, WIDTH)
    np.testing.assert_allclose(
        held_out_r2(x, labels()), held_out_r2(x * scale + 3, labels()), atol=1e-3
    )


def test_what_distinguishes_scenarios_but_says_nothing_of_the_label_is_not_read():
    """It could be learnt by heart where it was fitted."""
    rng = np.random.default_rng(3)
    x = rng.normal(size=(SCENARIOS, 1, 200)) + 0.1 * rng.normal(size=(SCENARIOS, STEPS, 200))
    assert held_out_r2(x, labels()) < 0.2


def test_alpha_is_the_least_range_that_has_the_torso_and_scales_count_where_they_vary():
    made = [
        Scenario("walker", target_speed=4.0, torso_length=0.9, torso_size=1.3, gravity=0.5),
        Scenario("walker", target_speed=0.0, torso_length=1.2, torso_size=1.1, gravity=1.5),
    ]
    found = labels_of(made)
    assert list(found) == [*LABELS, "gravity"]
    np.testing.assert_allclose(found["torso_length"], [-0.1, 0.2], atol=1e-6)
    np.testing.assert_allclose(found["alpha"], [0.3, 0.2], atol=1e-6)
    np.testing.assert_array_equal(found["gravity"], [0.5, 1.5])
    assert list(labels_of(made[:1])) == list(LABELS)
