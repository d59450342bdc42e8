"""Learning on several devices of one machine."""

import dataclasses
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jaxtyping import PRNGKeyArray

from mrcom.agents.agent import Learner, Metrics
from mrcom.core.errors import ConfigError


@dataclasses.dataclass(frozen=True)
class Spread:
    """A learner on several devices: each has some of the runs, or of one run's rows of a batch.

    The numbers are those of one device but for rounding.
    """

    learner: Learner
    devices: tuple[jax.Device, ...]
    several_runs: bool
    """Whether states, batches and keys are those of several runs, stacked on the first axis."""

    def update(self, state: Any, batch: Any, key: PRNGKeyArray) -> tuple[Any, Metrics]:
        """One step of learning. The old state's memory is handed over."""
        mesh = jax.sharding.Mesh(np.array(self.devices), ("device",))
        split = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("device"))
        whole = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
        run = split if self.several_runs else whole
        return self.learner.update(_put(state, run), _put(batch, split), _put(key, run))


def spread(learner: Learner, num: int, *, runs: int, rows: int) -> Learner:
    """The learner on so many devices, which is itself on one.

    Args:
        runs: how many learn together.
        rows: of a batch of one run.

    Raises:
        ConfigError: there are fewer devices, or they cannot share runs or rows equally.
    """
    there = jax.local_devices()
    if not 1 <= num <= len(there):
        raise ConfigError(
            f"--devices {num}: this machine has {len(there)} of the kind {there[0].platform}; the "
            f"nearest is {min(max(num, 1), len(there))}."
        )
    if num == 1:
        return learner
    what, shared = ("runs", runs) if runs > 1 else ("rows of a batch", rows)
    if shared % num:
        near = max(n for n in range(1, num) if shared % n == 0)
        raise ConfigError(
            f"--devices {num} cannot share {shared} {what} equally; the nearest is {near}."
        )
    return Spread(learner, tuple(there[:num]), runs > 1)


def gathered(tree: Any) -> Any:
    """A state on the first device. What lay on one stays as it is, or all would compile again."""
    first = jax.local_devices()[0]
    several = lambda x: isinstance(x, jax.Array) and len(x.devices()) > 1
    return jax.tree.map(lambda x: jax.device_put(x, first) if several(x) else x, tree)


def _put(tree: Any, where: Any) -> Any:
    return jax.tree.map(lambda x: jax.device_put(x, where) if eqx.is_array(x) else x, tree)
