"""Scenarios that move: raw MuJoCo, many bodies at once, threads in C."""

from mrcom.simulate.compile import compile_model, spec_of
from mrcom.simulate.listing import UNITS, physical_values
from mrcom.simulate.measure import observation_std
from mrcom.simulate.rollout import Policy, RandomPolicy, rollout
from mrcom.simulate.simulator import Simulator

__all__ = [
    "UNITS",
    "Policy",
    "RandomPolicy",
    "Simulator",
    "compile_model",
    "observation_std",
    "physical_values",
    "rollout",
    "spec_of",
]
