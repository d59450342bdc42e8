"""What travels between the stages, and the letters of its axes.

Storage convention, everywhere: `action[t]` *led into* `obs[t]`, and `reward[t]` was received on
arriving there. At an episode's first step both are zero. Arrays of several bodies are padded
with zeros to a common width, and masks say which entries are real.

Axis letters: B batch, N scenarios, T time, W context window, L = W + T, H dreamt steps,
O observation, A action, D deterministic, U stochastic, X auxiliary, C context, F feature,
K samples, P scenario parameters, S side of a picture.
"""

import equinox as eqx
from jaxtyping import Array, Bool, Float, Int, UInt8

from mrcom.core.steps import Layout as Layout
from mrcom.core.steps import Masks as Masks
from mrcom.core.steps import Steps as Steps

Number = float | Float[Array, ""]
"""A hyperparameter: a plain number, or one of several runs that learn in one program."""


class Batch(eqx.Module):
    """B windows of L = W + T steps: W of context, then T that are trained on. Raw units.

    Where a window starts less than W steps into its episode, the first entries of the context
    are the scenario's prompt. `valid` is 0 where there is neither (no prompt was given).
    """

    obs: Float[Array, "B L O"]
    action: Float[Array, "B L A"]
    reward: Float[Array, "B L"]
    is_terminal: Bool[Array, "B L"]
    first: Bool[Array, "B L"]
    """Whether an episode starts here."""
    valid: Float[Array, "B L"]
    obs_mask: Float[Array, "B O"]
    act_mask: Float[Array, "B A"]
    told: Float[Array, "B P"]
    """What experts know of the scenario; see `Masks.told`."""
    scenario: Int[Array, " B"]
    """Index into the list of training scenarios."""
    body: Int[Array, " B"]
    """Index into `Layout.bodies`."""
    expert: Bool[Array, " B"]
    """Whether the scenario's expert chose the actions."""
    stored: dict[str, Array]
    """What the method's last update on it wrote for the step right before the T trained ones,
    `[B, ...]` by name; zeros where none did, and before an episode's first step."""
    image: UInt8[Array, "B L S S 3"] | None = None
    """Of every step, where there are pictures; black where `valid` is 0."""


class Prompt(eqx.Module):
    """The steps that fill the context before anything real is known, one row per scenario."""

    obs: Float[Array, "N W O"]
    action: Float[Array, "N W A"]
    reward: Float[Array, "N W"]
    valid: Float[Array, "N W"]
    image: UInt8[Array, "N W S S 3"] | None = None
