"""Scenarios that move: many of several bodies, in lockstep."""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int, UInt8

from mrcom.core.errors import ConfigError, TrainingDivergedError
from mrcom.core.generators import named_generator
from mrcom.core.steps import Layout
from mrcom.scenarios.layout import layout_of, masks_of
from mrcom.scenarios.scenario import Scenario
from mrcom.simulate.herd import Herd
from mrcom.simulate.perturb import Perturbation


def available_threads() -> int:
    """Processors that this process may use; where the system does not say, all there are."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:
        return os.cpu_count() or 1


class Simulator:
    """N scenarios, of one or several bodies in any order, stepped together.

    Observations and actions are padded with zeros to the layout's widths. There are no
    terminations: an episode is `episode_steps` steps.

    Args:
        scenarios: what to simulate; their order is the order of every array's first axis.
        layout: widths to pad to, and the size of pictures; by default the smallest that fits,
            without pictures.
        num_threads: of C code; by default as many as the process may use.
        seed: of resets that are given none.
    """

    episode_steps = 1000

    def __init__(
        self,
        scenarios: Sequence[Scenario],
        *,
        layout: Layout | None = None,
        num_threads: int | None = None,
        seed: int = 0,
    ):
        if not scenarios:
            raise ConfigError("A simulator needs at least one scenario.")
        threads = num_threads or available_threads()
        self.scenarios = tuple(scenarios)
        self.num = len(self.scenarios)
        self.layout = layout_of(self.scenarios) if layout is None else layout
        self.masks = masks_of(self.scenarios, self.layout)
        bodies = dict.fromkeys(scenario.body for scenario in self.scenarios)
        self._rows = [
            np.array([i for i, s in enumerate(self.scenarios) if s.body == body]) for body in bodies
        ]
        self._herds = [
            Herd([self.scenarios[i] for i in rows], min(threads, len(rows))) for rows in self._rows
        ]
        self._perturbations = self._make_perturbations()
        self._renderers = self._make_renderers()
        self._image: np.ndarray | None = None
        self._obs = np.zeros((self.num, self.layout.obs), np.float32)
        self._plain = np.zeros_like(self._obs)
        self._reward = np.zeros(self.num, np.float32)
        self._rngs = [np.random.default_rng(0)] * self.num
        self._restart(np.arange(self.num), seed)
        self._started = np.zeros(self.num, bool)

    def reset(
        self, ids: Sequence[int] | np.ndarray | None = None, seed: int | None = None
    ) -> Float[np.ndarray, "N O"]:
        """Put some scenarios (by default all) into new initial states.

        Args:
            ids: indices of scenarios.
            seed: with a scenario's record and index, decides its initial state and its noise
                from here on. None continues the streams of earlier resets.

        Returns:
            The observations of all scenarios.
        """
        chosen = np.arange(self.num) if ids is None else np.unique(np.asarray(ids, int))
        if chosen.size and not (chosen[0] >= 0 and chosen[-1] < self.num):
            raise ConfigError(f"ids={chosen.tolist()} must lie in [0, {self.num - 1}].")
        if seed is not None:
            self._restart(chosen, seed)
        for rows, herd, perturbation in self._parts():
            local = np.flatnonzero(np.isin(rows, chosen)).astype(np.int32)
            if local.size:
                herd.reset(local, [self._rngs[i] for i in rows[local]])
                self._read(rows, herd, perturbation, local)
        self._started[chosen] = True
        self._image = None
        return self._obs.copy()

    def place(
        self,
        ids: Sequence[int] | np.ndarray,
        qpos: Float[np.ndarray, "M Q"],
        qvel: Float[np.ndarray, "M V"],
    ) -> Float[np.ndarray, "N O"]:
        """Put scenarios of one body into states of their own choice; noise goes on as it was.

        Args:
            ids: indices of scenarios, in rising order.
            qpos: positions of each one's joints, in MuJoCo's order [m or rad].
            qvel: their velocities [m/s or rad/s].

        Returns:
            The observations of all scenarios.

        Raises:
            ConfigError: the scenarios are of several bodies, or a state does not fit theirs.
        """
        chosen = np.asarray(ids, int)
        bodies = {self.scenarios[i].body for i in chosen}
        if len(bodies) != 1:
            raise ConfigError(f"place() needs scenarios of one body, not of {sorted(bodies)}.")
        for rows, herd, perturbation in self._parts():
            if herd.body.name in bodies:
                local = np.searchsorted(rows, chosen).astype(np.int32)
                herd.place(local, qpos, qvel)
                self._read(rows, herd, perturbation, local)
        self._started[chosen] = True
        self._image = None
        return self._obs.copy()

    def step(
        self, action: Float[np.ndarray, "N A"]
    ) -> tuple[Float[np.ndarray, "N O"], Float[np.ndarray, " N"]]:
        """One control period of every scenario, each its own length of time.

        Args:
            action: in [-1, 1], padded; entries that are not real are ignored.

        Returns:
            Observations and rewards of the states arrived at.

        Raises:
            ConfigError: wrong shape, or a scenario was never reset.
        """
        if action.shape != (self.num, self.layout.act):
            raise ConfigError(
                f"action has shape {action.shape}, expected {(self.num, self.layout.act)}."
            )
        if not self._started.all():
            raise ConfigError("Call reset() before the first step().")
        for rows, herd, perturbation in self._parts():
            herd.step(action[rows, : herd.body.act])
            self._read(rows, herd, perturbation, np.arange(len(rows)))
            self._reward[rows] = herd.reward
        self._image = None
        return self._obs.copy(), self._reward.copy()

    def set_scenarios(self, scenarios: Sequence[Scenario]) -> None:
        """Other scenarios of the same bodies in the same order; reset afterwards.

        Raises:
            ConfigError: bodies or their order differ, or a scenario does not fit the layout.
        """
        if [s.body for s in scenarios] != [s.body for s in self.scenarios]:
            raise ConfigError(
                "set_scenarios needs as many scenarios, of the same bodies in the same order; "
                "make a new Simulator for others."
            )
        self.masks = masks_of(scenarios, self.layout)
        self.scenarios = tuple(scenarios)
        for rows, herd in zip(self._rows, self._herds, strict=True):
            herd.set_scenarios([self.scenarios[i] for i in rows])
        self._perturbations = self._make_perturbations()
        self._renderers, self._image = self._make_renderers(), None
        self._started[:] = False
        self._obs[:] = 0

    def plain_obs(self) -> Float[np.ndarray, "N O"]:
        """The newest observations before the observation functions: what experts read."""
        return self._plain.copy()

    def image(self) -> UInt8[np.ndarray, "N S S 3"] | None:
        """Pictures of the scenarios as they are now; None where the layout has none."""
        if not self.layout.image:
            return None
        if self._image is None:
            self._image = np.zeros((self.num, *self.layout.image_shape), np.uint8)
            for rows, herd, renderer in zip(self._rows, self._herds, self._renderers, strict=True):
                self._image[rows] = renderer.draw(herd.physics.field("qpos"))
        return self._image

    def warnings(self) -> int:
        """Number of MuJoCo's warnings since the scenarios' last resets."""
        return sum(herd.warnings() for herd in self._herds)

    def check(self) -> None:
        """Make sure that no simulation has diverged since its reset.

        MuJoCo silently resets a diverged simulation, so finite numbers prove nothing; its
        warning counters do.

        Raises:
            TrainingDivergedError: names the first diverged scenario.
        """
        for rows, herd in zip(self._rows, self._herds, strict=True):
            if herd.warnings():
                scenario = self.scenarios[rows[herd.diverged()[0]]]
                raise TrainingDivergedError(
                    f"The simulation of scenario {scenario.name} diverged: MuJoCo warned of bad "
                    f"values or full buffers. Check its factors and the actions it was given."
                )

    def _parts(self) -> zip:
        return zip(self._rows, self._herds, self._perturbations, strict=True)

    def _make_perturbations(self) -> list[Perturbation]:
        return [
            Perturbation([self.scenarios[i] for i in rows], rows.tolist()) for rows in self._rows
        ]

    def _make_renderers(self) -> list[Any]:
        if not self.layout.image:
            return []
        from mrcom.simulate.render import Renderer  # who wants no pictures loads no OpenGL

        bodies = [[self.scenarios[i] for i in rows] for rows in self._rows]
        return [Renderer(scenarios, self.layout.image) for scenarios in bodies]

    def _restart(self, ids: Int[np.ndarray, " M"], seed: int) -> None:
        for i in ids:
            self._rngs[i] = named_generator(seed, "reset", int(i))
        for rows, _, perturbation in self._parts():
            perturbation.restart(np.flatnonzero(np.isin(rows, ids)), seed)

    def _read(
        self,
        rows: Int[np.ndarray, " M"],
        herd: Herd,
        perturbation: Perturbation,
        local: Int[np.ndarray, " K"],
    ) -> None:
        """Copy a herd's new observations to their places, padded and perturbed."""
        width = herd.body.obs
        chosen = rows[local]
        self._plain[chosen, :width] = herd.obs[local]
        if perturbation.plain:
            self._obs[chosen, :width] = herd.obs[local]
            return
        seen = np.zeros((len(rows), self.layout.obs), np.float32)
        seen[:, :width] = herd.obs
        perturbation.apply(seen, local)
        self._obs[chosen] = seen[local]
