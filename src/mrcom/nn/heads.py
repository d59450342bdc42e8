"""Outputs with a meaning: a number by two-hot bins, and an event."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from mrcom.core.numerics import symexp, symexp_bins
from mrcom.nn.mlp import MLP, PLAIN, LayerKind


def two_hot_mean(logits: Float[Array, "*B K"], bins: Float[Array, " K"]) -> Float[Array, "*B"]:
    """Expected value of a distribution over symmetric bins.

    Opposite bins are subtracted before they are summed: equal weights on them cancel exactly,
    which keeps far bins, whose values may be huge, from adding rounding noise.
    """
    middle = bins.shape[0] // 2
    weights = jax.nn.softmax(logits, axis=-1)
    return (weights[..., middle + 1 :] - weights[..., :middle][..., ::-1]) @ bins[middle + 1 :]


class TwoHotHead(eqx.Module):
    """A perceptron whose output is a distribution over symexp bins; it starts as 0."""

    net: MLP
    limit: float = eqx.field(static=True)

    def __init__(
        self,
        inputs: int,
        units: int,
        layers: int,
        num_bins: int,
        limit: float,
        *,
        key: PRNGKeyArray,
        kind: LayerKind = PLAIN,
    ):
        self.net = MLP(inputs, units, layers, num_bins, key=key, out_scale=0.0, kind=kind)
        self.limit = limit

    @property
    def bins(self) -> Float[Array, " K"]:
        """The values that the logits belong to. Constant: not a parameter."""
        return symexp_bins(self.net.out.weight.shape[1], self.limit)

    def logits(self, x: Float[Array, "*B I"]) -> Float[Array, "*B K"]:
        """Unnormalised log-probabilities of the bins."""
        return self.net(x)

    def __call__(self, x: Float[Array, "*B I"]) -> Float[Array, "*B"]:
        """The expected value."""
        return two_hot_mean(self.logits(x), self.bins)


class SymlogTwoHotHead(eqx.Module):
    """A perceptron whose output is a distribution over even bins of the symlog; it starts as 0.

    Whoever teaches it gives the symlog of the number that is meant.
    """

    net: MLP
    limit: float = eqx.field(static=True)

    def __init__(
        self,
        inputs: int,
        units: int,
        layers: int,
        num_bins: int,
        limit: float,
        *,
        key: PRNGKeyArray,
        kind: LayerKind = PLAIN,
    ):
        self.net = MLP(inputs, units, layers, num_bins, key=key, out_scale=0.0, kind=kind)
        self.limit = limit

    @property
    def bins(self) -> Float[Array, " K"]:
        """Symlogs that the logits belong to. Constant: not a parameter."""
        half = jnp.linspace(-self.limit, 0.0, self.net.out.weight.shape[1] // 2 + 1)
        return jnp.concatenate([half, -half[:-1][::-1]])

    def logits(self, x: Float[Array, "*B I"]) -> Float[Array, "*B K"]:
        """Unnormalised log-probabilities of the bins."""
        return self.net(x)

    def __call__(self, x: Float[Array, "*B I"]) -> Float[Array, "*B"]:
        """The number whose symlog is expected."""
        return symexp(two_hot_mean(self.logits(x), self.bins))


BinnedHead = TwoHotHead | SymlogTwoHotHead
"""A number as a distribution over bins."""

BINNED_HEADS = {"symexp_bins": TwoHotHead, "symlog_bins": SymlogTwoHotHead}
"""Such heads by name: the mean is taken among the numbers, or among their symlogs."""


class BernoulliHead(eqx.Module):
    """A perceptron whose output is the log-odds of an event."""

    net: MLP

    def __init__(
        self,
        inputs: int,
        units: int,
        layers: int,
        *,
        key: PRNGKeyArray,
        kind: LayerKind = PLAIN,
    ):
        self.net = MLP(inputs, units, layers, 1, key=key, kind=kind)

    def __call__(self, x: Float[Array, "*B I"]) -> Float[Array, "*B"]:
        """Log-odds of the event."""
        return self.net(x)[..., 0]
