"""Scenarios that move: raw MuJoCo, many bodies at once, threads in C."""

from mrcom.simulate.compile import compile_model, spec_of
from mrcom.simulate.rollout import Policy, RandomPolicy, rollout
from mrcom.simulate.simulator import Simulator

__all__ = ["Policy", "RandomPolicy", "Simulator", "compile_model", "rollout", "spec_of"]
