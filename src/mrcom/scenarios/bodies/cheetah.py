"""The planar half cheetah of the DeepMind Control Suite.

Written from its published numbers: Tassa et al. 2018, arXiv 1801.00690, and the suite's model.
"""

import numpy as np
from jaxtyping import Float

from mrcom.scenarios.embodiment import Attachment, Camera, Embodiment, Limb, Physics
from mrcom.scenarios.rewards import Values

XML = """
<mujoco model="cheetah">
  <option timestep="0.01"/>
  <default>
    <motor ctrllimited="true" ctrlrange="-1 1"/>
    <default class="root">
      <joint limited="false"/>
    </default>
    <default class="body">
      <geom type="capsule" size="0.046" friction="0.4 0.1 0.1"/>
      <joint type="hinge" axis="0 1 0" limited="true" armature="0.1"/>
    </default>
  </default>
  <worldbody>
    <geom name="ground" type="plane" pos="98 0 0" size="100 0.8 0.5"/>
    <body name="torso" pos="0 0 0.7" childclass="body">
      <joint name="rootx" class="root" type="slide" axis="1 0 0"/>
      <joint name="rootz" class="root" type="slide" axis="0 0 1"/>
      <joint name="rooty" class="root" type="hinge" axis="0 1 0"/>
      <geom name="torso" fromto="-0.5 0 0 0.5 0 0"/>
      <geom name="head" pos="0.6 0 0.1" euler="0 50 0" size="0.046 0.15"/>
      <body name="bthigh" pos="-0.5 0 0">
        <joint name="bthigh" range="-30 60" stiffness="240" damping="6"/>
        <geom name="bthigh" pos="0.1 0 -0.13" euler="0 -218 0" size="0.046 0.145"/>
        <body name="bshin" pos="0.16 0 -0.25">
          <joint name="bshin" range="-50 50" stiffness="180" damping="4.5"/>
          <geom name="bshin" pos="-0.14 0 -0.07" euler="0 -116 0" size="0.046 0.15"/>
          <body name="bfoot" pos="-0.28 0 -0.14">
            <joint name="bfoot" range="-230 50" stiffness="120" damping="3"/>
            <geom name="bfoot" pos="0.03 0 -0.097" euler="0 -15 0" size="0.046 0.094"/>
          </body>
        </body>
      </body>
      <body name="fthigh" pos="0.5 0 0">
        <joint name="fthigh" range="-57 0.4" stiffness="180" damping="4.5"/>
        <geom name="fthigh" pos="-0.07 0 -0.12" euler="0 30 0" size="0.046 0.133"/>
        <body name="fshin" pos="-0.14 0 -0.24">
          <joint name="fshin" range="-70 50" stiffness="120" damping="3"/>
          <geom name="fshin" pos="0.065 0 -0.09" euler="0 -34 0" size="0.046 0.106"/>
          <body name="ffoot" pos="0.13 0 -0.18">
            <joint name="ffoot" range="-28 28" stiffness="60" damping="1.5"/>
            <geom name="ffoot" pos="0.045 0 -0.07" euler="0 -34 0" size="0.046 0.07"/>
          </body>
        </body>
      </body>
    </body>
  </worldbody>
  <actuator>
    <motor name="bthigh" joint="bthigh" gear="120"/>
    <motor name="bshin" joint="bshin" gear="90"/>
    <motor name="bfoot" joint="bfoot" gear="60"/>
    <motor name="fthigh" joint="fthigh" gear="90"/>
    <motor name="fshin" joint="fshin" gear="60"/>
    <motor name="ffoot" joint="ffoot" gear="30"/>
  </actuator>
  <sensor>
    <subtreelinvel name="com_velocity" body="torso"/>
  </sensor>
</mujoco>
"""

LIMBS = {
    "torso": Limb(
        geom="torso",
        attached=(
            Attachment("body", "bthigh"),
            Attachment("body", "fthigh"),
            Attachment("geom", "head", at=(0.5, 0, 0)),
        ),
    ),
    "bthigh": Limb("bthigh", attached=(Attachment("body", "bshin"),)),
    "bshin": Limb("bshin", attached=(Attachment("body", "bfoot"),)),
    "bfoot": Limb("bfoot"),
    "fthigh": Limb("fthigh", attached=(Attachment("body", "fshin"),)),
    "fshin": Limb("fshin", attached=(Attachment("body", "ffoot"),)),
    "ffoot": Limb("ffoot"),
}


def speed(physics: Physics) -> Values:
    """Horizontal speed of the whole body's centre of mass [m/s]."""
    return physics.sensor("com_velocity")[:, 0]


def observe(physics: Physics, out: Float[np.ndarray, "N O"]) -> None:
    """Joint positions but the horizontal one, and velocities."""
    out[:, 0:8] = physics.field("qpos")[:, 1:]
    out[:, 8:17] = physics.field("qvel")


def reward(physics: Physics, move: Values) -> Values:
    """How well the target speed is met, whatever the posture."""
    return move


CHEETAH = Embodiment(
    name="cheetah",
    xml=XML,
    obs=17,
    act=6,
    control_dt=0.01,
    substeps=1,
    max_speed=10.0,
    observe=observe,
    speed=speed,
    reward=reward,
    limbs=LIMBS,
    # As in the suite, and so a heavier torso makes the legs lighter.
    total_mass=14.0,
    randomise="limited",
    settle_steps=200,
    camera=Camera(pos=(0, -3, 0), xyaxes=(1, 0, 0, 0, 0, 1), body="torso"),
    # simulate.measure.observation_std('cheetah'), three digits.
    obs_std=(
        0.0235,
        0.0446,
        0.109,
        0.124,
        0.13,
        0.0692,
        0.118,
        0.146,
        0.363,
        0.347,
        0.842,
        2.72,
        3.59,
        3.62,
        1.9,
        2.77,
        3.08,
    ),
)
