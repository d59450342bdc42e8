"""True rewards of scenarios, computed from what is observed there."""

import collections
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mrcom.core.errors import ConfigError
from mrcom.scenarios.observation import PLAIN
from mrcom.scenarios.rewards import reach, track
from mrcom.scenarios.scenario import Scenario
from mrcom.simulate.compile import compile_model
from mrcom.simulate.kinematics import Skeleton, centre_velocity, placed, skeleton_of

ObservedReward = Callable[[Float[Array, "N *B O"]], Float[Array, "N *B"]]
"""From raw, padded observations of N scenarios to the rewards of arriving there."""

Joints = tuple[Float[Array, " Q"], Float[Array, " Q"]]
"""Positions and velocities of a body's joints; it may be anywhere along the track."""


def _hopper(obs: Float[Array, " O"], skeleton: Skeleton) -> Joints:
    return jnp.append(0.0, obs[:6]), obs[6:13]


def _cheetah(obs: Float[Array, " O"], skeleton: Skeleton) -> Joints:
    return jnp.append(0.0, obs[:8]), obs[8:17]


def _walker(obs: Float[Array, " O"], skeleton: Skeleton) -> Joints:
    """Joint angles are those between the x axes of neighbours; legs' turn the other way."""
    angle = jnp.arctan2(obs[1:14:2], obs[0:14:2])
    legs = angle[1:].reshape(2, 3)
    above = jnp.concatenate([jnp.full((2, 1), angle[0]), legs[:, :2]], axis=1)
    root = jnp.stack([obs[14] - skeleton.pos[1, 2], jnp.zeros(()), angle[0]])
    return jnp.append(root, above - legs), obs[15:24]


JOINTS: Mapping[str, Callable[[Float[Array, " O"], Skeleton], Joints]] = {
    "hopper": _hopper,
    "walker": _walker,
    "cheetah": _cheetah,
}
"""Bodies whose observation tells their whole state but the place along the track."""


class _Imagined:
    """M predicted states of one body, as its reward asks for them: `Physics` of JAX arrays."""

    def __init__(self, scenario: Scenario, **arrays: Float[Array, "M ..."]):
        self._model, self._arrays = compile_model(scenario), arrays
        self.num = len(arrays["velocity"])

    def field(self, name: str) -> Any:
        """A whole MuJoCo data field, where it was computed."""
        if name not in self._arrays:
            raise ConfigError(f"the state's {name!r} is not observed")
        return self._arrays[name]

    def of_body(self, field: str, body: str) -> Any:
        """One part's entry of such a field."""
        return self.field(field)[:, self._model.body(body).id]

    def sensor(self, name: str) -> Any:
        """The velocity of the whole body's centre of mass, which all three bodies call so."""
        return self.field({"com_velocity": "velocity"}.get(name, name))


class _Rows(eqx.Module):
    """Scenarios of one body and one kind of reward."""

    skeleton: Skeleton
    """Of each, stacked."""
    target: Float[Array, " N"]
    """Their target speeds [m/s]."""
    scenario: Scenario = eqx.field(static=True)
    """One of them."""

    def __call__(self, obs: Float[Array, "N B O"]) -> Float[Array, "N B"]:
        """The rewards of arriving at these observations."""
        over_both = jax.vmap(jax.vmap(self._imagined, in_axes=(None, 0)))
        found = over_both(self.skeleton, obs)
        flat = {name: value.reshape(-1, *value.shape[2:]) for name, value in found.items()}
        physics = _Imagined(self.scenario, **flat)
        body, kind = self.scenario.embodiment, self.scenario.reward
        if kind == "stand":
            assert body.stand is not None
            return body.stand(physics).reshape(obs.shape[:2])
        target = jnp.repeat(self.target, obs.shape[1])
        speed = body.speed(physics)
        if kind == "track":
            move = track(speed, target, float(body.max_speed))
        else:
            move = reach(speed, target, float(body.at_rest))
        return body.reward(physics, move).reshape(obs.shape[:2])

    def _imagined(self, skeleton: Skeleton, obs: Float[Array, " O"]) -> dict[str, Array]:
        qpos, qvel = JOINTS[self.scenario.body](obs, skeleton)
        parts = placed(skeleton, qpos)
        return {
            "xpos": parts.pos,
            "xmat": parts.rotation.reshape(-1, 9),
            "xipos": parts.centre,
            "velocity": centre_velocity(skeleton, qpos, qvel),
        }


def observed_reward(scenarios: Sequence[Scenario]) -> ObservedReward:
    """The true rewards as functions of observations, one for each scenario.

    The simulator's own functions of the physics (`Embodiment.reward`), of a state that is computed
    from the observation and the scenario's true geometry. Nothing is approximated.

    Raises:
        ConfigError: a scenario's reward is not a function of its observation.
    """
    together: dict[tuple[str, str], list[int]] = collections.defaultdict(list)
    for row, scenario in enumerate(scenarios):
        _check(scenario)
        together[scenario.body, scenario.reward].append(row)
    groups = [(np.array(rows), _rows([scenarios[i] for i in rows])) for rows in together.values()]

    def reward(obs: Float[Array, "N *B O"]) -> Float[Array, "N *B"]:
        flat = obs.reshape(len(scenarios), -1, obs.shape[-1])
        found = jnp.zeros(flat.shape[:2], obs.dtype)
        for rows, group in groups:
            found = found.at[rows].set(group(flat[rows]))
        return found.reshape(obs.shape[:-1])

    return reward


def _rows(scenarios: Sequence[Scenario]) -> _Rows:
    skeletons = [skeleton_of(scenario) for scenario in scenarios]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *skeletons)
    target = jnp.array([scenario.target_speed for scenario in scenarios], jnp.float32)
    return _Rows(stacked, target, scenarios[0])


def _check(scenario: Scenario) -> None:
    if scenario.observation != PLAIN:
        why = f"its observation function is {scenario.observation.kind!r}, not 'plain'"
    elif scenario.body not in JOINTS:
        why = f"the whole state is observed of {', '.join(JOINTS)} only"
    elif (scenario.body, scenario.reward) == ("hopper", "stand"):
        why = "it also depends on the action"
    else:
        return
    raise ConfigError(
        f"The reward of {scenario.name} cannot be computed from what is observed there: {why}. "
        f"Plan with the learnt reward."
    )
