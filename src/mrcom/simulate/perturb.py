"""Observation functions of many scenarios at once."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from mrcom.core.generators import named_generator
from mrcom.scenarios.scenario import Scenario

# Steps of noise drawn at a time: one call to each scenario's own generator fills this many.
BLOCK = 128


class Noise:
    """Fresh random rows for N scenarios, each from a generator of its own.

    What a scenario draws depends on its record, the reset seed and its place in the list, not
    on the scenarios beside it.
    """

    def __init__(self, seeds: Sequence[int], width: int, kind: str):
        self._seeds, self._width, self._kind = seeds, width, kind
        self._rngs = [named_generator(seed, kind) for seed in seeds]
        self._block = np.zeros((len(seeds), BLOCK, width), np.float32)
        self._next = np.full(len(seeds), BLOCK)

    def restart(self, rows: Int[np.ndarray, " M"], places: Sequence[int], seed: int) -> None:
        """Begin anew, as after no other reset with this seed."""
        for row, place in zip(rows, places, strict=True):
            self._rngs[row] = named_generator(self._seeds[row], self._kind, seed, int(place))
        self._next[rows] = BLOCK

    def draw(self, rows: Int[np.ndarray, " M"]) -> Float[np.ndarray, "M W"]:
        """The next random row of each of some scenarios."""
        for row in rows[self._next[rows] == BLOCK].tolist():
            self._fill(row)
        out = self._block[rows, self._next[rows]]
        self._next[rows] += 1
        return out

    def _fill(self, row: int) -> None:
        shape = (BLOCK, self._width)
        rng, uniform = self._rngs[row], self._kind == "msk_r"
        self._block[row] = (
            rng.random(shape, np.float32) if uniform else rng.standard_normal(shape, np.float32)
        )
        self._next[row] = 0


class Perturbation:
    """Applies the observation functions of N scenarios of one body to their observations."""

    def __init__(self, scenarios: Sequence[Scenario], places: Sequence[int]):
        self._places = np.asarray(places)
        self._obs = scenarios[0].embodiment.obs
        functions = [scenario.observation for scenario in scenarios]
        rows = {
            kind: np.array([i for i, f in enumerate(functions) if f.kind == kind], int)
            for kind in ("add_g", "add_d", "msk_r", "msk_f")
        }
        self._rows = {kind: found for kind, found in rows.items() if len(found)}
        self.plain = not self._rows
        self._std = np.array([functions[i].noise_std for i in rows["add_g"]], np.float32)
        self._masked = np.array([functions[i].masked for i in rows["msk_r"]], int)
        self._keep = np.ones((len(rows["msk_f"]), self._obs), np.float32)
        for keep, i in zip(self._keep, rows["msk_f"], strict=True):
            keep[list(functions[i].indices)] = 0
        widths = {
            "add_g": self._obs,
            "add_d": max((f.extra for f in functions), default=0),
            "msk_r": self._obs,
        }
        self._extra = np.array([functions[i].extra for i in rows["add_d"]], int)
        self._noise = {
            kind: Noise([functions[i].seed for i in self._rows[kind]], width, kind)
            for kind, width in widths.items()
            if kind in self._rows
        }

    def restart(self, rows: Int[np.ndarray, " M"], seed: int) -> None:
        """Begin the noise of some scenarios anew."""
        for kind, noise in self._noise.items():
            local = np.flatnonzero(np.isin(self._rows[kind], rows))
            noise.restart(local, self._places[self._rows[kind][local]].tolist(), seed)

    def apply(self, obs: Float[np.ndarray, "N W"], rows: Int[np.ndarray, " M"]) -> None:
        """Perturb some scenarios' padded observations in place; draws fresh noise."""
        for kind in self._rows:
            local = np.flatnonzero(np.isin(self._rows[kind], rows))
            if len(local):
                _APPLY[kind](self, obs, self._rows[kind][local], local)

    def _add_g(self, obs: np.ndarray, rows: np.ndarray, local: np.ndarray) -> None:
        obs[rows, : self._obs] += self._std[local] * self._noise["add_g"].draw(local)

    def _add_d(self, obs: np.ndarray, rows: np.ndarray, local: np.ndarray) -> None:
        noise = self._noise["add_d"].draw(local)
        noise[np.arange(noise.shape[1]) >= self._extra[local, None]] = 0
        obs[rows, self._obs : self._obs + noise.shape[1]] = noise

    def _msk_r(self, obs: np.ndarray, rows: np.ndarray, local: np.ndarray) -> None:
        noise = self._noise["msk_r"].draw(local)
        rank = noise.argsort(axis=1).argsort(axis=1)
        obs[rows, : self._obs] *= rank >= self._masked[local, None]

    def _msk_f(self, obs: np.ndarray, rows: np.ndarray, local: np.ndarray) -> None:
        obs[rows, : self._obs] *= self._keep[local]


_APPLY = {
    "add_g": Perturbation._add_g,
    "add_d": Perturbation._add_d,
    "msk_r": Perturbation._msk_r,
    "msk_f": Perturbation._msk_f,
}
