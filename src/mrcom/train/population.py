"""Several runs of one method that learn together: one compiled program updates them all."""

import dataclasses
import json
import pathlib
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key

from mrcom.agents.agent import Agent, Learner, Metrics
from mrcom.core.config import from_json
from mrcom.core.errors import RunFolderError
from mrcom.train.run_folder import RunFolder, check_new, write_json
from mrcom.train.settings import RunConfig

_ARRAYS = (jax.Array, np.ndarray)
RECORD = "population.json"
"""In the folder of a population: what its runs are."""


@dataclasses.dataclass(frozen=True)
class Population:
    """An agent whose state, batch and key are those of N runs, stacked on the first axis.

    An accelerator makes them side by side (`vmap`). A CPU has nothing to gain from that: there
    they are made in turn, inside the same program, which is quicker. Either way the numbers are
    those of runs that learn alone, but for rounding.
    """

    agent: Agent
    side_by_side: bool

    def update(self, state: Any, batch: Any, key: Key[Array, " N"]) -> tuple[Any, Metrics]:
        """One step of every run. The old states' memory is handed over to the new ones."""
        return _update((self, batch, key), state)


def learner_of(agent: Agent, num: int) -> Learner:
    """The agent, for so many runs at once on this machine."""
    return agent if num == 1 else Population(agent, jax.default_backend() != "cpu")


def joined(trees: Sequence[Any]) -> Any:
    """What `learner_of` so many learns from: pytrees stacked, or the one that there is."""
    stack = lambda *leaves: jnp.stack(leaves) if isinstance(leaves[0], _ARRAYS) else leaves[0]
    return trees[0] if len(trees) == 1 else jax.tree.map(stack, *trees)


def parts(tree: Any, num: int) -> list[Any]:
    """What was joined."""
    take = lambda n: jax.tree.map(lambda x: x[n] if isinstance(x, _ARRAYS) else x, tree)
    return [tree] if num == 1 else [take(n) for n in range(num)]


@eqx.filter_jit(donate="all-except-first")
def _update(given: tuple[Population, Any, Key[Array, " N"]], states: Any) -> tuple[Any, Metrics]:
    population, batches, keys = given
    arrays, rest = eqx.partition((states, batches, keys), eqx.is_array)

    def update(one: Any) -> tuple[Any, Metrics]:
        return population.agent.update(*eqx.combine(one, rest))

    return jax.vmap(update)(arrays) if population.side_by_side else jax.lax.map(update, arrays)


def folder_of(path: pathlib.Path, config: RunConfig) -> pathlib.Path:
    """Where the run with this configuration lies in a population's folder."""
    return path / f"seed-{config.seed}"


def with_seeds(config: RunConfig, num: int) -> list[RunConfig]:
    """So many configurations, with the given one's seed and the next ones."""
    return [dataclasses.replace(config, seed=config.seed + n) for n in range(num)]


def create_population(path: pathlib.Path, configs: Sequence[RunConfig]) -> None:
    """A folder for runs that differ in their seeds alone.

    Raises:
        RunFolderError: it exists, or cannot be written.
    """
    check_new(path)
    seeds = [config.seed for config in configs]
    write_json(path / RECORD, {"config": configs[0], "seeds": seeds})


def is_population(path: pathlib.Path) -> bool:
    """Whether a folder is one of several runs."""
    return (path / RECORD).is_file()


def open_population(path: pathlib.Path) -> list[RunConfig]:
    """The configurations of its runs, as they were begun or changed since.

    Raises:
        RunFolderError: what says so cannot be read.
    """
    try:
        record = json.loads((path / RECORD).read_text())
        config = from_json(RunConfig, record["config"])
        begun = [dataclasses.replace(config, seed=seed) for seed in record["seeds"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunFolderError(f"{path / RECORD} cannot be read: {error!r}.") from error
    there = [RunFolder(folder_of(path, one)) for one in begun]
    return [
        from_json(RunConfig, folder.config) if folder.config_file.is_file() else one
        for folder, one in zip(there, begun, strict=True)
    ]
