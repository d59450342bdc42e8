"""What methods choose alike whose world model and behaviour learn in turn."""

import dataclasses
from typing import Any, TypeVar

import optax

from mrcom.behaviour.actor_critic import ActorCriticConfig
from mrcom.behaviour.critic import CriticConfig
from mrcom.behaviour.latent_sac import LatentSacConfig
from mrcom.behaviour.policy import ActorConfig
from mrcom.behaviour.steps import adam
from mrcom.core.errors import unknown
from mrcom.core.types import Number

Config = TypeVar("Config", bound=Any)

WARMUP, LAST_RATE = 50, 0.03
"""Steps until the world model's rate is reached, and its share at the end, where it decays."""

BEHAVIOURS = ("imagination", "sac")
"""What may learn to act: the actor-critic in dreams, or SAC on replayed features."""


def falling_adam(
    learning_rate: Number, *, decay_steps: int, max_norm: float
) -> optax.GradientTransformation:
    """Clipping, then Adam, whose rate falls along a cosine over so many steps; 0 keeps it."""
    rate: optax.ScalarOrSchedule = learning_rate
    if decay_steps:
        share = optax.schedules.warmup_cosine_decay_schedule(
            0.0, 1.0, WARMUP, max(decay_steps, WARMUP + 1), LAST_RATE
        )
        rate = lambda count: learning_rate * share(count)
    return adam(rate, max_norm=max_norm)


def sized_actor_critic(actor: int, critic: int, hurry: float = 1.0) -> ActorCriticConfig:
    """Networks of these widths; `hurry` multiplies all learning rates."""
    rates = ActorCriticConfig(), CriticConfig()
    return ActorCriticConfig(
        actor=ActorConfig(units=actor),
        critic=CriticConfig(units=critic, learning_rate=hurry * rates[1].learning_rate),
        learning_rate=hurry * rates[0].learning_rate,
    )


def with_behaviour(config: Config, name: str) -> Config:
    """A size with the behaviour of that name, its networks, horizon and hurry unchanged.

    Raises:
        ConfigError: no such behaviour; the message names the nearest.
    """
    if name not in BEHAVIOURS:
        raise unknown("behaviour", name, BEHAVIOURS)
    given = config.behaviour
    assert isinstance(given, ActorCriticConfig), "sizes are given with the actor-critic"
    if name == "imagination":
        return config
    rate, default = given.critic.learning_rate, LatentSacConfig()
    sac = dataclasses.replace(
        default.sac,
        actor=given.actor,
        units=given.actor.units,
        layers=given.actor.layers,
        discount=given.discount,
        actor_rate=rate,
        critic_rate=rate,
        temperature_rate=rate,
    )
    critic = dataclasses.replace(
        default.critic,
        units=given.critic.units,
        layers=given.critic.layers,
        learning_rate=rate,
    )
    return dataclasses.replace(config, behaviour=LatentSacConfig(sac, critic))
