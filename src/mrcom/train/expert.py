"""Training of experts on the real simulator; stops, resumes and exports at any time."""

import os
import pathlib
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mrcom.behaviour.expert import NUM_PARAMETERS
from mrcom.behaviour.ppo import init_ppo, ppo_update
from mrcom.core.config import to_json
from mrcom.core.errors import ConfigError, TrainingDivergedError
from mrcom.core.rng import named_keys, root_key
from mrcom.scenarios.bodies import body as body_named
from mrcom.train.expert_files import ExpertFiles, Progress, best_so_far, load_checkpoint
from mrcom.train.expert_groups import (
    ASSISTS,
    MIRRORS,
    ExpertConfig,
    Group,
    Stage,
    Starts,
    actor_of,
    make_groups,
    settings_at,
    stages_of,
)
from mrcom.train.run_folder import RunFolder, check_expert, locked

LOG_EVERY_S = 20.0


def train_expert(
    body: str,
    *,
    run_dir: str | os.PathLike[str],
    seconds: float | None = None,
    env_steps: int | None = None,
    seed: int = 0,
    resume: bool = False,
    config: Sequence[Stage] | ExpertConfig | None = None,
    starts: Starts | None = None,
    num_threads: int | None = None,
    report: Callable[[dict[str, Any]], None] | None = None,
) -> pathlib.Path:
    """Train one body's expert with PPO; returns the path of the best weights so far.

    Args:
        body: name of the body.
        run_dir: folder for `log.jsonl`, `checkpoint.eqx`, `latest.npz` and `best.npz`.
        seconds: stop after so much time in this call.
        env_steps: stop after so many control steps, earlier calls counted in.
        seed: of weights, actions, scenarios and initial states.
        resume: continue from the folder's checkpoint; simulations start new episodes.
        config: settings, or stages of them; None takes the body's own.
        starts: where simulations begin instead of where scenarios do, and again where a body with a
            helping reward has fallen; evaluations begin where scenarios do.
        num_threads: of the simulator; None takes all the process may use.
        report: called with every line of the log.

    Raises:
        ConfigError: neither limit is given, or the body is unknown.
        CheckpointError: there is nothing to resume from.
        RunFolderError: the folder exists and `resume` is False, another process trains in it,
            or it cannot be written.
        TrainingDivergedError: a loss or a simulation is no longer finite; the last checkpoint
            is kept.
    """
    if seconds is None and env_steps is None:
        raise ConfigError("train_expert needs seconds or env_steps, or it would never stop.")
    body_named(body)
    if config is None:
        config = stages_of(body)
    stages = (Stage(0, config),) if isinstance(config, ExpertConfig) else tuple(config)
    folder = pathlib.Path(run_dir)
    check_expert(folder, resume=resume)
    with locked(RunFolder(folder)):
        training = _Training(body, stages, folder, seed, resume, num_threads, starts)
        box = stages[0].config.box
        files = ExpertFiles(body, box, folder, training.head, num_threads, report)
        _train(training, files, stages[0].config, seconds, env_steps)
    return folder / "best.npz"


def _train(
    training: "_Training",
    files: ExpertFiles,
    config: ExpertConfig,
    seconds: float | None,
    env_steps: int | None,
) -> None:
    start = time.monotonic()
    earlier, due = training.progress.seconds, dict.fromkeys(("log", "evaluate", "save"), start)
    periods = {
        "log": LOG_EVERY_S,
        "evaluate": config.evaluate_every_s,
        "save": config.save_every_s,
    }
    while True:
        metrics = training.iterate()
        now, progress = time.monotonic(), training.progress
        progress.seconds = earlier + now - start
        over = seconds is not None and now - start >= seconds
        over |= env_steps is not None and progress.env_steps >= env_steps
        ready = {name for name, last in due.items() if over or now - last > periods[name]}
        due |= dict.fromkeys(ready, now)
        if "log" in ready:
            files.log("train", progress, metrics | training.summary())
        if "evaluate" in ready:
            files.evaluate(training.state, progress)
        if "save" in ready:
            files.save(training.state, progress)
        if over:
            return


class _Training:
    """Learner, simulations and counters of one training."""

    def __init__(
        self,
        body: str,
        stages: tuple[Stage, ...],
        folder: pathlib.Path,
        seed: int,
        resume: bool,
        num_threads: int | None,
        starts: Starts | None,
    ):
        embodiment = body_named(body)
        self._body, self._stages, self._seed, self._threads = body, stages, seed, num_threads
        self._starts = starts
        config, later = stages[0].config, stages[1:]
        self.head = {"body": body, "seed": seed, "config": to_json(config)}
        self.head |= {"later": to_json(later)} if later else {}
        self._keys = named_keys(root_key(seed), "init", "act", "update")
        self.state = init_ppo(
            config.ppo,
            embodiment.obs + NUM_PARAMETERS,
            embodiment.act,
            self._keys.init,
            mirror=MIRRORS.get(body),
        )
        self.progress = Progress()
        if resume:
            self.state, self.progress = load_checkpoint(folder, self.state, self.head)
            self.progress.best = best_so_far(folder, body)
        self._config: ExpertConfig | None = None
        self._groups: list[Group] = []
        self._finished: list[tuple[float, float]] = []

    def iterate(self) -> dict[str, float]:
        """One horizon of every simulation and the update on it; what to watch."""
        progress = self.progress
        config = settings_at(self._stages, progress.env_steps)
        if config != self._config:
            given = self._seed, progress.iterations, self._threads, self._starts
            self._config, self._groups = config, make_groups(self._body, config, *given)
        assist = ASSISTS.get(self._body)
        weight = config.assist * max(0.0, 1 - progress.env_steps / config.assist_steps)
        key = jax.random.fold_in(self._keys.act, progress.iterations)
        actor = actor_of(self.state, self._body)
        parts = []
        for number, group in enumerate(self._groups):
            own = jax.random.fold_in(key, number)
            part, finished = group.collect(actor, own, assist, weight)
            parts.append(part)
            self._finished += finished
        whole = jax.tree.map(lambda *x: jnp.concatenate(x, axis=1), *parts)
        key = jax.random.fold_in(self._keys.update, progress.iterations)
        self.state, metrics = ppo_update(self.state, whole, key, config.ppo)
        values = {name: float(value) for name, value in metrics.items()}
        for name, value in values.items():
            if not np.isfinite(value):
                raise TrainingDivergedError(f"{name} of the expert of {self._body!r} is {value}.")
        progress.iterations += 1
        progress.env_steps += whole.reward.size
        return values | {"assist": weight}

    def summary(self) -> dict[str, Any]:
        """Returns of the newest finished episodes, actions drawn."""
        self._finished = self._finished[-256:]
        return ExpertFiles.summary(self._finished)
