"""The main job at the smallest budget: every stage, interruption, and loading in Python."""

import contextlib
import dataclasses
import io
import json
import re
import shutil
from pathlib import Path

import equinox as eqx
import jax
import numpy as np
import pytest

import mrcom
from mrcom.agents.mrcom import MRCOM
from mrcom.agents.presets import budget
from mrcom.behaviour.dream_env import DreamEnvConfig
from mrcom.behaviour.policy import Actor
from mrcom.cli.main import main
from mrcom.core.errors import CheckpointError, ConfigError, RunFolderError
from mrcom.core.progress import LineBar
from mrcom.core.rng import root_key
from mrcom.evaluate.scores import read_scores
from mrcom.scenarios.splits import split
from mrcom.train import adapt, loop, member
from mrcom.train.checkpoint import RECORD, Checkpoints
from mrcom.train.contestants import contestants
from mrcom.train.log import Counters, read_log
from mrcom.train.run import begin, open_trained, restore
from mrcom.train.run_folder import locked, open_run
from mrcom.train.settings import RunConfig, worlds_of

pytestmark = pytest.mark.slow

CONFIG = RunConfig(MRCOM, budget("debug"), split("table1-d-shell"), size="debug", seed=3)


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """The folder of a finished demo."""
    path, said = tmp_path_factory.mktemp("runs") / "demo", io.StringIO()
    with pytest.MonkeyPatch.context() as patched, contextlib.redirect_stderr(said):
        often = lambda title, total, stream, _, done: LineBar(title, total, stream, 0.0, done)
        patched.setattr("mrcom.core.progress.LineBar", often)
        assert main(["demo", "--budget", "debug", "--run-dir", str(path), "--seed", "3"]) == 0
    (path.parent / "said").write_text(said.getvalue())
    return path


def test_the_demo_leaves_claims_scores_figures_and_a_report(demo):
    claims = json.loads((demo / "summary.json").read_text())["claims"]
    assert claims and all(set(c) == {"name", "holds", "value", "needed"} for c in claims)
    assert all("budget debug" in claim["needed"] for claim in claims)
    for picture in ("dreams_hopper", "dreams_walker", "dreams_cheetah", "learning_curves"):
        assert (demo / "figures" / f"{picture}.png").stat().st_size > 10_000
    assert "Return by target scenario" in (demo / "report.md").read_text()


def test_every_long_step_says_how_far_it_is_while_it_is_made(demo):
    said = (demo.parent / "said").read_text()
    for line in (
        r"training the world model: 0/\d+, collecting, random, round 1, steps 5/\d+",
        r"training the world model: [1-9]/8, .*collecting, behaviour, round 3, steps 5/\d+",
        r"training the world model: 8/8, took",
        r"acting in held-out scenarios: 5/\d+, .* left",
        r"dreaming in held-out scenarios: [1-9]\d*/\d+\n",
        r"adapted: updates in 3 targets: 0/\d+, real episode 1 of \d, steps 5/\d+",
        r"sac: updates in 3 targets: 0/\d+, real episode 1 of \d, steps 5/\d+",
        r"evaluating: 5/\d+, .* left",
    ):
        assert re.search(line, said), line


def test_every_policy_is_judged_in_every_target_and_episode(demo):
    amount = budget("debug")
    scores = read_scores(demo / "scores.jsonl")
    methods = {score.method for score in scores}
    assert methods == {"random", "expert", "behaviour", "adapted", "sac"}
    assert {score.evaluation_seed for score in scores} == {0}, "whatever the run's own seed"
    num_targets = 3 * (amount.targets_inside + amount.targets_outside)
    assert len(scores) == len(methods) * num_targets * amount.evaluation_episodes
    steps = {score.method: score.env_steps for score in scores}
    assert steps["adapted"] == steps["sac"] == amount.adapt_steps


def test_every_line_of_the_log_has_the_four_counters(demo):
    for record in read_log(demo / "metrics.jsonl"):
        assert {"env_steps", "dream_steps", "updates", "episodes"} <= record.keys()
    last = {record["stage"]: record for record in read_log(demo / "metrics.jsonl")}
    for stage, targets, dreams in (("adapted", 3, True), ("sac", 3, False)):
        counted, amount = last[stage], budget("debug")
        assert counted["env_steps"] == targets * amount.adapt_steps
        assert counted["episodes"] == targets * amount.adapt_steps // amount.evaluation_steps
        assert counted["updates"] == amount.adapt_updates
        assert (counted["dream_steps"] > 0) is dreams


def test_a_run_folder_that_exists_is_refused(demo, capsys):
    assert main(["demo", "--budget", "debug", "--run-dir", str(demo)]) == 2
    assert re.fullmatch(r"error: .*--resume .*\n", capsys.readouterr().err)


def test_adapting_again_with_another_seed_is_refused_not_left_out(demo, capsys):
    assert main(["adapt", str(demo), "--seed", "3"]) == 0
    assert main(["adapt", str(demo), "--seed", "4"]) == 2
    assert "budget or seed" in capsys.readouterr().err


def test_resuming_with_other_settings_is_refused_and_names_them(demo, capsys):
    assert main(["train", "--resume", str(demo), "--seed", "4"]) == 2
    assert "seed" in capsys.readouterr().err


def test_resuming_a_finished_demo_changes_no_score(demo):
    before, log = read_scores(demo / "scores.jsonl"), (demo / "metrics.jsonl").read_text()
    assert main(["demo", "--resume", str(demo)]) == 0
    assert read_scores(demo / "scores.jsonl") == before
    assert (demo / "metrics.jsonl").read_text() == log


def test_the_example_of_the_readme_runs(demo, tmp_path, monkeypatch):
    readme = (Path(mrcom.__file__).parents[2] / "README.md").read_text()
    (example,) = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "demo").symlink_to(demo)
    space: dict = {}
    monkeypatch.chdir(tmp_path)
    exec(example, space)
    assert np.isfinite(space["obs"]).all()
    assert space["reward"].shape == (space["env"].num,)


def test_a_checkpoint_alone_is_enough_to_act(demo, tmp_path):
    for name in ("checkpoints", "adapted"):
        shutil.copytree(demo / name, tmp_path / name)
    run = mrcom.load(tmp_path)
    env, policy = run.env(), run.policy(name="adapted")
    obs, reward = env.step(policy(env.reset()))
    assert np.isfinite(policy(obs, reward)).all()
    with pytest.raises(ConfigError, match="'adapted'"):
        run.policy(name="adaptd")
    newest = str(run.run.counters.updates)
    alone = mrcom.load(shutil.move(tmp_path / "checkpoints" / newest, tmp_path / "x" / newest))
    np.testing.assert_array_equal(alone.policy()(obs), run.policy()(obs))


def test_policies_of_another_version_are_refused_with_what_to_do(demo, tmp_path, capsys):
    run = shutil.copytree(demo, tmp_path / "run")
    record = run / "adapted" / "adapted" / "0" / RECORD
    stored = json.loads(record.read_text())
    stored["meta"]["config"]["gone"] = 1
    del stored["hash"]
    record.write_text(json.dumps(stored))
    assert main(["evaluate", str(run), "--budget", "debug"]) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert "made by another version" in said and "'gone'" in said and "adapt again" in said


def test_what_was_adapted_before_the_run_learnt_on_is_neither_judged_nor_kept_as_it_was(
    demo, tmp_path, capsys
):
    run = str(shutil.copytree(demo, tmp_path / "run"))
    with locked(open_run(Path(run))):
        assert main(["adapt", run, "--name", "more"]) == 2
    assert "is being written by process" in capsys.readouterr().err
    longer = ("--updates", "12", "--allow-change", "budget.updates")
    assert main(["train", "--resume", run, *longer]) == 0
    assert main(["adapt", run]) == 2
    said = capsys.readouterr().err
    assert "was adapted when the run had made 8 updates" in said and "after 12" in said
    policies = {name for name in contestants(open_trained(open_run(Path(run))), ())}
    assert policies == {"behaviour"}
    with pytest.raises(CheckpointError, match="move it away to adapt again"):
        mrcom.load(run).policy(name="adapted")


def test_the_behaviour_and_what_was_adapted_read_the_same_prompts(demo):
    run = mrcom.load(demo)
    found = contestants(run.run, run.targets)
    masks = worlds_of(run.run.config, run.targets).masks
    memories = [
        found[name].make_policy(run.targets, masks).start(len(run.targets))
        for name in ("behaviour", "adapted")
    ]
    assert eqx.tree_equal(*memories)


def test_a_model_that_learnt_on_is_kept_and_used_with_its_policies(
    demo, tmp_path, capsys, monkeypatch
):
    act = adapt._act
    # Later episodes earn more, so that it is not the behaviour that is kept.
    later = lambda *given: act(*given) + 1000 * given[3]
    monkeypatch.setattr(adapt, "_act", later)
    shutil.copytree(demo, tmp_path / "run")
    run_dir = str(tmp_path / "run")
    args = ["adapt", run_dir, "--name", "tuned", "--model", "finetune", "--no-control"]
    assert main([*args, "--learner", "imagination"]) == 0
    assert main([*args, "--learner", "sac"]) == 2
    assert "another name" in capsys.readouterr().err
    run = mrcom.load(run_dir)
    env, policy = run.env(), run.policy(name="tuned")
    obs = env.reset()
    action = policy(obs)
    folder = tmp_path / "run" / "adapted" / "tuned"
    (_, models), meta = kept_of(run.run, folder)
    assert len(models) == env.num and meta["config"]["learner"] == "imagination"
    for n, own in enumerate(models):
        assert not eqx.tree_equal(own, run.run.state.model)
        alone = run.policy([run.targets[n]], name="tuned")
        np.testing.assert_allclose(alone(obs[n : n + 1])[0], action[n], atol=1e-5)
    assert main(["evaluate", run_dir, "--budget", "debug"]) == 0
    said = "tuned (policy_init behaviour, learner imagination, model finetune): 120 real steps"
    assert said in capsys.readouterr().out


def kept_of(run, folder):
    """What lies in an adaptation's folder whose models learnt on."""
    kept = Checkpoints(folder)
    meta = kept.read_meta()
    size, num = run.agent.actor(run.state).config, len(meta["targets"])
    one = Actor(meta["width"], run.worlds.layout.act, size, key=root_key(0))
    actors = jax.tree.map(lambda leaf: np.stack([leaf] * num), one)
    return kept.restore((actors, [run.state.model] * num)).state, meta


def test_every_logged_name_is_explained(demo):
    page = (Path(mrcom.__file__).parents[2] / "docs" / "metrics.md").read_text()
    fixed = {"stage", "wall_s", *vars(Counters())}
    names = {name for record in read_log(demo / "metrics.jsonl") for name in record}
    for name in names - fixed:
        assert f"`{name}`" in page or f"`{name.split('/')[0]}/" in page, name


def test_a_checkpoint_of_another_shape_is_refused(demo):
    run = open_trained(open_run(demo))
    other = begin(dataclasses.replace(run.config, size="tiny"), run.folder)
    with pytest.raises(CheckpointError):
        restore(other, Checkpoints(run.folder.checkpoints))


def test_stopping_and_going_on_equals_not_stopping(tmp_path, monkeypatch):
    whole = loop.train(CONFIG, tmp_path / "whole")
    collect, calls = loop.collect, []

    def interrupted(*args):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        collect(*args)

    monkeypatch.setattr(loop, "collect", interrupted)
    with pytest.raises(KeyboardInterrupt):
        loop.train(CONFIG, tmp_path / "halves")
    monkeypatch.setattr(loop, "collect", collect)
    halves = loop.train(CONFIG, tmp_path / "halves", resume=True)
    assert eqx.tree_equal(whole.state, halves.state)
    assert halves.counters == whole.counters
    one, two = whole.experience, halves.experience
    assert eqx.tree_equal(one.state_dict(), two.state_dict())
    assert eqx.tree_equal(vars(one.store.ring), vars(two.store.ring))
    drop = lambda record: {k: v for k, v in record.items() if k != "wall_s"}
    logs = [read_log(tmp_path / name / "metrics.jsonl") for name in ("whole", "halves")]
    assert [drop(r) for r in logs[0]] == [drop(r) for r in logs[1]]


def test_a_loss_that_is_not_finite_stops_and_keeps_the_last_good_checkpoint(
    tmp_path, monkeypatch, capsys
):
    sample, calls = member.gather, []

    def spoilt(*args, **kwargs):
        batch = sample(*args, **kwargs)
        calls.append(1)
        if len(calls) < 6:
            return batch
        return eqx.tree_at(lambda b: b.reward, batch, batch.reward.at[1].set(np.nan))

    monkeypatch.setattr(member, "gather", spoilt)
    asked = ["--budget", "debug", "--seed", "3", "--run-dir", str(tmp_path / "run")]
    assert main(["train", *asked]) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert re.match(r"error: Not finite: .*'reward'.*update 5.*scenario (hop|wal|che)", said)
    kept = open_trained(open_run(tmp_path / "run"))
    assert kept.counters.updates == 4
    assert np.isfinite(np.asarray(kept.state.behaviour.return_range))


def test_an_unknown_run_is_refused(tmp_path):
    with pytest.raises(RunFolderError):
        mrcom.load(Path(tmp_path) / "nothing")


def test_a_loaded_model_can_be_dreamt_in_as_an_environment(demo):
    run = mrcom.load(demo)
    walker = run.targets[1]
    env = run.dream_env(walker, num_steps=20, config=DreamEnvConfig(num_envs=3, horizon_steps=4))
    first, _ = env.reset(seed=0)
    assert first.shape == (3, run.run.agent.model(run.run.state).config.feature)
    assert len(np.unique(first.round(5), axis=0)) > 1, "dreams start from several visited states"
    env.action_space.seed(0)
    over = np.zeros(3, bool)
    for _ in range(4):
        _, reward, ended, cut_off, _ = env.step(env.action_space.sample())
        assert np.isfinite(reward).all()
        over |= ended | cut_off
    assert over.all(), "no dream is longer than was asked for"
    again, _ = env.reset(seed=0)
    np.testing.assert_array_equal(first, again)
