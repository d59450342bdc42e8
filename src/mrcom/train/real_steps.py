"""Real transitions of adaptation targets, on the host."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mrcom.behaviour.sac import Transition


@dataclasses.dataclass
class RealSteps:
    """Real transitions of N targets, and the model's states that dreams branch from."""

    feature: Float[np.ndarray, "N R F"]
    action: Float[np.ndarray, "N R A"]
    reward: Float[np.ndarray, "N R"]
    next_feature: Float[np.ndarray, "N R F"]
    states: Any
    """The model's states, host arrays [N, keep, ...]; None where nothing is dreamt."""
    count: int = 0

    def add(
        self,
        feature: np.ndarray,
        action: np.ndarray,
        reward: np.ndarray,
        next_feature: np.ndarray,
        state: Any,
    ) -> None:
        """One step of every target."""
        row = self.count
        self.feature[:, row], self.action[:, row] = feature, action
        self.reward[:, row], self.next_feature[:, row] = reward, next_feature
        if self.states is not None:

            def keep(host: np.ndarray, leaf: Array) -> None:
                host[:, row % host.shape[1]] = np.asarray(leaf)

            jax.tree.map(keep, self.states, state)
        self.count += 1

    def renew(
        self,
        target: int,
        first: int,
        states: Any,
        feature: Float[np.ndarray, "L F"] | None,
    ) -> None:
        """Replace what another model made of some steps of one target.

        Args:
            target: its index.
            first: the first of the steps; they are of one episode.
            states: the model's before each step, host arrays [L - 1, ...].
            feature: what policies read before each step and after the last; None where that
                does not change with the model.
        """
        num = len(jax.tree.leaves(states)[0])
        if feature is not None:
            self.feature[target, first : first + num] = feature[:-1]
            self.next_feature[target, first : first + num] = feature[1:]
        if self.states is None:
            return

        def keep(host: np.ndarray, leaf: np.ndarray) -> None:
            kept = host.shape[1]
            row = np.arange(max(first, self.count - kept), first + num)
            host[target, row % kept] = leaf[row - first]

        jax.tree.map(keep, self.states, states)

    def draw(self, target: int, rng: np.random.Generator, shape: tuple[int, int]) -> Transition:
        """Uniform real transitions of one target, [n, B, ...]."""
        at = rng.integers(self.count, size=shape)
        return Transition(
            feature=jnp.asarray(self.feature[target][at]),
            action=jnp.asarray(self.action[target][at]),
            reward=jnp.asarray(self.reward[target][at]),
            next_feature=jnp.asarray(self.next_feature[target][at]),
            cont=jnp.ones(shape),
            weight=jnp.ones(shape),
        )

    def draw_states(self, target: int, rng: np.random.Generator, num: int) -> Any:
        """Real states of one target to dream from."""
        keep = jax.tree.leaves(self.states)[0].shape[1]
        at = rng.integers(min(self.count, keep), size=num)
        return jax.tree.map(lambda leaf: jnp.asarray(leaf[target][at]), self.states)


def empty_real_steps(
    num: int, num_steps: int, feature: int, act: int, state: Any, keep_states: int
) -> RealSteps:
    """Room for `num_steps` transitions of each of `num` targets.

    Args:
        feature: width of what policies read.
        act: width of a padded action.
        state: the model's states of all targets, an example; None where nothing is dreamt.
        keep_states: how many of the latest of them are kept.
    """
    keep = min(keep_states, num_steps)
    states = jax.tree.map(lambda x: np.zeros((num, keep, *x.shape[1:]), x.dtype), state)
    return RealSteps(
        feature=np.zeros((num, num_steps, feature), np.float32),
        action=np.zeros((num, num_steps, act), np.float32),
        reward=np.zeros((num, num_steps), np.float32),
        next_feature=np.zeros((num, num_steps, feature), np.float32),
        states=states,
    )
