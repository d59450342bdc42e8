"""Where a body's parts are, as a differentiable function of its joints.

The simulator knows this already of the states that it is in. Here it is computed in JAX, for states
that only a model has predicted.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mrcom.core.errors import ConfigError
from mrcom.scenarios.scenario import Scenario
from mrcom.simulate.compile import compile_model
from mrcom.simulate.engine import mujoco

SLIDE, HINGE = int(mujoco.mjtJoint.mjJNT_SLIDE), int(mujoco.mjtJoint.mjJNT_HINGE)


class Skeleton(eqx.Module):
    """K parts (the world is the first) and Q joints of a body. Which hangs on which is static."""

    pos: Float[Array, "K 3"]
    """Of each part in its parent's frame, all joints at rest [m]."""
    rotation: Float[Array, "K 3 3"]
    """Its axes there, as columns."""
    centre: Float[Array, "K 3"]
    """Its centre of mass in its own frame [m]."""
    mass: Float[Array, " K"]
    """[kg]."""
    axis: Float[Array, "Q 3"]
    """Of each joint, in its part's frame."""
    anchor: Float[Array, "Q 3"]
    """Where it is, in its part's frame [m]."""
    rest: Float[Array, " Q"]
    """Its position where the part is as drawn [m or rad]."""
    parents: tuple[int, ...] = eqx.field(static=True)
    joints: tuple[tuple[int, int], ...] = eqx.field(static=True)
    """The part that each joint moves, and its kind."""


class Placed(eqx.Module):
    """A body's parts in the world."""

    pos: Float[Array, "K 3"]
    """Their frames' origins [m]."""
    rotation: Float[Array, "K 3 3"]
    """Their axes, as columns."""
    centre: Float[Array, "K 3"]
    """Their centres of mass [m]."""


def skeleton_of(scenario: Scenario) -> Skeleton:
    """The skeleton of a scenario's body.

    Raises:
        ConfigError: it has joints other than hinges and slides.
    """
    model = compile_model(scenario)
    if not set(model.jnt_type.tolist()) <= {SLIDE, HINGE}:
        raise ConfigError(
            f"Body {scenario.body!r} has joints that are neither hinges nor slides: where its "
            f"parts are is not computed outside the simulator."
        )
    return Skeleton(
        pos=jnp.asarray(model.body_pos),
        rotation=jnp.asarray(np.stack([_matrix(quat) for quat in model.body_quat])),
        centre=jnp.asarray(model.body_ipos),
        mass=jnp.asarray(model.body_mass),
        axis=jnp.asarray(model.jnt_axis),
        anchor=jnp.asarray(model.jnt_pos),
        rest=jnp.asarray(model.qpos0),
        parents=tuple(model.body_parentid.tolist()),
        joints=tuple(zip(model.jnt_bodyid.tolist(), model.jnt_type.tolist(), strict=True)),
    )


def _matrix(quat: Float[np.ndarray, " 4"]) -> Float[np.ndarray, "3 3"]:
    flat = np.zeros(9)
    mujoco.mju_quat2Mat(flat, quat)
    return flat.reshape(3, 3)


def placed(skeleton: Skeleton, qpos: Float[Array, " Q"]) -> Placed:
    """Where the parts are with the joints there."""
    places, turns = [jnp.zeros(3)], [jnp.eye(3)]
    for part, parent in enumerate(skeleton.parents[1:], start=1):
        place = places[parent] + turns[parent] @ skeleton.pos[part]
        turn = turns[parent] @ skeleton.rotation[part]
        for joint, (moved, kind) in enumerate(skeleton.joints):
            if moved != part:
                continue
            by = qpos[joint] - skeleton.rest[joint]
            if kind == SLIDE:
                place = place + turn @ skeleton.axis[joint] * by
            else:
                fixed = place + turn @ skeleton.anchor[joint]
                turn = turn @ _turned(skeleton.axis[joint], by)
                place = fixed - turn @ skeleton.anchor[joint]
        places.append(place)
        turns.append(turn)
    pos, rotation = jnp.stack(places), jnp.stack(turns)
    return Placed(pos, rotation, pos + jnp.einsum("kij,kj->ki", rotation, skeleton.centre))


def _turned(axis: Float[Array, " 3"], angle: Float[Array, ""]) -> Float[Array, "3 3"]:
    """The rotation about an axis of length 1 (Rodrigues)."""
    cross = jnp.cross(axis, jnp.eye(3)).T
    return jnp.eye(3) + jnp.sin(angle) * cross + (1 - jnp.cos(angle)) * (cross @ cross)


def centre_velocity(
    skeleton: Skeleton, qpos: Float[Array, " Q"], qvel: Float[Array, " Q"]
) -> Float[Array, " 3"]:
    """Velocity of the whole body's centre of mass [m/s]."""

    def centre(at: Float[Array, " Q"]) -> Float[Array, " 3"]:
        mass = skeleton.mass
        return mass @ placed(skeleton, at).centre / jnp.sum(mass)

    return jax.jvp(centre, (qpos,), (qvel,))[1]
