"""Cells of the study of latent errors: the same episodes and batches for all of them."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from toy import Toy

from mrcom.core.progress import SilentBar
from mrcom.core.rng import root_key
from mrcom.replay.prompts import make_prompts
from mrcom.simulate.simulator import Simulator
from mrcom.train.collect import collect_with_agent
from mrcom.train.latent_study import (
    AMOUNTS,
    BODIES,
    CONTROLS,
    ERRORS,
    JACOBIANS,
    MASKED,
    NOISE,
    agent_with,
    augmented,
    collect_episodes,
    common_layout,
    learn,
)

AMOUNT = AMOUNTS["debug"]


@dataclasses.dataclass(frozen=True)
class Recorder(Toy):
    """Keeps the batches that it was given."""

    given: list = dataclasses.field(default_factory=list, hash=False)

    def update(self, state, batch, key):
        self.given.append(batch)
        return super().update(state, batch, key)


@pytest.fixture(scope="module")
def walks():
    return collect_episodes("walker", AMOUNT, 0)


def batches(control, episodes):
    recorder = Recorder(common_layout())
    learn(recorder, control, episodes, AMOUNT, SilentBar())
    return recorder.given


def test_a_body_is_in_its_own_form_at_half_its_fastest_speed(walks):
    (scenario,) = set(walks.worlds.scenarios)
    assert scenario.target_speed == 4.0  # m/s
    assert scenario == type(scenario)("walker", target_speed=4.0)


def test_episodes_depend_on_body_and_seed_alone(walks):
    again, other = (collect_episodes("walker", AMOUNT, seed) for seed in (0, 1))
    for (ours, _), (theirs, _) in zip(walks.rounds, again.rounds, strict=True):
        np.testing.assert_array_equal(ours.obs, theirs.obs)
    assert not np.array_equal(walks.rounds[0][0].obs, other.rounds[0][0].obs)


def test_half_of_the_rounds_are_an_experts_where_there_is_one(walks):
    assert [expert for _, expert in walks.rounds] == [False, True]
    assert len(walks.held_out) == 2
    without = collect_episodes("quadruped", AMOUNT, 0)
    assert [expert for _, expert in without.rounds] == [False, False]
    assert len(without.held_out) == 1


def test_held_out_episodes_are_none_of_those_learnt_from(walks):
    for held in walks.held_out:
        assert not any(np.array_equal(held.obs, steps.obs) for steps, _ in walks.rounds)


def test_all_controls_learn_from_the_same_batches_but_augmentation(walks):
    none, jacobian, noisy = (
        batches(name, walks) for name in ("no penalty", "Jacobian 0.1", "augmentation")
    )
    assert len(none) == AMOUNT.updates
    for ours, theirs, other in zip(none, jacobian, noisy, strict=True):
        np.testing.assert_array_equal(ours.obs, theirs.obs)
        assert not np.array_equal(ours.obs, other.obs)
        np.testing.assert_array_equal(ours.action, other.action)


def test_augmentation_is_noise_and_masks_of_the_stated_size(walks):
    batch = batches("no penalty", walks)[0]
    many = jax.tree.map(lambda x: jnp.repeat(x, 400, axis=0), batch)
    std = 1.0 + np.arange(many.obs.shape[-1], dtype=np.float32)[None].repeat(len(BODIES), 0)
    seen = np.asarray(augmented(many, std, np.random.default_rng(0)).obs)
    real = np.asarray(many.obs_mask[0]) > 0
    assert (seen[..., ~real] == 0).all()
    seen, plain = seen[..., real], np.asarray(many.obs)[..., real]
    kept = seen != 0
    assert 1 - kept.mean() == pytest.approx(MASKED, abs=0.01)
    noise = ((seen - plain) / std[0][: real.sum()])[kept]
    assert noise.std() == pytest.approx(NOISE, rel=0.02)
    assert abs(noise.mean()) < 0.1 * NOISE


def test_a_control_is_a_weight_or_a_change_of_batches():
    weights = {name: agent_with(name, "none", AMOUNT).method.terms for name in CONTROLS}
    plain = weights["no penalty"]
    assert weights["augmentation"] == plain
    assert weights["L2 0.001"] == plain | {"l2": 0.001}
    for name, weight in JACOBIANS.items():
        assert weights[name] == plain | {"jacobian": weight}


def test_errors_are_those_of_the_papers_figures_and_reach_the_agent():
    assert {name: error.text for name, error in ERRORS.items()} == {
        "none": "0,0",
        "zero drift": "0,5",
        "drift": "0..5,0..5",
    }
    for name, error in ERRORS.items():
        assert agent_with("no penalty", name, AMOUNT).config.latent_error == error


def test_agents_of_a_cell_are_equal_so_that_they_compile_once():
    one, two = (agent_with("L2 0.001", "drift", AMOUNTS["tiny"]) for _ in range(2))
    assert one == two and hash(one) == hash(two)


def test_a_behaviour_collects_with_the_error_that_it_learns_with(walks):
    agent, worlds = agent_with("no penalty", "none", AMOUNT), walks.worlds
    simulator = Simulator(worlds.scenarios, layout=worlds.layout)
    window = agent.windows.context
    prompt = make_prompts("none", num=AMOUNT.rows, layout=worlds.layout, window=window)
    given = simulator, agent, agent.init(root_key(0)), worlds, prompt
    collect = lambda **error: collect_with_agent(*given, num_steps=3, seed=0, **error).action
    plain = collect()
    np.testing.assert_array_equal(collect(error=ERRORS["none"]), plain)
    wrong = collect(error=ERRORS["drift"])
    assert np.abs(wrong - plain).max() > 1e-4
    np.testing.assert_array_equal(collect(error=ERRORS["drift"]), wrong)  # as on resuming
