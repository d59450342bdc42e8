"""Runs that learn together have the numbers, and the folders, of runs that learn alone."""

import dataclasses
import json
import shutil

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from toy import CONFIG, contents, toy_run, toys

from agents.small_agents import agent, batch
from mrcom.agents.cadm import CADM
from mrcom.agents.dreamer import DREAMER
from mrcom.agents.mamba import MAMBA
from mrcom.agents.model_free import SAC
from mrcom.agents.mrcom import MRCOM
from mrcom.cli.main import main
from mrcom.core.config import differing
from mrcom.core.errors import ConfigError, RunFolderError, TrainingDivergedError
from mrcom.core.rng import root_key
from mrcom.train import member
from mrcom.train.learner import check_finite
from mrcom.train.loop import How, train_population
from mrcom.train.population import (
    create_population,
    folder_of,
    joined,
    learner_of,
    open_population,
    parts,
    variants,
)
from mrcom.train.run_folder import RunFolder

SEEDS = 3
ONE = dataclasses.replace(CONFIG, budget=dataclasses.replace(CONFIG.budget, updates=30))


def together(path, configs=None, *, resume=None, **options):
    resume = configs is not None if resume is None else resume
    configs = configs or variants(ONE, SEEDS)
    with toys():
        return train_population(
            configs, path, resume=resume, how=How(**{"save_every": 7, **options})
        )


def agree(agents, side_by_side, *, alone=None, warm=False):
    """Nothing where one update of all runs leaves each as its own update does.

    One that is told to be updated `alone` in each one's place leaves only itself like that. `warm`
    runs have made an update before.
    """
    batches = [batch(agents[0].windows, seed) for seed in range(len(agents))]
    keys = [jax.random.fold_in(root_key(seed), 7) for seed in range(len(agents))]
    by_itself = [alone or one for one in agents]
    states = [one.init(root_key(seed)) for seed, one in enumerate(agents)]
    if warm:
        given = zip(by_itself, states, batches, keys, strict=True)
        states = [one.update(*of_it)[0] for one, *of_it in given]
    # Updates take the memory of the states that they are given.
    copy = lambda tree: jax.tree.map(lambda x: jnp.copy(x) if eqx.is_array(x) else x, tree)
    given = copy(joined(states)), joined(batches), joined(keys)
    after, metrics = learner_of(agents, side_by_side=side_by_side).update(*given)
    found = zip(parts(after, len(agents)), parts(metrics, len(agents)), strict=True)
    for n, (state, said) in enumerate(found):
        wanted, about = by_itself[n].update(states[n], batches[n], keys[n])
        both = [jax.tree.leaves(eqx.filter(s, eqx.is_inexact_array)) for s in (state, wanted)]
        pairs = list(zip(*both, strict=True))
        if by_itself[n] != agents[n]:
            assert not all(np.allclose(x, y, rtol=1e-4, atol=1e-6) for x, y in pairs)
            continue
        for name, value in about.items():
            np.testing.assert_allclose(said[name], value, rtol=1e-3, atol=1e-4, err_msg=name)
        for x, y in pairs:
            np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("side_by_side", [False, True], ids=["in turn", "side by side"])
def test_an_update_of_several_runs_is_that_of_each(side_by_side):
    agree([agent(SAC)] * SEEDS, side_by_side)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "settings"),
    [
        (SAC, ["sac.actor_rate=0.001,0.1", "sac.discount=0.99,0.5", "imitation=1,2"]),
        (
            MRCOM,
            [
                "value_warmup=0",
                "learning_rate=0.0004,0.1",
                "weights.reward=1,3",
                "kl_aux.rep=1,0.1",
            ],
        ),
        (DREAMER, ["optimizer.learning_rate=0.001,0.1", "weights.actor=1,3"]),
        (MAMBA, ["model_rates.learning_rate=0.001,0.1", "weights.critic=1,3"]),
        (CADM, ["learning_rate=0.001,0.1"]),
    ],
    ids=lambda given: getattr(given, "name", None),
)
def test_runs_may_differ_in_numbers(method, settings):
    """The program is made from the agent that comes first, and none of its numbers stay in there.

    The other has the sizes' own numbers, with which other tests learn too.
    """
    config = dataclasses.replace(ONE, settings=tuple(settings))
    both = [variants(config, 1)[n] for n in (-1, 0)]
    changed, plain = agents = [agent(method, settings=one.settings) for one in both]
    apart = differing(changed, plain)
    assert len(apart) == sum("," in setting for setting in settings), apart
    # DreamerV3's rate begins with 0, whatever it is going to be.
    agree(agents, side_by_side=False, alone=plain, warm=method is DREAMER)


@pytest.mark.parametrize("setting", ["model.units=8,16", "meta_state=bound,reweight"])
def test_what_decides_what_is_computed_is_the_same_for_all(tmp_path, setting):
    config = dataclasses.replace(ONE, settings=(setting,))
    with pytest.raises(ConfigError, match=f"not in {setting.split('=')[0]}, .* one by one"):
        train_population(variants(config, 1), tmp_path / "all")
    assert not (tmp_path / "all").exists()


@pytest.mark.parametrize("draw", [jax.random.normal, jax.random.bits, jax.random.uniform])
def test_keys_that_are_mapped_over_give_what_each_gives_alone(draw):
    keys = [root_key(seed) for seed in range(SEEDS)]
    alone = np.stack([draw(key, (5,)) for key in keys])
    np.testing.assert_array_equal(jax.vmap(lambda key: draw(key, (5,)))(jnp.stack(keys)), alone)
    bits = jax.random.bits(jax.random.key(2, impl="rbg"), (5,))
    np.testing.assert_array_equal(jax.random.bits(root_key(2), (5,)), bits)


def test_each_has_the_folder_of_a_run_alone(tmp_path):
    together(tmp_path / "all")
    for seed in range(ONE.seed, ONE.seed + SEEDS):
        alone = dataclasses.replace(ONE, seed=seed)
        toy_run(tmp_path / str(seed), alone)
        one, other = (
            contents(path) for path in (tmp_path / str(seed), folder_of(tmp_path / "all", alone))
        )
        assert one["episodes"].keys() == other["episodes"].keys()
        assert one["record"]["meta"]["counters"] == other["record"]["meta"]["counters"]
        for line, same in zip(one["log"], other["log"], strict=True):
            assert line.pop("stage") == same.pop("stage")
            assert line == pytest.approx(same, rel=1e-4)


def test_the_doctor_sees_every_run_of_a_folder(tmp_path, capsys):
    together(path := tmp_path / "all")
    assert main(["doctor", str(path), "--json"]) == 0
    names = [check["name"] for check in json.loads(capsys.readouterr().out)["checks"]]
    folders = [folder_of(path, config).name for config in open_population(path)]
    assert {name.split()[0] for name in names} == set(folders)
    (path / folders[1] / "metrics.jsonl").write_text("nonsense\n{}\n")
    assert main(["doctor", str(path)]) == 2
    assert f"broken: {folders[1]} metrics.jsonl\n" in capsys.readouterr().out


def test_the_doctor_mends_each_run_whatever_is_wrong_with_the_others(tmp_path, capsys):
    path = tmp_path / "two"
    together(path)
    first, second = (path / f"seed-{seed}" for seed in (3, 4))
    (first / "config.json").write_text("{")
    (second / "replay" / ".000009.npz.draft").write_bytes(b"half")
    assert main(["doctor", str(path)]) == 0
    assert "seed-3 config.json" in capsys.readouterr().out
    (first / ".lock").unlink()
    (first / ".lock").mkdir()
    (second / "config.json").write_text("{")
    assert main(["doctor", str(path), "--json"]) == 2
    state = {one["name"]: one["state"] for one in json.loads(capsys.readouterr().out)["checks"]}
    assert (state["seed-3 folder"], state["seed-4 config.json"]) == ("broken", "mended")
    shutil.rmtree(first)
    assert main(["doctor", str(path)]) == 0
    assert f"none: --resume {path} begins the run" in capsys.readouterr().out


@pytest.mark.parametrize("cut", [4, 11, 99])
def test_going_on_gives_the_same_bits_wherever_it_was_cut(tmp_path, monkeypatch, cut):
    """Also between the checkpoints of two runs, so that one is further than the others."""
    together(tmp_path / "whole")
    save, calls = member.Checkpoints.save, []

    def interrupted(*args, **kwargs):
        calls.append(1)
        if len(calls) == cut:
            raise KeyboardInterrupt
        save(*args, **kwargs)

    path = tmp_path / "cut"
    monkeypatch.setattr(member.Checkpoints, "save", interrupted)
    if cut < 99:
        with pytest.raises(KeyboardInterrupt):
            together(path)
    else:
        together(path)  # finished: nothing is left to do
    monkeypatch.setattr(member.Checkpoints, "save", save)
    together(path, open_population(path))
    for config in open_population(path):
        assert contents(folder_of(path, config)) == contents(folder_of(tmp_path / "whole", config))


def test_phases_without_updates_are_made_up_for_by_a_run_that_was_not_saved(tmp_path, monkeypatch):
    few = dataclasses.replace(
        CONFIG, budget=dataclasses.replace(CONFIG.budget, rounds=3, updates=1)
    )
    together(tmp_path / "whole", configs := variants(few, 2), resume=False)
    save, calls = member.Checkpoints.save, []

    def interrupted(*args, **kwargs):
        calls.append(1)
        if len(calls) == 4:  # of the second phase, which has no updates: the first run has saved
            raise KeyboardInterrupt
        save(*args, **kwargs)

    monkeypatch.setattr(member.Checkpoints, "save", interrupted)
    with pytest.raises(KeyboardInterrupt):
        together(tmp_path / "cut", configs, resume=False)
    monkeypatch.setattr(member.Checkpoints, "save", save)
    together(tmp_path / "cut", configs)
    for config in configs:
        cut, whole = (contents(folder_of(tmp_path / name, config)) for name in ("cut", "whole"))
        assert cut == whole


def test_a_run_that_never_began_begins_and_a_finished_one_stays_as_it_is(tmp_path):
    create_population(tmp_path / "all", configs := variants(ONE, 2))
    folders = [folder_of(tmp_path / "all", config) for config in configs]
    toy_run(folders[0], configs[0])
    before = {path: path.stat().st_mtime_ns for path in folders[0].glob("*/*")}
    together(tmp_path / "all", open_population(tmp_path / "all"))
    states = [contents(folder) for folder in folders]
    assert [s["record"]["meta"]["counters"]["updates"] for s in states] == [30, 30]
    assert {path: path.stat().st_mtime_ns for path in folders[0].glob("*/*")} == before


def test_one_that_has_gone_on_alone_loses_nothing_when_all_go_on(tmp_path, monkeypatch):
    together(whole := tmp_path / "whole")
    path, save, calls = tmp_path / "all", member.Checkpoints.save, []

    def interrupted(*args, **kwargs):
        save(*args, **kwargs)
        calls.append(1)
        if len(calls) == SEEDS:
            raise KeyboardInterrupt

    monkeypatch.setattr(member.Checkpoints, "save", interrupted)
    with pytest.raises(KeyboardInterrupt):
        together(path)
    monkeypatch.setattr(member.Checkpoints, "save", save)
    configs = open_population(path)
    toy_run(alone := folder_of(path, configs[1]), configs[1], resume=True)
    before = {file: file.stat().st_mtime_ns for file in alone.glob("checkpoints/*/*/*")}
    together(path, configs)
    assert {file: file.stat().st_mtime_ns for file in alone.glob("checkpoints/*/*/*")} == before
    for config in configs:
        one, other = (contents(folder_of(place, config)) for place in (path, whole))
        assert one["record"]["meta"]["counters"] == other["record"]["meta"]["counters"]
        assert one["episodes"] == other["episodes"]


def test_one_that_finished_alone_is_not_trained_again(tmp_path, monkeypatch):
    """Also where it is one checkpoint ahead, as one of two that were killed while saved may be."""
    amount = dataclasses.replace(ONE.budget, rounds=0)
    configs = variants(dataclasses.replace(ONE, budget=amount), 2)
    path, save, calls = tmp_path / "all", member.Checkpoints.save, []

    def interrupted(*args, **kwargs):
        save(*args, **kwargs)
        calls.append(1)
        if len(calls) == 8:  # both after 7, 14, 21 and 28 updates
            raise KeyboardInterrupt

    monkeypatch.setattr(member.Checkpoints, "save", interrupted)
    with pytest.raises(KeyboardInterrupt):
        together(path, configs, resume=False)
    monkeypatch.setattr(member.Checkpoints, "save", save)
    toy_run(alone := folder_of(path, configs[0]), configs[0], resume=True)
    before = {file: file.stat().st_mtime_ns for file in alone.glob("checkpoints/*/*/*")}
    together(path, configs)
    assert {file: file.stat().st_mtime_ns for file in alone.glob("checkpoints/*/*/*")} == before
    kept = member.Checkpoints(folder_of(path, configs[1]) / "checkpoints")
    assert kept.read_meta()["counters"]["updates"] == 30


def test_a_list_of_runs_that_was_changed_is_refused(tmp_path, capsys):
    create_population(tmp_path, variants(ONE, 2))
    record = tmp_path / "population.json"
    record.write_text(record.read_text().replace('"seed": 4', '"seed": 5'))
    for command in (["doctor", str(tmp_path)], ["train", "--resume", str(tmp_path)]):
        assert main(command) == 2
        assert "population.json cannot be read: ValueError('it was changed')" in (
            capsys.readouterr().err
        )
    record.write_text("[]")
    with pytest.raises(RunFolderError, match="cannot be read"):
        open_population(tmp_path)


def test_the_scenario_whose_loss_is_not_finite_is_named_in_whichever_run_it_is():
    row = jnp.zeros((2, 3)).at[1, 2].set(jnp.inf)
    with pytest.raises(TrainingDivergedError, match="scenario f;"):
        check_finite(0, {"row/loss": row}, list("abcdef"))


def test_what_cannot_be_is_refused_in_one_line(tmp_path, capsys):
    asked = ["train", "--budget", "debug", "--bodies", "hopper", "--run-dir", str(tmp_path / "a")]
    assert main([*asked, "--seeds", "0"]) == 2
    assert "--seeds 0 must be at least 1" in capsys.readouterr().err
    assert main([*asked, "--set", "learning_rate=1e-4,3e-4,1e-4"]) == 2
    assert "lists a value twice; the nearest is '1e-4,3e-4'" in capsys.readouterr().err
    assert main([*asked, "--set", "learning_rate=1e-4,0.0001,3e-4"]) == 2
    assert "lists a value twice; the nearest is '1e-4,3e-4'" in capsys.readouterr().err
    create_population(tmp_path / "a", variants(ONE, 2))
    with pytest.raises(RunFolderError, match="exists already"):
        together(tmp_path / "a")
    for more in (["--seeds", "3"], ["--seed", "9"]):
        assert main(["train", "--resume", str(tmp_path / "a"), *more]) == 2
        said = capsys.readouterr().err
        assert said.count("\n") == 1 and "2 runs from seed 3 on" in said
    with pytest.raises(ConfigError, match="is too little"):
        together(tmp_path / "b", memory_limit=1e-9)
    assert not (tmp_path / "b").exists()
    (RunFolder(tmp_path / "a").path / "population.json").write_text("{")
    assert main(["train", "--resume", str(tmp_path / "a")]) == 2
    assert "cannot be read" in capsys.readouterr().err
