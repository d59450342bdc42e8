"""Linear maps and perceptrons with several branches, of which every row uses one."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from mrcom.nn.mlp import MLP, LayerNorm, Linear, RMSNorm, hidden_layers


class BranchedLinear(eqx.Module):
    """One of several linear maps, chosen row by row: x @ weight[branch] + bias[branch].

    The maps are looked up, so only memory grows with their number, and a row's gradient is
    exactly zero for every map but its own.
    """

    weight: Float[Array, "branches I O"]
    bias: Float[Array, "branches O"]

    def __init__(self, branches: int, inputs: int, outputs: int, *, key: PRNGKeyArray):
        keys = [jax.random.fold_in(key, branch) for branch in range(branches)]
        self.weight = jnp.stack([Linear(inputs, outputs, key=each).weight for each in keys])
        self.bias = jnp.zeros((branches, outputs))

    def __call__(
        self, x: Float[Array, "... I"], branch: Int[Array, "..."]
    ) -> Float[Array, "... O"]:
        """The map of every vector; `branch` has the first axes of `x`, one number for the rest."""
        rows = x.reshape(*branch.shape, -1, x.shape[-1])
        y = rows @ self.weight[branch] + self.bias[branch][..., None, :]
        return y.reshape(*x.shape[:-1], y.shape[-1])


class BranchedMLP(eqx.Module):
    """A perceptron with shared hidden layers, and an output layer for each branch."""

    hidden: tuple[Linear, ...]
    norms: tuple[RMSNorm | LayerNorm, ...]
    out: BranchedLinear

    def __init__(
        self,
        branches: int,
        inputs: int,
        units: int,
        layers: int,
        outputs: int,
        *,
        key: PRNGKeyArray,
    ):
        shared = MLP(inputs, units, layers, outputs, key=key)
        width = shared.out.weight.shape[0]
        self.hidden, self.norms = shared.hidden, shared.norms
        self.out = BranchedLinear(branches, width, outputs, key=jax.random.fold_in(key, layers))

    def __call__(
        self, x: Float[Array, "... I"], branch: Int[Array, "..."]
    ) -> Float[Array, "... O"]:
        """The output for every vector; `branch` as in `BranchedLinear`."""
        return self.out(hidden_layers(self.hidden, self.norms, x), branch)
