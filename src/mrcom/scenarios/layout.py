"""The common widths of several bodies, and which padded entries are real."""

from collections.abc import Sequence

import numpy as np

from mrcom.core.errors import ConfigError
from mrcom.core.steps import Layout, Masks
from mrcom.scenarios.bodies import body
from mrcom.scenarios.observation import share_of
from mrcom.scenarios.scenario import Scenario


def layout_of(members: Sequence[Scenario | str], *, observation: str = "plain") -> Layout:
    """The smallest layout that holds some scenarios, or some bodies by name.

    Args:
        members: scenarios or names; bodies come in order of first appearance.
        observation: the observation function to leave room for; scenarios bring their own.
    """
    if not members:
        raise ConfigError("A layout needs at least one scenario or body.")
    names = tuple(dict.fromkeys(m if isinstance(m, str) else m.body for m in members))
    bodies = [body(name) for name in names]
    widths = [b.obs + (share_of(b.obs) if observation == "add_d" else 0) for b in bodies]
    widths += [m.width for m in members if isinstance(m, Scenario)]
    return Layout(names, max(widths), max(b.act for b in bodies))


def masks_of(scenarios: Sequence[Scenario], layout: Layout) -> Masks:
    """Which entries of each scenario's padded observation and action are real.

    Quantities that Msk-R or Msk-F set to 0 are real: they are observed as 0. To who is blind, none
    is.

    Raises:
        ConfigError: a scenario's body is not in the layout, or does not fit.
    """
    obs = np.zeros((len(scenarios), layout.obs), np.float32)
    act = np.zeros((len(scenarios), layout.act), np.float32)
    index = np.zeros(len(scenarios), np.int32)
    for row, scenario in enumerate(scenarios):
        if scenario.body not in layout.bodies:
            raise ConfigError(
                f"Body {scenario.body!r} is not in the layout of {', '.join(layout.bodies)}."
            )
        width, acts = scenario.width, scenario.embodiment.act
        if width > layout.obs or acts > layout.act:
            raise ConfigError(
                f"{scenario.name} has {width} observed quantities and {acts} actions; the layout "
                f"holds {layout.obs} and {layout.act}."
            )
        obs[row, :width] = not layout.blind
        act[row, :acts] = 1
        index[row] = layout.bodies.index(scenario.body)
    told = np.stack([scenario.parameters() for scenario in scenarios])
    return Masks(obs, act, index, told)
