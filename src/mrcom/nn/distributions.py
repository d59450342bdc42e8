"""Diagonal Gaussians: samples, log-probability and divergence."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


class Normal(eqx.Module):
    """A Gaussian with independent entries along the last axis."""

    mean: Float[Array, "*B U"]
    std: Float[Array, "*B U"]

    def sample(self, noise: Float[Array, "... U"] | None) -> Float[Array, "... U"]:
        """Mean plus `noise` standard deviations; the mean itself where `noise` is None."""
        return self.mean if noise is None else self.mean + self.std * noise

    def log_prob(self, x: Float[Array, "*B U"]) -> Float[Array, "*B"]:
        """Log-density of `x`, summed over the last axis."""
        scaled = (x - self.mean) / self.std
        return jnp.sum(-0.5 * (jnp.square(scaled) + jnp.log(2 * jnp.pi)) - jnp.log(self.std), -1)

    def stopped(self) -> "Normal":
        """The same distribution as a constant."""
        return Normal(jax.lax.stop_gradient(self.mean), jax.lax.stop_gradient(self.std))


def normal_of(raw: Float[Array, "*B P"], min_std: float) -> Normal:
    """A network's output as mean and standard deviation, softplus plus a floor."""
    mean, std = jnp.split(raw, 2, axis=-1)
    return Normal(mean, jax.nn.softplus(std) + min_std)


def kl_divergence(left: Normal, right: Normal) -> Float[Array, "*B"]:
    """KL(left || right) in nats, summed over the last axis.

        sum_i  ln(s'_i / s_i) + (s_i^2 + (m_i - m'_i)^2) / (2 s'_i^2) - 1/2

    where the dashed letters belong to `right`.
    """
    ratio = jnp.square(left.std / right.std)
    distance = jnp.square((left.mean - right.mean) / right.std)
    return 0.5 * jnp.sum(ratio + distance - 1.0 - jnp.log(ratio), axis=-1)
