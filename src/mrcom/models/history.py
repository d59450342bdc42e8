"""The last moves of an episode: how each changed the observation, and by which action."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from mrcom.core.errors import ConfigError
from mrcom.core.types import Batch
from mrcom.objectives.context_dynamics import follows, known_steps


class History(eqx.Module):
    """The last H moves. Slots fill from the first on; once all are full, the oldest leaves.

    Attributes:
        moves: change and action side by side (V entries), oldest first; 0 in unused slots.
        count: slots in use.
    """

    moves: Float[Array, "*B H V"]
    count: Int[Array, "*B"]

    @property
    def used(self) -> Float[Array, "*B H"]:
        """1 for the slots in use."""
        slot = jnp.broadcast_to(jnp.arange(self.moves.shape[-2]), self.moves.shape[:-1])
        return (slot < self.count[..., None]).astype(self.moves.dtype)

    def pushed(self, move: Float[Array, "*B V"], made: Bool[Array, "*B"]) -> "History":
        """The history after one more move; unchanged where it was not `made`."""
        slots = self.moves.shape[-2]
        shifted = jnp.concatenate([self.moves[..., 1:, :], move[..., None, :]], axis=-2)
        here = jnp.broadcast_to(jnp.arange(slots), self.moves.shape[:-1]) == self.count[..., None]
        filled = jnp.where(here[..., None], move[..., None, :], self.moves)
        after = jnp.where((self.count < slots)[..., None, None], filled, shifted)
        return dataclasses.replace(
            self,
            moves=jnp.where(made[..., None, None], after, self.moves),
            count=jnp.where(made, jnp.minimum(self.count + 1, slots), self.count),
        )


def empty_history(shape: tuple[int, ...], slots: int, width: int) -> History:
    """Histories of nothing."""
    return History(jnp.zeros((*shape, slots, width)), jnp.zeros(shape, jnp.int32))


def histories(moves: Float[Array, "B L V"], followed: Bool[Array, "B L"], slots: int) -> History:
    """The history at every step, the move into it included: those of `pushed`, all at once.

    `moves[:, t]` led into step t; it counts where step t followed from the one before it, and a
    step that did not follow starts an empty history.
    """
    length = moves.shape[1]
    step = jnp.broadcast_to(jnp.arange(length), followed.shape)
    broken = jax.lax.cummax(jnp.where(followed, 0, step), axis=1)
    count = jnp.minimum(step - broken, slots)
    slot = jnp.arange(slots)[None, None]
    source = (step - count + 1)[..., None] + slot
    rows = jnp.arange(moves.shape[0])[:, None, None]
    found = moves[rows, jnp.clip(source, 0, length - 1)]
    used = slot < count[..., None]
    return History(jnp.where(used[..., None], found, 0.0), count)


class Moves(eqx.Module):
    """The move into every step of a batch; entries are 0 where padded.

    Attributes:
        obs: at the steps.
        move: the observation's change on arriving there, and the action that led there.
        followed: whether the move was made: not into a window's or an episode's first step.
    """

    obs: Float[Array, "B L O"]
    move: Float[Array, "B L V"]
    followed: Bool[Array, "B L"]

    @property
    def change(self) -> Float[Array, "B L O"]:
        """Of the observations."""
        return self.move[..., : self.obs.shape[-1]]

    @property
    def action(self) -> Float[Array, "B L A"]:
        """That led to the steps."""
        return self.move[..., self.obs.shape[-1] :]


def moves_of(batch: Batch, *, before: int) -> Moves:
    """The moves of a batch. Steps of a prompt and what is not `valid` are unknown here.

    Raises:
        ConfigError: the batch has no step after the first `before`.
    """
    if (length := batch.reward.shape[1]) <= before:
        raise ConfigError(
            f"{length} steps are too few for contexts of the {before} steps before: at least "
            f"{before + 1} are needed; pad with steps of `valid` 0."
        )
    obs, action = batch.obs * batch.obs_mask[:, None], batch.action * batch.act_mask[:, None]
    change = jnp.concatenate([jnp.zeros_like(obs[:, :1]), jnp.diff(obs, axis=1)], axis=1)
    known = known_steps(batch.first, batch.valid)
    followed = follows(known, batch.first, batch.is_terminal)
    return Moves(obs, jnp.concatenate([change, action], axis=-1), followed)
