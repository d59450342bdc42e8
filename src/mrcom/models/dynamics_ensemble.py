"""A world model without latent state: networks that predict the observation's change."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from mrcom.core.rng import named_keys
from mrcom.core.types import Batch, Prompt
from mrcom.models.ensemble_parts import EnsembleConfig, Posterior, State, feature_of
from mrcom.models.history import empty_history, histories, moves_of
from mrcom.models.members import Members
from mrcom.models.world_model import AbstractWorldModel, DreamContext
from mrcom.nn.distributions import Normal


class DynamicsEnsemble(AbstractWorldModel):
    """Members that each predict the next observation from this one, the action and a context.

    The state is the observation, so nothing is decoded. Episodes are never predicted to end.

    DEVIATION(cadm): changes are those of normalised observations, and the reward is learnt.
    """

    members: Members
    config: EnsembleConfig = eqx.field(static=True)

    def __init__(
        self, config: EnsembleConfig, obs: int, act: int, *, bodies: int = 1, key: PRNGKeyArray
    ):
        """Fresh parameters for these padded widths; each of `bodies` has scales of its own."""
        self.members = Members(config, obs, act, bodies=bodies, key=key)
        self.config = config

    def initial(
        self,
        prompt: Prompt,
        obs_mask: Float[Array, "N O"],
        act_mask: Float[Array, "N A"],
        body: Int[Array, " N"] | None = None,
    ) -> State:
        """State before anything real is seen. Prompts are not used: nothing is known."""
        rows = obs_mask.shape[:1]
        body = jnp.zeros(rows, jnp.int32) if body is None else body
        width = obs_mask.shape[-1] + act_mask.shape[-1]
        history = empty_history(rows, self.config.window, width)
        return State(
            obs=jnp.zeros_like(obs_mask),
            reward=jnp.zeros(rows),
            context=self.members.encode(history, act_mask, body),
            history=history,
            member=jnp.full(rows, -1),
            started=jnp.zeros(rows, bool),
            obs_mask=obs_mask,
            act_mask=act_mask,
            body=body,
        )

    def observe(self, batch: Batch, *, key: PRNGKeyArray | None) -> Posterior:
        """The states at the trained steps of a batch. Nothing is drawn."""
        before = self.config.before
        moves, last, steps = (
            moves_of(batch, before=before),
            slice(before, None),
            slice(before - 1, None),
        )
        past = histories(moves.move, moves.followed, self.config.window)
        past = jax.tree.map(lambda leaf: leaf[:, steps], past)
        length = past.count.shape[1]
        each = lambda array: jnp.repeat(array[:, None], length, axis=1)
        contexts = self.members.encode(past, each(batch.act_mask), each(batch.body))
        reward = batch.reward[:, last]
        if not self.config.observe_reward:
            told = self.members.told(
                self.members.every(moves.obs[:, steps][:, :-1]),
                self.members.every(moves.action[:, last]),
                jnp.moveaxis(contexts[:, :-1], -2, 0),
                each(batch.act_mask)[:, 1:],
                each(batch.body)[:, 1:],
            )
            predicted = self.members.rewards(told, self.members.every(moves.obs[:, last]), None)
            reward = jnp.where(moves.followed[:, last], jnp.mean(predicted, axis=0), 0.0)
        now = jax.tree.map(lambda leaf: leaf[:, 1:], past)
        masks = batch.obs_mask, batch.act_mask, batch.body
        return Posterior(moves.obs[:, last], reward, contexts[:, 1:], now, *masks)

    def states_at(self, posterior: Posterior, index: Int[Array, " N"]) -> State:
        """The states at some of the B x T steps, counted row by row."""
        row, step = jnp.divmod(index, posterior.reward.shape[1])
        steps = (posterior.obs, posterior.reward, posterior.context, posterior.history)
        obs, reward, context, history = jax.tree.map(lambda leaf: leaf[row, step], steps)
        return State(
            obs=obs,
            reward=reward,
            context=context,
            history=history,
            member=jnp.full(row.shape, -1),
            started=jnp.ones(row.shape, bool),
            obs_mask=posterior.obs_mask[row],
            act_mask=posterior.act_mask[row],
            body=posterior.body[row],
        )

    def correct(
        self,
        state: State,
        obs: Float[Array, "*B O"],
        action: Float[Array, "*B A"],
        reward: Float[Array, "*B"],
        *,
        key: PRNGKeyArray | None,
    ) -> tuple[State, None]:
        """The state that was seen, with a new context; there are no statistics."""
        obs, action = obs * state.obs_mask, action * state.act_mask
        if not self.config.observe_reward:
            # Nothing unobserved may reach a policy: not even the reward that was received.
            predicted = self.members.rewards(
                self._told_of(state, action), self.members.every(obs), None
            )
            reward = jnp.where(state.started, jnp.mean(predicted, axis=0), 0.0)
        after = self._pushed(state, obs, action, state.started)
        return dataclasses.replace(
            after,
            obs=obs,
            reward=reward,
            member=jnp.full_like(state.member, -1),
            started=jnp.ones_like(state.started),
        ), None

    def predict(
        self,
        state: State,
        action: Float[Array, "*B A"],
        *,
        key: PRNGKeyArray | None,
        dream_context: DreamContext = "push",
    ) -> tuple[State, Normal]:
        """Advance by `action` without looking: as one member says, the same for a whole dream.

        A dream's first step draws its member. Without a key it is the mean of the member, or of
        all members where none was chosen. With `frozen` the context stays that of the start.
        """
        action = action * state.act_mask
        member, noise = state.member, None
        if key is not None:
            keys = named_keys(key, "member", "change")
            drawn = jax.random.randint(keys.member, member.shape, 0, self.members.num)
            member = jnp.where(member < 0, drawn, member)
            noise = jax.random.normal(keys.change, state.obs.shape)
        told = self._told_of(state, action)
        mean, log_variance = self.members.changes(told)
        share = self.members.shares(member)
        chosen = Normal(_mixed(share, mean), _mixed(share, jnp.exp(0.5 * log_variance)))
        sure = noise is None or self.members.nets.bounds is None
        centre, scale = self.members.scales.of_change(state.body)
        moved = centre + scale * chosen.sample(None if sure else noise)
        limit = self.config.limit
        obs = jnp.clip(state.obs + moved, -limit, limit) * state.obs_mask
        rewards = self.members.rewards(
            told, self.members.every(obs), self.members.every(state.reward)
        )
        reward = _mixed(share, rewards[..., None])[..., 0]
        after = self._pushed(state, obs, action, jnp.ones_like(state.started))
        if dream_context == "frozen":
            after = dataclasses.replace(after, context=state.context, history=state.history)
        after = dataclasses.replace(after, obs=obs, reward=reward, member=member)
        return after, Normal(state.obs + centre + scale * chosen.mean, scale * chosen.std)

    def feature(self, state: State) -> Float[Array, "*B F"]:
        """Observation, last reward and context."""
        return feature_of(state.obs, state.reward, state.context)

    def decode(
        self, feature: Float[Array, "*B F"], body: Int[Array, "..."] | None = None
    ) -> Float[Array, "*B O"]:
        """The (normalised) observation, which is part of the feature."""
        return feature[..., : self.members.obs_width]

    def reward(self, feature: Float[Array, "*B F"]) -> Float[Array, "*B"]:
        """The reward of arriving, which is part of the feature."""
        return feature[..., self.members.obs_width]

    def cont(self, feature: Float[Array, "*B F"]) -> Float[Array, "*B"]:
        """1: no end is predicted."""
        return jnp.ones(feature.shape[:-1])

    def alone(self, state: State) -> tuple["DynamicsEnsemble", State]:
        """Each member as a model of its own, and the states as it knows them.

        The members are on the first axis of every leaf. A member's states have its own contexts
        and no others, so that nothing can mix them up.
        """
        models = eqx.tree_at(lambda m: m.members, self, self.members.split())
        rest = jax.tree.map(self.members.every, state)
        context = jnp.moveaxis(state.context, -2, 0)[..., None, :]
        return models, dataclasses.replace(
            rest, context=context, member=jnp.zeros_like(rest.member)
        )

    def with_scales_of(self, batch: Batch) -> "DynamicsEnsemble":
        """The model with statistics that have seen a batch as well."""
        moves = moves_of(batch, before=self.config.before)
        scales = self.members.scales.updated(moves.change, moves.action, moves.followed, batch.body)
        return eqx.tree_at(lambda m: m.members.scales, self, scales)

    def _told_of(self, state: State, action: Float[Array, "*B A"]) -> Float[Array, "E *B _"]:
        context = jnp.moveaxis(state.context, -2, 0)
        pair = self.members.every(state.obs), self.members.every(action)
        return self.members.told(*pair, context, state.act_mask, state.body)

    def _pushed(
        self,
        state: State,
        obs: Float[Array, "*B O"],
        action: Float[Array, "*B A"],
        made: Bool[Array, "*B"],
    ) -> State:
        move = jnp.concatenate([obs - state.obs, action], axis=-1)
        history = state.history.pushed(move, made)
        context = self.members.encode(history, state.act_mask, state.body)
        return dataclasses.replace(state, history=history, context=context)


def _mixed(share: Float[Array, "E *B"], said: Float[Array, "E *B O"]) -> Float[Array, "*B O"]:
    return jnp.sum(share[..., None] * said, axis=0)
