"""The bodies there are, by name; `register` adds one of the user's own."""

import types
from collections.abc import Mapping

from mrcom.core.errors import ConfigError, unknown
from mrcom.scenarios.bodies.cheetah import CHEETAH
from mrcom.scenarios.bodies.hopper import HOPPER
from mrcom.scenarios.bodies.quadruped import QUADRUPED
from mrcom.scenarios.bodies.walker import WALKER
from mrcom.scenarios.embodiment import Embodiment

_bodies: dict[str, Embodiment] = {b.name: b for b in (HOPPER, WALKER, CHEETAH, QUADRUPED)}

BODIES: Mapping[str, Embodiment] = types.MappingProxyType(_bodies)
"""All bodies by name."""


def body(name: str) -> Embodiment:
    """The body of that name.

    Raises:
        ConfigError: there is none; names the nearest.
    """
    if name not in _bodies:
        raise unknown("body", name, _bodies)
    return _bodies[name]


def register(embodiment: Embodiment) -> Embodiment:
    """Make a user's own body known by its name, and return it.

    Raises:
        ConfigError: another body has that name.
    """
    known = _bodies.get(embodiment.name)
    if known is not None and known != embodiment:
        raise ConfigError(f"Another body is called {embodiment.name!r}; choose another name.")
    _bodies[embodiment.name] = embodiment
    return embodiment
