"""Losses on a part of a window: its beginning, random steps of it, steps beside each other."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray, Shaped

from mrcom.core.errors import ConfigError


def grown(updates: Int[Array, ""], *, first: int, last: int, over: int) -> Int[Array, ""]:
    """How many steps of a window are learnt from after so many updates.

        h = min(last, ceil(first + updates (last - first) / over))

    All of them at once where `over` is 0, or where a window has no more than `first`.

    Equation: mamba.horizon
    """
    if over == 0 or last <= first:
        return jnp.asarray(last, jnp.int32)
    if over * (last - first) >= 2**31:
        raise ConfigError(f"over={over} times {last - first} steps do not fit into 32 bits.")
    done = jnp.minimum(updates, over)
    # In whole numbers: floats round far from 0, and a ceiling would show it.
    return first + (done * (last - first) + over - 1) // over


def within(until: Int[Array, ""], length: int) -> Float[Array, " L"]:
    """Weights of a window's steps whose mean over all of them is that over the first `until`."""
    share = length / until.astype(jnp.float32)
    return jnp.where(jnp.arange(length) < until, share, 0.0)


def random_steps(
    key: PRNGKeyArray, rows: int, count: int, until: Int[Array, ""]
) -> Int[Array, "B S"]:
    """`count` of the first `until` steps of every window, with replacement."""
    return jax.random.randint(key, (rows, count), 0, until)


def at_steps(array: Shaped[Array, "B L *F"], step: Int[Array, "B S"]) -> Shaped[Array, "B S *F"]:
    """What stands at some steps of every window."""
    return array[jnp.arange(array.shape[0])[:, None], step]


class Pairs(eqx.Module):
    """Steps of a window that belong together; all three lie in the same row."""

    memory: Int[Array, "B P"]
    """Whose state is read."""
    seen: Int[Array, "B P"]
    """Whose embedding is read beside it."""
    meant: Int[Array, "B P"]
    """What they shall predict."""
    there: Float[Array, "B P"]
    """1, or 0 where a window's border leaves no such step."""


def local_pairs(step: Int[Array, "B S"], until: Int[Array, ""], *, window: int) -> Pairs:
    """The state of each step with the embeddings around it, each of which means its next step.

        (t, t + k) -> t + k + 1,  k = -w .. w,  window = 2 w + 1

    Steps of one t follow each other, in order of k. Only the first `until` steps of a window
    exist.

    Equation: mamba.local_pairs
    """
    # DEVIATION(mamba): the shipped code repeats states as a block where windows are interleaved,
    # so that nearly every embedding stands beside the state of some other step.
    reach = window // 2
    apart = jnp.arange(-reach, window - reach)[None, None]
    seen = (step[:, :, None] + apart).reshape(step.shape[0], -1)
    there = (seen >= 0) & (seen + 1 < until)
    inside = jnp.where(there, seen, 0)
    memory = jnp.repeat(step, window, axis=1)
    return Pairs(memory, inside, jnp.where(there, inside + 1, 0), there.astype(jnp.float32))
