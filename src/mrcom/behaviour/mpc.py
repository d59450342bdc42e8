"""Acting by planning: sequences of actions that a world model finds good.

Axis J: candidates; P: particles of a member; E: members, each a world model of its own.
"""

import abc
import dataclasses
from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from mrcom.core.errors import ConfigError, check_least, check_shares
from mrcom.core.rng import named_keys
from mrcom.models.world_model import AbstractWorldModel, DreamContext, State

Score = Callable[[Float[Array, "N J H A"], PRNGKeyArray], Float[Array, "N J"]]
"""The return of each candidate in each of N scenarios."""

Spread = Callable[[State], tuple[AbstractWorldModel, State]]
"""A model's members, and the states as each knows them; E is the first axis of every leaf."""

RewardFn = Callable[[Float[Array, "N J P F"]], Float[Array, "N J P"]]
"""The reward of arriving, of the features arrived at."""


class AbstractPlanner(abc.ABC):
    """How good sequences of actions are searched for."""

    @property
    @abc.abstractmethod
    def horizon(self) -> int:
        """Steps that are looked ahead."""

    @abc.abstractmethod
    def plan(
        self,
        score: Score,
        before: Float[Array, "N H A"],
        act_mask: Float[Array, "N A"],
        *,
        key: PRNGKeyArray,
    ) -> Float[Array, "N H A"]:
        """The best sequence found; its first action is carried out. Padded entries are 0.

        `before` is what the last plan found, and zeros at an episode's start.
        """


@dataclasses.dataclass(frozen=True)
class CrossEntropy(AbstractPlanner):
    """Candidates around a mean, which moves to the best of them. Defaults: the published ones."""

    horizon: int = 30
    """Steps that are looked ahead."""
    candidates: int = 200
    """Sequences that are compared at a time."""
    iterations: int = 5
    """Times the mean moves."""
    elites: int = 50
    """The best candidates, which mean and variance move to."""
    variance: float = 0.25
    """Of the first candidates."""
    keep: float = 0.1
    """Share of the old mean and variance in the new ones."""

    def __post_init__(self):
        check_least(self, 1, "horizon", "iterations")
        check_shares(self, "keep")
        if not 1 <= self.elites <= self.candidates:
            raise ConfigError(
                f"CrossEntropy.elites={self.elites} must be between 1 and candidates="
                f"{self.candidates}; the nearest is {min(max(self.elites, 1), self.candidates)}."
            )

    def plan(
        self,
        score: Score,
        before: Float[Array, "N H A"],
        act_mask: Float[Array, "N A"],
        *,
        key: PRNGKeyArray,
    ) -> Float[Array, "N H A"]:
        """The final mean, in [-1, 1]; it begins as the last plan, one step on, then 0."""
        mean = jnp.concatenate([before[:, 1:], jnp.zeros_like(before[:, :1])], axis=1)
        mask = jnp.broadcast_to(act_mask[:, None], mean.shape)

        def improve(
            now: tuple[Array, Array], number: Int[Array, ""]
        ) -> tuple[tuple[Array, Array], None]:
            mean, variance = now
            keys = named_keys(jax.random.fold_in(key, number), "draw", "score")
            actions = self._candidates(mean, variance, keys.draw) * mask[:, None]
            _, best = jax.lax.top_k(score(actions, keys.score), self.elites)
            elites = jnp.take_along_axis(actions, best[..., None, None], axis=1)
            mix = lambda old, new: self.keep * old + (1 - self.keep) * new
            return (mix(mean, elites.mean(axis=1)), mix(variance, elites.var(axis=1))), None

        start = (mean * mask, jnp.full(mean.shape, self.variance))
        (mean, _), _ = jax.lax.scan(improve, start, jnp.arange(self.iterations))
        return jnp.clip(mean, -1.0, 1.0) * mask

    def _candidates(
        self, mean: Float[Array, "N H A"], variance: Float[Array, "N H A"], key: PRNGKeyArray
    ) -> Float[Array, "N J H A"]:
        """Normals cut off at two standard deviations, none of which leaves [-1, 1]."""
        room = jnp.minimum(mean + 1.0, 1.0 - mean) / 2
        std = jnp.sqrt(jnp.minimum(variance, jnp.square(room)))[:, None]
        shape = (mean.shape[0], self.candidates, *mean.shape[1:])
        draw = jax.random.truncated_normal(key, -2.0, 2.0, shape)
        return jnp.broadcast_to(mean[:, None], shape) + draw * jnp.broadcast_to(std, shape)


@dataclasses.dataclass(frozen=True)
class RandomShooting(AbstractPlanner):
    """The best of many uniformly random sequences."""

    horizon: int = 30
    """Steps that are looked ahead."""
    candidates: int = 1000
    """Sequences that are compared."""

    def plan(
        self,
        score: Score,
        before: Float[Array, "N H A"],
        act_mask: Float[Array, "N A"],
        *,
        key: PRNGKeyArray,
    ) -> Float[Array, "N H A"]:
        """The best candidate. The last plan is not used."""
        keys = named_keys(key, "draw", "score")
        shape = (before.shape[0], self.candidates, *before.shape[1:])
        actions = jax.random.uniform(keys.draw, shape, minval=-1.0, maxval=1.0)
        actions = actions * jnp.broadcast_to(act_mask[:, None, None], shape)
        best = jnp.argmax(score(actions, keys.score), axis=1)
        return jnp.take_along_axis(actions, best[:, None, None, None], axis=1)[:, 0]


def one_model(model: AbstractWorldModel) -> Spread:
    """The spread of a model that is no ensemble: itself, as the only member."""

    def spread(state: State) -> tuple[AbstractWorldModel, State]:
        add = lambda leaf: leaf[None] if eqx.is_array(leaf) else leaf
        return jax.tree.map(add, model), jax.tree.map(add, state)

    return spread


def dreamt_return(
    models: AbstractWorldModel,
    states: State,
    actions: Float[Array, "N J H A"],
    *,
    key: PRNGKeyArray,
    particles: int,
    reward: RewardFn | None = None,
    dream_context: DreamContext = "frozen",
) -> Float[Array, "N J"]:
    """Undiscounted sum of rewards of each candidate, the mean over all members' particles.

    A particle stays with its member to the end of the horizon, in that member's own states.

    Args:
        models: members, on the first axis of every leaf.
        states: N states as each member knows them, likewise.
        actions: in the order in which they are carried out.
        key: of the particles' noise; members and steps have their own.
        particles: of each member.
        reward: of arriving; the model's own where None.
        dream_context: whether dreamt steps enter the context.
    """
    shape = (*actions.shape[:2], particles)
    steps = jnp.moveaxis(actions, 2, 0)

    def of_member(number: Int[Array, ""], model: AbstractWorldModel, state: State) -> Array:
        own = jax.random.fold_in(key, number)

        def step(
            now: tuple[State, Array], given: tuple[Array, Array]
        ) -> tuple[tuple[State, Array], None]:
            place, total = now
            time, action = given
            action = jnp.broadcast_to(action[:, :, None], (*shape, action.shape[-1]))
            place, _ = model.predict(
                place, action, key=jax.random.fold_in(own, time), dream_context=dream_context
            )
            feature = model.feature(place)
            arrived = model.reward(feature) if reward is None else reward(feature)
            return (place, total + arrived), None

        many = jax.tree.map(lambda leaf: _particles(leaf, shape), state)
        start = (many, jnp.zeros(shape))
        (_, total), _ = jax.lax.scan(step, start, (jnp.arange(steps.shape[0]), steps))
        return jnp.mean(total, axis=-1)

    num = jax.tree.leaves(eqx.filter(states, eqx.is_array))[0].shape[0]
    each = eqx.filter_vmap(of_member)(jnp.arange(num), models, states)
    return jnp.mean(each, axis=0)


def _particles(leaf: Array, shape: tuple[int, ...]) -> Array:
    """N rows, repeated for every candidate and particle: [N, ...] to [N, J, P, ...]."""
    return jnp.broadcast_to(leaf[:, None, None], (*shape, *leaf.shape[1:]))
