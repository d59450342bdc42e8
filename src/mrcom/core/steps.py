"""The NumPy half of `core.types`: importable without JAX, so that listings start at once."""

import dataclasses

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8


@dataclasses.dataclass(frozen=True)
class Layout:
    """Common widths of several bodies, and the order of the bodies.

    Attributes:
        bodies: names; a body's index here chooses its normaliser.
        obs: width of a padded observation.
        act: width of a padded action.
        image: side of the square pictures beside observations [pixels]; 0 where there are none.
        blind: whether agents see pictures alone: no entry of an observation is real to them.
    """

    bodies: tuple[str, ...]
    obs: int
    act: int
    image: int = 0
    blind: bool = False

    @property
    def image_shape(self) -> tuple[int, ...]:
        """Of one picture."""
        return (self.image, self.image, 3)


@dataclasses.dataclass(frozen=True)
class Masks:
    """For each of N scenarios, which padded entries are real (1) and which are not (0)."""

    obs: Float[np.ndarray, "N O"]
    act: Float[np.ndarray, "N A"]
    body: Int[np.ndarray, " N"]
    """Index into `Layout.bodies`."""
    told: Float[np.ndarray, "N P"]
    """What experts know of a scenario, `Scenario.parameters`; only policies that are said to be
    told may read it."""

    def rows(self, at: Int[np.ndarray, " n"]) -> "Masks":
        """Those of some scenarios, each as often as it is named."""
        return Masks(self.obs[at], self.act[at], self.body[at], self.told[at])


@dataclasses.dataclass(frozen=True)
class Steps:
    """N trajectories of T steps side by side, as a rollout returns them. Padded, raw units."""

    obs: Float[np.ndarray, "N T O"]
    action: Float[np.ndarray, "N T A"]
    reward: Float[np.ndarray, "N T"]
    is_terminal: Bool[np.ndarray, "N T"]
    image: UInt8[np.ndarray, "N T S S 3"] | None = None
    """What was seen of each step, where pictures are taken."""
