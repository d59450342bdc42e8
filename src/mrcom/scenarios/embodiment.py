"""A body: its MJCF, its dimensions, and named questions about its physics."""

import dataclasses
import types
from collections.abc import Callable, Mapping
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from mrcom.core.errors import ConfigError
from mrcom.scenarios.rewards import Values

Real = float | int
Point = tuple[Real, Real, Real]


@runtime_checkable
class Physics(Protocol):
    """N simulations of one body, side by side; every answer is a live array."""

    num: int

    def field(self, name: str) -> np.ndarray:
        """A whole MuJoCo data field, [N, ...]."""
        ...

    def of_body(self, field: str, body: str) -> np.ndarray:
        """One body's entry of a field such as `xpos`, [N, ...]."""
        ...

    def sensor(self, name: str) -> np.ndarray:
        """One sensor's values, [N, dim]."""
        ...


Reward = Callable[[Physics, Values], Values]


@dataclasses.dataclass(frozen=True)
class Attachment:
    """Something that moves along when a limb grows, as if fixed to its point `at`."""

    kind: Literal["body", "geom", "joint", "site"]
    """What kind of MJCF element."""
    name: str
    """Its name."""
    at: Point | None = None
    """The limb's point it moves with [m], in the limb's body frame; None: its own position."""


@dataclasses.dataclass(frozen=True)
class Limb:
    """A capsule or an ellipsoid that scenarios can scale, and what hangs on it.

    Of an ellipsoid, the first axis is the length and the two others are the size.
    """

    geom: str
    """Name of its geom."""
    fixed: Point = (0.0, 0.0, 0.0)
    """The point that stays where it is when the limb grows [m]: where the limb hangs."""
    attached: tuple[Attachment, ...] = ()
    """What moves along."""
    lift: Real = 0.0
    """How far the root starts higher when the limb's length doubles [m], so that the feet start
    where they do by default."""


@dataclasses.dataclass(frozen=True)
class Camera:
    """Where a body is seen from. It keeps its direction and its distance from the body."""

    pos: Point
    """Its place at the start, in the frame of what holds it [m]."""
    xyaxes: tuple[Real, Real, Real, Real, Real, Real]
    """Where the picture's right and up point to, in the same frame."""
    body: str | None = None
    """The MJCF body that holds it; None: the world."""


@dataclasses.dataclass(frozen=True)
class Embodiment:
    """A body. Fixes shapes; a scenario gives it values."""

    name: str
    """Its name in scenarios."""
    xml: str
    """MJCF without anything visual."""
    obs: int
    """Number of observed quantities."""
    act: int
    """Number of actuators; -1 and 1 are the ends of each one's range of controls."""
    control_dt: Real
    """Control period [s]."""
    substeps: int
    """Physics steps in a control period."""
    max_speed: Real
    """The fastest target speed [m/s]."""
    observe: Callable[[Physics, Float[np.ndarray, "N O"]], None]
    """Writes the observation of N simulations."""
    speed: Callable[[Physics], Values]
    """Horizontal speed [m/s] that a target speed is compared with."""
    reward: Reward
    """The reward, given how well the target speed is met in [0, 1]."""
    at_rest: Real = 0.0
    """How well standing still meets a target speed that has to be reached, in [0, 1)."""
    stand: Callable[[Physics], Values] | None = None
    """The reward for standing; None where the body has no such task."""
    limbs: Mapping[str, Limb] = dataclasses.field(default_factory=dict)
    """Limbs that scenarios can scale, by name; the one called `torso` is the trunk."""
    total_mass: Real | None = None
    """Every body's mass is scaled so that they sum to this [kg]; None: as the geometry says."""
    randomise: Literal["limited_and_rotational", "limited", "orientation", "none"] = (
        "limited_and_rotational"
    )
    """Joints drawn at a reset: uniform in their limits; hinges without limits on the circle.
    `orientation` turns a free body any way instead, as low as it touches nothing."""
    settle_steps: int = 0
    """Physics steps without action after a reset."""
    camera: Camera | None = None
    """Where pictures are taken from; None where there are none."""
    obs_std: tuple[Real, ...] = ()
    """Standard deviation of each observed quantity under random actions, for Add-G noise."""

    def __post_init__(self):
        if self.obs < 1 or self.act < 1 or self.substeps < 1:
            raise ConfigError(
                f"Body {self.name!r}: obs={self.obs}, act={self.act} and "
                f"substeps={self.substeps} must all be at least 1."
            )
        if not (self.control_dt > 0 and self.max_speed > 0):
            raise ConfigError(
                f"Body {self.name!r}: control_dt={self.control_dt} s and "
                f"max_speed={self.max_speed} m/s must be above 0."
            )
        if self.obs_std and len(self.obs_std) != self.obs:
            raise ConfigError(
                f"Body {self.name!r}: obs_std has {len(self.obs_std)} entries, needs {self.obs}."
            )
        object.__setattr__(self, "limbs", types.MappingProxyType(dict(self.limbs)))
