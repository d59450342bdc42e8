"""Training of experts: stops, resumes, refuses; what it assumes about bodies."""

import dataclasses
import errno
import json
import os

import jax
import numpy as np
import pytest

from mrcom.behaviour.expert import load_expert, read_expert
from mrcom.behaviour.ppo import PPOConfig, init_ppo
from mrcom.core.errors import CheckpointError, ConfigError, RunFolderError
from mrcom.core.rng import root_key
from mrcom.scenarios.scenario import Scenario
from mrcom.scenarios.splits import Box
from mrcom.simulate.herd import Herd
from mrcom.train import expert_files, expert_groups, expert_table
from mrcom.train.expert import train_expert
from mrcom.train.expert_files import (
    ExpertFiles,
    Progress,
    by_speed,
    load_checkpoint,
    save_checkpoint,
)
from mrcom.train.expert_groups import (
    FALLEN,
    MIRRORS,
    ExpertConfig,
    Group,
    Stage,
    actor_of,
    hopper_stance,
    settings_at,
    stages_of,
)
from mrcom.train.expert_table import ExpertTable, measure_suite
from mrcom.train.run_folder import RunFolder, locked

KEY = root_key(0)
TINY = ExpertConfig(
    PPOConfig(hidden=(8,), epochs=1, minibatches=2), groups=2, group_size=2, horizon=20
)


def lines_of(folder):
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


@pytest.mark.slow
def test_training_stops_resumes_and_leaves_usable_weights(tmp_path):
    told = []
    settings = {"run_dir": tmp_path / "run", "config": TINY, "num_threads": 1}
    best = train_expert("cheetah", env_steps=160, report=told.append, **settings)
    assert read_expert(best, "cheetah").record["env_steps"] == 160
    assert [line["kind"] for line in lines_of(tmp_path / "run")] == ["train", "evaluate"]
    assert told == lines_of(tmp_path / "run")

    with pytest.raises(RunFolderError, match="already holds a training"):
        train_expert("cheetah", env_steps=160, **settings)
    with pytest.raises(CheckpointError, match=r"other settings.*seed"):
        train_expert("cheetah", env_steps=160, seed=1, resume=True, **settings)

    train_expert("cheetah", env_steps=240, resume=True, **settings)
    last = lines_of(tmp_path / "run")[-1]
    assert (last["env_steps"], last["iterations"]) == (240, 3)
    assert read_expert(tmp_path / "run" / "latest.npz", "cheetah").record["env_steps"] == 240


def test_a_training_that_is_killed_after_an_evaluation_does_not_lose_its_best(
    tmp_path, monkeypatch
):
    settings = {"run_dir": tmp_path / "run", "config": TINY, "num_threads": 1}
    returns = iter([10.0, 50.0, 20.0])
    monkeypatch.setattr(
        expert_files, "evaluate_expert", lambda *given: np.full(48, next(returns), np.float32)
    )
    train_expert("cheetah", env_steps=80, **settings)

    def killed(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(expert_files, "save_checkpoint", killed)
        train_expert("cheetah", env_steps=160, resume=True, **settings)
    best = train_expert("cheetah", env_steps=160, resume=True, **settings)
    assert read_expert(best).record["best"] == 50.0
    assert lines_of(tmp_path / "run")[-1]["best"] == 50.0


def test_a_best_policy_comes_with_a_checkpoint(tmp_path, monkeypatch):
    monkeypatch.setattr(expert_files, "evaluate_expert", lambda *given: np.ones(48, np.float32))
    head, state = {"seed": 0}, init_ppo(TINY.ppo, 20, 6, root_key(0))
    files = ExpertFiles("cheetah", TINY.box, tmp_path, head, 1, None)
    files.evaluate(state, Progress(env_steps=3))
    _, progress = load_checkpoint(tmp_path, state, head)
    assert (progress.env_steps, progress.best) == (3, 1.0)


@pytest.mark.parametrize("name", ["checkpoint.eqx", "latest.npz"])
def test_a_full_disk_ends_a_training_in_one_line(tmp_path, monkeypatch, name):
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def replace(draft, path, real=os.replace):
        if path.name == name:
            raise full
        real(draft, path)

    monkeypatch.setattr(os, "replace", replace)
    with pytest.raises(RunFolderError, match=rf"{name} cannot be written .*No space left"):
        train_expert("cheetah", env_steps=80, run_dir=tmp_path / "run", config=TINY, num_threads=1)


def test_a_folder_in_which_an_expert_is_trained_is_refused(tmp_path):
    with locked(RunFolder(tmp_path)), pytest.raises(RunFolderError, match=f"process {os.getpid()}"):
        train_expert("cheetah", env_steps=80, run_dir=tmp_path, config=TINY, num_threads=1)


@pytest.mark.slow
def test_settings_change_where_the_next_stage_begins_also_after_resuming(tmp_path, monkeypatch):
    later = dataclasses.replace(TINY, group_size=4, episode_steps=500)
    stages = {"cheetah": (Stage(0, TINY), Stage(120, later))}
    monkeypatch.setattr(expert_groups, "STAGES", stages)
    settings = {"run_dir": tmp_path / "run", "num_threads": 1}
    for env_steps, resume in ((320, False), (480, True)):
        train_expert("cheetah", env_steps=env_steps, resume=resume, **settings)
    last = lines_of(tmp_path / "run")[-1]
    # 80 steps an iteration until there are 160, then 160.
    assert (last["env_steps"], last["iterations"]) == (480, 4)
    monkeypatch.setattr(expert_groups, "STAGES", {"cheetah": stages["cheetah"][:1]})
    with pytest.raises(CheckpointError, match=r"other settings.*later"):
        train_expert("cheetah", env_steps=640, resume=True, **settings)


def test_the_stages_of_the_experts_that_ship_calm_down():
    for body in ("hopper", "walker", "cheetah"):
        first, last = (settings_at(stages_of(body), steps) for steps in (0, 10**9))
        assert last.ppo.min_log_std > first.ppo.min_log_std and last.assist == 0
        assert last.ppo.hidden == first.ppo.hidden and last.episode_steps < first.episode_steps
    assert settings_at(stages_of("hopper"), 6_900_000).assist == 0.5
    assert stages_of("mine") == (Stage(0, ExpertConfig()),)


def test_a_folder_of_something_else_is_refused_and_none_is_made_to_resume_in(tmp_path):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(RunFolderError, match="exists already"):
        train_expert("cheetah", env_steps=80, run_dir=tmp_path, config=TINY, num_threads=1)
    with pytest.raises(CheckpointError, match="no checkpoint"):
        train_expert("cheetah", env_steps=80, run_dir=tmp_path / "no", config=TINY, resume=True)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_training_without_a_limit_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="needs seconds or env_steps"):
        train_expert("cheetah", run_dir=tmp_path)


def test_a_body_that_does_not_exist_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="Did you mean 'walker'"):
        train_expert("wlker", run_dir=tmp_path, seconds=1.0)


def test_a_horizon_that_does_not_divide_an_episode_is_refused():
    with pytest.raises(ConfigError, match=r"horizon=48 must divide .* nearest is 50"):
        ExpertConfig(horizon=48)


def test_a_checkpoint_gives_back_every_array(tmp_path):
    state = init_ppo(TINY.ppo, 5, 2, root_key(0))
    like = init_ppo(TINY.ppo, 5, 2, root_key(1))
    save_checkpoint(tmp_path, state, Progress(env_steps=3), {"seed": 0})
    again, progress = load_checkpoint(tmp_path, like, {"seed": 0})
    assert progress.env_steps == 3
    for x, y in zip(jax.tree.leaves(again), jax.tree.leaves(state), strict=True):
        np.testing.assert_array_equal(x, y)


def test_damaged_or_missing_checkpoints_are_refused(tmp_path):
    state = init_ppo(TINY.ppo, 5, 2, root_key(0))
    with pytest.raises(CheckpointError, match="no checkpoint"):
        load_checkpoint(tmp_path, state, {})
    save_checkpoint(tmp_path, state, Progress(), {})
    whole = (tmp_path / "checkpoint.eqx").read_bytes()
    (tmp_path / "checkpoint.eqx").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError, match="damaged"):
        load_checkpoint(tmp_path, state, {})


def test_the_last_rollout_of_an_episode_ends_before_the_reset():
    config = dataclasses.replace(TINY, horizon=500)
    group = Group("cheetah", config, seed=0, age=0, num_threads=1)
    actor = actor_of(init_ppo(config.ppo, 20, 6, root_key(0)), "cheetah")
    first, none = group.collect(actor, root_key(1), None, 0.0)
    old = group.inputs.copy()
    second, finished = group.collect(actor, root_key(2), None, 0.0)
    np.testing.assert_array_equal(first.obs[-1], second.obs[0])
    np.testing.assert_array_equal(second.obs[0], old)
    # The parameters stay those of the old scenarios up to the last entry, then change.
    np.testing.assert_array_equal(second.obs[-1, :, 17:], second.obs[0, :, 17:])
    assert not np.array_equal(group.inputs[:, 17:], second.obs[-1, :, 17:])
    assert (second.cont == 1).all()
    assert none == []
    total = np.asarray(first.reward.sum(0) + second.reward.sum(0))
    np.testing.assert_allclose([gain for _, gain in finished], total, rtol=1e-4)


def test_an_episode_that_was_joined_late_is_not_counted():
    config = dataclasses.replace(TINY, horizon=500)
    group = Group("cheetah", config, seed=0, age=500, num_threads=1)
    actor = actor_of(init_ppo(config.ppo, 20, 6, root_key(0)), "cheetah")
    assert group.collect(actor, root_key(1), None, 0.0)[1] == []


def test_a_mirrored_walker_moves_as_the_mirrored_walker():
    scenario = Scenario("walker", target_speed=3.0, torso_length=1.1)
    herd = Herd([scenario, scenario], 1)
    mirror = MIRRORS["walker"]
    herd.reset(np.arange(2, dtype=np.int32), [np.random.default_rng(i) for i in range(2)])
    joints = np.r_[0:3, 6:9, 3:6]  # root; then the legs in the other order
    herd._qpos[1] = herd._qpos[0][joints]
    herd.batch.forward(np.arange(2, dtype=np.int32))
    herd._observe()
    order = np.array(mirror.obs[:24])
    assert not np.allclose(herd.obs[1], herd.obs[0])
    rng = np.random.default_rng(0)
    for _ in range(5):
        np.testing.assert_allclose(herd.obs[1], herd.obs[0][order], atol=1e-6)
        action = rng.uniform(-1, 1, 6)
        herd.step(np.stack([action, action[list(mirror.act)]]))
    np.testing.assert_allclose(herd.reward[1], herd.reward[0], atol=1e-6)


def test_a_hoppers_stance_is_one_upright_and_zero_upside_down():
    upright = np.zeros((1, 15), np.float32)
    upside_down = upright.copy()
    upside_down[0, 1] = np.pi
    np.testing.assert_allclose(hopper_stance(upright), 1.0)
    np.testing.assert_allclose(hopper_stance(upside_down), 0.0)


def test_a_hoppers_stance_follows_the_height_that_is_rewarded():
    herd = Herd([Scenario("hopper", target_speed=0.0)] * 64, 1)
    rows = np.arange(64, dtype=np.int32)
    herd.reset(rows, [np.random.default_rng(i) for i in range(64)])
    centre = lambda body: herd.physics.of_body("xipos", body)[:, 2]
    height = centre("torso") - centre("foot")
    expected = np.clip(np.cos(herd.obs[:, 1]), 0, 1) * np.clip(height / 0.8, 0, 1)
    # The nose shifts the trunk's centre, and the foot's lies before its joint.
    np.testing.assert_allclose(hopper_stance(herd.obs.astype(np.float32)), expected, atol=0.12)


def test_with_starts_of_its_own_it_starts_anew_where_it_falls_and_there_the_value_ends():
    config = dataclasses.replace(TINY, group_size=3, horizon=100, episode_steps=100)
    drawn = []

    def starts(rng, num):
        drawn.append(num)
        return rng.uniform(-0.05, 0.05, (num, 7)), np.zeros((num, 6 + 1))

    group = Group("hopper", config, 0, 0, 1, starts)
    assert (hopper_stance(group.inputs) > 0.9).all() and drawn == [3]
    limp = dataclasses.replace(
        actor_of(init_ppo(config.ppo, 18, 4, KEY), "hopper"), std=np.zeros(4)
    )
    steps, _ = group.collect(limp, KEY, hopper_stance, 0.0)
    ends = np.asarray(steps.cont) == 0
    stance = hopper_stance(np.asarray(steps.obs).reshape(-1, 18)).reshape(101, 3)
    assert ends.any(axis=0).all(), "limp hoppers fall"
    assert (stance[1:][ends] > 0.9).all(), "the next state is a new start"
    assert (stance >= FALLEN).all(), "and none is a fallen one"
    assert sum(drawn[1:-1]) == ends.sum() and drawn[-1] == 3, "the last are the next episodes'"


def test_means_by_speed_by_hand():
    shares, returns = np.array([0.1, 0.2, 0.6, 1.0]), np.array([10.0, 20.0, 5.0, 7.0])
    assert by_speed(shares, returns) == [15.0, None, 5.0, 7.0]


def test_evaluation_scenarios_are_not_trained_on():
    group = Group("cheetah", dataclasses.replace(TINY, box=Box(20, 100)), 0, 0, 1)
    trained = {s.hash for s in group._simulator.scenarios}
    from mrcom.scenarios.splits import sample_scenarios
    from mrcom.train.expert_files import EVALUATION_STREAM

    seen = sample_scenarios("cheetah", Box(20, 100), 2, 0, stream=EVALUATION_STREAM)
    assert not trained & {s.hash for s in seen}


def test_the_table_has_a_row_for_every_speed_and_a_mean():
    values = np.arange(6.0).reshape(1, 2, 3)
    table = ExpertTable("hopper", (20.0,), values, np.zeros_like(values))
    assert table.lines() == [
        "| target [m/s] | expert, alpha 20 % | random |",
        "| --- | --- | --- |",
        "| 0.00 - 1.00 | 1 (0) | 0 |",
        "| 1.00 - 2.00 | 4 (3) | 0 |",
        "| **all** | **2 (0)** | **0** |",
    ]


def test_the_suites_tasks_of_a_body_and_of_no_other_are_tried():
    rows = [line.strip("| ").split(" | ") for line in measure_suite(load_expert("hopper"), count=2)]
    assert [row[0] for row in rows] == ["hopper stand", "hopper hop"]
    stand, hop = (float(row[1]) for row in rows)
    assert stand > 700 and 200 < hop < 500  # standing earns nothing in the second
    for row in rows:
        low, high = map(float, row[2].split(" to "))
        assert low <= float(row[1]) <= high


@pytest.mark.parametrize("asked, near", [("hoper", "'hopper'"), ("quadruped", "mrcom expert")])
def test_a_table_of_a_body_without_an_expert_is_refused(monkeypatch, capsys, asked, near):
    monkeypatch.setattr("sys.argv", ["expert_table", "--body", asked])
    with pytest.raises(SystemExit, match="2"):
        expert_table.main()
    said = capsys.readouterr().err.splitlines()[-1]
    assert f"'{asked}'" in said and near in said
