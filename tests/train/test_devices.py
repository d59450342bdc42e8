"""Several devices share a batch, or the runs of a population; numbers change by rounding alone."""

import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import on_devices
import pytest

from agents.small_agents import agent
from mrcom.agents.model_free import SAC
from mrcom.cli.main import main
from mrcom.core.errors import ConfigError
from mrcom.train.devices import spread

FORCED = "--xla_force_host_platform_device_count=4"

COMPARISONS = ("sac-1", "sac-4", "mrcom-1", "dreamer-1", "mamba-1")
"""Methods, each with a number of runs."""


@pytest.fixture(scope="module")
def on_two():
    """What is said of each comparison by one process with forced devices."""
    env = os.environ | {"XLA_FLAGS": f"{os.environ['XLA_FLAGS']} {FORCED}"}
    env["PYTHONPATH"] = str(pathlib.Path(__file__).parents[1])
    run = [sys.executable, on_devices.__file__, "2", *COMPARISONS]
    done = subprocess.run(run, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


@pytest.mark.slow
@pytest.mark.parametrize("comparison", COMPARISONS)
def test_two_devices_give_the_numbers_of_one(on_two, comparison):
    found = on_two[comparison]
    assert isinstance(found, dict), found
    method, runs = comparison.split("-")
    for metric, value in on_devices.metrics_of(method, int(runs), 1).items():
        np.testing.assert_allclose(found[metric], value, rtol=2e-3, atol=2e-4, err_msg=metric)


def test_what_cannot_be_shared_is_refused_with_the_nearest(tmp_path, capsys, monkeypatch):
    assert main(["train", "--devices", "7", "--run-dir", str(tmp_path / "run")]) == 2
    assert "has 1 of the kind cpu; the nearest is 1" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
    monkeypatch.setattr("jax.local_devices", lambda: [None] * 4)
    learner = agent(SAC)
    with pytest.raises(ConfigError, match=r"4 cannot share 6 rows of a batch equally; .* is 3"):
        spread(learner, 4, runs=1, rows=6)
    with pytest.raises(ConfigError, match="3 cannot share 5 runs equally; the nearest is 1"):
        spread(learner, 3, runs=5, rows=6)
    assert spread(learner, 1, runs=5, rows=6) is learner
