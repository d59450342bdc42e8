"""How much memory training will take, told before it takes any."""

import dataclasses
import math
from collections.abc import Sequence

import jax
import numpy as np

from mrcom.core.errors import ConfigError
from mrcom.core.programs import bytes_between, num_equations
from mrcom.core.rng import root_key
from mrcom.core.types import Batch
from mrcom.replay.prompts import make_prompts
from mrcom.replay.windows import Windows, gather
from mrcom.train.leaves import leaves
from mrcom.train.run import Run

LOADED = 400_000_000
"""Bytes of Python, JAX, MuJoCo and what else is loaded: measured."""
AN_EQUATION = 220_000
"""Bytes that the compiler takes for each equation of an update: measured, mean of all methods."""
A_CHECKPOINT = 3
"""Copies of what is saved that lie in memory while it is written: ours, and the library's."""


@dataclasses.dataclass(frozen=True)
class Memory:
    """What runs that learn together need [bytes]."""

    replay: int
    learnt: int
    """Twice all that learns: what is saved lies beside what goes on."""
    between: int
    """What an update computes and needs later."""
    program: int
    """What is loaded, and the compiler or later, where that is more, a checkpoint on its way."""

    @property
    def total(self) -> int:
        """All of it."""
        return self.replay + self.learnt + self.between + self.program

    def __str__(self) -> str:
        return (
            f"{_amount(self.total)} ({_amount(self.replay)} replay, {_amount(self.learnt)} for "
            f"model, behaviour and optimisers, {_amount(self.between)} within an update, "
            f"{_amount(self.program)} for libraries, checkpoints and the compiler)"
        )


def memory_of(runs: Sequence[Run], *, at_once: int) -> Memory:
    """What runs need; `at_once` of them make their updates side by side."""
    first = runs[0]
    state, batch, key = first.state, _empty_batch(first), root_key(0)
    program = jax.make_jaxpr(first.agent.update)(state, batch, key)
    size = lambda run: sum(x.size * x.dtype.itemsize for x in leaves(run.state).values())
    written = sum(array.nbytes for array in first.experience.store.written.values())
    saving = A_CHECKPOINT * (size(first) + written)  # one run after the other
    return Memory(
        replay=sum(run.experience.store.num_bytes for run in runs),
        learnt=2 * sum(map(size, runs)),
        between=at_once * bytes_between(program),
        program=LOADED + max(AN_EQUATION * num_equations(program), saving),
    )


def check_memory(memory: Memory, limit_gb: float | None) -> None:
    """Refuse what needs more than was allowed, before it takes anything.

    Raises:
        ConfigError: it does; the message says for what, and the least that would do.
    """
    if limit_gb is not None and not memory.total <= limit_gb * 1e9:
        least = math.ceil(memory.total / 1e6) / 1e3
        raise ConfigError(
            f"--memory-limit {limit_gb} [GB] is too little: this needs about {memory}. Give "
            f"{least} or more, or choose a smaller --budget or --size."
        )


def _amount(size: int) -> str:
    return f"{size / 1e9:.3g} GB" if size >= 1e9 else f"{size / 1e6:.3g} MB"


def _empty_batch(run: Run) -> Batch:
    """As all that the run will learn from, but of steps that nobody made."""
    windows, store, num = run.agent.windows, run.experience.store, len(run.worlds.scenarios)
    prompts = make_prompts("none", num=num, layout=run.worlds.layout, window=windows.context)
    places = np.zeros(windows.rows(num), np.int64)
    return gather(
        store,
        run.worlds.masks,
        prompts,
        Windows(places, places, places),
        context=windows.context,
        length=windows.length_in(store.steps),
    )
