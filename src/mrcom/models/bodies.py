"""Where observations and actions of different bodies meet the networks that bodies share."""

import abc
from collections.abc import Callable

import equinox as eqx
from jaxtyping import Array, Float, Int, PRNGKeyArray

from mrcom.core.errors import ConfigError
from mrcom.core.rng import named_keys
from mrcom.nn.branched import BranchedLinear, BranchedMLP
from mrcom.nn.mlp import MLP

Body = Int[Array, "..."] | None
"""Index of every row's body, [*B]; arrays may have further axes after those, such as time."""


class AbstractBodies(eqx.Module):
    """How padded and masked arrays enter the shared networks, and how observations leave them."""

    @property
    @abc.abstractmethod
    def widths(self) -> tuple[int, int]:
        """Of an observation and of an action, as shared networks read them."""

    @abc.abstractmethod
    def remembered(self, body: Body) -> Body:
        """What a state has to remember of its body's index; None where it is never asked."""

    @abc.abstractmethod
    def obs(self, obs: Float[Array, "... O"], body: Body) -> Float[Array, "... E"]:
        """Observations, as shared networks read them."""

    @abc.abstractmethod
    def action(self, action: Float[Array, "... A"], body: Body) -> Float[Array, "... E"]:
        """Actions, as shared networks read them."""

    @abc.abstractmethod
    def decoder(
        self, feature: int, units: int, layers: int, *, key: PRNGKeyArray
    ) -> MLP | BranchedMLP:
        """A fresh network for `decode`."""

    @abc.abstractmethod
    def decode(
        self, decoder: Callable[..., Array], feature: Float[Array, "... F"], body: Body
    ) -> Float[Array, "... O"]:
        """Observations out of features."""


class Padded(AbstractBodies):
    """Padded arrays go in and out as they are: one set of weights for all bodies."""

    obs_width: int = eqx.field(static=True)
    act_width: int = eqx.field(static=True)

    @property
    def widths(self) -> tuple[int, int]:
        """Those of the widest body."""
        return self.obs_width, self.act_width

    def remembered(self, body: Body) -> Body:
        """Nothing."""
        return None

    def obs(self, obs: Float[Array, "... O"], body: Body) -> Float[Array, "... O"]:
        """The same."""
        return obs

    def action(self, action: Float[Array, "... A"], body: Body) -> Float[Array, "... A"]:
        """The same."""
        return action

    def decoder(self, feature: int, units: int, layers: int, *, key: PRNGKeyArray) -> MLP:
        """A perceptron that all bodies share."""
        return MLP(feature, units, layers, self.obs_width, key=key)

    def decode(
        self, decoder: Callable[..., Array], feature: Float[Array, "... F"], body: Body
    ) -> Float[Array, "... O"]:
        """The perceptron's output."""
        return decoder(feature)


class Stems(AbstractBodies):
    """A linear map into the shared networks for each body, and an output layer out of them.

    Entries of the same place mean different things in different bodies, of actions no less than
    of observations, so both have stems. A body's data have no gradient in another body's
    stem.
    """

    obs_stem: BranchedLinear
    action_stem: BranchedLinear

    def __init__(self, bodies: int, obs: int, act: int, units: int, *, key: PRNGKeyArray):
        """Fresh stems of `units` outputs for padded arrays of these widths."""
        keys = named_keys(key, "obs", "action")
        self.obs_stem = BranchedLinear(bodies, obs, units, key=keys.obs)
        self.action_stem = BranchedLinear(bodies, act, units, key=keys.action)

    @property
    def widths(self) -> tuple[int, int]:
        """The stems' outputs."""
        return self.obs_stem.weight.shape[-1], self.action_stem.weight.shape[-1]

    def remembered(self, body: Body) -> Int[Array, "..."]:
        """The index itself.

        Raises:
            ConfigError: it was not given.
        """
        if body is None:
            raise ConfigError(
                "ContextualConfig.bodies='stems' needs the index of every row's body, and got "
                "None: pass `body`, or use bodies='padded'."
            )
        return body

    def obs(self, obs: Float[Array, "... O"], body: Body) -> Float[Array, "... E"]:
        """Through the body's stem."""
        return self.obs_stem(obs, self.remembered(body))

    def action(self, action: Float[Array, "... A"], body: Body) -> Float[Array, "... E"]:
        """Through the body's stem."""
        return self.action_stem(action, self.remembered(body))

    def decoder(self, feature: int, units: int, layers: int, *, key: PRNGKeyArray) -> BranchedMLP:
        """A perceptron with an output layer for each body."""
        bodies, obs, _ = self.obs_stem.weight.shape
        return BranchedMLP(bodies, feature, units, layers, obs, key=key)

    def decode(
        self, decoder: Callable[..., Array], feature: Float[Array, "... F"], body: Body
    ) -> Float[Array, "... O"]:
        """The output of the body's layer."""
        return decoder(feature, self.remembered(body))
