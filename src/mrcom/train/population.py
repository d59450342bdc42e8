"""Several runs of one method that learn together: one compiled program updates them all."""

import dataclasses
import itertools
import json
import pathlib
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from mrcom.agents.agent import Agent, Learner, Metrics
from mrcom.core.config import differing, from_json, put, short_hash
from mrcom.core.errors import ConfigError, RunFolderError
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
    """Of the first run."""
    side_by_side: bool
    numbers: tuple[tuple[str, tuple[float, ...]], ...] = ()
    """Those in which the runs' agents differ, by dotted name, with each run's own."""

    def update(self, state: Any, batch: Any, key: Key[Array, " N"]) -> tuple[Any, Metrics]:
        """One step of every run. The old states' memory is handed over to the new ones.

        Raises:
            ConfigError: the runs differ in a number that decides what is computed at all.
        """
        numbers = {name: jnp.asarray(values, jnp.float32) for name, values in self.numbers}
        try:
            return _update((self, batch, key, numbers), state)
        except jax.errors.ConcretizationTypeError as error:
            raise _apart(*numbers) from error


def learner_of(agents: Sequence[Agent], *, side_by_side: bool) -> Learner:
    """What learns for these runs' agents at once.

    Raises:
        ConfigError: they differ in what is no number.
    """
    if len(agents) == 1:
        return agents[0]
    apart = differing(*agents)
    for name, values in apart.items():
        if not all(isinstance(value, float) for value in values):
            raise _apart(name)
    return Population(agents[0], side_by_side, tuple(apart.items()))


def _apart(*names: str) -> ConfigError:
    said = ", ".join(name.removeprefix("config.") for name in names)
    return ConfigError(
        f"Runs that learn in one program can differ in rates, weights and the like, not in {said}, "
        f"which decides what is computed: train them one by one."
    )


def joined(trees: Sequence[Any]) -> Any:
    """What `learner_of` so many learns from: pytrees stacked, or the one that there is."""
    stack = lambda *leaves: jnp.stack(leaves) if isinstance(leaves[0], _ARRAYS) else leaves[0]
    return trees[0] if len(trees) == 1 else jax.tree.map(stack, *trees)


def parts(tree: Any, num: int) -> list[Any]:
    """What was joined."""
    take = lambda n: jax.tree.map(lambda x: x[n] if isinstance(x, _ARRAYS) else x, tree)
    return [tree] if num == 1 else [take(n) for n in range(num)]


@eqx.filter_jit(donate="all-except-first")
def _update(
    given: tuple[Population, Any, Key[Array, " N"], dict[str, Float[Array, " N"]]], states: Any
) -> tuple[Any, Metrics]:
    population, batches, keys, numbers = given
    arrays, rest = eqx.partition((states, batches, keys, numbers), eqx.is_array)

    def update(one: Any) -> tuple[Any, Metrics]:
        *learnt, own = eqx.combine(one, rest)
        agent = population.agent
        for name, number in own.items():
            agent = put(agent, name, number)
        return agent.learn(*learnt)

    return jax.vmap(update)(arrays) if population.side_by_side else jax.lax.map(update, arrays)


def folder_of(path: pathlib.Path, config: RunConfig) -> pathlib.Path:
    """Where the run with this configuration lies in a population's folder."""
    return path / ",".join([f"seed-{config.seed}", *config.settings])


def variants(config: RunConfig, seeds: int) -> list[RunConfig]:
    """The configurations that one describes: so many seeds, its own and the next ones, with each
    combination of the values that its settings list (`learning_rate=1e-4,3e-4`).

    Raises:
        ConfigError: a value is listed twice.
    """
    listed = []
    for text in config.settings:
        name, equals, values = text.partition("=")
        each = values.split(",")
        first: dict[float | str, str] = {}
        for value in each:
            first.setdefault(_number(value), value)
        if len(first) < len(each):
            near = ",".join(first.values())
            raise ConfigError(f"setting {text!r} lists a value twice; the nearest is {near!r}.")
        listed.append([name + equals + value for value in each])
    return [
        dataclasses.replace(config, seed=config.seed + n, settings=settings)
        for settings in itertools.product(*listed)
        for n in range(seeds)
    ]


def _number(text: str) -> float | str:
    """What a word stands for: 1e-4 and 0.0001 are the same."""
    try:
        return float(text)
    except ValueError:
        return text


def create_population(path: pathlib.Path, configs: Sequence[RunConfig]) -> None:
    """A folder for several runs.

    Raises:
        RunFolderError: it exists, or cannot be written.
    """
    check_new(path)
    write_json(path / RECORD, {"hash": short_hash(list(configs)), "runs": list(configs)})


def is_population(path: pathlib.Path) -> bool:
    """Whether a folder is one of several runs."""
    return (path / RECORD).is_file()


def begun_population(path: pathlib.Path) -> list[RunConfig]:
    """The configurations of its runs, as they were begun.

    Raises:
        RunFolderError: what says so cannot be read.
    """
    try:
        record = json.loads((path / RECORD).read_text())
        if record.get("hash") not in (None, short_hash(record["runs"])):
            raise ValueError("it was changed")
        return [from_json(RunConfig, one) for one in record["runs"]]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise RunFolderError(f"{path / RECORD} cannot be read: {error!r}.") from error


def open_population(path: pathlib.Path) -> list[RunConfig]:
    """The configurations of its runs, as they were begun or changed since.

    Raises:
        RunFolderError: what says so cannot be read.
    """
    begun = begun_population(path)
    there = [RunFolder(folder_of(path, one)) for one in begun]
    return [
        from_json(RunConfig, folder.config) if folder.config_file.is_file() else one
        for folder, one in zip(there, begun, strict=True)
    ]
