"""The Jacobian of latent dynamics as a loss term, which every method that has some may have."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from mrcom.agents.method import JACOBIAN, Method
from mrcom.core.config import differing
from mrcom.core.errors import ConfigError, unknown
from mrcom.core.rng import named_keys
from mrcom.models.world_model import AbstractLatentModel
from mrcom.objectives.jacobian import JacobianConfig, squared_gain, taught_when
from mrcom.objectives.some_steps import at_steps, random_steps


def jacobian_term(
    model: AbstractLatentModel,
    posterior: Any,
    action: Float[Array, "B T A"],
    updates: Int[Array, ""],
    config: JacobianConfig,
    key: PRNGKeyArray,
    until: Int[Array, ""] | None = None,
) -> Float[Array, "B S"]:
    """The squared gain of the dynamics at some random filtered steps.

    From the features of a step to those of the next one a priori, under the action that really
    followed and in the context as it was: means of Gaussians, and of one-hot samples their
    probabilities. The steps are constants: no gradient reaches the encoder through the place
    where the gain is taken, only what advances a state.

    Args:
        posterior: what the model made of the T steps that these actions led into.
        updates: how many there were.
        until: steps of each row that may be chosen from; all where absent.
    """
    keys, (rows, length) = named_keys(key, "steps", "probes"), action.shape[:2]
    last = (jnp.asarray(length) if until is None else until) - 1
    step = random_steps(keys.steps, rows, config.steps_of(length - 1), last)
    index = (jnp.arange(rows)[:, None] * length + step).ravel()
    start = jax.lax.stop_gradient(model.states_at(posterior, index))
    following = at_steps(action, step + 1).reshape(index.size, -1)
    columns = columns_of(model.blocks, config.blocks)
    point = model.feature(start)

    def advance(chosen: Float[Array, "N I"]) -> Float[Array, "N I"]:
        whole = chosen if columns is None else point.at[:, columns].set(chosen)
        # Without a key a categorical sample counts as its probabilities, and a Gaussian is its
        # mean; a frozen context is one held fixed.
        after, _ = model.predict(
            model.with_feature(start, whole), following, key=None, dream_context="frozen"
        )
        feature = model.feature(after)
        return feature if columns is None else feature[:, columns]

    chosen = point if columns is None else point[:, columns]
    gain = squared_gain(advance, chosen, keys.probes, config)
    return taught_when(gain.reshape(step.shape), updates, config)


def columns_of(widths: dict[str, int], blocks: tuple[str, ...]) -> Int[np.ndarray, " I"] | None:
    """Where some parts of a feature lie in it; None for all of it."""
    if not blocks:
        return None
    ends = np.cumsum(list(widths.values()))
    places = {
        name: np.arange(end - width, end)
        for (name, width), end in zip(widths.items(), ends, strict=True)
    }
    return np.concatenate([places[name] for name in widths if name in blocks])


def check_jacobian(method: Method, config: JacobianConfig) -> None:
    """Raise where the Jacobian is about a part, or settings about a term, that is not there.

    Raises:
        ConfigError: it is; the message names the nearest part, or what the settings lack.
    """
    if JACOBIAN not in method.terms and (given := differing(config, JacobianConfig())):
        said = ", ".join(f"{JACOBIAN}.{name}={values[0]!r}" for name, values in given.items())
        raise ConfigError(
            f"{method.name} does not take the Jacobian that {said} is about: give --jacobian "
            f"WEIGHT, or leave it out."
        )
    known = [part for part in method.parts if "context" not in part]
    for name in config.blocks:
        if name not in known:
            raise unknown(f"JacobianConfig.blocks of {method.name}", name, known)
