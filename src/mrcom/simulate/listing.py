"""Scenarios in physical values with units, as `mrcom scenarios` prints them."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np

from mrcom.scenarios.scenario import Scenario
from mrcom.simulate.compile import compile_model
from mrcom.simulate.engine import mujoco

ELLIPSOID = int(mujoco.mjtGeom.mjGEOM_ELLIPSOID)
PLANE = int(mujoco.mjtGeom.mjGEOM_PLANE)

UNITS: Mapping[str, str] = MappingProxyType(
    {
        "scenario": "",
        "body": "",
        "reward": "",
        "target_speed": "m/s",
        "torso_length": "m",
        "torso_radius": "m",
        "torso_mass": "kg",
        "total_mass": "kg",
        "gravity": "m/s^2",
        "friction": "x default",
        "damping": "x default",
        "actuator": "x default",
        "limbs": "",
        "observation": "",
    }
)
"""Columns of `physical_values` and their units; no unit for names."""


def physical_values(scenarios: Sequence[Scenario]) -> list[dict[str, Any]]:
    """One row per scenario with the columns of `UNITS`, read from the compiled models.

    The torso's length is the distance between its capsule's two centres, without the round
    caps, or an ellipsoid's whole first axis; bodies without a torso limb have None there.
    """
    return [_row(scenario) for scenario in scenarios]


def total_mass(scenario: Scenario) -> float:
    """Of the whole body [kg]."""
    return float(compile_model(scenario).body_mass.sum())


def sliding_friction(scenario: Scenario) -> tuple[float, float]:
    """Least and largest sliding coefficient of contacts with the ground, over the body's parts.

    In a contact the larger coefficient of the two counts, that of the ground or that of the part.
    """
    model = compile_model(scenario)
    touches = (model.geom_contype != 0) | (model.geom_conaffinity != 0)
    ground = model.geom_type == PLANE
    sliding = model.geom_friction[:, 0]
    contacts = np.maximum(sliding[touches & ~ground], sliding[ground].max(initial=0.0))
    return float(contacts.min()), float(contacts.max())


def _row(scenario: Scenario) -> dict[str, Any]:
    model = compile_model(scenario)
    torso = scenario.embodiment.limbs.get("torso")
    geom = None if torso is None else model.geom(torso.geom)
    # Of an ellipsoid, the first axis is the length.
    along, across = (0, 1) if geom is not None and geom.type[0] == ELLIPSOID else (1, 0)
    return {
        "scenario": scenario.hash,
        "body": scenario.body,
        "reward": scenario.reward,
        "target_speed": scenario.target_speed,
        "torso_length": None if geom is None else float(2 * geom.size[along]),
        "torso_radius": None if geom is None else float(geom.size[across]),
        "torso_mass": None if geom is None else float(model.body_mass[geom.bodyid[0]]),
        "total_mass": total_mass(scenario),
        "gravity": float(np.linalg.norm(model.opt.gravity)),
        "friction": scenario.friction,
        "damping": scenario.damping,
        "actuator": scenario.actuator,
        "limbs": ", ".join(
            f"{limb.name} length x{limb.length:g}, size x{limb.size:g}" for limb in scenario.limbs
        ),
        "observation": scenario.observation.kind,
    }
