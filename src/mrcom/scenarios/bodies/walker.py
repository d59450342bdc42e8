"""The planar walker of the DeepMind Control Suite.

Written from its published numbers: Tassa et al. 2018, arXiv 1801.00690, and the suite's model.
"""

import numpy as np
from jaxtyping import Float

from mrcom.scenarios.embodiment import Attachment, Camera, Embodiment, Limb, Physics
from mrcom.scenarios.rewards import Values, above

_LEG = """
      <body name="{side}_thigh" pos="0 {y} -0.3">
        <joint name="{side}_hip" axis="0 -1 0" range="-20 100"/>
        <geom name="{side}_thigh" pos="0 0 -0.225" size="0.05 0.225"/>
        <body name="{side}_leg" pos="0 0 -0.7">
          <joint name="{side}_knee" axis="0 -1 0" pos="0 0 0.25" range="-150 0"/>
          <geom name="{side}_leg" size="0.04 0.25"/>
          <body name="{side}_foot" pos="0.06 0 -0.25">
            <joint name="{side}_ankle" axis="0 -1 0" pos="-0.06 0 0" range="-45 45"/>
            <geom name="{side}_foot" zaxis="1 0 0" size="0.05 0.1"/>
          </body>
        </body>
      </body>"""
_MOTORS = """
    <motor name="{side}_hip" joint="{side}_hip" gear="100"/>
    <motor name="{side}_knee" joint="{side}_knee" gear="50"/>
    <motor name="{side}_ankle" joint="{side}_ankle" gear="20"/>"""

XML = f"""
<mujoco model="walker">
  <option timestep="0.0025"/>
  <default>
    <geom type="capsule" contype="1" conaffinity="0" friction="0.7 0.1 0.1"/>
    <joint limited="true" damping="0.1" armature="0.01" solimplimit="0 0.99 0.01"/>
    <motor ctrllimited="true" ctrlrange="-1 1"/>
    <default class="root">
      <joint limited="false" damping="0" armature="0"/>
    </default>
  </default>
  <worldbody>
    <geom name="floor" type="plane" conaffinity="1" pos="248 0 0" size="250 0.8 0.2"/>
    <body name="torso" pos="0 0 1.3">
      <joint name="rootz" class="root" type="slide" axis="0 0 1"/>
      <joint name="rootx" class="root" type="slide" axis="1 0 0"/>
      <joint name="rooty" class="root" type="hinge" axis="0 1 0"/>
      <geom name="torso" size="0.07 0.3"/>{_LEG.format(side="right", y="-0.05")}
      {_LEG.format(side="left", y="0.05")}
    </body>
  </worldbody>
  <actuator>{_MOTORS.format(side="right")}{_MOTORS.format(side="left")}
  </actuator>
  <sensor>
    <subtreelinvel name="com_velocity" body="torso"/>
  </sensor>
</mujoco>
"""

LIMBS = {
    "torso": Limb(
        geom="torso",
        attached=(Attachment("body", "right_thigh"), Attachment("body", "left_thigh")),
        lift=0.3,
    )
}
for _side in ("right", "left"):
    LIMBS[f"{_side}_thigh"] = Limb(
        f"{_side}_thigh",
        attached=(Attachment("body", f"{_side}_leg", at=(0, 0, -0.45)),),
        lift=0.45,
    )
    LIMBS[f"{_side}_leg"] = Limb(
        f"{_side}_leg",
        fixed=(0, 0, 0.25),
        attached=(Attachment("body", f"{_side}_foot", at=(0, 0, -0.25)),),
        lift=0.5,
    )
    LIMBS[f"{_side}_foot"] = Limb(f"{_side}_foot", fixed=(-0.06, 0, 0))

STAND_HEIGHT = 1.2
"""Height of the torso that counts as standing [m]."""


def height(physics: Physics) -> Values:
    """Height of the torso's centre [m]."""
    return physics.of_body("xpos", "torso")[:, 2]


def upright(physics: Physics) -> Values:
    """Cosine of the torso's tilt."""
    return physics.of_body("xmat", "torso")[:, 8]


def speed(physics: Physics) -> Values:
    """Horizontal speed of the whole body's centre of mass [m/s]."""
    return physics.sensor("com_velocity")[:, 0]


def observe(physics: Physics, out: Float[np.ndarray, "N O"]) -> None:
    """Direction (x, z) of each of seven bodies' x axes, height of the torso, velocities."""
    xmat = physics.field("xmat")
    out[:, 0:14:2] = xmat[:, 1:, 0]
    out[:, 1:14:2] = xmat[:, 1:, 2]
    out[:, 14] = height(physics)
    out[:, 15:24] = physics.field("qvel")


def stand(physics: Physics) -> Values:
    """Three parts height, one part upright."""
    tall = above(height(physics), STAND_HEIGHT, STAND_HEIGHT / 2)
    return (3 * tall + (1 + upright(physics)) / 2) / 4


def reward(physics: Physics, move: Values) -> Values:
    """Standing, times one part for itself and five for how well the target speed is met."""
    return stand(physics) * (5 * move + 1) / 6


WALKER = Embodiment(
    name="walker",
    xml=XML,
    obs=24,
    act=6,
    control_dt=0.025,
    substeps=10,
    max_speed=8.0,
    observe=observe,
    speed=speed,
    reward=reward,
    stand=stand,
    limbs=LIMBS,
    camera=Camera(pos=(0, -2, 0.7), xyaxes=(1, 0, 0, 0, 0.5, 0.75**0.5), body="torso"),
    # simulate.measure.observation_std('walker'), three digits.
    obs_std=(
        0.299,
        0.95,
        0.582,
        0.765,
        0.647,
        0.747,
        0.717,
        0.673,
        0.584,
        0.763,
        0.636,
        0.755,
        0.712,
        0.673,
        0.155,
        0.71,
        0.506,
        3.51,
        7.07,
        5.84,
        10.3,
        7.09,
        5.83,
        10.3,
    ),
)
