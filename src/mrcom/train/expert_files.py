"""What the training of an expert writes: log, checkpoints, weights; and its evaluation."""

import dataclasses
import io
import json
import pathlib
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import equinox as eqx
import numpy as np
from jaxtyping import Float

from mrcom.behaviour.expert import Expert, ExpertPolicy, read_expert
from mrcom.behaviour.ppo import PPOState
from mrcom.core.config import difference
from mrcom.core.errors import CheckpointError
from mrcom.core.files import append_lines, write_whole
from mrcom.scenarios.scenario import Scenario
from mrcom.scenarios.splits import Box, sample_scenarios
from mrcom.simulate.rollout import rollout
from mrcom.simulate.simulator import Simulator
from mrcom.train.expert_groups import export_expert

NUM_EVALUATED = 48
EVALUATION_STREAM = "expert evaluation"
"""Scenarios drawn under this name are never trained on."""


def evaluate_expert(
    expert: Expert, scenarios: list[Scenario], seed: int, num_threads: int | None = None
) -> Float[np.ndarray, " N"]:
    """Return of one episode of each scenario, with mode actions."""
    simulator = Simulator(scenarios, num_threads=num_threads)
    policy = ExpertPolicy(scenarios, simulator.layout, experts={expert.body: expert})
    return rollout(simulator, policy, seed=seed).reward.sum(axis=1)


def by_speed(
    shares: Float[np.ndarray, " N"], returns: Float[np.ndarray, " N"], bins: int = 4
) -> list[float | None]:
    """Mean return in equal bins of target speed over the fastest; None where a bin is empty."""
    index = np.minimum((shares * bins).astype(int), bins - 1)
    return [
        round(float(returns[index == b].mean()), 1) if (index == b).any() else None
        for b in range(bins)
    ]


@dataclasses.dataclass
class Progress:
    """Where a training is; stored beside the learner's arrays."""

    env_steps: int = 0
    iterations: int = 0
    seconds: float = 0.0
    best: float = -1.0


def save_checkpoint(folder: pathlib.Path, state: PPOState, progress: Progress, head: dict) -> None:
    """Write the checkpoint; the old one stays until the new one is whole.

    Raises:
        RunFolderError: it cannot be written.
    """
    line = json.dumps(head | {"progress": dataclasses.asdict(progress)})
    arrays = io.BytesIO()
    eqx.tree_serialise_leaves(arrays, state)
    whole = line.encode() + b"\n" + arrays.getvalue()
    write_whole(folder / "checkpoint.eqx", lambda file: file.write(whole))


def best_so_far(folder: pathlib.Path, body: str) -> float:
    """Mean return of the weights in `best.npz`; that of none where there are none.

    A training that was killed may have written them after its last checkpoint.

    Raises:
        CheckpointError: they are damaged, or another body's.
    """
    path = folder / "best.npz"
    return float(read_expert(path, body).record["best"]) if path.exists() else Progress().best


def load_checkpoint(folder: pathlib.Path, like: PPOState, head: dict) -> tuple[PPOState, Progress]:
    """The inverse of `save_checkpoint`.

    Raises:
        CheckpointError: none there, damaged, or of another configuration.
    """
    path = folder / "checkpoint.eqx"
    if not path.exists():
        raise CheckpointError(f"There is no checkpoint in {folder} to resume from.")
    with path.open("rb") as file:
        try:
            stored = json.loads(file.readline())
            progress = Progress(**stored.pop("progress"))
        except (ValueError, KeyError, TypeError) as error:
            raise CheckpointError(f"{path} is not a readable checkpoint: {error}.") from error
        if changed := difference(stored, json.loads(json.dumps(head))):
            raise CheckpointError(f"{path} was made with other settings: {changed}.")
        try:
            return eqx.tree_deserialise_leaves(file, like), progress
        except (RuntimeError, ValueError, EOFError) as error:
            raise CheckpointError(f"{path} is damaged: {error}.") from error


class ExpertFiles:
    """Log and weights of one training."""

    def __init__(
        self,
        body: str,
        box: Box,
        folder: pathlib.Path,
        head: Mapping[str, Any],
        num_threads: int | None,
        report: Callable[[dict[str, Any]], None] | None,
    ):
        self._body, self._folder, self._head = body, folder, head
        self._num_threads, self._report = num_threads, report
        self._scenarios = sample_scenarios(body, box, NUM_EVALUATED, 0, stream=EVALUATION_STREAM)

    def log(self, kind: str, progress: Progress, values: Mapping[str, Any]) -> None:
        """Append one line to `log.jsonl`."""
        line = {"kind": kind, "time": time.time()} | dataclasses.asdict(progress) | dict(values)
        append_lines(self._folder / "log.jsonl", [line])
        if self._report is not None:
            self._report(line)

    @staticmethod
    def summary(finished: Sequence[tuple[float, float]]) -> dict[str, Any]:
        """Mean returns of finished episodes, given as (target over fastest, return)."""
        if not finished:
            return {}
        shares, returns = (np.array(values) for values in zip(*finished, strict=True))
        mean = round(float(returns.mean()), 1)
        return {"return": mean, "return_by_speed": by_speed(shares, returns)}

    def export(self, state: PPOState, progress: Progress, name: str) -> Expert:
        """Write the policy as it is now to `<name>.npz`."""
        record = dict(self._head) | dataclasses.asdict(progress)
        expert = export_expert(state, self._body, record)
        expert.save(self._folder / f"{name}.npz")
        return expert

    def save(self, state: PPOState, progress: Progress) -> None:
        """Write the checkpoint, and the policy as it is now."""
        save_checkpoint(self._folder, state, progress, dict(self._head))
        self.export(state, progress, "latest")

    def evaluate(self, state: PPOState, progress: Progress) -> None:
        """Mode actions on fixed scenarios and seeds; keeps the best weights as `best.npz`.

        They come with a checkpoint, so that a training that is killed goes on from there.
        """
        expert = self.export(state, progress, "latest")
        returns = evaluate_expert(expert, self._scenarios, 0, self._num_threads)
        if returns.mean() > progress.best:
            progress.best = float(returns.mean())
            self.export(state, progress, "best")
            self.save(state, progress)
        shares = np.array([scenario.parameters()[0] for scenario in self._scenarios])
        values = {"mode_return": float(returns.mean()), "by_speed": by_speed(shares, returns)}
        self.log("evaluate", progress, values)
