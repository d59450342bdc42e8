"""How far two Gaussians may differ, and which of them has to move."""

import dataclasses
from typing import Literal

import jax.numpy as jnp
from jaxtyping import Array, Float

from mrcom.core.errors import ConfigError
from mrcom.nn.distributions import Normal, kl_divergence


@dataclasses.dataclass(frozen=True)
class KLConfig:
    """Direction, slack and balance of the divergence of prior and posterior."""

    direction: Literal["posterior_prior", "as_printed"] = "posterior_prior"
    """KL(posterior || prior), as the bound on the likelihood needs it, or KL(prior ||
    posterior), as the paper prints it."""
    free_nats: float = 1.0
    """A divergence below this many nats is not pushed further down."""
    dyn: float = 1.0
    """Weight of moving the prior towards the posterior."""
    rep: float = 0.1
    """Weight of moving the posterior towards the prior."""

    def __post_init__(self):
        for name in ("free_nats", "dyn", "rep"):
            if getattr(self, name) < 0:
                raise ConfigError(f"KLConfig.{name}={getattr(self, name)} must be 0 or more.")


def gaussian_kl(
    posterior: Normal, prior: Normal, *, direction: Literal["posterior_prior", "as_printed"]
) -> Float[Array, "*B"]:
    """Divergence of prior and posterior in nats, in the chosen direction."""
    if direction == "posterior_prior":
        return kl_divergence(posterior, prior)
    return kl_divergence(prior, posterior)


def balanced_kl(posterior: Normal, prior: Normal, config: KLConfig) -> Float[Array, "*B"]:
    """Divergence whose two sides are pulled with different strength.

        dyn max(free, KL(sg(q), p)) + rep max(free, KL(q, sg(p)))

    where sg stops gradients and KL is taken in the configured direction.

    DEVIATION(mrcom): Eq. 10 prints KL(prior || posterior), with neither slack nor balance; that
    is `KLConfig("as_printed", free_nats=0, dyn=0.5, rep=0.5)`, up to a factor 2 of the gradient.

    Equation: dreamer.balanced_kl
    """
    dyn = gaussian_kl(posterior.stopped(), prior, direction=config.direction)
    rep = gaussian_kl(posterior, prior.stopped(), direction=config.direction)
    return config.dyn * jnp.maximum(dyn, config.free_nats) + config.rep * jnp.maximum(
        rep, config.free_nats
    )
