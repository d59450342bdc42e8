"""A frozen world model as a Gymnasium vector environment, for any library's agents."""

import dataclasses
from collections.abc import Callable
from typing import Any, final

import equinox as eqx
import gymnasium
import jax
import jax.numpy as jnp
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from mrcom.core.errors import check_least, unknown
from mrcom.core.rng import root_key
from mrcom.models.world_model import AbstractWorldModel, DreamContext, State

SEEN = ("feature", "observation")

Expected = Callable[[State, Float[Array, "N F"]], tuple[Float[Array, "N O"], Any]]
"""Mean normalised observation, and anything else, of features in dreams of N states."""


@dataclasses.dataclass(frozen=True)
class DreamEnvConfig:
    """What an agent sees of a dream, and how long it lasts."""

    num_envs: int = 16
    """Dreams side by side."""
    horizon_steps: int = 15
    """Steps until a dream is cut off; models are not to be trusted for longer than they were
    tested for."""
    seen: str = "feature"
    """`feature`: the model's own state; `observation`: the expected one, normalised, without
    padding."""
    dream_context: DreamContext | None = None
    """Whether dreamt steps enter the context: as in the run's own dreams, or `push` where there
    is no run but only a model."""

    def __post_init__(self):
        if self.seen not in SEEN:
            raise unknown("kind of observation", self.seen, SEEN)
        check_least(self, 1, "num_envs", "horizon_steps")


@final
class DreamEnv(VectorEnv):
    """Dreams of one scenario, started from states of it that were really visited.

    Actions have the body's own width, in [-1, 1]; padding stays inside. A dream ends where the
    model says that the episode does (`terminations`, drawn with the predicted probability) and
    is cut off at the horizon (`truncations`). The next step after either starts anew, as
    `metadata["autoreset_mode"]` says. The model is not changed.
    """

    metadata: dict[str, Any] = {  # noqa: RUF012  (the name and type are Gymnasium's)
        "autoreset_mode": AutoresetMode.NEXT_STEP,
        "render_modes": [],
    }

    def __init__(
        self,
        model: AbstractWorldModel,
        starts: State,
        obs_mask: Float[np.ndarray, " O"],
        act_mask: Float[np.ndarray, " A"],
        config: DreamEnvConfig | None = None,
        *,
        expected: Expected | None = None,
    ):
        """Wrap a model.

        Every leaf of `starts` has a leading axis of states, of which resets choose one at random.
        The masks are those of the scenario. Without `expected`, observations are what the model
        decodes, in the unit that it was trained on.
        """
        self.config = config or DreamEnvConfig()
        self.num_envs = self.config.num_envs
        self._model, self._starts = model, starts
        self._expected = eqx.Partial(_decode, model) if expected is None else expected
        self._num_starts = len(jax.tree.leaves(starts)[0])
        self._obs_at, self._act_at = np.flatnonzero(obs_mask), np.flatnonzero(act_mask)
        self._act_width = len(act_mask)
        feature = jax.eval_shape(model.feature, starts)
        width = feature.shape[-1] if self.config.seen == "feature" else len(self._obs_at)
        self.single_observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (width,), np.float32)
        self.single_action_space = gymnasium.spaces.Box(-1, 1, (len(self._act_at),), np.float32)
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self._state: State = None
        self._over = np.ones(self.num_envs, bool)
        self._elapsed = np.zeros(self.num_envs, int)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Float[np.ndarray, "N V"], dict[str, Any]]:
        """New starts for all; the same with the same seed."""
        super().reset(seed=seed, options=options)
        self._key = root_key(int(self.np_random.integers(2**31)))
        self._clock = 0
        self._state = _rows(self._starts, self._draw_starts())
        self._over[:] = False
        self._elapsed[:] = 0
        return self._seen(_feature(self._model, self._state)), {}

    def step(
        self, actions: Float[np.ndarray, "N A"]
    ) -> tuple[
        Float[np.ndarray, "N V"],
        Float[np.ndarray, " N"],
        Bool[np.ndarray, " N"],
        Bool[np.ndarray, " N"],
        dict[str, Any],
    ]:
        """One dreamt step of all; those that were over start anew and ignore their action."""
        if self._state is None:
            raise gymnasium.error.ResetNeeded("Call reset before the first step.")
        padded = np.zeros((self.num_envs, self._act_width), np.float32)
        padded[:, self._act_at] = np.clip(actions, -1.0, 1.0)
        renewed, self._clock = self._over, self._clock + 1
        self._state, feature, reward, cont = _step(
            self._model,
            self._state,
            padded,
            _rows(self._starts, self._draw_starts()),
            renewed,
            jax.random.fold_in(self._key, self._clock),
            self.config.dream_context or "push",
        )
        self._elapsed = np.where(renewed, 0, self._elapsed + 1)
        ends = self.np_random.random(self.num_envs) >= np.asarray(cont)
        terminations = ends & ~renewed
        truncations = (self._elapsed >= self.config.horizon_steps) & ~renewed & ~terminations
        self._over = terminations | truncations
        return self._seen(feature), np.array(reward, np.float64), terminations, truncations, {}

    def _draw_starts(self) -> Int[np.ndarray, " N"]:
        return self.np_random.integers(self._num_starts, size=self.num_envs)

    def _seen(self, feature: Float[Array, "N F"]) -> Float[np.ndarray, "N V"]:
        if self.config.seen == "feature":
            return np.array(feature, np.float32)
        seen, _ = _look(self._expected, self._state, feature)
        return np.array(seen, np.float32)[:, self._obs_at]


@jax.jit
def _rows(states: State, at: Int[Array | np.ndarray, " N"]) -> State:
    return jax.tree.map(lambda leaf: leaf[at], states)


@eqx.filter_jit
def _feature(model: AbstractWorldModel, state: State) -> Float[Array, "N F"]:
    return model.feature(state)


def _decode(
    model: AbstractWorldModel, state: State, feature: Float[Array, "N F"]
) -> tuple[Float[Array, "N O"], None]:
    return model.decode(feature, state.body), None


@eqx.filter_jit
def _look(
    expected: Expected, state: State, feature: Float[Array, "N F"]
) -> tuple[Float[Array, "N O"], Any]:
    return expected(state, feature)


@eqx.filter_jit
def _step(
    model: AbstractWorldModel,
    state: State,
    action: Float[Array | np.ndarray, "N A"],
    fresh: State,
    renewed: Bool[Array | np.ndarray, " N"],
    key: PRNGKeyArray,
    dream_context: DreamContext,
) -> tuple[State, Float[Array, "N F"], Float[Array, " N"], Float[Array, " N"]]:
    state, _ = model.predict(state, jnp.asarray(action), key=key, dream_context=dream_context)

    def choose(new: Array, old: Array) -> Array:
        return jnp.where(renewed.reshape(-1, *[1] * (old.ndim - 1)), new, old)

    state = jax.tree.map(choose, fresh, state)
    feature = model.feature(state)
    reward = jnp.where(renewed, 0.0, model.reward(feature))
    return state, feature, reward, jnp.where(renewed, 1.0, model.cont(feature))
