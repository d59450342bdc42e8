"""Several categorical variables side by side, with a floor under every probability."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

FEW = 8
"""Classes up to which they are summed by a product."""


class Categorical(eqx.Module):
    """S independent variables of K classes.

    Attributes:
        log_probs: normalised, so that their exponentials sum to 1 over the classes.
    """

    log_probs: Float[Array, "*B S K"]

    @property
    def probs(self) -> Float[Array, "*B S K"]:
        """Of every class."""
        return jnp.exp(self.log_probs)

    def sample(self, key: PRNGKeyArray | None) -> Float[Array, "*B S K"]:
        """One-hot draws, most likely classes where `key` is None.

        Backwards they count as the probabilities: a straight-through gradient.
        """
        probs = self.probs
        classes = probs.shape[-1]
        if key is None:
            index = jnp.argmax(self.log_probs, axis=-1)
        else:
            # By the inverse of the distribution function: one number per variable, not per class.
            below = jnp.triu(jnp.ones((classes, classes - 1), probs.dtype))
            until = jax.lax.stop_gradient(probs) @ below
            drawn = jax.random.uniform(key, probs.shape[:-1], probs.dtype)
            index = jnp.sum(drawn[..., None] >= until, axis=-1)
        chosen = jax.nn.one_hot(index, classes, dtype=probs.dtype)
        return jax.lax.stop_gradient(chosen - probs) + probs

    def entropy(self) -> Float[Array, "*B"]:
        """In nats, summed over the variables."""
        return -jnp.sum(self.probs * self.log_probs, axis=(-2, -1))

    def divergence(self, other: "Categorical") -> Float[Array, "*B"]:
        """KL(self || other) in nats, summed over the variables."""
        apart = self.log_probs - other.log_probs
        return jnp.sum(self.probs * apart, axis=(-2, -1))

    def stopped(self) -> "Categorical":
        """The same distribution as a constant."""
        return Categorical(jax.lax.stop_gradient(self.log_probs))


def categorical_of(logits: Float[Array, "*B S K"], unimix: float) -> Categorical:
    """The distribution of some logits, mixed with `unimix` of a uniform one.

    The mixture keeps probabilities, and so divergences, from growing without bound.
    """
    if not unimix:
        return Categorical(jax.nn.log_softmax(logits, axis=-1))
    classes = logits.shape[-1]
    highest = jax.lax.stop_gradient(jnp.max(logits, axis=-1, keepdims=True))
    weights = jnp.exp(logits - highest)
    # Sums over a few classes are faster as a product: 0.75 ms against 1.3 ms for a dreamt step of
    # 1024 x 32 variables of 4 classes; of 16 classes they are slower.
    total = (
        weights @ jnp.ones((classes, classes), weights.dtype)
        if classes <= FEW
        else jnp.broadcast_to(jnp.sum(weights, axis=-1, keepdims=True), weights.shape)
    )
    return Categorical(jnp.log((1 - unimix) * weights / total + unimix / classes))
