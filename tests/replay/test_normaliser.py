import numpy as np
import pytest
from told import LAYOUT, masks_for

from mrcom.core.errors import CheckpointError
from mrcom.core.types import Layout
from mrcom.replay.normaliser import empty_normaliser, normalise

MASKS = masks_for(4)
RNG = np.random.default_rng(0)
PARTS = [
    (3 + np.array([1, 20, 5]) * RNG.normal(size=(4, steps, 3))).astype(np.float32)
    * MASKS.obs[:, None]
    for steps in (2, 7, 30)
]


def after(parts, start=None):
    normaliser = empty_normaliser(LAYOUT) if start is None else start
    for part in parts:
        normaliser = normaliser.updated(part, MASKS)
    return normaliser


def test_statistics_equal_those_of_all_data_at_once():
    normaliser = after(PARTS)
    data = np.concatenate(PARTS, axis=1)
    for body in (0, 1):
        rows = data[MASKS.body == body].reshape(-1, 3).astype(np.float64)
        real = MASKS.obs[MASKS.body == body][0] > 0
        np.testing.assert_allclose(normaliser.mean[body, real], rows.mean(0)[real], rtol=1e-6)
        np.testing.assert_allclose(normaliser.std[body, real], rows.std(0)[real], rtol=1e-6)


def test_a_large_offset_costs_no_precision():
    far = [1e4 + np.float32(1) * part for part in PARTS]
    data = np.concatenate(far, axis=1)[MASKS.body == 1].reshape(-1, 3).astype(np.float64)
    np.testing.assert_allclose(after(far).std[1], data.std(0), rtol=1e-6)


def test_padded_dimensions_have_mean_zero_and_deviation_one():
    normaliser = after([part + 9 for part in PARTS])  # even where padding holds something
    assert normaliser.mean[0, 2] == 0 and normaliser.std[0, 2] == 1


def test_a_body_that_was_not_seen_is_left_as_it_is():
    normaliser = empty_normaliser(LAYOUT).updated(PARTS[0][:1], MASKS, np.array([0]))
    assert normaliser.mean[0, 0] != 0
    assert not normaliser.mean[1].any() and (normaliser.std[1] == 1).all()


def test_a_dimension_real_in_some_scenarios_only_counts_only_those():
    masks = masks_for(2)
    masks.body[:] = 0
    obs = np.array([[[1.0, 1, 77]], [[3, 3, 5]]], np.float32)
    normaliser = empty_normaliser(LAYOUT).updated(obs, masks)
    np.testing.assert_allclose(normaliser.mean[0], [2, 2, 5])


def test_a_constant_dimension_has_the_floor_as_its_deviation():
    normaliser = empty_normaliser(LAYOUT, std_floor=0.25).updated(
        np.ones((4, 5, 3), np.float32), MASKS
    )
    assert (normaliser.std[1] == 0.25).all()


def test_updating_leaves_the_old_value_alone_and_saving_is_exact():
    first = after(PARTS[:1])
    before = first.state_dict()["centre"].copy()
    after(PARTS[1:], first)
    np.testing.assert_array_equal(first.centre, before)
    again = empty_normaliser(LAYOUT).restored(first.state_dict())
    np.testing.assert_array_equal(after(PARTS[1:], again).std, after(PARTS).std)


def test_another_width_is_refused():
    with pytest.raises(CheckpointError, match="shape"):
        empty_normaliser(Layout(("hopper",), 3, 2)).restored(after(PARTS).state_dict())


def test_normalised_by_hand():
    mean, std = np.array([[1.0, 0, 0], [0, 0, 0]]), np.array([[2.0, 1, 1], [1, 1, 1]])
    obs, mask = np.array([[[5.0, -50, 3]]]), np.array([[1.0, 1, 0]])
    got = normalise(obs, np.array([0]), mask, mean, std)
    np.testing.assert_allclose(got, [[[2, -10, 0]]])
    np.testing.assert_allclose(normalise(obs[:, 0], np.array([0]), mask, mean, std), got[:, 0])
