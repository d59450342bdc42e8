"""Several dynamics models side by side: what each of them says of one step."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from mrcom.models.ensemble_parts import EnsembleConfig, Networks
from mrcom.models.history import History
from mrcom.models.scales import Scales, empty_scales


class Members(eqx.Module):
    """Networks and the scales of what they read and say; members are on the first axis (E).

        c = g(last H changes and actions)     s' - s ~ N(mu, sigma^2),  mu, sigma = f(s, a, c)

    Equation: cadm.dynamics
    """

    nets: Networks
    scales: Scales
    config: EnsembleConfig = eqx.field(static=True)
    obs_width: int = eqx.field(static=True)

    def __init__(
        self, config: EnsembleConfig, obs: int, act: int, *, bodies: int, key: PRNGKeyArray
    ):
        self.nets = Networks(config, obs, act, key=key)
        self.scales = empty_scales(bodies, obs, act)
        self.config, self.obs_width = config, obs

    @property
    def num(self) -> int:
        """How many there are."""
        return self.nets.forward.weights[0].shape[0]

    def every(self, array: Array) -> Array:
        """The same for every member, on a new first axis."""
        return jnp.broadcast_to(array, (self.num, *array.shape))

    def shares(self, member: Int[Array, "*B"]) -> Float[Array, "E *B"]:
        """What each member has to say in each row: one of them all, or all alike below 0."""
        number = jnp.arange(self.num).reshape(-1, *[1] * member.ndim)
        mine = self.every(member) == jnp.broadcast_to(number, (self.num, *member.shape))
        return jnp.where(self.every(member < 0), 1.0 / self.num, mine.astype(jnp.float32))

    def split(self) -> "Members":
        """Each member alone: a further first axis on every leaf, for a loop over members."""
        every = lambda tree: jax.tree.map(self.every, tree)
        alone = lambda tree: jax.tree.map(lambda leaf: leaf[:, None], tree)
        # Bounds and scales are shared, so every member gets all of them.
        split = every(self)
        own = lambda m: (m.nets.encoder, m.nets.forward, m.nets.backward, m.nets.reward)
        return eqx.tree_at(own, split, [alone(net) for net in own(self)], is_leaf=_is_none)

    def encode(
        self,
        history: History,
        act_mask: Float[Array, "*B A"],
        body: Int[Array, "*B"],
    ) -> Float[Array, "*B E C"]:
        """Each member's context of every history."""
        shape = (*history.count.shape, self.num, 0)
        if self.nets.encoder is None:
            return jnp.zeros(shape)
        told = self.every(self.read(history, act_mask, body))
        return jnp.moveaxis(self.nets.encoder(told), 0, -2)

    def read(
        self,
        history: History,
        act_mask: Float[Array, "*B A"],
        body: Int[Array, "*B"],
    ) -> Float[Array, "*B W"]:
        """What encoders read: changes as they are, actions in their standard deviations."""
        change, action = jnp.split(history.moves, [self.obs_width], axis=-1)
        action = self._scaled(action, act_mask[..., None, :], body[..., None])
        moves = jnp.concatenate([change, action], axis=-1) * history.used[..., None]
        return moves.reshape(*history.count.shape, -1)

    def told(
        self,
        obs: Float[Array, "E *B O"],
        action: Float[Array, "E *B A"],
        context: Float[Array, "E *B C"],
        act_mask: Float[Array, "*B A"],
        body: Int[Array, "*B"],
    ) -> Float[Array, "E *B _"]:
        """What networks read of a step: observation, scaled action and context."""
        action = self._scaled(action, self.every(act_mask), self.every(body))
        return jnp.concatenate([obs, action, context], axis=-1)

    def changes(
        self, told: Float[Array, "E *B I"]
    ) -> tuple[Float[Array, "E *B O"], Float[Array, "E *B O"]]:
        """Each member's mean change and its log-variance, in standard deviations of changes.

        The log-variance of a model without one is 0.
        """
        out = self.nets.forward(told)
        if self.nets.bounds is None:
            return out, jnp.zeros_like(out)
        mean, raw = jnp.split(out, 2, axis=-1)
        return mean, self.nets.bounds(raw)

    def rewards(
        self,
        told: Float[Array, "E *B I"],
        arrived: Float[Array, "E *B O"],
        before: Float[Array, "E *B"] | None,
    ) -> Float[Array, "E *B"]:
        """Each member's reward on arriving; `before` is the last one, where agents see rewards."""
        parts = [told, arrived]
        if self.config.observe_reward:
            assert before is not None, "the last reward is known wherever rewards are seen"
            parts.append(before[..., None])
        return self.nets.reward(jnp.concatenate(parts, axis=-1))[..., 0]

    def _scaled(self, action: Array, act_mask: Array, body: Array) -> Array:
        """Actions in their standard deviations; 0 where padded."""
        body = jnp.broadcast_to(body, action.shape[:-1])
        mean, std = self.scales.of_action(body)
        return (action - mean) / std * jnp.broadcast_to(act_mask, action.shape)


def _is_none(leaf: object) -> bool:
    return leaf is None
