"""Outputs with a meaning: a number by two-hot bins, and an event."""

import equinox as eqx
import jax
from jaxtyping import Array, Float, PRNGKeyArray

from mrcom.core.numerics import symexp_bins
from mrcom.nn.mlp import MLP


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
    ):
        self.net = MLP(inputs, units, layers, num_bins, key=key, out_scale=0.0)
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


class BernoulliHead(eqx.Module):
    """A perceptron whose output is the log-odds of an event."""

    net: MLP

    def __init__(self, inputs: int, units: int, layers: int, *, key: PRNGKeyArray):
        self.net = MLP(inputs, units, layers, 1, key=key)

    def __call__(self, x: Float[Array, "*B I"]) -> Float[Array, "*B"]:
        """Log-odds of the event."""
        return self.net(x)[..., 0]
