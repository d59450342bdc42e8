"""Causal attention over a band of steps, for all steps at once or one by one."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from mrcom.core.errors import check_multiple
from mrcom.core.rng import named_keys
from mrcom.nn.mlp import MLP, Linear, RMSNorm

_NEVER = -1e30


class BandedAttention(eqx.Module):
    """Multi-head attention of a step to itself and the `band` - 1 steps before it.

    Positions are relative: a learned bias per head and age. Keys and values travel together
    in one array of twice the width, so that a memory of the last steps is one array.
    """

    project: Linear
    out: Linear
    bias: Float[Array, "heads band"]
    """Added to the scores, by age: 0 is the step itself."""

    def __init__(self, width: int, heads: int, band: int, *, key: PRNGKeyArray):
        what = f"An attention width of {width} must be a multiple of its {heads} heads"
        check_multiple(what, width, heads)
        keys = named_keys(key, "project", "out")
        self.project = Linear(width, 3 * width, key=keys.project)
        self.out = Linear(width, width, key=keys.out)
        self.bias = jnp.zeros((heads, band))

    @property
    def band(self) -> int:
        """Steps that are attended to, the step itself included."""
        return self.bias.shape[1]

    def __call__(
        self, x: Float[Array, "B L C"], skip: int = 0
    ) -> tuple[Float[Array, "B _ C"], Float[Array, "B L E"]]:
        """All steps at once, but the first `skip`; also the keys and values of all."""
        width, length = x.shape[-1], x.shape[-2]
        query = self._projected(x[:, skip:], slice(None, width))
        memory = self._projected(x, slice(width, None))
        key, value = (self._by_head(part) for part in jnp.split(memory, 2, axis=-1))
        scores = jnp.einsum("bqhd,bkhd->bhqk", self._by_head(query), key)
        scores = self._scale(scores) + self._square_bias(length)[None, :, skip:]
        attended = jnp.einsum("bhqk,bkhd->bqhd", jax.nn.softmax(scores, axis=-1), value)
        return self.out(attended.reshape(query.shape)), memory

    def step(
        self, x: Float[Array, "*B C"], memory: Float[Array, "*B M E"]
    ) -> tuple[Float[Array, "*B C"], Float[Array, "*B M E"]]:
        """One more step, given the keys and values of the `band` - 1 before it.

        Returns:
            The output, and the memory with the oldest step pushed out by the new one.
        """
        query, new = jnp.split(self.project(x), [x.shape[-1]], axis=-1)
        seen = jnp.concatenate([memory, new[..., None, :]], axis=-2)
        key, value = (self._by_head(part) for part in jnp.split(seen, 2, axis=-1))
        scores = jnp.sum(self._by_head(query)[..., None, :, :] * key, axis=-1)
        bias = jnp.broadcast_to(self.bias[:, ::-1].T, scores.shape)
        weights = jax.nn.softmax(self._scale(scores) + bias, axis=-2)
        attended = jnp.sum(weights[..., None] * value, axis=-3)
        return self.out(attended.reshape(x.shape)), seen[..., 1:, :]

    def _projected(self, x: Float[Array, "B L C"], cut: slice) -> Float[Array, "B L _"]:
        bias = self.project.bias
        assert bias is not None, "the projection is made with one"
        y = x @ self.project.weight[:, cut]
        return y + jnp.broadcast_to(bias[cut], y.shape)

    def _by_head(self, x: Float[Array, "*B C"]) -> Float[Array, "..."]:
        heads = self.bias.shape[0]
        return x.reshape(*x.shape[:-1], heads, x.shape[-1] // heads)

    def _scale(self, scores: Float[Array, "..."]) -> Float[Array, "..."]:
        return scores * (self.out.weight.shape[0] // self.bias.shape[0]) ** -0.5

    def _square_bias(self, length: int) -> Float[Array, "heads L L"]:
        age = np.arange(length)[:, None] - np.arange(length)[None, :]
        inside = (age >= 0) & (age < self.band)
        return jnp.where(inside, self.bias[:, np.clip(age, 0, self.band - 1)], _NEVER)


class Block(eqx.Module):
    """A pre-normalised transformer block: banded attention, then a perceptron.

    The perceptron normalises its hidden layer, and needs no second normalisation before it.
    """

    attention: BandedAttention
    norm: RMSNorm
    mlp: MLP

    def __init__(self, width: int, heads: int, band: int, expand: int, *, key: PRNGKeyArray):
        keys = named_keys(key, "attention", "mlp")
        self.attention = BandedAttention(width, heads, band, key=keys.attention)
        self.norm = RMSNorm(width)
        self.mlp = MLP(width, expand * width, 1, width, key=keys.mlp)

    def __call__(
        self, x: Float[Array, "B L C"], skip: int = 0
    ) -> tuple[Float[Array, "B _ C"], Float[Array, "B L E"]]:
        """All steps at once, but the first `skip`; also the keys and values of all."""
        attended, memory = self.attention(self.norm(x), skip)
        x = x[:, skip:] + attended
        return x + self.mlp(x), memory

    def step(
        self, x: Float[Array, "*B C"], memory: Float[Array, "*B M E"]
    ) -> tuple[Float[Array, "*B C"], Float[Array, "*B M E"]]:
        """One more step, given the keys and values of those before it."""
        attended, memory = self.attention.step(self.norm(x), memory)
        x = x + attended
        return x + self.mlp(x), memory
