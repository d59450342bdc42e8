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
