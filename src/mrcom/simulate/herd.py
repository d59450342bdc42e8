"""Many scenarios of one body, stepped by C threads in lockstep."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from mrcom.core.errors import ConfigError
from mrcom.scenarios.rewards import reach, track
from mrcom.scenarios.scenario import Scenario
from mrcom.simulate.compile import compile_model
from mrcom.simulate.engine import Batch, mujoco

VELOCITY = int(mujoco.mjtStage.mjSTAGE_VEL)
NONE = int(mujoco.mjtStage.mjSTAGE_NONE)
HIGHEST = 1000
"""Centimetres up to which a free body is lifted off the floor at a reset."""


class Views:
    """Live arrays of N simulations, by name: the `Physics` that a body's functions read."""

    def __init__(self, batch: Batch):
        self.num = batch.nsim
        self._batch = batch
        self._found: dict[tuple[str, str], np.ndarray] = {}

    def field(self, name: str) -> np.ndarray:
        """A whole MuJoCo data field, [N, ...]."""
        return self._view("", name)

    def of_body(self, field: str, body: str) -> np.ndarray:
        """One body's entry of a field such as `xpos`, [N, ...]."""
        return self._view(field, body)

    def sensor(self, name: str) -> np.ndarray:
        """One sensor's values, [N, dim]."""
        return self._view("sensordata", name)

    def _view(self, field: str, name: str) -> np.ndarray:
        key = (field, name)
        if key not in self._found:
            self._found[key] = self._find(field, name)
        return self._found[key]

    def _find(self, field: str, name: str) -> np.ndarray:
        if not field:
            return self._batch.bind(name)
        values = self._batch.bind(field)
        if field == "sensordata":
            sensor = self._batch.model.sensor(name)
            start = int(sensor.adr[0])
            return values[:, start : start + int(sensor.dim[0])]
        return values[:, self._batch.model.body(name).id]


class Herd:
    """N scenarios of one body. Observations and rewards are float64 here.

    A step equals the suite's: the second half of a physics step with the new controls, whole
    steps, then positions and velocities of the state arrived at.
    """

    def __init__(self, scenarios: Sequence[Scenario], num_threads: int):
        self.body = scenarios[0].embodiment
        models = [compile_model(scenario) for scenario in scenarios]
        self.batch = Batch(models[0], nsim=len(models), nthread=num_threads, persistent=True)
        self.physics = Views(self.batch)
        self._ctrl = self.batch.bind("ctrl")
        self._qpos, self._qvel = self.batch.bind("qpos"), self.batch.bind("qvel")
        self._time = self.batch.bind("time")
        self.obs = np.zeros((len(models), self.body.obs))
        self.reward = np.zeros(len(models))
        self.set_scenarios(scenarios)

    def set_scenarios(self, scenarios: Sequence[Scenario]) -> None:
        """Other scenarios of the same body, as many as before; reset afterwards."""
        models = [compile_model(scenario) for scenario in scenarios]
        self.batch.set_models(models)
        self._target = np.array([scenario.target_speed for scenario in scenarios])
        kinds = np.array([scenario.reward for scenario in scenarios])
        self._tracks, self._reaches, self._stands = (
            np.flatnonzero(kinds == kind) for kind in ("track", "reach", "stand")
        )
        self._low, self._high = zip(
            *(_joint_limits(m, self.body.randomise) for m in models), strict=True
        )
        self._start = [model.qpos0 for model in models]
        self._models = models
        # 0 and 1 for actuators whose controls lie in [-1, 1], or anywhere.
        limited, ends = models[0].actuator_ctrllimited == 1, models[0].actuator_ctrlrange
        self._centre = np.where(limited, ends.sum(axis=1) / 2, 0.0)
        self._half = np.where(limited, (ends[:, 1] - ends[:, 0]) / 2, 1.0)

    def reset(self, rows: Int[np.ndarray, " M"], rngs: Sequence[np.random.Generator]) -> None:
        """Draw new initial states of some scenarios, each from its own generator."""
        self.batch.reset(rows, stage=NONE)
        for row, rng in zip(rows, rngs, strict=True):
            low, high = self._low[row], self._high[row]
            drawn = low + (high - low) * rng.random(len(low))
            self._qpos[row] = np.where(np.isnan(low), self._start[row], drawn)
            if self.body.randomise == "orientation":
                turned = rng.standard_normal(4)
                self._lay_down(int(row), turned / np.linalg.norm(turned))
        if self.body.settle_steps:
            self.batch.step(rows, nstep=self.body.settle_steps)
            self._time[rows] = 0
        self.batch.forward(rows)
        self._observe()

    def place(
        self,
        rows: Int[np.ndarray, " M"],
        qpos: Float[np.ndarray, "M Q"],
        qvel: Float[np.ndarray, "M V"],
    ) -> None:
        """Put some simulations into these states.

        Raises:
            ConfigError: they are another body's, by their number of joints.
        """
        model = self._models[0]
        given, needed = np.shape(qpos) + np.shape(qvel), (len(rows), model.nq, len(rows), model.nv)
        if given != needed:
            raise ConfigError(
                f"{len(rows)} states of {self.body.name!r} have {model.nq} positions, {model.nv} "
                f"velocities each; shapes {np.shape(qpos)} and {np.shape(qvel)} do not fit."
            )
        self.batch.reset(rows, stage=NONE)
        self._qpos[rows], self._qvel[rows] = qpos, qvel
        self.batch.forward(rows)
        self._observe()

    def step(self, action: Float[np.ndarray, "N A"]) -> None:
        """One control period; afterwards `obs` and `reward` are those of the new state."""
        # Policies of plain normals ask for more; MuJoCo ends at limits, where there are some.
        self._ctrl[:] = self._centre + self._half * np.clip(action, -1, 1)
        self.batch.step(nstep=self.body.substeps, stage=VELOCITY)
        self._observe()
        self._judge()

    def _lay_down(self, row: int, orientation: Float[np.ndarray, " 4"]) -> None:
        """Turn a free body, and put it as low as it touches nothing, to a centimetre."""
        model, qpos = self._models[row], self._qpos[row]
        data = mujoco.MjData(model)
        qpos[0:2], qpos[3:7] = 0, orientation
        for lifts in range(HIGHEST):
            qpos[2] = 0.01 * lifts
            data.qpos[:] = qpos
            mujoco.mj_fwdPosition(model, data)
            if not data.ncon:
                return
        raise ConfigError(
            f"A {self.body.name} of this shape touches itself before it moves: torso_length and "
            f"torso_size must be nearer to 1."
        )

    def diverged(self) -> Int[np.ndarray, " M"]:
        """Rows of simulations that MuJoCo has warned about since their reset."""
        return np.flatnonzero(self.batch.warning[:, :, 1].any(axis=1))

    def warnings(self) -> int:
        """Number of warnings since the resets."""
        return int(self.batch.warning[:, :, 1].sum())

    def _observe(self) -> None:
        self.body.observe(self.physics, self.obs)

    def _judge(self) -> None:
        speed = self.body.speed(self.physics)
        if len(self._tracks) == self.physics.num:
            move = track(speed, self._target, self.body.max_speed)
        else:
            move = reach(speed, self._target, self.body.at_rest)
            rows = self._tracks
            move[rows] = track(speed[rows], self._target[rows], self.body.max_speed)
        self.reward[:] = self.body.reward(self.physics, move)
        if len(self._stands):
            assert self.body.stand is not None
            self.reward[self._stands] = self.body.stand(self.physics)[self._stands]


def _joint_limits(model: mujoco.MjModel, randomise: str) -> tuple[np.ndarray, np.ndarray]:
    """Between which values each entry of qpos is drawn; NaN where it keeps its default.

    Free and ball joints keep their default.
    """
    low, high = np.full(model.nq, np.nan), np.full(model.nq, np.nan)
    single = (int(mujoco.mjtJoint.mjJNT_HINGE), int(mujoco.mjtJoint.mjJNT_SLIDE))
    for joint in range(model.njnt):
        at, kind = model.jnt_qposadr[joint], model.jnt_type[joint]
        if randomise in ("none", "orientation") or kind not in single:
            continue
        if model.jnt_limited[joint]:
            low[at], high[at] = model.jnt_range[joint]
        elif kind == single[0] and randomise == "limited_and_rotational":
            low[at], high[at] = -np.pi, np.pi
    return low, high
