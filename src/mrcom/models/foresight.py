"""What an ensemble says of the steps after some starts, told the truth at every one of them."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from mrcom.core.types import Batch
from mrcom.models.ensemble_parts import Foresight
from mrcom.models.history import History, histories, moves_of
from mrcom.models.members import Members
from mrcom.objectives.context_dynamics import future_mask


def foresee(members: Members, batch: Batch, start: Int[Array, "E B S"], *, num: int) -> Foresight:
    """One-step predictions of the `num` transitions after each start, all with its context.

    Args:
        members: where gradients go: into its networks, through contexts too.
        batch: normalised.
        start: each member's own, counted among the trained steps; the last has no transition.
        num: transitions that share a context (F).
    """
    config, body = members.config, batch.body
    moves = moves_of(batch, before=config.before)
    at = start + config.before
    rows = jnp.arange(len(body))[None, :, None]
    past = histories(moves.move, moves.followed, config.window)
    past = jax.tree.map(lambda leaf: leaf[rows, at], past)
    steps = jnp.minimum(
        at[..., None] + jnp.arange(num + 1)[None, None, None], moves.obs.shape[1] - 1
    )
    of_step = lambda array: array[rows[..., None], steps]
    seen, reward = of_step(moves.obs), of_step(batch.reward)
    action = of_step(moves.action)[..., 1:, :]
    now, then = seen[..., :-1, :], seen[..., 1:, :]
    context = _contexts(members, past, batch, num)
    grid = (len(body), start.shape[-1], num)
    act_mask = jnp.broadcast_to(batch.act_mask[:, None, None], (*grid, batch.act_mask.shape[-1]))
    bodies = jnp.broadcast_to(body[:, None, None], grid)
    told = members.told(now, action, context, act_mask, bodies)
    told_back = members.told(then, action, context, act_mask, bodies)
    mean, log_variance = members.changes(told)
    centre, scale = (jnp.broadcast_to(x, now.shape) for x in members.scales.of_change(bodies))
    change = (then - now - centre) / scale
    return Foresight(
        mean=mean,
        log_variance=log_variance,
        back=members.nets.backward(told_back),
        predicted=members.rewards(told, then, reward[..., :-1]),
        change=change,
        # The mean of the changes back is the negative, their standard deviation the same.
        change_back=-change,
        reward=reward[..., 1:],
        exists=future_mask(moves.followed, at, num),
    )


def _contexts(members: Members, past: History, batch: Batch, num: int) -> Float[Array, "E B S J C"]:
    """Each member's context of each of its starts, for all transitions after it."""
    shape = past.count.shape
    if members.nets.encoder is None:
        return jnp.zeros((*shape, num, 0))
    mask = jnp.broadcast_to(batch.act_mask[None, :, None], (*shape, batch.act_mask.shape[-1]))
    body = jnp.broadcast_to(batch.body[None, :, None], shape)
    context = members.nets.encoder(members.read(past, mask, body))
    return jnp.broadcast_to(context[..., None, :], (*shape, num, context.shape[-1]))
