"""The quadruped of the DeepMind Control Suite, on its plain floor.

Written from its published numbers: Tassa et al. 2018, arXiv 1801.00690, and the suite's model.
Marks that only its other tasks read (rangefinders, the workspace, pupils) are left out.
"""

import numpy as np
from jaxtyping import Float

from mrcom.scenarios.embodiment import Attachment, Camera, Embodiment, Limb, Physics

LEGS = {
    "front_left": (0.2, 0.2, 45),
    "front_right": (0.2, -0.2, -45),
    "back_right": (-0.2, -0.2, -135),
    "back_left": (-0.2, 0.2, 135),
}
"""Where each hip sits on the torso [m], and where it points [degrees]."""

_LEG = """
      <body name="hip_{leg}" pos="{x} {y} 0" euler="0 0 {turn}" childclass="hip">
        <joint name="yaw_{leg}" class="yaw"/>
        <joint name="pitch_{leg}" class="pitch"/>
        <geom name="thigh_{leg}"/>
        <body name="knee_{leg}" pos="0.3 0 0.11" childclass="knee">
          <joint name="knee_{leg}"/>
          <geom name="shin_{leg}"/>
          <body name="ankle_{leg}" pos="0.25 0 -0.25" childclass="ankle">
            <joint name="ankle_{leg}"/>
            <geom name="foot_{leg}"/>
            <body name="toe_{leg}" pos="0 0 -0.3" childclass="toe">
              <geom name="toe_{leg}"/>
              <site name="toe_{leg}"/>
            </body>
          </body>
        </body>
      </body>"""
_COUPLING = """
    <fixed name="coupling_{leg}">
      <joint joint="pitch_{leg}" coef="0.333"/>
      <joint joint="knee_{leg}" coef="0.333"/>
      <joint joint="ankle_{leg}" coef="0.333"/>
    </fixed>"""
_PULLS = """
    <fixed name="extend_{leg}">
      <joint joint="pitch_{leg}" coef="0.25"/>
      <joint joint="knee_{leg}" coef="-0.5"/>
      <joint joint="ankle_{leg}" coef="0.25"/>
    </fixed>
    <fixed name="lift_{leg}">
      <joint joint="pitch_{leg}" coef="0.5"/>
      <joint joint="ankle_{leg}" coef="-0.5"/>
    </fixed>"""
_EQUALITY = '\n    <tendon name="coupling_{leg}" tendon1="coupling_{leg}"/>'
_ACTUATORS = """
    <general name="yaw_{leg}" ctrlrange="-1 1" joint="yaw_{leg}"/>
    <general name="lift_{leg}" ctrlrange="-1 1.1" tendon="lift_{leg}"/>
    <general name="extend_{leg}" ctrlrange="-0.8 0.8" tendon="extend_{leg}"/>"""
_FORCE = '\n    <force name="force_toe_{leg}" site="toe_{leg}"/>'
_TORQUE = '\n    <torque name="torque_toe_{leg}" site="toe_{leg}"/>'


def _legs(text: str) -> str:
    """The text once for each leg."""
    return "".join(text.format(leg=leg, x=x, y=y, turn=turn) for leg, (x, y, turn) in LEGS.items())


XML = f"""
<mujoco model="quadruped">
  <option timestep="0.005"/>
  <default>
    <geom solimp="0.9 0.99 0.003" solref="0.01 1"/>
    <equality solimp="0.95 0.99 0.01" solref="0.005 0.5"/>
    <general ctrllimited="true" gainprm="1000" biasprm="0 -1000" biastype="affine"
             dyntype="filter" dynprm="0.1"/>
    <default class="body">
      <geom type="capsule" size="0.08" condim="1" density="500"/>
      <joint type="hinge" damping="30" armature="0.01" limited="true" solimplimit="0 0.99 0.01"/>
      <default class="eye">
        <geom type="cylinder" size="0.05" mass="0"/>
      </default>
      <default class="hip">
        <default class="yaw">
          <joint axis="0 0 1" range="-50 50"/>
        </default>
        <default class="pitch">
          <joint axis="0 1 0" range="-20 60"/>
        </default>
        <geom fromto="0 0 0 0.3 0 0.11"/>
      </default>
      <default class="knee">
        <joint axis="0 1 0" range="-60 50"/>
        <geom size="0.065" fromto="0 0 0 0.25 0 -0.25"/>
      </default>
      <default class="ankle">
        <joint axis="0 1 0" range="-45 55"/>
        <geom size="0.055" fromto="0 0 0 0 0 -0.25"/>
      </default>
      <default class="toe">
        <geom type="sphere" size="0.08" friction="1.5"/>
        <site type="sphere" size="0.084"/>
      </default>
    </default>
  </default>
  <worldbody>
    <geom name="floor" type="plane" size="100 100 0.5"/>
    <body name="torso" childclass="body" pos="0 0 0.57">
      <freejoint name="root"/>
      <geom name="eye_r" class="eye" fromto="0.1 -0.07 0.12 0.31 -0.07 0.08"/>
      <geom name="eye_l" class="eye" fromto="0.1 0.07 0.12 0.31 0.07 0.08"/>
      <geom name="torso" type="ellipsoid" size="0.3 0.27 0.2" density="1000"/>
      <site name="torso" size="0.05"/>{_legs(_LEG)}
    </body>
  </worldbody>
  <tendon>{_legs(_COUPLING)}{_legs(_PULLS)}
  </tendon>
  <equality>{_legs(_EQUALITY)}
  </equality>
  <actuator>{_legs(_ACTUATORS)}
  </actuator>
  <sensor>
    <accelerometer name="imu_accel" site="torso"/>
    <gyro name="imu_gyro" site="torso"/>
    <velocimeter name="velocimeter" site="torso"/>{_legs(_FORCE)}{_legs(_TORQUE)}
    <subtreecom name="center_of_mass" body="torso"/>
  </sensor>
</mujoco>
"""

LIMBS = {
    # Hips lie on the torso's surface, and stay there: each of its axes takes along what is on it.
    "torso": Limb(
        geom="torso",
        attached=(
            *(Attachment("body", f"hip_{leg}") for leg in LEGS),
            Attachment("geom", "eye_r", at=(0.31, -0.07, 0.08)),
            Attachment("geom", "eye_l", at=(0.31, 0.07, 0.08)),
        ),
    )
}


def upright(physics: Physics) -> Float[np.ndarray, " N"]:
    """Cosine of the torso's tilt."""
    return physics.of_body("xmat", "torso")[:, 8]


def speed(physics: Physics) -> Float[np.ndarray, " N"]:
    """The torso's speed in the direction it faces [m/s]."""
    return physics.sensor("velocimeter")[:, 0]


def observe(physics: Physics, out: Float[np.ndarray, "N O"]) -> None:
    """Joints, their speeds and the actuators' states; what torso and toes feel.

    Sensors of acceleration and force are one physics step old, as in the suite.
    """
    out[:, 0:16] = physics.field("qpos")[:, 7:]
    out[:, 16:32] = physics.field("qvel")[:, 6:]
    out[:, 32:44] = physics.field("act")
    out[:, 44:47] = physics.sensor("velocimeter")
    out[:, 47] = upright(physics)
    out[:, 48:54] = physics.field("sensordata")[:, 0:6]
    out[:, 54:78] = np.arcsinh(physics.field("sensordata")[:, 9:33])


def reward(physics: Physics, move: Float[np.ndarray, " N"]) -> Float[np.ndarray, " N"]:
    """How well the target speed is met, times how upright the torso is."""
    return (1 + upright(physics)) / 2 * move


QUADRUPED = Embodiment(
    name="quadruped",
    xml=XML,
    obs=78,
    act=12,
    control_dt=0.02,
    substeps=4,
    max_speed=5.0,
    observe=observe,
    speed=speed,
    reward=reward,
    at_rest=0.5,
    limbs=LIMBS,
    randomise="orientation",
    camera=Camera(pos=(0, 4, 2), xyaxes=(-1, 0, 0, 0, -0.5, 1), body="torso"),
    # simulate.measure.observation_std('quadruped'), three digits.
    obs_std=(
        0.174,
        0.16,
        0.147,
        0.173,
        0.173,
        0.161,
        0.147,
        0.172,
        0.175,
        0.161,
        0.145,
        0.176,
        0.174,
        0.16,
        0.146,
        0.175,
        2.49,
        1.75,
        1.58,
        2.09,
        2.49,
        1.77,
        1.58,
        2.09,
        2.48,
        1.76,
        1.57,
        2.09,
        2.49,
        1.75,
        1.58,
        2.09,
        0.183,
        0.193,
        0.148,
        0.183,
        0.193,
        0.148,
        0.185,
        0.195,
        0.146,
        0.185,
        0.194,
        0.147,
        0.222,
        0.215,
        0.286,
        0.788,
        8.1,
        7.96,
        13.4,
        0.79,
        0.809,
        0.861,
        4.39,
        4.22,
        4.12,
        4.39,
        4.22,
        4.12,
        4.4,
        4.21,
        4.12,
        4.4,
        4.22,
        4.12,
        1.07,
        1.32,
        0.566,
        1.07,
        1.32,
        0.568,
        1.07,
        1.32,
        0.566,
        1.08,
        1.32,
        0.578,
    ),
)
