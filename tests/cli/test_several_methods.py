"""A demo of several methods: what was asked for outlives an interruption, and all is the same."""

import dataclasses
import pathlib
from unittest import mock

import pytest

from mrcom.agents import presets
from mrcom.agents.build import METHODS, behaviour_of
from mrcom.agents.dreamer import DREAMER
from mrcom.agents.mrcom import MRCOM
from mrcom.agents.presets import budget
from mrcom.cli import demo
from mrcom.cli.main import main
from mrcom.cli.train import Train, config_of
from mrcom.core.rng import root_key
from mrcom.report import comparison
from mrcom.scenarios.splits import split
from mrcom.train.adaptation import CONTROL, adaptation
from mrcom.train.adapted import policy_size
from mrcom.train.collect import Experience
from mrcom.train.log import Counters
from mrcom.train.run import Run, agent_of
from mrcom.train.run_folder import RunFolder, create_run
from mrcom.train.settings import RunConfig, training_worlds

SEEN = mock.Mock(spec=Experience)
"""What nobody asks for here."""


@pytest.fixture
def begun(monkeypatch):
    """Demos that were begun; each leaves a run's folder and does nothing else."""
    seen = []

    def one(options, method, path, *, resume):
        seen.append((method, options.budget, options.seed, resume))
        if len(seen) == 2:
            raise KeyboardInterrupt
        if not resume:
            create_run(path, config_of(Train(method=method)))

    monkeypatch.setattr(demo, "_demo", one)
    monkeypatch.setattr(comparison, "compare", lambda folders: comparison.Comparison(()))
    return seen


def test_methods_that_were_not_begun_get_the_settings_of_the_others(tmp_path, begun, capsys):
    path = str(tmp_path / "demo")
    asked = ["--methods", "sac", "cadm", "sac", "--budget", "debug", "--seed", "3"]
    assert main(["demo", *asked, "--run-dir", path]) == 130
    assert main(["demo", "--resume", path, "--seed", "4"]) == 2
    assert "seed=3, not 4" in capsys.readouterr().err
    assert main(["demo", "--resume", path]) == 0
    first, same = ("sac", "debug", 3), ("cadm", "debug", 3)
    assert begun == [(*first, False), (*same, False), (*first, True), (*same, False)]


def test_a_method_of_which_nothing_but_a_folder_is_there_begins(tmp_path, begun):
    path = tmp_path / "demo"
    assert main(["demo", "--methods", "sac", "cadm", "--run-dir", str(path)]) == 130
    (path / "cadm").mkdir()
    assert main(["demo", "--resume", str(path)]) == 0
    assert [(method, resume) for method, *_, resume in begun[2:]] == [
        ("sac", True),
        ("cadm", False),
    ]


def test_a_folder_that_holds_no_such_demo(tmp_path, begun, capsys):
    several = ["demo", "--methods", "sac", "cadm"]
    assert main([*several, "--resume", str(tmp_path / "nothing")]) == 2
    assert "demo.json cannot be read" in capsys.readouterr().err
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    assert main([*several, "--run-dir", str(tmp_path / "full")]) == 2
    assert "exists already" in capsys.readouterr().err and not begun


def test_a_method_learns_to_act_in_its_own_way_unless_asked():
    found = {name: config_of(Train(method=name)).behaviour for name in METHODS}
    assert found == {name: behaviour_of(METHODS[name].family) for name in METHODS}
    assert {name for name, learns in found.items() if learns == "imagination"} == {
        "dreamer",
        "mamba",
    }
    assert config_of(Train(method="cadm", behaviour="imagination")).behaviour == "imagination"


def test_the_control_from_scratch_is_the_same_in_every_methods_runs():
    sizes = {}
    for method in (MRCOM, DREAMER):
        config = RunConfig(method, budget("debug"), split("table1-d-shell"), size="tiny")
        worlds = training_worlds(dataclasses.replace(config, bodies=("cheetah",)))
        agent = agent_of(config, worlds)
        run = Run(
            config,
            RunFolder(pathlib.Path()),
            worlds,
            agent,
            agent.init(root_key(0)),
            SEEN,
            Counters(),
        )
        sizes[method.name] = [policy_size(run, chosen) for chosen in (adaptation(run), CONTROL)]
    (ours, control), (theirs, same) = sizes.values()
    assert control == same == ours != theirs


def time_needed(names, budget="tiny", size=None):
    return demo._time_needed(tuple(names), budget, size)


def test_the_time_is_told_of_the_methods_that_were_asked_for_and_no_other(monkeypatch):
    monkeypatch.setattr(presets, "MINUTES", {"mrcom": 12, "mamba": 20})
    said = time_needed(["dreamer", "mamba"])
    assert "mamba 20 (measured)" in said and "dreamer 16 (estimate)" in said
    assert "mrcom" not in said and "about 36 minutes" in said


def test_a_time_at_another_budget_or_size_is_an_estimate(monkeypatch):
    monkeypatch.setattr(presets, "MINUTES", {"mrcom": 12})
    for amount, size in (("small", None), ("tiny", "small"), ("debug", None)):
        said = time_needed(["mrcom", "sac"], amount, size)
        assert "(measured)" not in said and said.count("(estimate)") == 2
        assert "updates alone" in said
    assert "mrcom 30 (estimate)" in time_needed(["mrcom"], "small")
    assert "mrcom 1 (estimate)" in time_needed(["mrcom"], "debug")


def test_a_demo_says_first_how_long_it_takes(tmp_path, begun, capsys):
    begun.append("so that none is interrupted")
    begun.append("likewise")
    args = ["demo", "--methods", "sac", "cadm", "--run-dir", str(tmp_path / "demo")]
    assert main(args) == 0
    said = capsys.readouterr().out.splitlines()[0]
    assert said.startswith("2 methods") and "sac" in said and "cadm" in said
    assert "mrcom" not in said


def test_a_demo_of_one_method_says_so_too_unless_it_is_resumed(
    tmp_path, begun, monkeypatch, capsys
):
    begun.append("so that none is interrupted")
    begun.append("likewise")
    monkeypatch.setattr(presets, "MINUTES", {"mrcom": 12})
    args = ["demo", "--methods", "dreamer"]
    assert main([*args, "--run-dir", str(tmp_path / "demo")]) == 0
    said = capsys.readouterr().out.splitlines()[0]
    assert said == "One method, about 12 minutes on two idle cores: dreamer 12 (estimate)"
    assert main([*args, "--resume", str(tmp_path / "demo")]) == 0
    assert "minutes" not in capsys.readouterr().out
