"""What is known of a scenario from its last steps: Eq. 4's window, through a transformer."""

import abc
import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from mrcom.core.errors import ConfigError, check_least, nearest_multiples
from mrcom.core.rng import named_keys
from mrcom.nn.attention import Block
from mrcom.nn.mlp import Linear, RMSNorm

Memory = tuple[Float[Array, "..."], ...]
"""Keys and values of the last steps, one array [*B, steps, 2 width] per layer."""


@dataclasses.dataclass(frozen=True)
class ContextConfig:
    """Sizes of the context transformer."""

    window: int = 16
    """Steps that a context is made of (m): no older step has any influence on it."""
    layers: int = 2
    """Layers; each attends over a band of window / layers steps."""
    width: int = 96
    """Width of a token and of the context."""
    heads: int = 3
    """Attention heads."""
    expand: int = 2
    """Hidden units of a layer's perceptron, in widths."""

    def __post_init__(self):
        check_least(self, 1, "layers", "width", "heads", "expand")
        if self.window < 1 or self.window % self.layers:
            near = " and ".join(nearest_multiples(self.window, self.layers))
            raise ConfigError(
                f"ContextConfig.window={self.window} must be a multiple of "
                f"layers={self.layers}; the nearest: {near}."
            )

    @property
    def bands(self) -> tuple[int, ...]:
        """Steps each layer attends to, itself included; together they reach `window` steps."""
        band = self.window // self.layers
        return (band,) + (band + 1,) * (self.layers - 1)


class AbstractContext(eqx.Module):
    """What came before a step, as one vector.

    The vector *after* step t (C_{t+1}) is what step t + 1 is predicted from: it knows steps
    t - window + 1 .. t.
    """

    @abc.abstractmethod
    def read(
        self,
        obs: Float[Array, "B L O"],
        action: Float[Array, "B L A"],
        reward: Float[Array, "B L"],
        valid: Float[Array, "B L"],
        *,
        since: int = 0,
    ) -> tuple[Float[Array, "B _ C"], Memory]:
        """Contexts after each of L steps from number `since` on; also keys and values of all.

        Those that none of these contexts has read may be 0.
        """

    @abc.abstractmethod
    def push(
        self,
        memory: Memory,
        obs: Float[Array, "*B O"],
        action: Float[Array, "*B A"],
        reward: Float[Array, "*B"],
    ) -> tuple[Float[Array, "*B C"], Memory]:
        """The context after one more step; the oldest step falls out."""

    @abc.abstractmethod
    def recall(self, memory: Memory, row: Int[Array, " N"], step: Int[Array, " N"]) -> Memory:
        """The memory right after some steps, out of what `read` returned."""


class ContextTransformer(AbstractContext):
    """A transformer whose layers attend over bands that add up to the window.

    One pass over a sequence serves all of its steps, and the same numbers come out step by
    step from a first-in-first-out memory of keys and values.

    Equation: mrcom.eq4
    """

    embed: Linear
    """Of observation, action and reward side by side: the sum of three embeddings."""
    empty: Float[Array, " C"]
    """The token of a step of which nothing is known."""
    blocks: tuple[Block, ...]
    norm: RMSNorm
    observe_reward: bool = eqx.field(static=True)

    def __init__(
        self,
        config: ContextConfig,
        obs: int,
        act: int,
        *,
        observe_reward: bool,
        key: PRNGKeyArray,
    ):
        keys = named_keys(key, "embed", "empty", "blocks")
        self.embed = Linear(obs + act + int(observe_reward), config.width, key=keys.embed)
        self.empty = 0.1 * jax.random.normal(keys.empty, (config.width,))
        self.blocks = tuple(
            Block(
                config.width,
                config.heads,
                band,
                config.expand,
                key=jax.random.fold_in(keys.blocks, layer),
            )
            for layer, band in enumerate(config.bands)
        )
        self.norm = RMSNorm(config.width)
        self.observe_reward = observe_reward

    def read(
        self,
        obs: Float[Array, "B L O"],
        action: Float[Array, "B L A"],
        reward: Float[Array, "B L"],
        valid: Float[Array, "B L"],
        *,
        since: int = 0,
    ) -> tuple[Float[Array, "B _ C"], Memory]:
        """All steps at once. Steps with `valid` 0 become the learned empty token."""
        token = self._token(obs, action, reward)
        x = jnp.where(valid[..., None] > 0, token, jnp.broadcast_to(self.empty, token.shape))
        memory = []
        # A layer answers from the first step that the layers after it read, and no earlier.
        length, firsts = x.shape[1], [since]
        for block in reversed(self.blocks):
            firsts.append(max(firsts[-1] - block.attention.band + 1, 0))
        for block, first in zip(self.blocks, firsts[-2::-1], strict=True):
            gone = length - x.shape[1]
            x, layer = block(x, first - gone)
            memory.append(jnp.pad(layer, [(0, 0), (gone, 0), (0, 0)]))
        return self.norm(x), tuple(memory)

    def push(
        self,
        memory: Memory,
        obs: Float[Array, "*B O"],
        action: Float[Array, "*B A"],
        reward: Float[Array, "*B"],
    ) -> tuple[Float[Array, "*B C"], Memory]:
        """One step."""
        x = self._token(obs, action, reward)
        updated = []
        for block, layer in zip(self.blocks, memory, strict=True):
            x, layer = block.step(x, layer)
            updated.append(layer)
        return self.norm(x), tuple(updated)

    def recall(self, memory: Memory, row: Int[Array, " N"], step: Int[Array, " N"]) -> Memory:
        """The last steps of each layer's band, up to and including `step`."""
        found = []
        for block, layer in zip(self.blocks, memory, strict=True):
            age = np.arange(block.attention.band - 2, -1, -1)
            found.append(layer[row[:, None], step[:, None] - age[None]])
        return tuple(found)

    def _token(
        self,
        obs: Float[Array, "*B O"],
        action: Float[Array, "*B A"],
        reward: Float[Array, "*B"],
    ) -> Float[Array, "*B C"]:
        parts = [obs, action, reward[..., None]] if self.observe_reward else [obs, action]
        return self.embed(jnp.concatenate(parts, axis=-1))


class NoContext(AbstractContext):
    """Nothing is known of what came before: one learned vector for every step."""

    constant: Float[Array, " C"]

    def __init__(self, width: int, *, key: PRNGKeyArray):
        self.constant = 0.1 * jax.random.normal(key, (width,))

    def read(
        self,
        obs: Float[Array, "B L O"],
        action: Float[Array, "B L A"],
        reward: Float[Array, "B L"],
        valid: Float[Array, "B L"],
        *,
        since: int = 0,
    ) -> tuple[Float[Array, "B _ C"], Memory]:
        """The constant, everywhere."""
        shape = (*reward[:, since:].shape, self.constant.shape[0])
        return jnp.broadcast_to(self.constant, shape), ()

    def push(
        self,
        memory: Memory,
        obs: Float[Array, "*B O"],
        action: Float[Array, "*B A"],
        reward: Float[Array, "*B"],
    ) -> tuple[Float[Array, "*B C"], Memory]:
        """The constant."""
        return jnp.broadcast_to(self.constant, (*reward.shape, self.constant.shape[0])), ()

    def recall(self, memory: Memory, row: Int[Array, " N"], step: Int[Array, " N"]) -> Memory:
        """Nothing to remember."""
        return ()
