"""Several machines that train one run: each does everything, but for its own rows of a batch.

Every host collects, draws batches, and keeps a run folder of its own; only updates are shared. So
nothing has to be on a file system that all can read, and no host is needed to go on from a folder.
"""

import atexit
import contextlib
import dataclasses
import os
import pathlib
import re
import sys
from collections.abc import Generator, Iterable

import jax
import numpy as np
from jax.experimental import multihost_utils

from mrcom.core.config import short_hash
from mrcom.core.errors import ConfigError, HostLostError, MrcomError, RunFolderError
from mrcom.train.meeting import meet

_FORM = re.compile(r"(?P<number>\d+)/(?P<count>\d+)@(?P<address>[^@\s]+:\d+)")

_PATIENCE = 60
"""How long a host that has finished waits for the others [s]."""


@dataclasses.dataclass(frozen=True)
class Host:
    """One of several machines that train together."""

    number: int
    """Which one; 0 is where the others meet."""
    count: int
    """How many there are."""
    address: str
    """Of host 0, with a port that is free there."""


def host_of(text: str) -> Host:
    """A host by how the command line writes it, such as `1/2@10.0.0.1:9876`.

    Raises:
        ConfigError: it says something else, or a number that cannot be.
    """
    found = _FORM.fullmatch(text)
    if found is None:
        raise ConfigError(
            f"--host {text!r} must be NUMBER/COUNT@ADDRESS:PORT, such as 0/2@10.0.0.1:9876, with "
            f"the address of host 0."
        )
    number, count = int(found["number"]), int(found["count"])
    if not number < count:
        raise ConfigError(
            f"--host {text}: hosts are counted from 0, so that the number must be below {count}; "
            f"the nearest is {max(count - 1, 0)}/{max(count, 1)}."
        )
    if not 1 <= (port := int(found["address"].rsplit(":", 1)[1])) <= 65_535:
        raise ConfigError(
            f"--host {text}: the port must be from 1 to 65535; the nearest is "
            f"{min(max(port, 1), 65_535)}."
        )
    return Host(number, count, found["address"])


def join_hosts(host: Host) -> None:
    """Meet the others; before anything else is asked of JAX.

    Raises:
        ConfigError: they could not be met.
    """
    meet(host.address, host.number, host.count)
    try:
        jax.distributed.initialize(
            host.address, host.count, host.number, shutdown_timeout_seconds=_PATIENCE
        )
    except (RuntimeError, ValueError) as error:
        raise ConfigError(
            f"Host {host.number} of {host.count} could not be joined to the others at "
            f"{host.address}: {str(error).splitlines()[0]}"
        ) from error


def several_hosts() -> bool:
    """Whether this process has been joined to others."""
    return jax.distributed.is_initialized() and jax.process_count() > 1


@contextlib.contextmanager
def with_others(place: pathlib.Path) -> Generator[None, None, None]:
    """Work that the other hosts take part in.

    Args:
        place: what can be resumed.

    Raises:
        HostLostError: one of them is gone.
    """
    try:
        yield
    except (MrcomError, jax.errors.JaxRuntimeError) as error:
        if not several_hosts():
            raise
        # On leaving, JAX would wait for the others, who wait for this one.
        atexit.register(_leave)
        if isinstance(error, MrcomError):
            raise
        raise HostLostError(
            f"Another host is gone, or stopped with an error of its own "
            f"({str(error).splitlines()[0]}). Start all of them again with --resume; this one's "
            f"folder is {place}."
        ) from error


def any_host(flag: bool) -> bool:
    """Whether it is so on any host. All must ask at the same point."""
    return bool(_everyones(np.array(flag)).any()) if several_hosts() else flag


def check_alike(*given: object) -> None:
    """Raise where another host was given something else: it would wait where this one does not.

    Raises:
        ConfigError: it was.
    """
    if several_hosts():
        own = int(short_hash(given)[:7], 16)
        if (_everyones(np.array(own, np.int32)) != own).any():
            raise ConfigError(
                "The hosts were given other settings: start the same command on each, but for "
                "--host and --run-dir."
            )


def kept_by_all(steps: Iterable[int], most: int = 16) -> set[int]:
    """The checkpoints that every host has.

    Raises:
        RunFolderError: some have checkpoints, but all have none in common.
    """
    own = set(steps)
    if not several_hosts():
        return own
    newest = sorted(own)[-most:]
    padded = np.array(newest + [-1] * (most - len(newest)), np.int64)
    rows = [set(row[row >= 0].tolist()) for row in _everyones(padded.astype(np.int32))]
    common = set.intersection(*rows)
    if not common and any(rows):
        said = "; ".join(f"host {n}: {sorted(row) or 'none'}" for n, row in enumerate(rows))
        raise RunFolderError(
            f"The hosts' run folders have no checkpoint in common ({said}): copy the folder of one "
            f"to the others, and resume there."
        )
    return common


def _leave() -> None:
    sys.stdout.flush()
    os._exit(2)  # as every error that the user can mend


def _everyones(own: np.ndarray) -> np.ndarray:
    return np.asarray(multihost_utils.process_allgather(own))
