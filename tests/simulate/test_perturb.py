"""Observation functions, applied by the simulator."""

import numpy as np
import pytest

from mrcom.scenarios import Box, Scenario, body, observation_function, sample_scenarios
from mrcom.simulate import RandomPolicy, Simulator, observation_std, rollout

STEPS = 400


def perturbed(kind, name="walker", count=4):
    """Observations with and without the observation function, of the same trajectories."""
    found = []
    for observation in (kind, "plain"):
        scenarios = sample_scenarios(name, Box(20, 100), count, 0, observation=observation)
        simulator = Simulator(scenarios)
        policy = RandomPolicy(simulator.masks)
        found.append(rollout(simulator, policy, num_steps=STEPS, seed=0).obs)
    return found


@pytest.mark.parametrize("name", ["hopper", "walker", "cheetah"])
def test_gaussian_noise_has_the_recorded_spread(name):
    seen, plain = perturbed("add_g", name)
    noise = (seen - plain) / np.array(observation_function("add_g", body(name), 0).noise_std)
    assert abs(noise.mean(axis=(0, 1))).max() < 0.15
    np.testing.assert_allclose(noise.std(axis=(0, 1)), 1, atol=0.1)
    correlation = np.corrcoef(noise.reshape(-1, noise.shape[-1]).T)
    assert abs(correlation - np.eye(len(correlation))).max() < 0.15
    assert abs(np.mean(noise[:, 1:] * noise[:, :-1])) < 0.02


def test_added_quantities_are_noise_behind_the_real_ones():
    seen, plain = perturbed("add_d")
    assert seen.shape[-1] == 27
    np.testing.assert_array_equal(seen[..., :24], plain)
    extra = seen[..., 24:]
    assert abs(extra.mean()) < 0.05
    np.testing.assert_allclose(extra.std(axis=(0, 1)), 1, atol=0.1)


def test_random_masks_change_every_step_and_hide_a_tenth():
    seen, plain = perturbed("msk_r")
    hidden = (seen != plain)[:, 1:]  # at a reset many quantities are 0 anyway
    assert not seen[:, 1:][hidden].any()
    assert (hidden.sum(-1) == 3).all()
    assert hidden.any(axis=(0, 1)).all()
    np.testing.assert_allclose(hidden.mean(axis=(0, 1)), 3 / 24, atol=0.04)


def test_fixed_masks_hide_the_recorded_quantities_always():
    scenarios = sample_scenarios("walker", Box(20, 100), 4, 0, observation="msk_f")
    seen, plain = perturbed("msk_f")
    assert len({scenario.observation.indices for scenario in scenarios}) > 1
    for scenario, a, b in zip(scenarios, seen, plain, strict=True):
        hidden = list(scenario.observation.indices)
        assert not a[:, hidden].any()
        kept = np.setdiff1d(np.arange(24), hidden)
        np.testing.assert_array_equal(a[:, kept], b[:, kept])


def test_noise_is_the_records_whatever_stands_beside_it():
    def obs_of(others):
        first = sample_scenarios("walker", Box(20, 100), 1, 0, observation="add_g")
        simulator = Simulator(first + others)
        zero = np.zeros((simulator.num, 6), np.float32)
        found = [simulator.reset(seed=3)[0, :24]]
        found += [simulator.step(zero)[0][0, :24] for _ in range(200)]
        return np.array(found)

    others = sample_scenarios("walker", Box(20, 100), 3, 5, observation="msk_r")
    others += sample_scenarios("walker", Box(20, 100), 3, 5, observation="add_g")
    np.testing.assert_array_equal(obs_of([]), obs_of(others))


def test_noise_is_fresh_at_every_reset_and_the_same_for_the_same_seed():
    scenario = Scenario("hopper", observation=observation_function("add_d", body("hopper"), 9))
    simulator = Simulator([scenario])
    first = simulator.reset(seed=0)[0, 15:]
    assert (simulator.reset(seed=1)[0, 15:] != first).all()
    np.testing.assert_array_equal(simulator.reset(seed=0)[0, 15:], first)
    assert (simulator.reset()[0, 15:] != first).all()


def test_noise_differs_between_places_and_between_records():
    def extra_of(*seeds):
        scenarios = [
            Scenario("hopper", observation=observation_function("add_d", body("hopper"), seed))
            for seed in seeds
        ]
        return Simulator(scenarios).reset(seed=0)[:, 15:]

    alike = extra_of(9, 9)
    assert (alike[0] != alike[1]).all()
    assert (extra_of(9)[0] != extra_of(8)[0]).all()


def test_a_partial_reset_draws_no_noise_for_the_others():
    scenarios = sample_scenarios("cheetah", Box(20, 100), 3, 0, observation="add_g")
    simulator, twin = Simulator(scenarios), Simulator(scenarios)
    zero = np.zeros((3, 6), np.float32)
    for each in (simulator, twin):
        each.reset(seed=0)
    simulator.reset(ids=[1], seed=4)
    np.testing.assert_array_equal(simulator.step(zero)[0][[0, 2]], twin.step(zero)[0][[0, 2]])


def test_experts_can_read_what_is_behind_the_noise():
    scenarios = sample_scenarios("cheetah", Box(20, 100), 2, 0, observation="add_g")
    plain = Simulator(sample_scenarios("cheetah", Box(20, 100), 2, 0))
    simulator = Simulator(scenarios)
    seen = simulator.reset(seed=0)
    np.testing.assert_array_equal(simulator.plain_obs(), plain.reset(seed=0))
    assert (seen != simulator.plain_obs()).all()


def test_one_simulator_may_mix_all_functions():
    scenarios = [
        Scenario("hopper", observation=observation_function(kind, body("hopper"), 1))
        for kind in ("plain", "add_g", "add_d", "msk_r", "msk_f")
    ]
    simulator = Simulator(scenarios)
    obs = simulator.reset(seed=0)
    assert obs.shape == (5, 17)
    assert simulator.masks.obs.sum(1).tolist() == [15, 15, 17, 15, 15]
    assert not obs[[0, 1, 3, 4], 15:].any()
    np.testing.assert_array_equal(obs[[0, 2], :15], simulator.plain_obs()[[0, 2], :15])


@pytest.mark.parametrize("name", ["hopper", "walker", "cheetah"])
def test_stored_scales_are_those_of_random_actions(name):
    measured = observation_std(name, episodes=8, seed=1)
    np.testing.assert_allclose(body(name).obs_std, measured, rtol=0.35)
