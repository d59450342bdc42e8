"""Runs that learn together have the numbers, and the folders, of runs that learn alone."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from toy import CONFIG, contents, toy_run, toys

from agents.small_agents import agent, batch
from mrcom.agents.model_free import SAC
from mrcom.cli.main import main
from mrcom.core.errors import ConfigError, RunFolderError, TrainingDivergedError
from mrcom.core.rng import root_key
from mrcom.train import member
from mrcom.train.learner import check_finite
from mrcom.train.loop import train_population
from mrcom.train.population import (
    Population,
    create_population,
    folder_of,
    joined,
    open_population,
    parts,
    with_seeds,
)
from mrcom.train.run_folder import RunFolder

SEEDS = 3
ONE = dataclasses.replace(CONFIG, budget=dataclasses.replace(CONFIG.budget, updates=30))


def together(path, configs=None, **options):
    resume, configs = configs is not None, configs or with_seeds(ONE, SEEDS)
    with toys():
        return train_population(configs, path, resume=resume, **{"save_every": 7, **options})


@pytest.mark.parametrize("side_by_side", [False, True], ids=["in turn", "side by side"])
def test_an_update_of_several_runs_is_that_of_each(side_by_side):
    one = agent(SAC)
    batches = [batch(one.windows, seed) for seed in range(SEEDS)]
    states = [one.init(root_key(seed)) for seed in range(SEEDS)]
    keys = [jax.random.fold_in(root_key(seed), 7) for seed in range(SEEDS)]
    # Updates take the memory of the states that they are given.
    copy = lambda tree: jax.tree.map(lambda x: jnp.copy(x) if eqx.is_array(x) else x, tree)
    given = copy(joined(states)), joined(batches), joined(keys)
    after, metrics = Population(one, side_by_side).update(*given)
    found = zip(parts(after, SEEDS), parts(metrics, SEEDS), strict=True)
    for state, row, key, (own, said) in zip(states, batches, keys, found, strict=True):
        alone, about = one.update(copy(state), row, key)
        for name, value in about.items():
            np.testing.assert_allclose(said[name], value, rtol=1e-3, atol=1e-4, err_msg=name)
        close = lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-6)
        jax.tree.map(close, *(eqx.filter(s, eqx.is_inexact_array) for s in (own, alone)))


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


def test_a_run_that_never_began_begins(tmp_path):
    create_population(tmp_path / "all", configs := with_seeds(ONE, 2))
    toy_run(folder_of(tmp_path / "all", configs[0]), configs[0])
    together(tmp_path / "all", open_population(tmp_path / "all"))
    states = [contents(folder_of(tmp_path / "all", config)) for config in configs]
    assert [s["record"]["meta"]["counters"]["updates"] for s in states] == [30, 30]


def test_the_scenario_whose_loss_is_not_finite_is_named_in_whichever_run_it_is():
    row = jnp.zeros((2, 3)).at[1, 2].set(jnp.inf)
    with pytest.raises(TrainingDivergedError, match="scenario f;"):
        check_finite(0, {"row/loss": row}, list("abcdef"))


def test_what_cannot_be_is_refused_in_one_line(tmp_path, capsys):
    asked = ["train", "--budget", "debug", "--bodies", "hopper", "--run-dir", str(tmp_path / "a")]
    assert main([*asked, "--seeds", "0"]) == 2
    assert "--seeds 0 must be at least 1" in capsys.readouterr().err
    create_population(tmp_path / "a", with_seeds(ONE, 2))
    with pytest.raises(RunFolderError, match="exists already"):
        together(tmp_path / "a")
    for more in (["--seeds", "3"], ["--seed", "9"]):
        assert main(["train", "--resume", str(tmp_path / "a"), *more]) == 2
        said = capsys.readouterr().err
        assert said.count("\n") == 1 and "2 runs from seed 3 on" in said
    with pytest.raises(ConfigError, match="each of 3 runs needs"):
        together(tmp_path / "b", memory_limit=1e-9)
    assert not (tmp_path / "b").exists()
    (RunFolder(tmp_path / "a").path / "population.json").write_text("{")
    assert main(["train", "--resume", str(tmp_path / "a")]) == 2
    assert "cannot be read" in capsys.readouterr().err
