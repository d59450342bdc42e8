"""Errors of the latent state: what an encoder that is wrong by so much would do."""

import dataclasses
import math
from collections.abc import Mapping

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from mrcom.core.errors import ConfigError, unknown
from mrcom.core.rng import named_keys

Range = tuple[float, float]
Shift = Float[Array, "*B E"] | None
"""What is added to all sampled entries of some steps; None for nothing."""


@dataclasses.dataclass(frozen=True)
class LatentError:
    """An error of the sampled states, e_t ~ N(mu_t, sigma_t^2) in every entry.

    It is added to each filtered sample before the memory and the decoder read it. Samples of
    categorical variables are one-hot; the error is a real-valued shift of these, not of logits:
    a softmax takes no notice of a drift that all logits share.

    Equation: fang.latent_error
    """

    drift: Range = (0.0, 0.0)
    """Ends of the range that mu_t is drawn from, uniformly, at every step of every row; two equal
    ends are a constant."""
    variance: Range = (0.0, 0.0)
    """The same of sigma_t^2."""

    def __post_init__(self):
        for name in ("drift", "variance"):
            low, high = getattr(self, name)
            if not (math.isfinite(low) and math.isfinite(high) and low <= high):
                raise ConfigError(
                    f"LatentError.{name}=({low}, {high}) must be two finite numbers, the lower one "
                    f"first; such as ({min(low, high)}, {max(low, high)})."
                )
        if self.variance[0] < 0:
            raise ConfigError(
                f"LatentError.variance={self.variance} must be 0 or more; the nearest is "
                f"(0.0, {max(self.variance[1], 0.0)})."
            )

    @property
    def text(self) -> str:
        """As options and tables write it: `mu,sigma2`, ranges as `low..high`."""
        return ",".join(
            f"{low:g}" if low == high else f"{low:g}..{high:g}"
            for low, high in (self.drift, self.variance)
        )

    def draw(self, key: PRNGKeyArray, shape: tuple[int, ...], entries: int) -> Shift:
        """An error for each of `shape` steps; None where there is none."""
        if self == NONE:
            return None
        keys = named_keys(key, "drift", "variance", "normal")
        drift, variance = (
            jax.random.uniform(key, (*shape, 1), minval=ends[0], maxval=ends[1])
            for key, ends in ((keys.drift, self.drift), (keys.variance, self.variance))
        )
        return drift + jnp.sqrt(variance) * jax.random.normal(keys.normal, (*shape, entries))


NONE = LatentError()
"""No error: nothing is drawn and nothing is added."""

PRESETS: Mapping[str, LatentError] = {
    "none": NONE,
    "walker": LatentError(variance=(5.0, 5.0)),
    "walker-drift": LatentError(drift=(0.0, 5.0), variance=(0.0, 5.0)),
    "quadruped": LatentError(variance=(0.1, 0.1)),
}
"""The error processes of the figures of arXiv 2501.00195, by name."""


def latent_error(text: str) -> LatentError:
    """An error process by its name, or from `mu,sigma2`, each a number or `low..high`.

    Raises:
        ConfigError: neither; the message has the nearest name.
    """
    if text in PRESETS:
        return PRESETS[text]
    try:
        drift, variance = (_range(part) for part in text.split(","))
    except ValueError:
        raise ConfigError(
            f"{unknown('latent error', text, PRESETS)} Or mean and variance, each a number or a "
            f"range, such as 0,5 or 0..5,0.1."
        ) from None
    return LatentError(drift, variance)


def disturbed(sample: Float[Array, "*B E"], error: Shift) -> Array:
    """The sample with its error, or as it is."""
    return sample if error is None else sample + error


def _range(text: str) -> Range:
    low, dots, high = text.partition("..")
    return float(low), float(high if dots else low)
