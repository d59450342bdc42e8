"""Rounds of collection are made while a run learns, and are what they would be without it."""

import dataclasses
import threading

import numpy as np
import pytest
from toy import CONFIG, toy_run, toys

from mrcom.core.errors import TrainingDivergedError
from mrcom.core.rng import named_seed
from mrcom.simulate.simulator import Simulator
from mrcom.train import collector, member
from mrcom.train.collect import collect_with_agent
from mrcom.train.episodes import EpisodeFiles
from mrcom.train.log import read_log
from mrcom.train.run import open_trained
from mrcom.train.run_folder import open_run

HALFWAY = 10
"""Updates of the toy's first phase of 20 that are made when the next round begins."""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return toy_run(tmp_path_factory.mktemp("toy") / "run", save_every=1)


def test_the_next_round_acts_by_what_was_learnt_halfway_through_a_phase(tmp_path, monkeypatch):
    saved, calls = member.Checkpoints.save, []

    def cut(self, step, *args, **kwargs):
        saved(self, step, *args, **kwargs)
        calls.append(step)
        if step == HALFWAY:
            raise KeyboardInterrupt

    monkeypatch.setattr(member.Checkpoints, "save", cut)
    with pytest.raises(KeyboardInterrupt):
        toy_run(tmp_path / "run", save_every=1)
    monkeypatch.setattr(member.Checkpoints, "save", saved)
    with toys():
        half = open_trained(open_run(tmp_path / "run"))
    assert half.counters.updates == HALFWAY and half.rounds and not half.ahead
    steps = collect_with_agent(
        Simulator(half.worlds.scenarios, layout=half.worlds.layout),
        half.agent,
        half.state,
        half.worlds,
        half.experience.prompt,
        seed=named_seed(CONFIG.seed, "behaviour", 1),
        num_steps=CONFIG.budget.episode_steps,
    )
    whole = toy_run(tmp_path / "run", resume=True)
    files = EpisodeFiles(whole.folder.replay)
    number = len(half.rounds)
    found, expert = files.read(number, whole.rounds[number])
    assert not expert
    np.testing.assert_array_equal(found.action, steps.action)
    np.testing.assert_array_equal(found.obs, steps.obs)


def test_updates_go_on_while_a_round_is_made(tmp_path, monkeypatch):
    real, wrote = collector.collect_with_agent, member.write_back
    calls, later = [], threading.Event()

    def counted(*args):
        wrote(*args)
        calls.append(1)
        if len(calls) in (HALFWAY + 5, 20 + HALFWAY + 5):
            later.set()

    def waits(*args, **kwargs):
        assert later.wait(60), "nothing was learnt while this round was made"
        later.clear()
        return real(*args, **kwargs)

    monkeypatch.setattr(member, "write_back", counted)
    monkeypatch.setattr(collector, "collect_with_agent", waits)
    run = toy_run(tmp_path / "run", save_every=1000)
    assert run.counters.updates == CONFIG.budget.updates


def test_a_round_counts_once_it_is_learnt_from(run):
    log = read_log(run.folder.metrics_file)
    seen = [(one["stage"], one["updates"]) for one in log if one["stage"].startswith("collect")]
    assert seen == [("collect/random", 0)] * 2 + [("collect", 20), ("collect", 40)]


def test_a_checkpoint_inside_a_phase_has_the_next_round_and_does_not_learn_from_it(
    tmp_path, monkeypatch
):
    saved = member.Checkpoints.save

    def cut(self, step, *args, **kwargs):
        saved(self, step, *args, **kwargs)
        if step == HALFWAY + 5:
            raise KeyboardInterrupt

    monkeypatch.setattr(member.Checkpoints, "save", cut)
    with pytest.raises(KeyboardInterrupt):
        toy_run(tmp_path / "run", save_every=5)
    with toys():
        half = open_trained(open_run(tmp_path / "run"))
    assert (len(half.rounds), len(half.ahead)) == (2, 1)
    assert EpisodeFiles(half.folder.replay).numbers() == [0, 1, 2]
    num = len(half.worlds.scenarios)
    assert half.counters.env_steps == 2 * num * CONFIG.budget.episode_steps


def test_what_goes_wrong_in_a_round_ends_the_run(tmp_path, monkeypatch):
    def broken(*args, **kwargs):
        raise TrainingDivergedError("The simulation of scenario 7 diverged.")

    monkeypatch.setattr(collector, "collect_with_agent", broken)
    with pytest.raises(TrainingDivergedError, match="scenario 7"):
        toy_run(tmp_path / "run")


def test_a_round_that_nobody_waits_for_is_given_up(run, tmp_path):
    long = dataclasses.replace(
        CONFIG, budget=dataclasses.replace(CONFIG.budget, episode_steps=20_000)
    )
    files = EpisodeFiles(tmp_path)
    simulator = Simulator(run.worlds.scenarios, layout=run.worlds.layout)
    maker = collector.Collector(dataclasses.replace(run, config=long), simulator, files)
    maker.begin_ahead(run.state)
    assert maker.has_begun
    maker.close()
    assert files.numbers() == []


def test_a_round_that_is_not_wanted_any_more_is_not_learnt_from(tmp_path, monkeypatch):
    """Fewer rounds on resuming, where the checkpoint has the round of a phase that is gone."""
    saved = member.Checkpoints.save

    def cut(self, step, *args, **kwargs):
        saved(self, step, *args, **kwargs)
        if step == HALFWAY + 5:
            raise KeyboardInterrupt

    monkeypatch.setattr(member.Checkpoints, "save", cut)
    with pytest.raises(KeyboardInterrupt):
        toy_run(tmp_path / "run", save_every=5)
    monkeypatch.setattr(member.Checkpoints, "save", saved)
    fewer = dataclasses.replace(CONFIG, budget=dataclasses.replace(CONFIG.budget, rounds=0))
    options = {"resume": True, "allow_change": ["budget.rounds"]}
    ended = toy_run(tmp_path / "run", fewer, **options)
    assert len(ended.rounds) == 2 and ended.counters.updates == CONFIG.budget.updates
    more = dataclasses.replace(
        CONFIG, budget=dataclasses.replace(CONFIG.budget, rounds=1, updates=80)
    )
    allowed = ["budget.rounds", "budget.updates"]
    ended = toy_run(tmp_path / "run", more, resume=True, allow_change=allowed)
    assert len(ended.rounds) == 3 and ended.counters.updates == 80
