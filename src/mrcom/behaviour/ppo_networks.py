"""Networks of policies and critics that read plain observation vectors."""

import dataclasses
import math

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

OBS_LIMIT = 10.0
"""Normalised observations are clipped to this many standard deviations."""
MIN_STD = 1e-2
"""Least standard deviation an observation is divided by."""


class Layers(eqx.Module):
    """A multi-layer perceptron with SiLU between its layers; acts on the last axis."""

    weights: tuple[Float[Array, "_ _"], ...]
    biases: tuple[Float[Array, " _"], ...]

    def __call__(self, x: Float[Array, "*B I"]) -> Float[Array, "*B J"]:
        """Output of the last layer, without an activation."""
        for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            x = jax.nn.silu(_affine(x, weight, bias))
        return _affine(x, self.weights[-1], self.biases[-1])


def _affine(
    x: Float[Array, "*B I"], weight: Float[Array, "I J"], bias: Float[Array, " J"]
) -> Float[Array, "*B J"]:
    y = x @ weight
    return y + jnp.broadcast_to(bias, y.shape)


def init_layers(sizes: tuple[int, ...], last_gain: float, key: PRNGKeyArray) -> Layers:
    """Orthogonal weights with gain sqrt 2, `last_gain` in the last layer; zero biases."""
    gains = [math.sqrt(2.0)] * (len(sizes) - 2) + [last_gain]
    shapes = zip(sizes[:-1], sizes[1:], gains, strict=True)
    weights = tuple(
        jax.nn.initializers.orthogonal(gain)(jax.random.fold_in(key, i), (rows, columns))
        for i, (rows, columns, gain) in enumerate(shapes)
    )
    return Layers(weights, tuple(jnp.zeros(w.shape[1]) for w in weights))


@dataclasses.dataclass(frozen=True)
class Mirror:
    """A symmetry of a body: which entries change places when its sides do."""

    obs: tuple[int, ...]
    """Entry i of the mirrored observation is entry `obs[i]` of the observation."""
    act: tuple[int, ...]
    """The same for actions."""


class Mirrored(eqx.Module):
    """Layers that answer a mirrored input with the mirrored output, exactly.

        f(x) = (g(x) + M_out g(M_in x)) / 2

    For bodies with two equal sides, this halves what has to be tried. The permutations are
    part of the structure, not of the parameters.
    """

    layers: Layers
    inputs: tuple[int, ...] = eqx.field(static=True)
    """Entry i of a mirrored input is entry `inputs[i]` of the input."""
    outputs: tuple[int, ...] = eqx.field(static=True)
    """The same for outputs."""

    def __call__(self, x: Float[Array, "*B I"]) -> Float[Array, "*B J"]:
        """Output of the last layer, without an activation."""
        mirrored = self.layers(x[..., jnp.array(self.inputs)])
        return 0.5 * (self.layers(x) + mirrored[..., jnp.array(self.outputs)])


def plain_layers(net: Layers | Mirrored) -> Layers:
    """The same function as ordinary layers; a mirrored one becomes twice as wide."""
    if isinstance(net, Layers):
        return net
    first, *middle, last = net.layers.weights
    first_b, *middle_b, last_b = net.layers.biases
    inputs, outputs = jnp.array(net.inputs), jnp.array(net.outputs)
    weights = [jnp.concatenate([first, jnp.zeros_like(first).at[inputs].set(first)], axis=1)]
    weights += [jax.scipy.linalg.block_diag(w, w) for w in middle]
    weights += [0.5 * jnp.concatenate([last, last[:, outputs]], axis=0)]
    biases = [jnp.concatenate([b, b]) for b in (first_b, *middle_b)]
    return Layers(tuple(weights), (*biases, 0.5 * (last_b + last_b[outputs])))


class RunningMoments(eqx.Module):
    """Mean and variance of every observation entry over all that was seen."""

    mean: Float[Array, " O"]
    variance: Float[Array, " O"]
    count: Float[Array, ""]

    def normalise(self, obs: Float[Array, "*B O"]) -> Float[Array, "*B O"]:
        """Observations in standard deviations from the mean, clipped."""
        std = jnp.maximum(jnp.sqrt(self.variance), MIN_STD)
        centred = obs - jnp.broadcast_to(self.mean, obs.shape)
        return jnp.clip(centred / jnp.broadcast_to(std, obs.shape), -OBS_LIMIT, OBS_LIMIT)

    def merge(self, obs: Float[Array, "B O"]) -> "RunningMoments":
        """The moments with B more observations counted in."""
        count = self.count + obs.shape[0]
        share = obs.shape[0] / count
        shift = jnp.mean(obs, axis=0) - self.mean
        variance = (1 - share) * self.variance + share * jnp.var(obs, axis=0)
        return RunningMoments(
            self.mean + share * shift, variance + share * (1 - share) * shift**2, count
        )
