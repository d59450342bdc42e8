"""How parameters move: down a gradient, and after another copy."""

from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from mrcom.core.types import Number

Params = TypeVar("Params")


def start_moments(optimizer: optax.GradientTransformation, params: Any) -> Any:
    """An optimiser's state before its first step. All leaves of `params` must be arrays."""
    return optimizer.init(params)


def descend(
    optimizer: optax.GradientTransformation, params: Params, grads: Any, moments: Any
) -> tuple[Params, Any]:
    """Parameters and optimiser state after one step."""
    state: Any = params
    updates, moments = optimizer.update(grads, moments, state)
    moved: Any = optax.apply_updates(state, updates)
    return moved, moments


def follow(slow: Params, online: Params, rate: Number) -> Params:
    """A slow copy, moved by `rate` of the way to its original."""
    return jax.tree.map(lambda s, o: s + rate * (o - s), slow, online)


def running_mean(
    mean: Float[Array, ""], now: Float[Array, ""], updates: Int[Array, ""], rate: Number
) -> Float[Array, ""]:
    """A mean after `updates` updates, moved by `rate` of the way to what is seen now.

    It is a plain mean until that is slower, so that it has no start to forget.
    """
    share = jnp.maximum(rate, 1.0 / (updates.astype(now.dtype) + 1.0))
    return mean + share * (now - mean)
