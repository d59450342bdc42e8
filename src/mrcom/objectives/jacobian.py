"""How much a step of the latent dynamics enlarges an error of the state it starts from.

All of it is about a `Step` whose rows do not know each other, so that one derivative of the whole
batch is the derivative of every row. Each function returns a *squared gain* per row: the squared
Frobenius norm over the number of outputs, the gain of one error of length 1, or the largest of
these. The mean gain of errors of length 1 is that norm over the number of inputs: the first of the
three where there are as many inputs as outputs, as the loss term's step between features has.
"""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from mrcom.core.errors import ConfigError, check_least, unknown

Step = Callable[[Float[Array, "N I"]], Float[Array, "N O"]]
"""From N points to what follows on each; a row depends on its own point only."""


@dataclasses.dataclass(frozen=True)
class JacobianConfig:
    """How the gain of the latent dynamics is measured, where, and from when on it teaches.

    Estimator, share and schedule are our choice: the paper's are not public.
    """

    kind: str = "jvp"
    """`jvp` and `vjp`: the mean squared gain, estimated forwards or backwards; `directional`: that
    of an error which is equal in all entries, as a drift is; `spectral`: the largest one."""
    probes: int = 1
    """Random probes of each step, of `jvp` and `vjp`."""
    iterations: int = 10
    """Steps of the power iteration, of `spectral`. On Gaussian matrices of 192 x 192 entries one
    finds 63 % of the largest squared gain in the mean, five 89 %, ten 95 %, twenty 98 %."""
    blocks: tuple[str, ...] = ()
    """Parts of the latent state that it is about, such as `deter`; all of them where empty."""
    share: float = 0.25
    """Share of the trained steps that are looked at: random ones, with replacement."""
    start: int = 0
    """Updates before which the term is logged but teaches nothing."""
    half_life: int = 0
    """Updates after `start` in which its weight halves, again and again; 0 keeps it."""

    def __post_init__(self):
        if self.kind not in ESTIMATES:
            raise unknown("JacobianConfig.kind", self.kind, ESTIMATES)
        check_least(self, 1, "probes", "iterations")
        check_least(self, 0, "start", "half_life")
        if not 0 < self.share <= 1:
            raise ConfigError(
                f"JacobianConfig.share={self.share} must lie in (0, 1]; the nearest is "
                f"{1.0 if self.share > 1 else 0.01}."
            )

    def steps_of(self, length: int) -> int:
        """How many steps of a window of `length` are looked at."""
        return max(1, round(self.share * length))


def squared_gain(
    step: Step, point: Float[Array, "N I"], key: PRNGKeyArray, config: JacobianConfig
) -> Float[Array, " N"]:
    """The squared gain of each row, of the configured kind.

    A gradient reaches what `step` is made of, and `point` unless the caller stops it.
    """
    amount = config.iterations if config.kind == "spectral" else config.probes
    return ESTIMATES[config.kind](step, point, key, amount)


def mean_gain(step: Step, point: Float[Array, "N I"]) -> Float[Array, " N"]:
    """The mean squared gain, exactly, by one derivative for each of the I entries: slow.

        ||d step(x) / d x||_F^2 / O

    Equation: fang.jacobian
    """
    basis = jnp.eye(point.shape[1], dtype=point.dtype)
    columns = jax.vmap(lambda row: _forward(step, point, jnp.broadcast_to(row, point.shape)))(basis)
    return jnp.sum(jnp.square(columns), axis=(0, 2)) / columns.shape[2]


def mean_gain_by_jvp(
    step: Step, point: Float[Array, "N I"], key: PRNGKeyArray, probes: int
) -> Float[Array, " N"]:
    """An unbiased estimate of the mean squared gain: E ||J v||^2 / O with random signs v."""
    signs = jax.random.rademacher(key, (probes, *point.shape), point.dtype)
    moved = jax.vmap(lambda probe: _forward(step, point, probe))(signs)
    return jnp.mean(jnp.sum(jnp.square(moved), axis=2), axis=0) / moved.shape[2]


def mean_gain_by_vjp(
    step: Step, point: Float[Array, "N I"], key: PRNGKeyArray, probes: int
) -> Float[Array, " N"]:
    """An unbiased estimate of the mean squared gain: E ||J' w||^2 / O with random signs w.

    Equation: hoffman.projection
    """
    after, backward = jax.vjp(step, point)
    signs = jax.random.rademacher(key, (probes, *after.shape), after.dtype)
    (moved,) = jax.vmap(backward)(signs)
    return jnp.mean(jnp.sum(jnp.square(moved), axis=2), axis=0) / after.shape[1]


def drift_gain(
    step: Step, point: Float[Array, "N I"], key: PRNGKeyArray, probes: int
) -> Float[Array, " N"]:
    """The squared gain of an error equal in all entries: ||J v||^2 with v = 1 / sqrt(I).

    Nothing about it is random: neither the key nor the probes are used.
    """
    drift = jnp.full_like(point, 1 / jnp.sqrt(point.shape[1]))
    return jnp.sum(jnp.square(_forward(step, point, drift)), axis=1)


def largest_gain(
    step: Step, point: Float[Array, "N I"], key: PRNGKeyArray, iterations: int
) -> Float[Array, " N"]:
    """The largest squared gain, sigma_max(J)^2, from below: more iterations come closer.

        v <- J'J v / ||J'J v||,  then ||J v||^2

    The direction is a constant, as it may be at the maximum: the gradient is the largest gain's.
    """
    _, backward = jax.vjp(step, point)
    pull = lambda _, v: _unit(backward(_forward(step, point, v))[0])
    first = _unit(jax.random.normal(key, point.shape, point.dtype))
    v = jax.lax.fori_loop(0, iterations, pull, first)
    return jnp.sum(jnp.square(_forward(step, point, jax.lax.stop_gradient(v))), axis=1)


def taught_when(
    term: Float[Array, "B S"], updates: Int[Array, ""], config: JacobianConfig
) -> Float[Array, "B S"]:
    """The same numbers, whose gradient is 0 before `start` and halves every `half_life` updates.

    So the log shows the gain itself, at any time.
    """
    since = (updates - config.start).astype(term.dtype)
    fading = 0.5 ** (since / config.half_life) if config.half_life else jnp.ones_like(since)
    constant = jax.lax.stop_gradient(term)
    return constant + jnp.where(since >= 0, fading, 0.0) * (term - constant)


def _forward(step: Step, point: Float[Array, "N I"], tangent: Array) -> Float[Array, "N O"]:
    return jax.jvp(step, (point,), (tangent,))[1]


def _unit(vector: Float[Array, "N I"]) -> Float[Array, "N I"]:
    length = jnp.linalg.norm(vector, axis=1, keepdims=True)
    return vector / jnp.maximum(length, jnp.finfo(vector.dtype).tiny)


ESTIMATES: dict[str, Callable[[Step, Array, PRNGKeyArray, int], Array]] = {
    "jvp": mean_gain_by_jvp,
    "vjp": mean_gain_by_vjp,
    "directional": drift_gain,
    "spectral": largest_gain,
}
"""What is measured, by the kind; the last argument is the number of probes or of iterations."""
