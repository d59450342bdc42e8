"""The actor: a Gaussian over real action dimensions, squashed by tanh or not."""

import abc
import dataclasses
import math
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from mrcom.core.errors import ConfigError, check_least, unknown
from mrcom.core.rng import named_keys
from mrcom.nn.mlp import MLP, PLAIN, LayerKind

# Nodes and weights of a 16-point rule for means under a unit normal; exact to about 1e-4 nats
# for the entropy of a squashed normal whose standard deviation is at most 1.
_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(16)

Reads = Callable[[Float[Array, "M *T F"]], Float[Array, "M *T V"]]
"""From features of dreams to what a policy reads of them."""


@dataclasses.dataclass(frozen=True)
class ActorConfig:
    """Size and range of a policy."""

    units: int = 256
    """Width of the hidden layers."""
    layers: int = 2
    """Hidden layers."""
    min_std: float = 0.05
    """Least standard deviation before squashing. A tanh of it has entropy -1.6 per dimension,
    below SAC's usual target of -1."""
    max_std: float = 1.0
    """Greatest one. A squashed unit normal is nearly uniform on [-1, 1]."""
    init_std: float = 0.7
    """The one that training starts near."""
    max_mean: float = 5.0
    """Means are bent smoothly into this range, where tanh still has a gradient. Means that are
    not squashed lie in (-1, 1) anyway."""
    distribution: str = "squashed_normal"
    """Name of the distribution, one of `DISTRIBUTIONS`. Standard deviations are before squashing
    where it squashes."""
    kind: LayerKind = PLAIN
    """What the hidden layers are made of."""
    out_scale: float = 1e-4
    """Variance of the output layer's first weights, against that of the others."""

    def __post_init__(self):
        check_least(self, 1, "units")
        if self.distribution not in DISTRIBUTIONS:
            raise unknown("action distribution", self.distribution, DISTRIBUTIONS)
        if not 0 < self.min_std < self.init_std < self.max_std:
            raise ConfigError(
                f"ActorConfig needs 0 < min_std < init_std < max_std, got {self.min_std}, "
                f"{self.init_std}, {self.max_std}; the defaults are 0.05, 0.7, 1."
            )


class AbstractActions(eqx.Module):
    """A distribution over actions; padded entries are exactly 0 and have no share."""

    @abc.abstractmethod
    def sample(self, key: PRNGKeyArray) -> tuple[Float[Array, "*B A"], Float[Array, "*B"]]:
        """An action and its log-probability, both with gradients to the parameters."""

    @abc.abstractmethod
    def log_prob(self, action: Float[Array, "*B A"]) -> Float[Array, "*B"]:
        """Log-density of an action, summed over real dimensions."""

    @abc.abstractmethod
    def mode(self) -> Float[Array, "*B A"]:
        """What the policy does when it does not explore."""

    @abc.abstractmethod
    def entropy(self) -> Float[Array, "*B"]:
        """Differential entropy in nats, summed over real dimensions."""

    @abc.abstractmethod
    def divergence(self, other: Any) -> Float[Array, "*B"]:
        """KL(self || other) in nats of another of the same kind, summed over real dimensions."""


class SquashedNormal(AbstractActions):
    """tanh of a Gaussian with independent entries; padded entries are exactly 0.

    Attributes:
        mean: before squashing; 0 in padded entries.
        log_std: before squashing; 0 in padded entries.
        mask: 1 for real action dimensions, 0 for padded ones.
    """

    mean: Float[Array, "*B A"]
    log_std: Float[Array, "*B A"]
    mask: Float[Array, "*B A"]

    def sample(self, key: PRNGKeyArray) -> tuple[Float[Array, "*B A"], Float[Array, "*B"]]:
        """An action and its log-probability, both with gradients to the parameters."""
        noise = jax.random.normal(key, self.mean.shape) * self.mask
        raw = self.mean + jnp.exp(self.log_std) * noise
        return jnp.tanh(raw), self._log_prob_of_raw(raw)

    def log_prob(self, action: Float[Array, "*B A"]) -> Float[Array, "*B"]:
        """Log-density of an action, summed over real dimensions.

        Actions are first moved to within 1e-6 of the open interval (-1, 1), where it is finite.
        """
        inside = jnp.clip(action, -1 + 1e-6, 1 - 1e-6)
        return self._log_prob_of_raw(jnp.arctanh(inside))

    def mode(self) -> Float[Array, "*B A"]:
        """The squashed mean: what the policy does when it does not explore."""
        return jnp.tanh(self.mean)

    def entropy(self) -> Float[Array, "*B"]:
        """Differential entropy in nats, summed over real dimensions; without sampling.

        H[tanh x] = H[x] + E[ln(1 - tanh(x)^2)], the mean by 16-point Gauss-Hermite quadrature.
        """
        nodes = jnp.asarray(_NODES, self.mean.dtype)
        weights = jnp.asarray(_WEIGHTS / _WEIGHTS.sum(), self.mean.dtype)
        std = jnp.exp(self.log_std)

        def of_node(node: Float[Array, ""]) -> Float[Array, "*B A"]:
            return log_slope(self.mean + std * node)

        correction = jnp.tensordot(weights, jax.vmap(of_node)(nodes), axes=1)
        plain = 0.5 * math.log(2 * math.pi * math.e) + self.log_std
        return jnp.sum(self.mask * (plain + correction), axis=-1)

    def divergence(self, other: "SquashedNormal") -> Float[Array, "*B"]:
        """KL(self || other) in nats, summed over real dimensions.

        Squashing both by the same function leaves it that of the Gaussians.
        """
        ratio = jnp.exp(2 * (self.log_std - other.log_std))
        apart = jnp.square((self.mean - other.mean) * jnp.exp(-other.log_std))
        each = 0.5 * (ratio + apart - 1) + other.log_std - self.log_std
        return jnp.sum(self.mask * each, axis=-1)

    def _log_prob_of_raw(self, raw: Float[Array, "*B A"]) -> Float[Array, "*B"]:
        scaled = (raw - self.mean) * jnp.exp(-self.log_std)
        plain = -0.5 * jnp.square(scaled) - self.log_std - 0.5 * math.log(2 * math.pi)
        return jnp.sum(self.mask * (plain - log_slope(raw)), axis=-1)


class PlainNormal(AbstractActions):
    """A Gaussian with independent entries, neither squashed nor cut off.

    Attributes:
        mean: 0 in padded entries.
        std: 1 in padded entries.
        mask: 1 for real action dimensions, 0 for padded ones.
    """

    mean: Float[Array, "*B A"]
    std: Float[Array, "*B A"]
    mask: Float[Array, "*B A"]

    def sample(self, key: PRNGKeyArray) -> tuple[Float[Array, "*B A"], Float[Array, "*B"]]:
        """An action, which may lie outside [-1, 1], and its log-probability."""
        noise = jax.random.normal(key, self.mean.shape) * self.mask
        action = self.mean + self.std * noise
        return action, self.log_prob(action)

    def log_prob(self, action: Float[Array, "*B A"]) -> Float[Array, "*B"]:
        """Log-density of an action, summed over real dimensions."""
        scaled = (action - self.mean) / self.std
        each = -0.5 * jnp.square(scaled) - jnp.log(self.std) - 0.5 * math.log(2 * math.pi)
        return jnp.sum(self.mask * each, axis=-1)

    def mode(self) -> Float[Array, "*B A"]:
        """The mean."""
        return self.mean

    def entropy(self) -> Float[Array, "*B"]:
        """Differential entropy in nats, summed over real dimensions."""
        each = 0.5 * math.log(2 * math.pi * math.e) + jnp.log(self.std)
        return jnp.sum(self.mask * each, axis=-1)

    def divergence(self, other: "PlainNormal") -> Float[Array, "*B"]:
        """KL(self || other) in nats, summed over real dimensions."""
        ratio = self.std / other.std
        apart = (self.mean - other.mean) / other.std
        each = 0.5 * (jnp.square(ratio) + jnp.square(apart) - 1) - jnp.log(ratio)
        return jnp.sum(self.mask * each, axis=-1)


def log_slope(raw: Float[Array, "*B"]) -> Float[Array, "*B"]:
    """ln(1 - tanh(x)^2), in a form that stays finite for large |x|."""
    return 2 * (math.log(2) - raw - jax.nn.softplus(-2 * raw))


def squashed_normal(
    config: ActorConfig,
    raw_mean: Float[Array, "*B A"],
    raw_std: Float[Array, "*B A"],
    mask: Float[Array, "*B A"],
) -> SquashedNormal:
    """From a network's outputs; the standard deviation between its bounds by its logarithm."""
    low, high = math.log(config.min_std), math.log(config.max_std)
    share = (math.log(config.init_std) - low) / (high - low)
    spread = jax.nn.sigmoid(raw_std + math.log(share / (1 - share)))
    mean = config.max_mean * jnp.tanh(raw_mean / config.max_mean)
    return SquashedNormal(mask * mean, mask * (low + (high - low) * spread), mask)


def plain_normal(
    config: ActorConfig,
    raw_mean: Float[Array, "*B A"],
    raw_std: Float[Array, "*B A"],
    mask: Float[Array, "*B A"],
) -> PlainNormal:
    """From a network's outputs: tanh of the mean, the standard deviation between its bounds.

    Equation: dreamer.policy
    """
    low, high = config.min_std, config.max_std
    share = (config.init_std - low) / (high - low)
    spread = jax.nn.sigmoid(raw_std + math.log(share / (1 - share)))
    std = jnp.where(mask > 0, low + (high - low) * spread, 1.0)
    return PlainNormal(mask * jnp.tanh(raw_mean), std, mask)


DISTRIBUTIONS = {"squashed_normal": squashed_normal, "plain_normal": plain_normal}
"""From a network's two outputs to a distribution of actions, by name."""


class Actor(eqx.Module):
    """Feature to a distribution of actions, one network for all bodies.

    The mask multiplies mean, log standard deviation and noise, so padded dimensions are exactly
    0, have no share in probabilities, and pass no gradient.
    """

    net: MLP
    config: ActorConfig = eqx.field(static=True)

    def __init__(self, feature: int, act: int, config: ActorConfig, *, key: PRNGKeyArray):
        """A new actor; its first means are near 0 where `out_scale` is small.

        `feature` is the width of what it reads, `act` that of a padded action.
        """
        self.net = MLP(
            feature,
            config.units,
            config.layers,
            2 * act,
            key=named_keys(key, "actor").actor,
            out_scale=config.out_scale,
            kind=config.kind,
        )
        self.config = config

    def __call__(
        self, feature: Float[Array, "*B F"], act_mask: Float[Array, "... A"]
    ) -> AbstractActions:
        """The distribution of the next action; `act_mask` of each row, or one for all."""
        raw_mean, raw_std = jnp.split(self.net(feature), 2, axis=-1)
        mask = jnp.broadcast_to(act_mask, raw_mean.shape)
        return DISTRIBUTIONS[self.config.distribution](self.config, raw_mean, raw_std, mask)

    def sample(
        self, feature: Float[Array, "*B F"], act_mask: Float[Array, "... A"], key: PRNGKeyArray
    ) -> tuple[Float[Array, "*B A"], Float[Array, "*B"]]:
        """An action and its log-probability."""
        return self(feature, act_mask).sample(key)

    def mode(
        self, feature: Float[Array, "*B F"], act_mask: Float[Array, "... A"]
    ) -> Float[Array, "*B A"]:
        """The action without exploration."""
        return self(feature, act_mask).mode()
