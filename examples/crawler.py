"""A body of one's own: a trunk that lies on the ground and pulls itself along with one arm."""

from mrcom.scenarios import Attachment, Embodiment, Limb, beside


def observe(physics, out):
    """Height, pitch and the arm's two angles; then the speeds of all five joints."""
    out[:, :4] = physics.field("qpos")[:, 1:]
    out[:, 4:] = physics.field("qvel")


def speed(physics):
    """Forward speed of the centre of mass [m/s], which the target speed is compared with."""
    return physics.sensor("velocity")[:, 0]


def reward(physics, move):
    """How well the target speed is met, in [0, 1]."""
    return move


CRAWLER = Embodiment(
    name="crawler",
    xml=beside("crawler.xml"),
    obs=9,
    act=2,
    control_dt=0.02,
    substeps=4,
    max_speed=0.5,
    observe=observe,
    speed=speed,
    reward=reward,
    # What scenarios make longer and thicker, and what moves along.
    limbs={
        "torso": Limb("torso", attached=(Attachment("body", "arm"),)),
        "arm": Limb("arm", attached=(Attachment("body", "hand"),)),
    },
)
