"""How a latent world model sees pictures, and what it thinks they look like."""

import dataclasses

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, UInt8

from mrcom.core.errors import ConfigError
from mrcom.core.rng import named_keys
from mrcom.nn.cnn import MULTIPLES, ConvDecoder, ConvEncoder, smallest
from mrcom.nn.mlp import PLAIN, LayerKind

Image = UInt8[Array, "*B _ _ 3"] | None
"""Pictures, where there are any."""

CHANNELS = 3
"""Red, green, blue."""


@dataclasses.dataclass(frozen=True)
class PixelsConfig:
    """Pictures and the networks that read and draw them."""

    side: int = 64
    """Height and width of a picture [pixels]."""
    units: int = 64
    """Half the hidden units between the sampled state and the smallest picture."""

    @property
    def depth(self) -> int:
        """Channels are multiples of this: a sixteenth of the units, as in DreamerV3's sizes."""
        return max(2, self.units // 16)

    @property
    def width(self) -> int:
        """Entries of what a picture is read as."""
        return smallest(self.side) ** 2 * MULTIPLES[-1] * self.depth


class Pixels(eqx.Module):
    """A convolutional encoder and decoder of pictures.

    Sizes and layers are those of DreamerV3's present code: kernels of 5, channels in the ratio
    2 : 3 : 4 : 4, each layer's largest of 2 x 2 on the way in.
    """

    encoder: ConvEncoder
    decoder: ConvDecoder
    config: PixelsConfig = eqx.field(static=True)

    def __init__(
        self,
        config: PixelsConfig,
        memory: int,
        rest: int,
        *,
        key: PRNGKeyArray,
        kind: LayerKind = PLAIN,
    ):
        """Fresh networks for a recurrent state and the rest of the state of these widths."""
        keys, sizes = named_keys(key, "encoder", "decoder"), (config.side, CHANNELS, config.depth)
        self.config = config
        self.encoder = ConvEncoder(*sizes[1:], key=keys.encoder, kind=kind)
        self.decoder = ConvDecoder(
            memory, rest, 2 * config.units, *sizes, key=keys.decoder, kind=kind
        )

    def read(self, image: UInt8[Array, "*B S S 3"]) -> Float[Array, "*B E"]:
        """What pictures are read as."""
        flat = image.reshape(-1, *image.shape[-3:]).astype(jnp.float32)
        return self.encoder(flat / 255 - 0.5).reshape(*image.shape[:-3], self.config.width)

    def draw(
        self, memory: Float[Array, "*B D"], rest: Float[Array, "*B R"]
    ) -> Float[Array, "*B S S 3"]:
        """The expected pictures, in [0, 1]."""
        rows = [x.reshape(-1, x.shape[-1]) for x in (memory, rest)]
        drawn = self.decoder(*rows)
        return drawn.reshape(*memory.shape[:-1], *drawn.shape[1:])


def new_pixels(
    config: PixelsConfig | None,
    memory: int,
    rest: int,
    *,
    key: PRNGKeyArray,
    kind: LayerKind = PLAIN,
) -> Pixels | None:
    """Fresh networks, where there are pictures."""
    return None if config is None else Pixels(config, memory, rest, key=key, kind=kind)


def width_of(config: PixelsConfig | None) -> int:
    """Entries that a picture adds to what is seen."""
    return 0 if config is None else config.width


def beside(seen: Float[Array, "*B O"], pixels: Pixels | None, image: Image) -> Float[Array, "*B E"]:
    """What was seen with what its picture is read as beside it, where there are pictures.

    Raises:
        ConfigError: the model has pictures and was given none, or the other way round.
    """
    if pixels is None and image is None:
        return seen
    if pixels is None or image is None:
        missing = "a picture" if image is None else "PixelsConfig"
        raise ConfigError(f"Pictures are seen by models that have them: {missing} is missing.")
    return jnp.concatenate([seen, pixels.read(image)], axis=-1)


def drawn(
    pixels: Pixels | None, memory: Float[Array, "*B D"], rest: Float[Array, "*B R"]
) -> Float[Array, "*B S S 3"]:
    """What a state looks like.

    Raises:
        ConfigError: the model has no pictures.
    """
    if pixels is None:
        raise ConfigError("This world model sees no pictures, so it cannot draw any.")
    return pixels.draw(memory, rest)
