"""True rewards of scenarios, where an observation tells them exactly."""

from collections.abc import Callable, Sequence

import jax.numpy as jnp
from jaxtyping import Array, Float

from mrcom.core.errors import ConfigError
from mrcom.scenarios.bodies import walker
from mrcom.scenarios.scenario import Scenario

ObservedReward = Callable[[Float[Array, "N *B O"]], Float[Array, "N *B"]]
"""From raw, padded observations of N scenarios to the rewards of arriving there."""


def observed_reward(scenarios: Sequence[Scenario]) -> ObservedReward:
    """The true rewards as functions of observations, one for each scenario.

    Rewards for a target speed compare it with the speed of the whole body's centre of mass, which
    no body of the suite observes. Nothing is approximated.

    Raises:
        ConfigError: a scenario's reward is not a function of its observation.
    """
    for scenario in scenarios:
        standing = scenario.body == "walker" and scenario.reward == "stand"
        if not (standing and scenario.observation.kind == "plain"):
            raise ConfigError(
                f"The reward of {scenario.name} cannot be computed from what is observed there: "
                f"only walker's 'stand' under plain observations can, because speeds of the "
                f"centre of mass are not observed. Plan with the learnt reward."
            )

    def reward(obs: Float[Array, "N *B O"]) -> Float[Array, "N *B"]:
        # The torso is the first of seven bodies: its x axis' x equals its z axis' z in a plane.
        upright, tall = obs[..., 0], obs[..., 14]
        margin = walker.STAND_HEIGHT / 2
        scale = (-2.0 * jnp.log(0.1)) ** 0.5
        below = jnp.maximum(walker.STAND_HEIGHT - tall, 0.0) / margin
        return (3 * jnp.exp(-0.5 * jnp.square(below * scale)) + (1 + upright) / 2) / 4

    return reward
