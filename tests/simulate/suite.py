"""The installed suite's own simulations, to compare with."""

import sys

import numpy as np
import pytest

if sys.version_info >= (3, 13):
    pytest.skip(
        "dm_control cannot be installed here: labmaze has no wheel", allow_module_level=True
    )

from dm_control import suite

from mrcom.simulate.herd import Herd

TASK = {"hopper": "hop", "walker": "walk", "cheetah": "run", "quadruped": "run"}


def load(body, task=None):
    return suite.load(body, task or TASK[body], task_kwargs={"random": 0})


def start_like(env, herd: Herd, row: int = 0):
    """Put the suite's environment into a simulation's initial state; returns its first step."""
    env.reset()
    with env.physics.reset_context():
        for field in ("qpos", "qvel", "qacc_warmstart"):
            getattr(env.physics.data, field)[:] = herd.batch.bind(field)[row]
    return env.task.get_observation(env.physics)


def flat(observation) -> np.ndarray:
    return np.concatenate([np.atleast_1d(value) for value in observation.values()])
