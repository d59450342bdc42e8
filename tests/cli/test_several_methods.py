"""A demo of several methods: what was asked for outlives an interruption, and all is the same."""

import dataclasses
import pathlib
from unittest import mock

import pytest

from mrcom.agents.build import METHODS, behaviour_of
from mrcom.agents.dreamer import DREAMER
from mrcom.agents.mrcom import MRCOM
from mrcom.agents.presets import budget
from mrcom.cli import demo
from mrcom.cli.main import main
from mrcom.cli.stages import ADAPTED, CONTROL
from mrcom.cli.train import Train, config_of
from mrcom.core.rng import root_key
from mrcom.report import comparison
from mrcom.scenarios.splits import split
from mrcom.train.adapted import policy_size
from mrcom.train.collect import Experience
from mrcom.train.log import Counters
from mrcom.train.loop import Run, agent_of
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
    assert found["cadm"] == found["sac"] == "sac" and found["mrcom"] == "imagination"
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
        sizes[method.name] = [policy_size(run, chosen) for chosen in (ADAPTED, CONTROL)]
    (ours, control), (theirs, same) = sizes.values()
    assert control == same == ours != theirs
