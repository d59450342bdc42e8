"""Configurations as data."""

import dataclasses

import pytest

from mrcom.agents import build, cadm_config, dreamer_config, mamba_config, mrcom_config
from mrcom.core.config import shallow
from mrcom.core.types import Layout

LAYOUT = Layout(("long", "short"), 5, 3)


@dataclasses.dataclass(frozen=True)
class Part:
    deep_layers: int = 3
    layers: str = "their kind"


@dataclasses.dataclass(frozen=True)
class Whole:
    part: Part = Part()
    layers: int = 0
    units: int = 7


def layers(value, at=""):
    """Every number of layers, by its name."""
    found = {}
    for name, leaf in vars(value).items():
        if dataclasses.is_dataclass(leaf):
            found |= layers(leaf, f"{at}{name}.")
        elif name.endswith("layers") and isinstance(leaf, int):
            found[at + name] = leaf
    return found


def test_shallow_is_one_layer_wherever_there_are_more_and_nothing_else():
    assert shallow(Whole()) == Whole(Part(deep_layers=1), layers=0, units=7)


@pytest.mark.parametrize("name", build.METHODS)
def test_the_smallest_size_of_every_method_has_one_layer_everywhere(name):
    method, options = build.METHODS[name], {"layout": LAYOUT, "num_scenarios": 6}
    agent = build.build_agent(method, "debug", **options)
    assert set(layers(agent.config).values()) == {1}


@pytest.mark.parametrize("part", [cadm_config, dreamer_config, mamba_config, mrcom_config])
def test_no_other_size_is_shallow(part):
    assert all(max(layers(one).values()) > 1 for name, one in part.SIZES.items() if name != "debug")
