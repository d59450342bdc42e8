"""Several devices share a batch, or the runs of a population; numbers change by rounding alone."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

from agents.small_agents import agent
from mrcom.agents.model_free import SAC
from mrcom.cli.main import main
from mrcom.core.errors import ConfigError
from mrcom.train.devices import spread

FORCED = "--xla_force_host_platform_device_count=4"

COMPARED = """
import dataclasses, json, sys, traceback
import one_context
import equinox as eqx, jax, jax.numpy as jnp, numpy as np
from agents.small_agents import agent, batch
from mrcom.agents.build import method_named
from mrcom.core.rng import root_key
from mrcom.train.devices import gathered, spread
from mrcom.train.population import joined, learner_of

@dataclasses.dataclass(frozen=True)
class Watched:
    learner: object
    seen_by: list

    def update(self, state, batch, key):
        self.seen_by.append(batch.reward.sharding)
        return self.learner.update(state, batch, key)

def compare(name, runs):
    one = agent(method_named(name))
    copy = lambda tree: jax.tree.map(lambda x: jnp.copy(x) if eqx.is_array(x) else x, tree)
    states = joined([one.init(root_key(n)) for n in range(runs)])
    batches = [joined([batch(one.windows, seed + n) for n in range(runs)]) for seed in (0, 9)]
    keys = joined([root_key(5 + n) for n in range(runs)])
    watched = Watched(learner_of([one] * runs, side_by_side=True), [])
    both, rows = [], len(batch(one.windows).body)
    for devices in (1, 2):
        state, shared = copy(states), spread(watched, devices, runs=runs, rows=rows)
        for seen in batches:
            # What the second says depends on all that the first changed.
            state, metrics = shared.update(state, seen, keys)
        if devices > 1:
            assert not watched.seen_by[-1].is_fully_replicated
            arrays = eqx.filter(state, eqx.is_array)
            used = {len(x.sharding.device_set) for x in jax.tree.leaves(arrays)}
            assert 2 in used, used
        arrays = eqx.filter(gathered(state), eqx.is_array)
        assert {len(x.devices()) for x in jax.tree.leaves(arrays)} == {1}
        both.append(metrics)
    for metric, value in both[0].items():
        np.testing.assert_allclose(both[1][metric], value, rtol=2e-3, atol=2e-4, err_msg=metric)

failed = {}
for asked in sys.argv[1:]:
    name, runs = asked.split("-")
    try:
        compare(name, int(runs))
    except Exception:
        failed[asked] = traceback.format_exc()
print(json.dumps(failed))
"""
COMPARISONS = ("sac-1", "sac-4", "mrcom-1", "dreamer-1", "mamba-1")
"""Methods, each with a number of runs."""


@pytest.fixture(scope="module")
def failed():
    """What went wrong in each comparison: all are made by one process with forced devices."""
    env = os.environ | {"XLA_FLAGS": f"{os.environ['XLA_FLAGS']} {FORCED}"}
    env["PYTHONPATH"] = str(pathlib.Path(__file__).parents[1])
    run = [sys.executable, "-c", COMPARED, *COMPARISONS]
    done = subprocess.run(run, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


@pytest.mark.slow
@pytest.mark.parametrize("comparison", COMPARISONS)
def test_two_devices_give_the_numbers_of_one(failed, comparison):
    assert comparison not in failed, failed[comparison][-3000:]


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
