"""The planar one-legged hopper of the DeepMind Control Suite.

Written from its published numbers: Tassa et al. 2018, arXiv 1801.00690, and the suite's model.
"""

import numpy as np
from jaxtyping import Float

from mrcom.scenarios.embodiment import Attachment, Camera, Embodiment, Limb, Physics
from mrcom.scenarios.rewards import Values

XML = """
<mujoco model="hopper">
  <option timestep="0.005"/>
  <default>
    <geom type="capsule"/>
    <motor ctrllimited="true" ctrlrange="-1 1"/>
    <default class="root">
      <joint limited="false"/>
    </default>
    <default class="leg">
      <joint type="hinge" axis="0 1 0" limited="true" damping="0.05" armature="0.2"/>
    </default>
  </default>
  <worldbody>
    <geom name="floor" type="plane" pos="48 0 0" size="50 1 0.2"/>
    <body name="torso" pos="0 0 1">
      <joint name="rootx" class="root" type="slide" axis="1 0 0"/>
      <joint name="rootz" class="root" type="slide" axis="0 0 1"/>
      <joint name="rooty" class="root" type="hinge" axis="0 1 0"/>
      <geom name="torso" size="0.0653" fromto="0 0 -0.05 0 0 0.2"/>
      <geom name="nose" size="0.03" fromto="0.08 0 0.13 0.15 0 0.14"/>
      <body name="pelvis" pos="0 0 -0.05">
        <joint name="waist" class="leg" range="-30 30"/>
        <geom name="pelvis" size="0.065" fromto="0 0 0 0 0 -0.15"/>
        <body name="thigh" pos="0 0 -0.2">
          <joint name="hip" class="leg" range="-170 10"/>
          <geom name="thigh" size="0.04" fromto="0 0 0 0 0 -0.33"/>
          <body name="calf" pos="0 0 -0.33">
            <joint name="knee" class="leg" range="5 150"/>
            <geom name="calf" size="0.03" fromto="0 0 0 0 0 -0.32"/>
            <body name="foot" pos="0 0 -0.32">
              <joint name="ankle" class="leg" range="-45 45"/>
              <geom name="foot" size="0.04" fromto="-0.08 0 0 0.17 0 0"/>
              <site name="touch_toe" pos="0.17 0 0" size="0.05"/>
              <site name="touch_heel" pos="-0.08 0 0" size="0.05"/>
            </body>
          </body>
        </body>
      </body>
    </body>
  </worldbody>
  <actuator>
    <motor name="waist" joint="waist" gear="30"/>
    <motor name="hip" joint="hip" gear="40"/>
    <motor name="knee" joint="knee" gear="30"/>
    <motor name="ankle" joint="ankle" gear="10"/>
  </actuator>
  <sensor>
    <subtreelinvel name="com_velocity" body="torso"/>
    <touch name="toe" site="touch_toe"/>
    <touch name="heel" site="touch_heel"/>
  </sensor>
</mujoco>
"""

LIMBS = {
    "torso": Limb(
        geom="torso",
        attached=(Attachment("body", "pelvis"), Attachment("geom", "nose", at=(0, 0, 0.135))),
        lift=0.05,
    ),
    # The thigh hangs 5 cm below the pelvis capsule's end and keeps that distance.
    "pelvis": Limb("pelvis", attached=(Attachment("body", "thigh", at=(0, 0, -0.15)),), lift=0.15),
    "thigh": Limb("thigh", attached=(Attachment("body", "calf"),), lift=0.33),
    "calf": Limb("calf", attached=(Attachment("body", "foot"),), lift=0.32),
    "foot": Limb(
        "foot", attached=(Attachment("site", "touch_toe"), Attachment("site", "touch_heel"))
    ),
}

STAND_HEIGHT = (0.6, 2.0)
"""Heights of the torso over the foot that count as standing [m]."""


def height(physics: Physics) -> Values:
    """Height of the torso's centre of mass over the foot's [m]."""
    return physics.of_body("xipos", "torso")[:, 2] - physics.of_body("xipos", "foot")[:, 2]


def speed(physics: Physics) -> Values:
    """Horizontal speed of the whole body's centre of mass [m/s]."""
    return physics.sensor("com_velocity")[:, 0]


def observe(physics: Physics, out: Float[np.ndarray, "N O"]) -> None:
    """Joint positions but the horizontal one, velocities, log touch forces of toe and heel."""
    out[:, 0:6] = physics.field("qpos")[:, 1:]
    out[:, 6:13] = physics.field("qvel")
    out[:, 13:14] = physics.sensor("toe")
    out[:, 14:15] = physics.sensor("heel")
    np.log1p(out[:, 13:15], out=out[:, 13:15])


def standing(physics: Physics) -> Values:
    """1 where the torso is at a standing height, else 0."""
    low, high = STAND_HEIGHT
    over = height(physics)
    return ((low <= over) & (over <= high)).astype(over.dtype)


def reward(physics: Physics, move: Values) -> Values:
    """How well the target speed is met, while standing."""
    return standing(physics) * move


def stand(physics: Physics) -> Values:
    """Standing, a little better with small controls."""
    control = physics.field("ctrl")
    small = np.where(np.abs(control) < 1, 1 - control**2, 0.0).mean(1)
    return standing(physics) * ((small + 4) / 5)


HOPPER = Embodiment(
    name="hopper",
    xml=XML,
    obs=15,
    act=4,
    control_dt=0.02,
    substeps=4,
    max_speed=2.0,
    observe=observe,
    speed=speed,
    reward=reward,
    stand=stand,
    limbs=LIMBS,
    camera=Camera(pos=(0, -2.8, 0.8), xyaxes=(1, 0, 0, 0, 0, 1)),
    # simulate.measure.observation_std('hopper'), three digits.
    obs_std=(
        0.113,
        2.32,
        0.356,
        0.984,
        0.871,
        0.565,
        0.194,
        0.381,
        1.67,
        2.52,
        3.21,
        2.47,
        1.72,
        1.5,
        1.55,
    ),
)
