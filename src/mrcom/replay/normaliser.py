"""Running mean and standard deviation of every body's observations."""

import dataclasses
from collections.abc import Mapping

import numpy as np
from jaxtyping import Float, Int

from mrcom.core.errors import CheckpointError
from mrcom.core.steps import Layout, Masks


@dataclasses.dataclass(frozen=True)
class Normaliser:
    """Statistics of all observations seen, per body and dimension. A value: never written to.

    Kept in double precision, so that they equal those of all data at once.
    """

    count: Float[np.ndarray, "bodies O"]
    """Observations seen of each dimension; stays 0 where none is real."""
    centre: Float[np.ndarray, "bodies O"]
    """Their mean."""
    square: Float[np.ndarray, "bodies O"]
    """Sum of their squared distances from the mean."""
    std_floor: float = 0.01
    """Smallest standard deviation handed out: a constant dimension is not blown up."""

    @property
    def mean(self) -> Float[np.ndarray, "bodies O"]:
        """Mean of each dimension; 0 where nothing was seen."""
        return self.centre.astype(np.float32)

    @property
    def std(self) -> Float[np.ndarray, "bodies O"]:
        """Standard deviation of each dimension, at least the floor; 1 where nothing was seen."""
        std = np.sqrt(self.square / np.maximum(self.count, 1))
        return np.where(self.count > 0, np.maximum(std, self.std_floor), 1).astype(np.float32)

    def updated(
        self,
        obs: Float[np.ndarray, "N T O"],
        masks: Masks,
        scenarios: Int[np.ndarray, " N"] | None = None,
    ) -> "Normaliser":
        """The statistics after more observations.

        Args:
            obs: trajectories, raw units.
            masks: of all scenarios.
            scenarios: whose trajectory each row is; row n is scenario n's when absent.
        """
        rows = np.arange(len(obs)) if scenarios is None else scenarios
        body, real = masks.body[rows], masks.obs[rows].astype(np.float64)
        num = len(self.count)
        belongs = (body[None, :] == np.arange(num)[:, None]).astype(np.float64)  # [bodies, N]
        values, steps = obs.astype(np.float64), obs.shape[1]
        count = steps * (belongs @ real)
        total = belongs @ (real * values.sum(axis=1))
        centre = total / np.maximum(count, 1)
        apart = ((values - centre[body][:, None]) ** 2).sum(axis=1)
        return self._merged(count, centre, belongs @ (real * apart))

    def _merged(self, count: np.ndarray, centre: np.ndarray, square: np.ndarray) -> "Normaliser":
        both = self.count + count
        share = count / np.maximum(both, 1)
        apart = centre - self.centre
        return dataclasses.replace(
            self,
            count=both,
            centre=self.centre + apart * share,
            square=self.square + square + apart**2 * self.count * share,
        )

    def state_dict(self) -> dict[str, np.ndarray]:
        """The statistics as arrays."""
        return {"count": self.count, "centre": self.centre, "square": self.square}

    def restored(self, state: Mapping[str, np.ndarray]) -> "Normaliser":
        """The normaliser whose `state_dict` this is.

        Raises:
            CheckpointError: it was of other bodies or of another width.
        """
        for name, mine in self.state_dict().items():
            if np.shape(state[name]) != mine.shape:
                raise CheckpointError(
                    f"The stored normaliser has shape {np.shape(state[name])}, this run needs "
                    f"{mine.shape} (bodies, observation). Use the bodies of the stored run."
                )
        return dataclasses.replace(
            self, **{name: np.array(state[name]) for name in self.state_dict()}
        )


def empty_normaliser(layout: Layout, *, std_floor: float = 0.01) -> Normaliser:
    """One that has seen nothing: mean 0 and standard deviation 1 everywhere."""
    count, centre, square = (np.zeros((len(layout.bodies), layout.obs)) for _ in range(3))
    return Normaliser(count, centre, square, std_floor)


def normalise(
    obs: Float[np.ndarray, "B *T O"],
    body: Int[np.ndarray, " B"],
    mask: Float[np.ndarray, "B O"],
    mean: Float[np.ndarray, "bodies O"],
    std: Float[np.ndarray, "bodies O"],
    *,
    clip: float = 10.0,
) -> Float[np.ndarray, "B *T O"]:
    """Observations in units of their body's standard deviation; 0 in padded dimensions."""
    between = (len(obs), *[1] * (obs.ndim - 2), obs.shape[-1])
    mean, std, mask = (array.reshape(between) for array in (mean[body], std[body], mask))
    return np.clip((obs - mean) / std, -clip, clip) * mask
