"""How parameters move: down a gradient, and after another copy."""

from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int

from mrcom.core.errors import ConfigError
from mrcom.core.types import Number

Params = TypeVar("Params")

SMALL = 16_384
"""Entries up to which optimisers join tensors."""


def joined(each: optax.GradientTransformation) -> optax.GradientTransformation:
    """The same steps, made of all small tensors at once.

    A network has hundreds of tensors, most of them small, and every operation on every one of
    them is a program of its own to the compiler.

    Args:
        each: treats all numbers alike, whichever tensor they are of, and asks for no parameters.
    """

    def init(params: Any) -> Any:
        # How many there are is all that a beginning depends on.
        zeros = lambda joint: jnp.zeros(joint.shape, joint.dtype)
        return each.init(jax.tree.map(zeros, jax.eval_shape(_join, params)))

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        del params
        steps, state = each.update(_join(updates), state)
        return _apart(steps, updates), state

    return optax.GradientTransformation(init, update)


def adam(
    rate: optax.ScalarOrSchedule, *, eps: float = 1e-8, max_norm: Number | None = None
) -> optax.GradientTransformation:
    """Adam, of gradients that are shortened to the length `max_norm` first, if there is one.

    Raises:
        ConfigError: that length is not above 0: nothing would be learnt.
    """
    if max_norm is not None and not max_norm > 0:
        raise ConfigError(f"max_norm={max_norm} must be above 0; leave it as it is.")
    each = optax.adam(rate, eps=eps)
    if max_norm is not None:
        each = optax.chain(optax.clip_by_global_norm(max_norm), each)
    return joined(each)


def _join(tree: Any) -> tuple[list[Array], list[Array]]:
    leaves = jax.tree.leaves(tree)
    small = [leaf.reshape(-1) for leaf in leaves if leaf.size <= SMALL]
    return [jnp.concatenate(small)] if small else [], [x for x in leaves if x.size > SMALL]


def _apart(steps: Any, like: Any) -> Any:
    joint, apart = steps
    leaves, tree = jax.tree.flatten(like)
    ends = np.cumsum([leaf.size for leaf in leaves if leaf.size <= SMALL])
    small = iter(jnp.split(joint[0], ends[:-1]) if joint else [])
    large = iter(apart)
    found = [next(small).reshape(x.shape) if x.size <= SMALL else next(large) for x in leaves]
    return jax.tree.unflatten(tree, found)


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
