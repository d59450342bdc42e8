"""What travels between the stages, and the letters of its axes.

Storage convention, everywhere: `action[t]` *led into* `obs[t]`, and `reward[t]` was received on
arriving there. At an episode's first step both are zero. Arrays of several bodies are padded
with zeros to a common width, and masks say which entries are real.

Axis letters: B batch, N scenarios, T time, W context window, L = W + T, H dreamt steps,
O observation, A action, D deterministic, U stochastic, X auxiliary, C context, F feature,
K samples, P scenario parameters.
"""

import dataclasses

import equinox as eqx
import numpy as np
from jaxtyping import Array, Bool, Float, Int


@dataclasses.dataclass(frozen=True)
class Layout:
    """Common widths of several bodies, and the order of the bodies.

    Attributes:
        bodies: names; a body's index here chooses its normaliser.
        obs: width of a padded observation.
        act: width of a padded action.
    """

    bodies: tuple[str, ...]
    obs: int
    act: int


@dataclasses.dataclass(frozen=True)
class Masks:
    """For each of N scenarios, which padded entries are real (1) and which are not (0)."""

    obs: Float[np.ndarray, "N O"]
    act: Float[np.ndarray, "N A"]
    body: Int[np.ndarray, " N"]
    """Index into `Layout.bodies`."""


@dataclasses.dataclass(frozen=True)
class Steps:
    """N trajectories of T steps side by side, as a rollout returns them. Padded, raw units."""

    obs: Float[np.ndarray, "N T O"]
    action: Float[np.ndarray, "N T A"]
    reward: Float[np.ndarray, "N T"]
    is_terminal: Bool[np.ndarray, "N T"]


class Batch(eqx.Module):
    """B windows of L = W + T steps: W of context, then T that are trained on. Raw units.

    Where a window starts less than W steps into its episode, the first entries of the context
    are the scenario's prompt. `valid` is 0 where there is neither (no prompt was given).
    """

    obs: Float[Array, "B L O"]
    action: Float[Array, "B L A"]
    reward: Float[Array, "B L"]
    is_terminal: Bool[Array, "B L"]
    valid: Float[Array, "B L"]
    obs_mask: Float[Array, "B O"]
    act_mask: Float[Array, "B A"]
    scenario: Int[Array, " B"]
    """Index into the list of training scenarios."""
    body: Int[Array, " B"]
    """Index into `Layout.bodies`."""


class Prompt(eqx.Module):
    """The steps that fill the context before anything real is known, one row per scenario."""

    obs: Float[Array, "N W O"]
    action: Float[Array, "N W A"]
    reward: Float[Array, "N W"]
    valid: Float[Array, "N W"]
