"""A scenario: a body with values of its dynamics, reward and observation. A frozen record."""

import dataclasses
import functools
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float

from mrcom.core.config import from_json, short_hash, to_json
from mrcom.core.errors import ConfigError, unknown
from mrcom.scenarios.bodies import body as body_named
from mrcom.scenarios.embodiment import Embodiment, Real
from mrcom.scenarios.observation import PLAIN, ObservationFunction
from mrcom.scenarios.rewards import REWARDS

FACTORS = ("torso_length", "torso_size", "gravity", "friction", "damping", "mass", "actuator")


@dataclasses.dataclass(frozen=True)
class LimbScale:
    """Factors on one limb's length and radius."""

    name: str
    """A limb of the body."""
    length: Real = 1.0
    """Times the default distance between the capsule's ends."""
    size: Real = 1.0
    """Times the default radius."""


@dataclasses.dataclass(frozen=True)
class Scenario:
    """Everything that makes one world differ from another of the same body."""

    body: str
    """Name of the body."""
    target_speed: Real = 0.0
    """Speed to keep or reach [m/s]."""
    reward: str = "track"
    """track: 1 at the target speed only; reach: at or above it; stand: for standing still."""
    torso_length: Real = 1.0
    """Times the default; masses and inertias follow."""
    torso_size: Real = 1.0
    """Times the default radius; masses and inertias follow."""
    gravity: Real = 1.0
    """Times the default."""
    friction: Real = 1.0
    """Times the default, on every surface."""
    damping: Real = 1.0
    """Times the default, in every joint."""
    mass: Real = 1.0
    """Times what follows from the geometry, for every body's mass and inertia."""
    actuator: Real = 1.0
    """Times the default strength of every actuator."""
    limbs: tuple[LimbScale, ...] = ()
    """Limbs other than the torso that are scaled."""
    observation: ObservationFunction = PLAIN
    """What happens to observations."""

    def __post_init__(self):
        embodiment = self.embodiment
        for name in ("target_speed", *FACTORS):
            object.__setattr__(self, name, float(getattr(self, name)))
        if not (math.isfinite(self.target_speed) and self.target_speed >= 0):
            raise ConfigError(
                f"target_speed={self.target_speed} m/s must be finite and at least 0."
            )
        for name in FACTORS:
            _check_factor(name, getattr(self, name))
        for limb in self.limbs:
            self._check_limb(limb, embodiment)
        if len({limb.name for limb in self.limbs}) < len(self.limbs):
            raise ConfigError(f"limbs={[limb.name for limb in self.limbs]} must differ in name.")
        if (self.torso_length, self.torso_size) != (1.0, 1.0) and "torso" not in embodiment.limbs:
            raise ConfigError(
                f"Body {self.body!r} has no limb 'torso': torso_length={self.torso_length} and "
                f"torso_size={self.torso_size} must be 1."
            )
        self._check_reward(embodiment)
        self._check_observation(embodiment)

    @property
    def embodiment(self) -> Embodiment:
        """The body itself."""
        return body_named(self.body)

    @functools.cached_property
    def hash(self) -> str:
        """Twelve digits that are equal for equal records, on every machine."""
        return short_hash(self)

    @property
    def name(self) -> str:
        """A short name for people."""
        return (
            f"{self.body} {self.reward} {self.target_speed:.2f} m/s, torso length "
            f"x{self.torso_length:.3f}, size x{self.torso_size:.3f} [{self.hash}]"
        )

    @property
    def width(self) -> int:
        """Number of quantities an agent observes."""
        return self.embodiment.obs + self.observation.extra

    def parameters(self) -> Float[np.ndarray, " P"]:
        """What experts read: speed over the fastest, torso length - 1, torso size - 1."""
        return np.array(
            [
                self.target_speed / self.embodiment.max_speed,
                self.torso_length - 1.0,
                self.torso_size - 1.0,
            ],
            np.float32,
        )

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return to_json(self)

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> "Scenario":
        """The inverse of `to_json`."""
        return from_json(Scenario, value)

    def _check_limb(self, limb: LimbScale, embodiment: Embodiment) -> None:
        if limb.name == "torso":
            raise ConfigError("The torso is scaled by torso_length and torso_size, not in limbs.")
        if limb.name not in embodiment.limbs:
            raise unknown(f"limb of {self.body}", limb.name, embodiment.limbs)
        _check_factor(f"{limb.name}.length", limb.length)
        _check_factor(f"{limb.name}.size", limb.size)

    def _check_reward(self, embodiment: Embodiment) -> None:
        if self.reward not in REWARDS:
            raise unknown("reward", self.reward, REWARDS)
        if self.reward == "stand" and embodiment.stand is None:
            raise ConfigError(
                f"Body {self.body!r} has no reward 'stand'; use 'track' with target_speed 0."
            )
        if self.reward == "stand" and self.target_speed != 0:
            raise ConfigError(
                f"reward 'stand' reads no target: target_speed={self.target_speed} must be 0."
            )

    def _check_observation(self, embodiment: Embodiment) -> None:
        seen = self.observation
        std = len(seen.noise_std)
        if std not in (0, embodiment.obs):
            raise ConfigError(f"noise_std has {std} entries, {self.body} needs {embodiment.obs}.")
        outside = [index for index in seen.indices if not 0 <= index < embodiment.obs]
        if outside or seen.masked > embodiment.obs:
            raise ConfigError(
                f"Masks of {outside or seen.masked} do not fit the {embodiment.obs} observed "
                f"quantities of {self.body}."
            )


def _check_factor(name: str, value: float) -> None:
    if not (math.isfinite(value) and 0.1 <= value <= 10.0):
        nearest = 10.0 if value > 10.0 else 0.1
        raise ConfigError(
            f"{name}={value} is a factor in [0.1, 10]; the nearest legal value is {nearest}."
        )
