"""Total variation and sensitivity of Gaussians with independent entries."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mrcom.core.generators import named_generator

DRAWS = 2048
"""Points by which a total variation is estimated, always the same: its standard error is at most
0.011."""


def from_unit_normal(
    mean: Float[np.ndarray, "N O"], std: Float[np.ndarray, "N O"]
) -> Float[np.ndarray, " N"]:
    """Total variation between each Gaussian and the unit normal of as many entries.

    The mean of (1 - q / p)_+ over draws of the unit normal p. Of two other Gaussians it is this
    after both were moved and scaled so that one is the unit normal.
    """
    points = named_generator(0, "total_variation").normal(size=(DRAWS, mean.shape[1]))
    found = []
    for row_mean, row_std in zip(mean.astype(np.float64), std.astype(np.float64), strict=True):
        scaled = (points - row_mean) / row_std
        log_ratio = 0.5 * (points**2 - scaled**2).sum(axis=1) - np.log(row_std).sum()
        found.append(np.clip(-np.expm1(log_ratio), 0.0, 1.0).mean())
    return np.array(found)


def gram(
    step: Callable[[Float[Array, "N F"]], Float[Array, "N O"]], point: Float[Array, "N F"]
) -> Float[Array, "N O O"]:
    """J J' of the Jacobian of each row, for functions whose rows do not know each other."""
    out, back = jax.vjp(step, point)
    one = lambda entry: back(jnp.zeros_like(out).at[:, entry].set(1.0))[0]
    rows = jax.lax.map(one, jnp.arange(out.shape[1]))
    return jnp.einsum("onf,pnf->nop", rows, rows)


def sensitivity(
    products: Float[np.ndarray, "N O O"], std: Float[np.ndarray, "N O"]
) -> Float[np.ndarray, " N"]:
    """Largest change of total variation per unit of distance, to first order, at most.

    Half the largest singular value of the Jacobian of the mean over the standard deviation: total
    variation is at most the root of half the divergence (Pinsker), which is half the squared length
    of what the mean moves in standard deviations.

    Args:
        products: J J' of the mean, from `gram`.
        std: of the Gaussian.
    """
    scaled = products / (std[:, :, None] * std[:, None])
    return 0.5 * np.sqrt(np.linalg.eigvalsh(scaled.astype(np.float64))[:, -1].clip(0.0))
