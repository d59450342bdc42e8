"""Learning on several devices, of one machine or of several."""

import dataclasses
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import NamedSharding, PartitionSpec
from jaxtyping import PRNGKeyArray

from mrcom.agents.agent import Learner, Metrics
from mrcom.core.errors import ConfigError
from mrcom.train.hosts import several_hosts


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
        split = NamedSharding(mesh, PartitionSpec("device"))
        whole = NamedSharding(mesh, PartitionSpec())
        run = split if self.several_runs else whole
        state, metrics = self.learner.update(
            _put(state, run, same=True), _put(batch, split), _put(key, run)
        )
        # Other hosts' rows cannot be read here until they are everywhere.
        return state, _put(metrics, whole) if several_hosts() else metrics


def spread(learner: Learner, num: int, *, runs: int, rows: int) -> Learner:
    """The learner on so many devices, which is itself on one.

    Args:
        num: of all hosts together, which have equally many.
        runs: how many learn together.
        rows: of a batch of one run.

    Raises:
        ConfigError: there are fewer devices, or they cannot share runs or rows equally.
    """
    hosts = jax.process_count()
    there, own = jax.local_devices(), num // hosts
    if num % hosts or not 1 <= own <= len(there):
        where = "this machine has" if hosts == 1 else f"each of {hosts} hosts has"
        near = hosts * min(max(own, 1), len(there))
        raise ConfigError(
            f"--devices {num}: {where} {len(there)} of the kind {there[0].platform}; the nearest "
            f"is {near}."
        )
    if num == 1:
        return learner
    what, shared = ("runs", runs) if runs > 1 else ("rows of a batch", rows)
    if shared % num:
        near = max(n for n in range(1, num) if shared % n == 0)
        raise ConfigError(
            f"--devices {num} cannot share {shared} {what} equally; the nearest is {near}."
        )
    chosen = [device for host in range(hosts) for device in jax.local_devices(host)[:own]]
    return Spread(learner, tuple(chosen), runs > 1)


def gathered(tree: Any) -> Any:
    """A state on the first device. What lay on one stays as it is, or all would compile again."""
    first = jax.local_devices()[0]

    def own(x: Any) -> Any:
        if not isinstance(x, jax.Array) or len(x.devices()) == 1:
            return x
        if not x.is_fully_addressable:
            assert isinstance(x.sharding, NamedSharding)
            x = jax.device_put(x, NamedSharding(x.sharding.mesh, PartitionSpec()))
            x = x.addressable_data(0)
        return jax.device_put(x, first)

    return jax.tree.map(own, tree)


def _put(tree: Any, where: NamedSharding, *, same: bool = False) -> Any:
    """The arrays of a tree laid out so; `same` makes what hosts have of their own host 0's."""

    def placed(x: Any) -> Any:
        local = not isinstance(x, jax.Array) or x.is_fully_addressable
        if where.is_fully_addressable or not local:
            return jax.device_put(x, where)
        if jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key):
            data = placed(jax.random.key_data(x))
            return jax.random.wrap_key_data(data, impl=jax.random.key_impl(x))
        mine = np.asarray(multihost_utils.broadcast_one_to_all(x) if same else x)
        return jax.make_array_from_callback(mine.shape, where, lambda rows: mine[rows])

    return jax.tree.map(lambda x: placed(x) if eqx.is_array(x) else x, tree)
