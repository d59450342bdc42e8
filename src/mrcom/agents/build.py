"""From a method's description and a size to an agent."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from mrcom.agents import cadm, dreamer, mamba, model_free
from mrcom.agents.agent import Agent
from mrcom.agents.method import JACOBIAN, WEIGHTS, Method, named, no_dynamics, with_weights
from mrcom.agents.modular_config import with_behaviour
from mrcom.agents.mrcom import MRCOM, MrCom
from mrcom.agents.mrcom_config import DREAMT_CONTEXT, SIZES
from mrcom.core.config import parsed, with_settings
from mrcom.core.errors import ConfigError
from mrcom.core.types import Layout
from mrcom.models.latent_error import NONE, LatentError
from mrcom.models.pixels import PixelsConfig
from mrcom.objectives.jacobian import JacobianConfig


def build_agent(
    method: Method,
    size: str,
    *,
    layout: Layout,
    num_scenarios: int,
    observe_reward: bool = True,
    behaviour: str | None = None,
    updates: int = 0,
    jacobian: JacobianConfig | None = None,
    latent_error: LatentError = NONE,
    settings: Sequence[str] = (),
) -> Agent:
    """The agent of a method.

    Args:
        behaviour: what learns to act: `imagination` or `sac`; by default the method's own.
        updates: that it will make in all, if known: its learning rate falls over them.
        jacobian: how the loss term `jacobian` is measured; the default where there is none.
        latent_error: added to what is filtered while learning.
        settings: values of the size that are others, each as `dotted.name=value`.

    Raises:
        ConfigError: no such method, size, behaviour or setting, terms or parts that the method's
            model does not know, or settings of a term that the method has not got.
    """
    agent = named("method", method.family, BUILDERS)(
        method,
        size,
        layout=layout,
        num_scenarios=num_scenarios,
        observe_reward=observe_reward,
        behaviour=behaviour or behaviour_of(method.family),
        updates=updates,
    )
    if layout.image:
        agent = _with_pictures(agent)
    if isinstance(agent, MrCom | dreamer.Dreamer | mamba.Mamba):
        options = {"jacobian": jacobian or JacobianConfig(), "latent_error": latent_error}
        agent = dataclasses.replace(agent, config=dataclasses.replace(agent.config, **options))
    elif jacobian not in (None, JacobianConfig()) or any(
        text.startswith(f"{JACOBIAN}.") for text in settings
    ):
        raise no_dynamics(method)
    elif latent_error != NONE:
        raise ConfigError(
            f"{method.name} has no latent state that an error could be added to: leave out the "
            f"latent error {latent_error.text}, or choose mrcom, dreamer or mamba."
        )
    return _with_settings(agent, settings) if settings else agent


def _with_settings(agent: Any, settings: Sequence[str]) -> Agent:
    """The agent with other values of its size, and other weights of its loss terms."""
    weights = {}
    for text in settings:
        name, _, value = text.partition("=")
        if name.startswith("latent_error."):
            raise ConfigError(f"setting {text!r} would change learning alone: give --latent-error.")
        if name.startswith(WEIGHTS):
            weights[name.removeprefix(WEIGHTS)] = parsed(name, value, float, 1.0)
    of_size = [text for text in settings if not text.startswith(WEIGHTS)]
    return dataclasses.replace(
        agent,
        method=with_weights(agent.method, weights),
        config=with_settings(agent.config, of_size),
    )


def _with_pictures(agent: Agent) -> Agent:
    """The agent with a model that reads and draws pictures of its layout's size.

    Raises:
        ConfigError: its model has no place for them.
    """
    if not isinstance(agent, MrCom | dreamer.Dreamer):
        raise ConfigError(
            f"{type(agent).__name__} sees no pictures: train it on vectors, or choose mrcom or "
            f"dreamer."
        )
    config = agent.config
    pixels = PixelsConfig(side=agent.layout.image, units=config.model.units)
    config = dataclasses.replace(config, model=dataclasses.replace(config.model, pixels=pixels))
    # A dreamt step would have to be drawn and read again to enter the context.
    parts = tuple(part for part in agent.method.parts if part != DREAMT_CONTEXT)
    method = dataclasses.replace(agent.method, parts=parts)
    return dataclasses.replace(agent, method=method, config=config)


def method_named(name: str) -> Method:
    """A method by the name that the command line knows it by.

    Raises:
        ConfigError: no such method; the message names the nearest.
    """
    return named("method", name, METHODS)


def has_size(name: str, size: str) -> bool:
    """Whether the method of that name comes in that size."""
    return size in SIZES_OF[method_named(name).family]


def behaviour_of(family: str) -> str:
    """What learns to act in the methods of a family, if nobody asks for anything else."""
    return BEHAVIOUR.get(family, "imagination")


def _mrcom(
    method: Method,
    size: str,
    *,
    layout: Layout,
    num_scenarios: int,
    observe_reward: bool,
    behaviour: str,
    updates: int,
) -> Agent:
    config = with_behaviour(named("size", size, SIZES), behaviour)
    model = dataclasses.replace(config.model, observe_reward=observe_reward)
    steps = updates * config.steps_on(config.windows.rows(num_scenarios))
    config = dataclasses.replace(config, model=model, decay_steps=steps)
    return MrCom(method, config, layout, num_scenarios)


METHODS: dict[str, Method] = {
    "mrcom": MRCOM,
    "dreamer": dreamer.DREAMER,
    "mamba": mamba.MAMBA,
    "cadm": cadm.CADM,
    "cadm-vanilla": cadm.VANILLA,
    "sac": model_free.SAC,
    "sac-told": model_free.SAC_TOLD,
}
"""The methods by the names that the command line knows."""

BEHAVIOUR = {"mrcom": "sac", "cadm": "sac", "sac": "sac"}
"""What learns to act in families where it is not the actor-critic in dreams."""

BUILDERS: dict[str, Callable[..., Agent]] = {
    "mrcom": _mrcom,
    "dreamer": dreamer.build,
    "mamba": mamba.build,
    "cadm": cadm.build,
    "sac": model_free.build,
}
"""What makes an agent of each family's methods."""

SIZES_OF = {
    "mrcom": SIZES,
    "dreamer": dreamer.SIZES,
    "mamba": mamba.SIZES,
    "cadm": cadm.SIZES,
    "sac": model_free.SIZES,
}
"""The sizes of each family's methods by name."""
