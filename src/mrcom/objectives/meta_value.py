"""Meta-value regularisation: the model shall be right where values depend on it."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def meta_value_loss(
    scenario_value: Float[Array, "*B"], meta_value: Float[Array, "*B"]
) -> Float[Array, "*B"]:
    """Squared distance of the shared value from each scenario's own, which stays put.

    Equation: mrcom.eq13
    """
    return jnp.square(jax.lax.stop_gradient(scenario_value) - meta_value)


def bellman_loss(
    value: Float[Array, "*B"],
    reward: Float[Array, "*B"],
    cont: Float[Array, "*B"],
    next_value: Float[Array, "*B"],
    *,
    discount: float,
) -> Float[Array, "*B"]:
    """Squared one-step error of a scenario's value; the target is stopped.

        (v(s_t) - (r_t + discount * c_t * v'(s_{t+1})))^2

    Args:
        value: v(s_t).
        reward: received on moving from s_t to s_{t+1}, in the unit of the values.
        cont: 0 where the episode ended at s_{t+1} (a time limit is no end).
        next_value: v'(s_{t+1}) of the slow copy.
        discount: per control step, in [0, 1].

    Equation: mrcom.eq14
    """
    target = reward + discount * cont * next_value
    return jnp.square(value - jax.lax.stop_gradient(target))


def value_consistency(
    value: Float[Array, "B T"], predicted: Float[Array, "K B T"], scale: Float[Array, ""]
) -> Float[Array, "B T"]:
    """Squared error of the expected value under the model's one-step prediction.

        ((v(s_{t+1}) - mean_k v(s^_{t+1, k})) / scale)^2

    The mean over the K samples is *inside* the square: the expectation has to be right, and
    the model is not punished for its spread.

    Args:
        value: frozen meta-value of the filtered next state; stopped here. With a meta-value that
            learned from this loss, a constant one would be best.
        predicted: the same frozen meta-value of K predictions of that state. Gradients flow
            through it into the model; the caller freezes its parameters.
        scale: range of returns, so that the loss has no unit.

    Equation: mrcom.eq15
    """
    error = (jnp.mean(predicted, axis=0) - jax.lax.stop_gradient(value)) / scale
    return jnp.square(error)
