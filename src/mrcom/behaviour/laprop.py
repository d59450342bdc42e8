"""LaProp with adaptive gradient clipping: gradients normalised first, then given momentum."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import optax

from mrcom.behaviour.steps import joined
from mrcom.core.errors import ConfigError, check_shares


@dataclasses.dataclass(frozen=True)
class LaPropConfig:
    """Rates. Defaults: DreamerV3's present code."""

    learning_rate: float = 4e-5
    """Reached after the warm-up and kept."""
    warmup: int = 1000
    """Updates over which the rate rises from 0 along a line."""
    clip: float = 0.3
    """Longest gradient of a tensor, as a share of the tensor's own length."""
    floor: float = 1e-3
    """Tensors shorter than this are clipped as if they were this long."""
    decay: float = 0.999
    """Of the running mean of squared gradients."""
    eps: float = 1e-20
    """Added to the root of that mean."""
    momentum: float = 0.9
    """Of the running mean of normalised gradients."""

    def __post_init__(self):
        check_shares(self, "decay", "momentum")
        if self.clip <= 0 or self.floor <= 0:
            raise ConfigError(
                f"LaPropConfig.clip={self.clip} and floor={self.floor} must be above 0; the "
                f"defaults are 0.3 and 0.001."
            )

    @property
    def optimizer(self) -> optax.GradientTransformation:
        """Clipping, normalisation, momentum and rate, in this order."""
        rate: optax.ScalarOrSchedule = self.learning_rate
        if self.warmup:
            rate = optax.schedules.linear_schedule(0.0, rate, self.warmup)
        return optax.chain(
            clip_by_own_length(self.clip, self.floor),
            joined(
                optax.chain(
                    optax.scale_by_rms(
                        self.decay, self.eps, eps_in_sqrt=False, bias_correction=True
                    ),
                    optax.ema(self.momentum, debias=True),
                    optax.scale_by_learning_rate(rate),
                )
            ),
        )


def clip_by_own_length(clip: float, floor: float) -> optax.GradientTransformation:
    """Shorten each tensor's gradient to `clip` times the length of the tensor itself.

        g / max(1, |g| / (clip max(floor, |w|)))

    Lengths are of whole tensors.

    Source: Brock et al. 2021, arXiv 2102.06171, who take lengths unit by unit.

    Equation: dreamer.agc
    """

    def shortened(grad: jax.Array, param: jax.Array) -> jax.Array:
        length = jnp.sqrt(jnp.sum(jnp.square(grad)))
        most = clip * jnp.maximum(floor, jnp.sqrt(jnp.sum(jnp.square(param))))
        return grad / jnp.maximum(1.0, length / most)

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        if params is None:
            raise ConfigError("Clipping by a tensor's own length needs the parameters.")
        return jax.tree.map(shortened, updates, params), state

    return optax.GradientTransformation(lambda params: optax.EmptyState(), update)
