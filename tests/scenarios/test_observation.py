import dataclasses

import pytest

from mrcom.core.errors import ConfigError
from mrcom.scenarios import BODIES, ObservationFunction, body, observation_function


@pytest.mark.parametrize(("name", "count"), [("hopper", 2), ("walker", 3), ("cheetah", 2)])
def test_ten_per_cent_is_rounded_up(name, count):
    assert observation_function("add_d", body(name), 0).extra == count
    assert observation_function("msk_r", body(name), 0).masked == count
    assert len(set(observation_function("msk_f", body(name), 0).indices)) == count


def test_gaussian_noise_is_a_tenth_of_each_quantitys_spread():
    for embodiment in BODIES.values():
        std = observation_function("add_g", embodiment, 0).noise_std
        assert std == pytest.approx([0.1 * value for value in embodiment.obs_std])


def test_fixed_masks_never_change_and_differ_by_seed():
    masks = [observation_function("msk_f", body("walker"), seed).indices for seed in range(4)]
    assert masks == [(2, 6, 15), (7, 10, 21), (8, 13, 21), (7, 10, 12)]


def test_unknown_kinds_and_missing_values_are_refused():
    with pytest.raises(ConfigError, match=r"ad_g.*Did you mean 'add_g'"):
        observation_function("ad_g", body("walker"), 0)
    with pytest.raises(ConfigError, match="'add_d' lacks"):
        ObservationFunction("add_d")
    with pytest.raises(ConfigError, match="'plain' has the values of 'msk_f'"):
        ObservationFunction("plain", indices=(1,))
    unmeasured = dataclasses.replace(body("walker"), obs_std=())
    with pytest.raises(ConfigError, match="obs_std"):
        observation_function("add_g", unmeasured, 0)
