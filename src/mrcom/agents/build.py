"""From a method's description and a size to an agent."""

import dataclasses

from mrcom.agents.agent import Agent
from mrcom.agents.method import Method
from mrcom.agents.mrcom import MrCom
from mrcom.agents.mrcom_config import SIZES
from mrcom.core.errors import unknown
from mrcom.core.types import Layout


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
