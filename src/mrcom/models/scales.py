"""Running means and standard deviations of changes and actions, body by body."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

STD_FLOOR = 1e-3
"""Smallest standard deviation: what never changes is not blown up."""
RATE = 0.01
"""Least share of a batch in the means, which are plain ones until that is more."""


class Scales(eqx.Module):
    """Statistics of what was seen; no parameters, and no gradient moves them.

    Attributes:
        count: moves seen.
        change: mean and mean square of changes of (normalised) observations.
        action: the same of the actions that led to them.
    """

    count: Float[Array, " bodies"]
    change: Float[Array, "2 bodies O"]
    action: Float[Array, "2 bodies A"]

    def of_change(
        self, body: Int[Array, "*B"]
    ) -> tuple[Float[Array, "*B O"], Float[Array, "*B O"]]:
        """Mean and standard deviation of one step's change."""
        return self._statistics(self.change, body)

    def of_action(
        self, body: Int[Array, "*B"]
    ) -> tuple[Float[Array, "*B A"], Float[Array, "*B A"]]:
        """Mean and standard deviation of actions."""
        return self._statistics(self.action, body)

    def updated(
        self,
        change: Float[Array, "B L O"],
        action: Float[Array, "B L A"],
        followed: Bool[Array, "B L"],
        body: Int[Array, " B"],
    ) -> "Scales":
        """The statistics after the moves of a batch that were made."""
        of_body = jax.nn.one_hot(body, self.count.shape[0])
        made = followed.astype(jnp.float32)
        number = of_body.T @ jnp.sum(made, axis=1)
        share = jnp.maximum(number / jnp.maximum(self.count + number, 1.0), RATE)
        share = jnp.where(number > 0, share, 0.0)[None, :, None]

        def moved(old: Array, seen: Array) -> Array:
            seen = jnp.where(made[..., None] > 0, seen, 0.0)
            sums = [of_body.T @ jnp.sum(power, axis=1) for power in (seen, jnp.square(seen))]
            now = jnp.stack(sums) / jnp.maximum(number, 1.0)[None, :, None]
            return old + jnp.broadcast_to(share, old.shape) * (now - old)

        return Scales(self.count + number, moved(self.change, change), moved(self.action, action))

    def _statistics(self, moments: Array, body: Array) -> tuple[Array, Array]:
        mean = moments[0]
        std = jnp.sqrt(jnp.maximum(moments[1] - jnp.square(mean), STD_FLOOR**2))
        seen = jnp.broadcast_to((self.count > 0)[:, None], mean.shape)
        return mean[body], jnp.where(seen, std, 1.0)[body]


def empty_scales(bodies: int, obs: int, act: int) -> Scales:
    """Mean 0 and standard deviation 1, until something was seen."""
    widths = [jnp.zeros((2, bodies, width)) for width in (obs, act)]
    return Scales(jnp.zeros(bodies), *widths)
