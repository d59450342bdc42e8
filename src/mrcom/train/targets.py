"""The targets of an adaptation, stepped side by side, and all that was seen of each."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray, UInt8

from mrcom.behaviour.policy import Actor
from mrcom.core.rng import named_seed
from mrcom.core.types import Steps
from mrcom.replay.store import Store
from mrcom.simulate.simulator import Simulator
from mrcom.train.adapt_config import AdaptConfig, Amount
from mrcom.train.real_steps import empty_real_steps
from mrcom.train.settings import Worlds
from mrcom.train.views import LatentView, LatentViews, View, act_each


@dataclasses.dataclass(frozen=True)
class Views:
    """How targets are looked at."""

    policy: View
    """What the policies read."""
    latent: LatentView | None
    """The world model's states, where anybody reads them or dreams from them; the same object
    as `policy` where policies read features."""


@dataclasses.dataclass(frozen=True)
class Moment:
    """Where all targets are."""

    feature: Float[Array, "N V"]
    """What the policies read now."""
    carry: Any
    """Memory of the model, where there is one."""


@dataclasses.dataclass(frozen=True)
class Recording:
    """Raw steps of N targets: E episodes of T steps, the first one included."""

    obs: Float[np.ndarray, "N E T O"]
    action: Float[np.ndarray, "N E T A"]
    reward: Float[np.ndarray, "N E T"]
    image: UInt8[np.ndarray, "N E T S S 3"] | None = None


class Targets:
    """N targets in lockstep, and what happened in them.

    Attributes:
        real: transitions as policies read them, and the model's states.
        now: where all targets are.
    """

    def __init__(
        self, worlds: Worlds, views: Views, config: AdaptConfig, amount: Amount, *, seed: int
    ):
        self._worlds, self._views, self._amount, self._seed = worlds, views, amount, seed
        self._latent: LatentView | LatentViews | None = views.latent
        self._dreams = config.dreams_at_all
        self._simulator = Simulator(worlds.scenarios, layout=worlds.layout)
        self._record = _empty_record(worlds, amount) if config.model == "finetune" else None
        self.begin_episode(0)
        states = self._latent.states(self.now.carry) if self._latent and self._dreams else None
        self.real = empty_real_steps(
            self._simulator.num,
            amount.steps,
            self.now.feature.shape[-1],
            worlds.layout.act,
            states,
            config.keep_states,
        )

    def begin_episode(self, step: int) -> None:
        """Reset all targets after so many steps."""
        seed = named_seed(self._seed, "reset", step)
        obs = self._simulator.reset(seed=seed)
        nothing = np.zeros((self._simulator.num, self._worlds.layout.act), np.float32)
        start = None if self._latent is None else self._latent.start()
        reward = np.zeros(self._simulator.num, np.float32)
        self.now = self._look(start, obs, nothing, reward)
        self._note(step, 0, obs, nothing, reward)

    def step(self, actors: Actor, key: PRNGKeyArray | None) -> Float[np.ndarray, " N"]:
        """One step of all targets, each by its own actor, and its reward.

        Without a key actors act by their modes.
        """
        now, real = self.now, self.real
        chosen = act_each(actors, now.feature, jnp.asarray(self._worlds.masks.act), key)
        action = np.asarray(chosen)
        obs, reward = self._simulator.step(action)
        self._simulator.check()
        self.now = self._look(now.carry, obs, action, reward)
        states = None
        if self._latent is not None and self._dreams:
            states = self._latent.states(now.carry)
        before = real.count
        real.add(np.asarray(now.feature), action, reward, np.asarray(self.now.feature), states)
        self._note(before, before % self._amount.episode_steps + 1, obs, action, reward)
        return reward

    def store(self, target: int) -> Store:
        """One target's own episodes as experience."""
        record, num = self._recorded(), self._episodes
        longest = self._amount.episode_steps + 1
        store = Store(1, self._worlds.layout, steps=longest, capacity=num)
        steps = Steps(
            record.obs[target, :num],
            record.action[target, :num],
            record.reward[target, :num],
            np.zeros((num, longest), bool),
            None if record.image is None else record.image[target, :num],
        )
        store.add(np.zeros(num, np.int64), steps, np.full(num, longest))
        return store

    def look_again(self, states: Sequence[Any]) -> None:
        """After an episode: see all episodes, and those to come, by each target's new model.

        Args:
            states: of the agent, one for each target, with the target's model in it.
        """
        latent = self._views.latent
        assert latent is not None, "targets whose model learns are filtered by it"
        rows = [np.array([n]) for n in range(self._simulator.num)]
        views = [latent.rows(row, state) for row, state in zip(rows, states, strict=True)]
        self._latent = LatentViews(views, rows)
        for n, view in enumerate(views):
            self._follow(n, view)

    def _follow(self, target: int, view: LatentView) -> None:
        """Renew what is kept of one target."""
        record, steps = self._recorded(), self._amount.episode_steps
        one = slice(target, target + 1)
        for episode in range(self._episodes):
            seen = [array[one, episode] for array in (record.obs, record.action, record.reward)]
            image = None if record.image is None else record.image[one, episode]
            feature, carry = view.follow(*seen, image)
            states = jax.tree.map(lambda leaf: np.asarray(leaf)[0, :steps], carry.model)
            shown = self._views.policy is self._views.latent
            read = np.asarray(feature)[0] if shown else None
            self.real.renew(target, episode * steps, states, read)

    def _look(self, carry: Any, obs: np.ndarray, action: np.ndarray, reward: np.ndarray) -> Moment:
        if self._latent is None:
            return Moment(*self._views.policy.see(None, obs, action, reward))
        image = self._simulator.image()
        feature, carry = self._latent.see(carry, obs, action, reward, image)
        if self._views.policy is not self._views.latent:
            feature, _ = self._views.policy.see(None, obs, action, reward)
        return Moment(feature, carry)

    def _note(
        self, step: int, time: int, obs: np.ndarray, action: np.ndarray, reward: np.ndarray
    ) -> None:
        if self._record is not None:
            at = (slice(None), step // self._amount.episode_steps, time)
            self._record.obs[at], self._record.action[at] = obs, action
            self._record.reward[at] = reward
            if self._record.image is not None:
                self._record.image[at] = self._simulator.image()

    def _recorded(self) -> Recording:
        assert self._record is not None, "targets whose model learns are recorded"
        return self._record

    @property
    def _episodes(self) -> int:
        """Whole episodes so far."""
        return self.real.count // self._amount.episode_steps


def _empty_record(worlds: Worlds, amount: Amount) -> Recording:
    shape = (len(worlds.scenarios), amount.episodes, amount.episode_steps + 1)
    widths = worlds.layout.obs, worlds.layout.act
    obs, action = (np.zeros((*shape, width), np.float32) for width in widths)
    side = worlds.layout.image_shape
    image = np.zeros((*shape, *side), np.uint8) if worlds.layout.image else None
    return Recording(obs, action, np.zeros(shape, np.float32), image)
