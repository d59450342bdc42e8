"""A scenario as a compiled MuJoCo model."""

import dataclasses
import functools
import math

import numpy as np

from mrcom.core.errors import ConfigError
from mrcom.scenarios.embodiment import Attachment, Embodiment, Limb
from mrcom.scenarios.observation import PLAIN
from mrcom.scenarios.scenario import LimbScale, Scenario
from mrcom.simulate.engine import mujoco

LEAN = int(mujoco.mjtDisableBit.mjDSBL_ISLAND | mujoco.mjtDisableBit.mjDSBL_MIDPHASE)
"""Off in every model: they only organise the same work; states stay equal bit for bit."""


def compile_model(scenario: Scenario) -> mujoco.MjModel:
    """The scenario's model. Equal bodies and dynamics share one: do not change it."""
    physics = dataclasses.replace(scenario, target_speed=0, reward="track", observation=PLAIN)
    return _compiled(physics)


# About 20 KB a model.
@functools.lru_cache(maxsize=2048)
def _compiled(scenario: Scenario) -> mujoco.MjModel:
    spec = spec_of(scenario)
    try:
        model = spec.compile()
    except ValueError as error:
        raise ConfigError(f"{scenario.name} cannot be compiled: {error}") from error
    _check_dimensions(model, scenario.embodiment)
    if scenario.embodiment.total_mass is not None:
        mujoco.mj_setTotalmass(model, scenario.embodiment.total_mass)
        _derive_constants(model)
    _scale_values(model, scenario)
    model.opt.disableflags |= LEAN
    return model


def spec_of(scenario: Scenario) -> mujoco.MjSpec:
    """The body's MJCF with its limbs scaled; masses and inertias follow when it is compiled."""
    embodiment = scenario.embodiment
    try:
        spec = mujoco.MjSpec.from_string(embodiment.xml)
    except ValueError as error:
        raise ConfigError(f"The MJCF of body {scenario.body!r} cannot be read: {error}") from error
    torso = LimbScale("torso", scenario.torso_length, scenario.torso_size)
    for scale in (torso, *scenario.limbs):
        if (scale.length, scale.size) != (1.0, 1.0):
            scale_limb(spec, embodiment.limbs[scale.name], scale.length, scale.size)
    return spec


def scale_limb(spec: mujoco.MjSpec, limb: Limb, length: float, size: float) -> None:
    """Stretch a capsule or an ellipsoid about its fixed point, with what hangs on it."""
    geom = spec.geom(limb.geom)
    kinds = mujoco.mjtGeom.mjGEOM_CAPSULE, mujoco.mjtGeom.mjGEOM_ELLIPSOID
    if geom is None or geom.type not in kinds:
        raise ConfigError(
            f"Limb geom {limb.geom!r} must be a capsule or an ellipsoid of the body's MJCF."
        )
    # What hangs on a capsule moves along its axis; on an ellipsoid, with each of its axes.
    fixed, scale = np.array(limb.fixed), np.full(3, length)
    if geom.type == mujoco.mjtGeom.mjGEOM_ELLIPSOID:
        scale = np.array([length, size, size])
        geom.pos = geom.pos + (scale - 1) * (geom.pos - fixed)
        geom.size = geom.size * scale
    elif math.isnan(geom.fromto[0]):
        geom.pos = geom.pos + (length - 1) * (geom.pos - fixed)
        geom.size = [geom.size[0] * size, geom.size[1] * length, 0]
    else:
        ends = np.array(geom.fromto)
        geom.fromto = ends + (length - 1) * (ends - np.tile(fixed, 2))
        geom.size = [geom.size[0] * size, 0, 0]
    for attachment in limb.attached:
        _move(spec, attachment, fixed, scale)
    root = geom.parent
    while root.parent is not spec.worldbody:
        root = root.parent
    root.pos = root.pos + np.array([0, 0, (length - 1) * limb.lift])


def _move(
    spec: mujoco.MjSpec, attachment: Attachment, fixed: np.ndarray, scale: np.ndarray
) -> None:
    element = getattr(spec, attachment.kind)(attachment.name)
    if element is None:
        raise ConfigError(f"The body's MJCF has no {attachment.kind} {attachment.name!r}.")
    has_ends = attachment.kind == "geom" and not math.isnan(element.fromto[0])
    if attachment.at is None and has_ends:
        raise ConfigError(f"Attachment {attachment.name!r} is given by its ends: say `at`.")
    at = np.array(element.pos if attachment.at is None else attachment.at)
    shift = (scale - 1) * (at - fixed)
    if has_ends:
        element.fromto = element.fromto + np.tile(shift, 2)
    else:
        element.pos = element.pos + shift


def _scale_values(model: mujoco.MjModel, scenario: Scenario) -> None:
    """Factors that need no new geometry."""
    model.opt.gravity *= scenario.gravity
    model.geom_friction *= scenario.friction
    model.pair_friction *= scenario.friction
    model.dof_damping *= scenario.damping
    model.dof_dampingpoly *= scenario.damping
    model.body_mass *= scenario.mass
    model.body_inertia *= scenario.mass
    model.actuator_gainprm *= scenario.actuator
    model.actuator_biasprm *= scenario.actuator
    model.actuator_forcerange *= scenario.actuator
    if (scenario.mass, scenario.actuator) != (1.0, 1.0):
        _derive_constants(model)


def _derive_constants(model: mujoco.MjModel) -> None:
    """Constants that follow from masses, such as inverse weights of contacts."""
    mujoco.mj_setConst(model, mujoco.MjData(model))
    # mj_setConst leaves this one, which scales the solver's tolerance, as it was compiled.
    model.stat.meaninertia = sum(model.dof_M0.tolist()) / model.nv


def _check_dimensions(model: mujoco.MjModel, embodiment: Embodiment) -> None:
    if model.nu != embodiment.act:
        raise ConfigError(
            f"Body {embodiment.name!r}: act={embodiment.act}, but its MJCF has {model.nu} "
            f"actuators."
        )
    period = embodiment.substeps * model.opt.timestep
    if not math.isclose(period, embodiment.control_dt, rel_tol=1e-9):
        raise ConfigError(
            f"Body {embodiment.name!r}: control_dt={embodiment.control_dt} s, but "
            f"{embodiment.substeps} substeps of {model.opt.timestep} s make {period:g} s."
        )
