"""Recurrent cells whose input projection can be computed before the loop over time."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from mrcom.core.rng import named_keys
from mrcom.nn.distributions import Normal, normal_of
from mrcom.nn.mlp import Linear, RMSNorm


class GRUCell(eqx.Module):
    """Gated recurrent unit with normalised gates.

    Source: the recurrent cell of DreamerV1-V3 (one normalisation over all three gates, update
    gate shifted by -1 so that it starts by remembering), with RMSNorm.
    """

    inputs: Linear
    recurrent: Linear
    norm: RMSNorm

    def __init__(self, inputs: int, deter: int, *, key: PRNGKeyArray):
        keys = named_keys(key, "inputs", "recurrent")
        self.inputs = Linear(inputs, 3 * deter, key=keys.inputs)
        self.recurrent = Linear(deter, 3 * deter, key=keys.recurrent, bias=False)
        self.norm = RMSNorm(3 * deter)

    def project(self, inputs: Float[Array, "*B I"]) -> Float[Array, "*B G"]:
        """The inputs' share of the gates: needs no recurrence, so all steps at once."""
        return self.inputs(inputs)

    def remember(self, deter: Float[Array, "*B D"]) -> Float[Array, "*B G"]:
        """The memory's share of the gates."""
        return self.recurrent(deter)

    def gate(
        self, shares: Float[Array, "*B G"], deter: Float[Array, "*B D"]
    ) -> Float[Array, "*B D"]:
        """The next memory, from the sum of both shares."""
        reset, candidate, update = jnp.split(self.norm(shares), 3, axis=-1)
        candidate = jnp.tanh(jax.nn.sigmoid(reset) * candidate)
        update = jax.nn.sigmoid(update - 1.0)
        return deter + update * (candidate - deter)

    def __call__(
        self, projected: Float[Array, "*B G"], deter: Float[Array, "*B D"]
    ) -> Float[Array, "*B D"]:
        """One step."""
        return self.gate(projected + self.remember(deter), deter)


class RecurrentNormal(eqx.Module):
    """A Gaussian given some inputs and the variable's own previous value.

    One hidden layer, whose share of the inputs can be computed for all steps at once.
    """

    inputs: Linear
    recurrent: Linear
    norm: RMSNorm
    out: Linear
    min_std: float = eqx.field(static=True)

    def __init__(self, inputs: int, size: int, units: int, *, min_std: float, key: PRNGKeyArray):
        keys = named_keys(key, "inputs", "recurrent", "out")
        self.inputs = Linear(inputs, units, key=keys.inputs)
        self.recurrent = Linear(size, units, key=keys.recurrent, bias=False)
        self.norm = RMSNorm(units)
        self.out = Linear(units, 2 * size, key=keys.out)
        self.min_std = min_std

    def project(self, inputs: Float[Array, "*B I"]) -> Float[Array, "*B G"]:
        """The inputs' share of the hidden layer."""
        return self.inputs(inputs)

    def __call__(self, projected: Float[Array, "*B G"], previous: Float[Array, "*B X"]) -> Normal:
        """The distribution of the next value."""
        hidden = jax.nn.silu(self.norm(projected + self.recurrent(previous)))
        return normal_of(self.out(hidden), self.min_std)
