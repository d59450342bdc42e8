"""Sizes of the recurrent state-space model, the parts in its slots, what it remembers."""

import abc
import dataclasses
from collections.abc import Callable, Mapping

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Integer, PRNGKeyArray

from mrcom.core.errors import ConfigError, check_least, unknown
from mrcom.models.pixels import PixelsConfig
from mrcom.nn.block_gru import BlockGRU
from mrcom.nn.categorical import Categorical, categorical_of
from mrcom.nn.gru import NormedGRU
from mrcom.nn.heads import BINNED_HEADS
from mrcom.nn.mlp import MLP, LayerKind


@dataclasses.dataclass(frozen=True)
class RSSMConfig:
    """Sizes and slots. Defaults: the 12 million parameters of DreamerV3's present code."""

    deter: int = 2048
    """Units of the recurrent state."""
    groups: int = 8
    """Groups of the block-diagonal cell; they must divide `deter`."""
    hidden: int = 256
    """Hidden units of the cell, the prior and the posterior."""
    stoch: int = 32
    """Categorical variables of the sampled state."""
    classes: int = 16
    """Classes of each."""
    units: int = 256
    """Hidden units of encoder, decoder and heads."""
    coder_units: int | None = None
    """Hidden units of encoder and decoder where they are not `units`."""
    encoder_layers: int = 3
    """Hidden layers of the encoder; it has no others."""
    decoder_layers: int = 3
    """Hidden layers of the decoder."""
    head_layers: int = 1
    """Hidden layers of the reward and continue heads."""
    prior_layers: int = 2
    """Hidden layers of the prior."""
    posterior_layers: int = 1
    """Hidden layers of the posterior."""
    unimix: float = 0.01
    """Share of a uniform distribution in every prior and posterior."""
    reward_bins: int = 255
    """Bins of the two-hot reward; an odd number."""
    reward_limit: float = 20.0
    """Bins reach symexp of this."""
    observe_reward: bool = True
    """Whether the encoder reads the last reward beside the observation."""
    discount: float = 1.0
    """Per control step, where it is folded into what the continue head is taught; 1 where it is
    not. `cont` takes it out again."""
    cell: str = "block_gru"
    """Name of the recurrent cell, one of `CELLS`."""
    start: str = "zeros"
    """Name of what an episode starts from, one of `STARTS`."""
    reward_head: str = "symexp_bins"
    """Name of the reward head, one of `BINNED_HEADS`."""
    layers: LayerKind = LayerKind("rms", 1e-4)
    """What all hidden layers are made of."""
    pixels: PixelsConfig | None = None
    """Pictures, where there are any beside observations."""

    def __post_init__(self):
        for kind, name, known in (
            ("cell", self.cell, CELLS),
            ("start", self.start, STARTS),
            ("reward_head", self.reward_head, BINNED_HEADS),
        ):
            if name not in known:
                raise unknown(f"RSSMConfig.{kind}", name, known)
        check_least(self, 1, "deter", "groups", "hidden", "stoch", "classes", "units", "coder")
        check_least(self, 1, "reward_bins")
        if self.reward_bins % 2 == 0:
            raise ConfigError(
                f"RSSMConfig.reward_bins={self.reward_bins} must be odd, so that one bin is 0; "
                f"the nearest are {self.reward_bins - 1} and {self.reward_bins + 1}."
            )
        if not 0 < self.discount <= 1:
            raise ConfigError(f"RSSMConfig.discount={self.discount} must lie in (0, 1].")
        if not 0 <= self.unimix < 1:
            nearest = 0 if self.unimix < 0 else 0.99
            raise ConfigError(
                f"RSSMConfig.unimix={self.unimix} must lie in [0, 1); the nearest is {nearest}."
            )
        if self.classes > 255:
            raise ConfigError(
                f"RSSMConfig.classes={self.classes} must be at most 255: replay keeps classes "
                f"as bytes."
            )

    @property
    def flat_stoch(self) -> int:
        """Entries of the sampled state."""
        return self.stoch * self.classes

    @property
    def coder(self) -> int:
        """Hidden units of encoder and decoder."""
        return self.units if self.coder_units is None else self.coder_units

    @property
    def feature(self) -> int:
        """Width of what heads, critics and policies read."""
        return self.flat_stoch + self.deter


class State(eqx.Module):
    """What the model remembers at one step."""

    deter: Float[Array, "*B D"]
    """Recurrent: carries the history (the paper's h)."""
    stoch: Float[Array, "*B S K"]
    """Sampled, one-hot: what history cannot tell (the paper's z)."""
    obs_mask: Float[Array, "*B O"]
    act_mask: Float[Array, "*B A"]
    body: Int[Array, "*B"] | None = None
    """Index of the body, for those who have to know its units."""


class Posterior(eqx.Module):
    """What the model made of T steps of B windows."""

    deter: Float[Array, "B T D"]
    stoch: Float[Array, "B T S K"]
    token: Float[Array, "B T E"]
    """The encoder's outputs."""
    prior: Categorical
    posterior: Categorical
    obs_mask: Float[Array, "B O"]
    act_mask: Float[Array, "B A"]
    body: Int[Array, " B"] | None

    @property
    def feature(self) -> Float[Array, "B T F"]:
        """What heads, critics and policies read."""
        return feature_of(self.deter, self.stoch)


def feature_of(deter: Float[Array, "*B D"], stoch: Float[Array, "*B S K"]) -> Float[Array, "*B F"]:
    """Sampled and recurrent state side by side."""
    return jnp.concatenate([flattened(stoch), deter], axis=-1)


def flattened(stoch: Float[Array, "*B S K"]) -> Float[Array, "*B Z"]:
    """All variables in one vector."""
    return stoch.reshape(*stoch.shape[:-2], stoch.shape[-2] * stoch.shape[-1])


def packed(stoch: Float[Array, "*B S K"]) -> Integer[Array, "*B S"]:
    """Samples as bytes: 1 + the class of every variable, 0 where there is none."""
    chosen = jnp.argmax(stoch, axis=-1) + 1
    return jnp.where(jnp.any(stoch != 0, axis=-1), chosen, 0).astype(jnp.uint8)


def unpacked(stored: Integer[Array, "*B S"], classes: int) -> Float[Array, "*B S K"]:
    """The inverse of `packed`."""
    return jax.nn.one_hot(stored.astype(jnp.int32) - 1, classes)


Cell = Callable[[Array, Array, Array], Array]
"""Memory [*B, D], flattened sample [*B, Z] and action [*B, A] to the next memory: a module."""


def block_gru(config: RSSMConfig, act: int, key: PRNGKeyArray) -> BlockGRU:
    """The block-diagonal cell of a configuration."""
    return BlockGRU(
        config.deter,
        config.flat_stoch,
        act,
        hidden=config.hidden,
        groups=config.groups,
        kind=config.layers,
        key=key,
    )


def normed_gru(config: RSSMConfig, act: int, key: PRNGKeyArray) -> NormedGRU:
    """The plain cell of a configuration."""
    return NormedGRU(
        config.deter,
        config.flat_stoch,
        act,
        hidden=config.hidden,
        kind=config.layers,
        key=key,
    )


class AbstractStart(eqx.Module):
    """What an episode starts from."""

    @abc.abstractmethod
    def __call__(
        self, prior: MLP, config: RSSMConfig
    ) -> tuple[Float[Array, " D"], Float[Array, "S K"]]:
        """Recurrent and sampled state before the first step; `prior` makes logits of a memory."""


class ZeroStart(AbstractStart):
    """Zeros, which are no sample of anything."""

    def __call__(
        self, prior: MLP, config: RSSMConfig
    ) -> tuple[Float[Array, " D"], Float[Array, "S K"]]:
        """Zeros."""
        return jnp.zeros(config.deter), jnp.zeros((config.stoch, config.classes))


class LearnedStart(AbstractStart):
    """A learned memory, and the sample that the prior finds most likely there."""

    vector: Float[Array, " D"]

    def __call__(
        self, prior: MLP, config: RSSMConfig
    ) -> tuple[Float[Array, " D"], Float[Array, "S K"]]:
        """The vector through tanh, and the prior's mode, which passes no gradient."""
        deter = jnp.tanh(self.vector)
        logits = prior(deter).reshape(config.stoch, config.classes)
        mode = categorical_of(logits, config.unimix).sample(None)
        return deter, jax.lax.stop_gradient(mode)


# Parts are named, so that a configuration is plain data; a new part is a new entry.
CELLS: Mapping[str, Callable[[RSSMConfig, int, PRNGKeyArray], Cell]] = {
    "block_gru": block_gru,
    "gru": normed_gru,
}
"""Recurrent cells: from configuration, width of an action and key to the module."""

STARTS: Mapping[str, Callable[[RSSMConfig, PRNGKeyArray], AbstractStart]] = {
    "zeros": lambda config, key: ZeroStart(),
    "learned": lambda config, key: LearnedStart(jnp.zeros(config.deter)),
}
"""What episodes may start from."""
