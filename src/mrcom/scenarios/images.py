"""What can be wrong with pictures, for evaluation: pure functions of batches of them."""

import numpy as np
from jaxtyping import Float, UInt8

from mrcom.core.errors import ConfigError
from mrcom.scenarios.embodiment import Real


def noisy(
    images: UInt8[np.ndarray, "*B S S C"], std: Real, rng: np.random.Generator
) -> UInt8[np.ndarray, "*B S S C"]:
    """Pictures with Gaussian noise on every pixel and colour.

    Args:
        images: any number of pictures.
        std: of the noise, in shares of full brightness.
        rng: the only source of randomness.

    Raises:
        ConfigError: a negative standard deviation.
    """
    if not 0 <= std < float("inf"):
        raise ConfigError(f"std={std} of pictures' noise must be finite and at least 0.")
    noise = 255 * std * rng.standard_normal(images.shape)
    return np.clip(np.rint(images + noise), 0, 255).astype(np.uint8)


def rotated(images: UInt8[np.ndarray, "*B S S C"], degrees: Real) -> UInt8[np.ndarray, "*B S S C"]:
    """Pictures turned anticlockwise about their centre, by the nearest pixel; corners are black."""
    side = images.shape[-2]
    centre, angle = (side - 1) / 2, np.deg2rad(degrees)
    row, column = np.mgrid[:side, :side] - centre
    # Each new pixel is looked up where it was before the turn; rows count downwards.
    from_row = np.rint(np.cos(angle) * row + np.sin(angle) * column + centre).astype(int)
    from_column = np.rint(np.cos(angle) * column - np.sin(angle) * row + centre).astype(int)
    inside = (np.minimum(from_row, from_column) >= 0) & (np.maximum(from_row, from_column) < side)
    found = images[..., from_row.clip(0, side - 1), from_column.clip(0, side - 1), :]
    return np.where(inside[..., None], found, 0).astype(np.uint8)


def masked(
    images: UInt8[np.ndarray, "*B S S C"], share: Real, rng: np.random.Generator
) -> UInt8[np.ndarray, "*B S S C"]:
    """Pictures with a share of their pixels black, others in every picture.

    Args:
        images: any number of pictures.
        share: of pixels, in [0, 1]; rounded to whole pixels.
        rng: the only source of randomness.

    Raises:
        ConfigError: a share outside [0, 1].
    """
    if not 0 <= share <= 1:
        nearest = float(np.clip(share, 0, 1))
        raise ConfigError(f"share={share} of masked pixels must lie in [0, 1]: {nearest:g}.")
    shape = images.shape[:-1]
    order: Float[np.ndarray, "_ _"] = rng.random((int(np.prod(shape[:-2])), shape[-1] ** 2))
    hidden = order.argsort(axis=1).argsort(axis=1) < round(share * shape[-1] ** 2)
    return np.where(hidden.reshape(*shape, 1), 0, images).astype(np.uint8)
