"""Experts: weight files, inference in NumPy, and what they are worth."""

import dataclasses
import subprocess
import sys

import jax.numpy as jnp
import numpy as np
import pytest

from mrcom.behaviour.expert import Expert, ExpertPolicy, load_expert, read_expert
from mrcom.core.errors import CheckpointError, ConfigError
from mrcom.scenarios.bodies import BODIES
from mrcom.scenarios.layout import layout_of, masks_of
from mrcom.scenarios.splits import Box, sample_scenarios
from mrcom.simulate.rollout import RandomPolicy, rollout
from mrcom.simulate.simulator import Simulator

BODY_NAMES = ("hopper", "walker", "cheetah")


def small_expert(body="hopper", obs=15, act=4, seed=0):
    rng = np.random.default_rng(seed)
    draw = lambda *shape: rng.normal(size=shape).astype(np.float32)
    inputs = obs + 3
    return Expert(
        body,
        draw(inputs),
        np.exp(draw(inputs)),
        (draw(inputs, 8), draw(8, act)),
        (draw(8), draw(act)),
        {"env_steps": 7},
    )


def test_by_hand():
    # One input matters: (3 - 1) / 2 = 1; silu(1) = 1 / (1 + e^-1); twice that is clipped to 1.
    first = np.zeros((18, 1), np.float32)
    first[0] = 1
    mean, std = np.zeros(18, np.float32), np.ones(18, np.float32)
    mean[0], std[0] = 1, 2
    last = np.array([[1.0, -1.0, 2.0, 0.0]], np.float32)
    biases = (np.zeros(1, np.float32), np.array([0, 0, 0, 0.25], np.float32))
    expert = Expert("hopper", mean, std, (first, last), biases)
    obs = np.zeros((1, 15), np.float32)
    obs[0, 0] = 3
    silu = 1 / (1 + np.exp(-1.0))
    expected = [[silu, -silu, 1.0, 0.25]]
    np.testing.assert_allclose(expert.act(obs, np.zeros((1, 3), np.float32)), expected, rtol=1e-6)


def test_a_weight_file_gives_back_the_same_expert(tmp_path):
    expert = small_expert()
    expert.save(tmp_path / "hopper.npz")
    again = read_expert(tmp_path / "hopper.npz", "hopper")
    rng = np.random.default_rng(1)
    obs = rng.normal(size=(5, 15)).astype(np.float32)
    parameters = rng.normal(size=(5, 3)).astype(np.float32)
    np.testing.assert_array_equal(again.act(obs, parameters), expert.act(obs, parameters))
    assert again.record == {"env_steps": 7}


def test_large_inputs_neither_overflow_nor_leave_the_range():
    acts = small_expert().act(
        np.full((2, 15), 1e30, np.float32) * np.array([[1], [-1]], np.float32),
        np.zeros((2, 3), np.float32),
    )
    assert np.isfinite(acts).all()
    assert (np.abs(acts) <= 1).all()


def test_shapes_that_do_not_fit_the_body_are_refused():
    with pytest.raises(
        CheckpointError, match=r"'walker' has mean of shape \(18,\), expected \(27,"
    ):
        small_expert("walker")
    with pytest.raises(CheckpointError, match=r"bias1 of shape \(6,\), expected \(4,\)"):
        small_expert("hopper", act=6)


def test_inputs_of_another_width_are_refused():
    expert = small_expert()
    with pytest.raises(ConfigError, match="reads 15 observed quantities and 3 parameters"):
        expert.act(np.zeros((2, 24), np.float32), np.zeros((2, 3), np.float32))
    with pytest.raises(ConfigError, match="given 15 and 2"):
        expert.act(np.zeros((2, 15), np.float32), np.zeros((2, 2), np.float32))


def test_files_that_are_not_what_was_asked_for_are_refused(tmp_path):
    expert = small_expert()
    expert.save(tmp_path / "a.npz")
    with pytest.raises(CheckpointError, match="is the expert of 'hopper', expected 'walker'"):
        read_expert(tmp_path / "a.npz", "walker")
    with pytest.raises(CheckpointError, match=r"missing\.npz cannot be read \(No such"):
        read_expert(tmp_path / "missing.npz", "walker")
    (tmp_path / "b.npz").write_bytes((tmp_path / "a.npz").read_bytes()[:200])
    with pytest.raises(CheckpointError, match="not a readable expert"):
        read_expert(tmp_path / "b.npz")


def test_files_of_another_version_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("mrcom.behaviour.expert.VERSION", 2)
    small_expert().save(tmp_path / "a.npz")
    monkeypatch.undo()
    with pytest.raises(CheckpointError, match="has version 2, expected 1"):
        read_expert(tmp_path / "a.npz")


def test_numpy_inference_equals_the_learner(tmp_path):
    from mrcom.behaviour.ppo import PPOConfig, init_ppo
    from mrcom.core.rng import root_key
    from mrcom.train.expert_groups import MIRRORS, export_expert

    for body, mirror in (("cheetah", None), ("walker", MIRRORS["walker"])):
        size = BODIES[body]
        state = init_ppo(PPOConfig(), size.obs + 3, size.act, root_key(0), mirror=mirror)
        rng = np.random.default_rng(0)
        seen = rng.normal(1.0, 3.0, size=(64, size.obs + 3)).astype(np.float32)
        state = dataclasses.replace(state, moments=state.moments.merge(jnp.asarray(seen)))
        last = state.networks.policy
        export_expert(state, body, {}).save(tmp_path / f"{body}.npz")
        expert = read_expert(tmp_path / f"{body}.npz", body)
        acts = expert.act(seen[:, : size.obs], seen[:, size.obs :])
        modes = last(state.moments.normalise(jnp.asarray(seen)))
        np.testing.assert_allclose(acts, jnp.clip(modes, -1, 1), atol=1e-5)
        assert last is state.networks.policy


def test_reading_an_expert_needs_no_jax():
    code = (
        "import sys; import mrcom.behaviour.expert as e; e.load_expert('hopper'); "
        "sys.exit('jax' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_weights_that_ship_are_small_and_fit_their_bodies():
    import importlib.resources

    folder = importlib.resources.files("mrcom") / "experts"
    files = [file for file in folder.iterdir() if file.name.endswith(".npz")]
    assert {file.name for file in files} == {f"{body}.npz" for body in BODY_NAMES}
    assert sum(len(file.read_bytes()) for file in files) <= 2_000_000
    for body in BODY_NAMES:
        assert load_expert(body).body == body


def test_the_weights_ship_with_a_table_of_their_returns_at_every_speed():
    import importlib.resources

    from mrcom.train.expert_table import ALPHAS, ExpertTable

    folder = importlib.resources.files("mrcom") / "experts"
    _, *sections = (folder / "returns.md").read_text().split("\n## ")
    told = {title: lines for title, _, *lines in map(str.splitlines, sections)}
    assert {f"{body}.npz" for body in told} == {
        file.name for file in folder.iterdir() if file.name.endswith(".npz")
    }
    heads = lambda lines: [line.split("|")[1] for line in lines if line]
    for body, lines in told.items():
        as_printed = ExpertTable(body, ALPHAS, *np.zeros((2, len(ALPHAS), 8, 12))).lines()
        assert lines[0] == as_printed[0]
        assert heads(lines) == heads(as_printed)


def mixed_scenarios():
    lists = [sample_scenarios(body, Box(20, 100), 2, 0) for body in BODY_NAMES]
    return [scenario for group in zip(*lists, strict=True) for scenario in group]


def test_bodies_may_be_interleaved_and_padding_is_ignored():
    scenarios = mixed_scenarios()
    layout = layout_of(scenarios)
    policy = ExpertPolicy(scenarios, layout)
    rng = np.random.default_rng(0)
    obs = rng.normal(size=(6, layout.obs)).astype(np.float32)
    nothing = np.zeros((6, layout.act), np.float32), np.zeros(6, np.float32)
    acts, _ = policy.act(policy.start(6), obs, *nothing)
    masks = masks_of(scenarios, layout)
    other, _ = policy.act(policy.start(6), obs + 5 * (1 - masks.obs), *nothing)
    np.testing.assert_array_equal(acts, other)
    np.testing.assert_array_equal(acts * (1 - masks.act), 0)
    for row, scenario in enumerate(scenarios):
        width, act = scenario.embodiment.obs, scenario.embodiment.act
        own = load_expert(scenario.body).act(obs[[row], :width], scenario.parameters()[None])
        np.testing.assert_allclose(acts[row, :act], own[0], atol=1e-5)


def test_a_policy_of_another_number_of_scenarios_is_refused():
    scenarios = mixed_scenarios()
    with pytest.raises(ConfigError, match="6 scenarios, not 4"):
        ExpertPolicy(scenarios, layout_of(scenarios)).start(4)


@pytest.mark.slow
def test_experts_are_far_better_than_random_everywhere():
    scenarios = mixed_scenarios()
    simulator = Simulator(scenarios)
    good = rollout(simulator, ExpertPolicy(scenarios, simulator.layout), seed=3, num_steps=400)
    random = rollout(simulator, RandomPolicy(simulator.masks), seed=3, num_steps=400)
    better = good.reward.sum(1) - random.reward.sum(1)
    for body in BODY_NAMES:
        rows = [i for i, s in enumerate(scenarios) if s.body == body]
        assert better[rows].mean() > 40, f"{body}: {better[rows]}"
