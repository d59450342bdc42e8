"""What a scenario does to observations before an agent sees them, as data."""

import dataclasses
import math

import numpy as np

from mrcom.core.errors import ConfigError, unknown
from mrcom.core.generators import named_generator
from mrcom.scenarios.embodiment import Embodiment

OBSERVATIONS: tuple[str, ...] = ("plain", "add_g", "add_d", "msk_r", "msk_f")

NOISE_SHARE = 0.1
"""Add-G noise in standard deviations of each quantity, and the share of quantities that Add-D
adds and Msk-R and Msk-F set to 0."""


@dataclasses.dataclass(frozen=True)
class ObservationFunction:
    """One of five functions of an observation, with everything random about it."""

    kind: str = "plain"
    """plain; add_g: noise on each quantity; add_d: extra quantities that are only noise; msk_r:
    each step fresh quantities read 0; msk_f: always the same quantities read 0."""
    seed: int = 0
    """Seed of the noise, the extra quantities or the fresh masks."""
    noise_std: tuple[float, ...] = ()
    """Add-G: standard deviation of the noise on each quantity, in the quantity's unit."""
    extra: int = 0
    """Add-D: number of extra quantities, each N(0, 1)."""
    masked: int = 0
    """Msk-R: number of quantities set to 0 at each step."""
    indices: tuple[int, ...] = ()
    """Msk-F: which quantities are set to 0."""

    def __post_init__(self):
        if self.kind not in OBSERVATIONS:
            raise unknown("observation function", self.kind, OBSERVATIONS)
        given = {
            "add_g": bool(self.noise_std),
            "add_d": self.extra > 0,
            "msk_r": self.masked > 0,
            "msk_f": bool(self.indices),
        }
        for kind, present in given.items():
            if present != (kind == self.kind):
                raise ConfigError(
                    f"Observation function {self.kind!r} {'has' if present else 'lacks'} the "
                    f"values of {kind!r}; make one with observation_function(...)."
                )
        object.__setattr__(self, "noise_std", tuple(float(std) for std in self.noise_std))


PLAIN = ObservationFunction()
"""Observations as they are."""


def share_of(count: int) -> int:
    """Ten per cent of a number of quantities, rounded up."""
    return math.ceil(NOISE_SHARE * count)


def observation_function(kind: str, body: Embodiment, seed: int) -> ObservationFunction:
    """The observation function of a kind for a body, with its values written out.

    Raises:
        ConfigError: the kind is unknown, or is `add_g` for a body without `obs_std`.
    """
    if kind == "plain":
        return PLAIN
    if kind == "add_g":
        if not body.obs_std:
            raise ConfigError(
                f"Body {body.name!r} has no obs_std, which add_g scales its noise by; measure it "
                f"with simulate.measure.observation_std."
            )
        std = tuple(round(NOISE_SHARE * std, 10) for std in body.obs_std)
        return ObservationFunction("add_g", seed, noise_std=std)
    if kind == "add_d":
        return ObservationFunction("add_d", seed, extra=share_of(body.obs))
    if kind == "msk_r":
        return ObservationFunction("msk_r", seed, masked=share_of(body.obs))
    if kind == "msk_f":
        # Ranks of uniform numbers: a shuffle whose result no NumPy version can change.
        order = np.argsort(named_generator(seed, "mask").random(body.obs), kind="stable")
        chosen = sorted(int(index) for index in order[: share_of(body.obs)])
        return ObservationFunction("msk_f", seed, indices=tuple(chosen))
    raise unknown("observation function", kind, OBSERVATIONS)
