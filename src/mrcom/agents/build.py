"""From a method's description and a size to an agent."""

import dataclasses

from mrcom.agents.agent import Agent, Windows
from mrcom.agents.method import Method
from mrcom.agents.mrcom import MrCom, MrComConfig
from mrcom.behaviour.actor_critic import ActorCriticConfig
from mrcom.behaviour.critic import CriticConfig
from mrcom.behaviour.policy import ActorConfig
from mrcom.core.errors import unknown
from mrcom.core.types import Layout
from mrcom.models.context import ContextConfig
from mrcom.models.contextual import ContextualConfig


def _sized(
    *,
    stoch: int,
    deter: int,
    aux: int,
    units: int,
    width: int,
    actor: int,
    critic: int,
    windows: Windows,
    starts: int,
    horizon: int,
) -> MrComConfig:
    return MrComConfig(
        model=ContextualConfig(
            stoch=stoch,
            deter=deter,
            aux=aux,
            units=units,
            aux_units=min(units, 128),
            context=ContextConfig(width=width, window=windows.context),
        ),
        behaviour=ActorCriticConfig(
            actor=ActorConfig(units=actor), critic=CriticConfig(units=critic)
        ),
        windows=windows,
        starts=starts,
        horizon=horizon,
    )


SIZES = {
    "debug": _sized(
        stoch=4, deter=8, aux=4, units=16, width=12, actor=16, critic=16,
        windows=Windows(scenarios=4, length=8), starts=2, horizon=3,
    ),
    "tiny": _sized(
        stoch=32, deter=128, aux=16, units=128, width=96, actor=128, critic=64,
        windows=Windows(length=32), starts=8, horizon=12,
    ),
    "small": _sized(
        stoch=32, deter=256, aux=16, units=256, width=96, actor=256, critic=128,
        windows=Windows(length=32), starts=16, horizon=15,
    ),
    "full": _sized(
        stoch=32, deter=512, aux=32, units=256, width=192, actor=256, critic=256,
        windows=Windows(length=64), starts=32, horizon=15,
    ),
}  # fmt: skip
"""Sizes by name. stoch 32, aux 16 to 32, deter 256 to 512, width 96 or 192 are the
specification's; `debug` and `tiny` are smaller so that two cores finish in minutes."""


def build_agent(
    method: Method,
    size: str,
    *,
    layout: Layout,
    num_scenarios: int,
    observe_reward: bool = True,
) -> Agent:
    """The agent of a method.

    Raises:
        ConfigError: no such size, or terms or parts that the method's model does not know.
    """
    if size not in SIZES:
        raise unknown("size", size, SIZES)
    config = SIZES[size]
    model = dataclasses.replace(config.model, observe_reward=observe_reward)
    return MrCom(method, dataclasses.replace(config, model=model), layout, num_scenarios)
