"""What a memory and an embedding of a step near it say about the step after that one."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from mrcom.core.rng import named_keys
from mrcom.models.rssm_parts import RSSMConfig
from mrcom.nn.heads import BINNED_HEADS, BernoulliHead, BinnedHead
from mrcom.nn.mlp import MLP


class LocalHeads(eqx.Module):
    """A second decoder, reward head and continue head; they read features beside embeddings."""

    decoder: MLP
    reward_head: BinnedHead
    cont_head: BernoulliHead

    def __init__(self, config: RSSMConfig, obs: int, *, key: PRNGKeyArray):
        """Heads of the sizes of the model's own, for observations of a padded width."""
        keys, c, kind = named_keys(key, "decoder", "reward", "cont"), config, config.layers
        width = c.feature + c.coder
        self.decoder = MLP(width, c.coder, c.decoder_layers, obs, key=keys.decoder, kind=kind)
        heads, bins = (width, c.units, c.head_layers), (c.reward_bins, c.reward_limit)
        self.reward_head = BINNED_HEADS[c.reward_head](*heads, *bins, key=keys.reward, kind=kind)
        self.cont_head = BernoulliHead(*heads, key=keys.cont, kind=kind)

    def decode(self, read: Float[Array, "*B I"]) -> Float[Array, "*B O"]:
        """The expected observation."""
        return self.decoder(read)

    def reward_logits(self, read: Float[Array, "*B I"]) -> Float[Array, "*B K"]:
        """Logits of the reward's bins."""
        return self.reward_head.logits(read)

    def cont_logit(self, read: Float[Array, "*B I"]) -> Float[Array, "*B"]:
        """Log-odds of the episode going on."""
        return self.cont_head(read)


def read_beside(feature: Float[Array, "*B F"], token: Float[Array, "*B E"]) -> Float[Array, "*B I"]:
    """What the heads read of a memory and an embedding."""
    return jnp.concatenate([feature, token], axis=-1)
