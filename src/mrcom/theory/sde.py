"""Small errors of latent dynamics, to second order: the terms behind arXiv 2501.00195.

A latent x moves by dx = f(x) dt + s dW. An encoder that errs adds a process of drift mu and
diffusion sigma, small by a factor eps and independent of W:

    dx^eps = f(x^eps) dt + s dW + eps (mu dt + sigma dB)

and x^eps = x + eps y + eps^2 w + O(eps^3). `docs/sde.md` derives what is computed here. Nothing
here solves an equation: the processes come as one vector field for any solver.
"""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

Field = Callable[[Float[Array, " D"]], Float[Array, " D"]]
"""Drift of the latent (f)."""
Loss = Callable[[Float[Array, " D"]], Float[Array, ""]]
"""Twice differentiable function of the latent (L)."""


class ErrorProcess(eqx.Module):
    """What an encoder adds to the latent, small by a factor."""

    drift: Float[Array, " D"]
    """Per unit of time (mu)."""
    std: Float[Array, ""]
    """Of every entry, per root of a unit of time (sigma)."""
    eps: Float[Array, ""]
    """The factor."""


class Joint(eqx.Module):
    """The latent with and without error, and what the difference is made of."""

    exact: Float[Array, " D"]
    """With the error (x^eps)."""
    clean: Float[Array, " D"]
    """Without (x)."""
    first: Float[Array, " D"]
    """The linearised process (y)."""
    second: Float[Array, " D"]
    """The next order (w)."""
    fundamental: Float[Array, "D D"]
    """How an early error is carried here (Phi): the product of Jacobians along the path."""
    pulled: Float[Array, " D"]
    """The error's drift, carried back to the start and summed: int Phi^-1 mu dt."""

    @property
    def first_mean(self) -> Float[Array, " D"]:
        """Mean of the linearised process given the path without error: Phi int Phi^-1 mu dt."""
        return self.fundamental @ self.pulled


def begin(start: Float[Array, " D"]) -> Joint:
    """Everything at time 0, where there is no error yet."""
    none = jnp.zeros_like(start)
    return Joint(start, start, none, none, jnp.eye(len(start)), none)


def joint_drift(field: Field, error: ErrorProcess, now: Joint) -> Joint:
    """Drifts of all processes at once.

        dy   = Df(x) y dt + mu dt + sigma dB            y_0 = 0
        dw   = Df(x) w dt + D^2 f(x)[y, y] / 2 dt       w_0 = 0
        dPhi = Df(x) Phi dt                             Phi_0 = 1

    Equation: fang.linearised
    """
    along = lambda v: jax.jvp(field, (now.clean,), (v,))[1]
    curved = jax.jvp(lambda x: jax.jvp(field, (x,), (now.first,))[1], (now.clean,), (now.first,))[1]
    return Joint(
        exact=field(now.exact) + error.eps * error.drift,
        clean=field(now.clean),
        first=along(now.first) + error.drift,
        second=along(now.second) + 0.5 * curved,
        fundamental=jax.vmap(along, in_axes=1, out_axes=1)(now.fundamental),
        pulled=jnp.linalg.solve(now.fundamental, error.drift),
    )


def joint_noise(
    std: Float[Array, ""],
    error: ErrorProcess,
    latent: Float[Array, " D"],
    encoder: Float[Array, " D"],
) -> Joint:
    """What increments of W (`latent`) and B (`encoder`) add; `std` is the latent's own (s)."""
    none, own = jnp.zeros_like(latent), std * latent
    return Joint(
        exact=own + error.eps * error.std * encoder,
        clean=own,
        first=error.std * encoder,
        second=none,
        fundamental=jnp.zeros((len(latent), len(latent))),
        pulled=none,
    )


class Expansion(eqx.Module):
    """A loss of the latent with error, on a path, by orders of the factor eps.

        L(x^eps) = L(x) + eps grad L . y + eps^2 (grad L . w + y' Hess(L) y / 2) + O(eps^3)

    In the mean the first order is E[grad L . Phi int Phi^-1 mu dt]: B has mean 0 and knows nothing
    of x. So errors without drift cost nothing to first order.

    Equation: fang.expansion
    """

    exact: Float[Array, "*B"]
    """L(x^eps)."""
    clean: Float[Array, "*B"]
    """L(x)."""
    first: Float[Array, "*B"]
    """grad L . y."""
    second: Float[Array, "*B"]
    """grad L . w + y' Hess(L) y / 2."""
    bias: Float[Array, "*B"]
    """grad L . Phi int Phi^-1 mu dt: the mean of `first` given the path without error."""

    def __init__(self, loss: Loss, end: Joint):
        slope = jax.grad(loss)
        gradient, turned = jax.jvp(slope, (end.clean,), (end.first,))
        self.exact, self.clean = loss(end.exact), loss(end.clean)
        self.first = gradient @ end.first
        self.second = gradient @ end.second + 0.5 * end.first @ turned
        self.bias = gradient @ end.first_mean

    def remainder(self, eps: Float[Array, ""], order: int) -> Float[Array, "*B"]:
        """L(x^eps) less its expansion up to an order of 0, 1 or 2."""
        terms = (self.clean, eps * self.first, jnp.square(eps) * self.second)
        return self.exact - sum(terms[1 : order + 1], terms[0])


def linear_orders(
    matrix: Float[np.ndarray, "D D"],
    start: Float[np.ndarray, " D"],
    std: float,
    error_drift: Float[np.ndarray, " D"],
    error_std: float,
    time: float,
) -> tuple[float, float, float]:
    """E |x^eps|^2 / 2 of a linear latent, f(x) = matrix x, exactly: its orders 0, 1 and 2.

    The latent is Gaussian with mean Phi x_0 + eps int Phi mu and covariance
    (s^2 + eps^2 sigma^2) int Phi Phi'; there is no third order.
    """
    size = len(start)
    one, none = np.eye(size), np.zeros((size, size))
    expm = lambda blocks: np.asarray(jax.scipy.linalg.expm(jnp.asarray(np.block(blocks) * time)))
    sums = expm([[matrix, one], [none, none]])
    mean, shift = sums[:size, :size] @ start, sums[:size, size:] @ error_drift
    # Van Loan 1978: the integral of Phi Phi' out of one exponential.
    loan = expm([[-matrix, one], [none, matrix.T]])
    spread = float(np.trace(loan[size:, size:].T @ loan[:size, size:]))
    return (
        float(0.5 * (mean @ mean + std**2 * spread)),
        float(mean @ shift),
        float(0.5 * (shift @ shift + error_std**2 * spread)),
    )
