"""What one update costs, in all and by its parts, beside the rate of matrix products."""

import contextlib
import dataclasses
import statistics
import time
from collections.abc import Callable, Generator
from typing import Any

import jax
from jax.experimental.compilation_cache.compilation_cache import reset_cache
from jaxtyping import PRNGKeyArray

from mrcom.agents.agent import Agent, Metrics, WorldModelAgent
from mrcom.benchmark.invented import Invented, invent
from mrcom.benchmark.operations import operations_of_update
from mrcom.benchmark.rate import MatrixProducts
from mrcom.core.rng import root_key
from mrcom.core.types import Batch
from mrcom.replay.prompts import choose_prompts
from mrcom.replay.windows import write_back
from mrcom.train.learner import run_updates, scalars, stored

LOG_EVERY = 20


@dataclasses.dataclass(frozen=True)
class Cost:
    """What an update of one method at one size costs on this machine."""

    size: str
    updates_per_s: float
    """Of updates alone, one after the other, by wall time."""
    gflop_per_update: float
    """Operations of its matrix products [10^9]."""
    share_of_matmul_rate: float
    """Operations per second, against those of large products measured between the updates."""
    share_by_core_seconds: float
    """The same by processor time, which other programs on the machine disturb less."""
    core_s_per_update: float
    """Processor time, summed over cores."""
    loop_updates_per_s: float
    """With everything around them: batches, checks, what is stored, what is logged."""
    compile_s: float
    """Time until the program of an update exists, where nothing is cached."""
    peak_memory_mb: float
    """State, batch and everything in between, as the compiler plans it."""
    shares: dict[str, float]
    """Of the loop's processor time: batch, world_model, dreams, actor_and_critics, host."""


class Program:
    """An agent's update, compiled for one shape of batch; what is cached is not used."""

    def __init__(self, agent: Agent, state: Any, batch: Batch):
        """Compile it, which takes `compile_s` [s]; it will need `peak_bytes` of memory."""
        program = jax.jit(agent.update, donate_argnums=0)
        with _nothing_cached():
            start = time.perf_counter()
            self._run = program.lower(state, batch, root_key(0)).compile()
            self.compile_s = time.perf_counter() - start
        self.plan: Any = self._run.memory_analysis()
        """Memory by what it is for, as the compiler plans it."""
        self.peak_bytes = self.plan.argument_size_in_bytes + self.plan.temp_size_in_bytes
        self.peak_bytes += self.plan.output_size_in_bytes - self.plan.alias_size_in_bytes

    def update(self, state: Any, batch: Batch, key: PRNGKeyArray) -> tuple[Any, Metrics]:
        """One update; the state's memory is handed over."""
        return self._run(state, batch, key)


@contextlib.contextmanager
def _nothing_cached() -> Generator[None]:
    """Meanwhile JAX compiles what it is given, also what an earlier process compiled."""
    name = "jax_enable_compilation_cache"
    before = jax.config.values[name]
    try:
        jax.config.update(name, False)
        reset_cache()  # only then the setting is read again
        yield
    finally:
        jax.config.update(name, before)
        reset_cache()


def measure(agent: Any, size: str, *, updates: int = 10) -> Cost:
    """The cost of an agent's updates; `updates` of them are timed after the first.

    Every number is a median. Matrix products are timed between updates.
    """
    invented = invent(agent, agent.num_scenarios)
    state, batch = agent.init(root_key(0)), invented.batch(invented.draw(0))
    program, products = Program(agent, state, batch), MatrixProducts()
    wall, core = [], []
    for number in range(updates + 1):
        products.measure()
        started = time.perf_counter(), time.process_time()
        state, metrics = program.update(state, batch, jax.random.fold_in(root_key(1), number))
        jax.block_until_ready((state, metrics))
        core.append(time.process_time() - started[1])
        wall.append(time.perf_counter() - started[0])
    seconds, core_s = statistics.median(wall[1:]), statistics.median(core[1:])
    gflop = operations_of_update(agent) / 1e9
    loop_s, loop_core_s, state = _loop(program, invented, state, updates)
    return Cost(
        size=size,
        updates_per_s=1 / seconds,
        gflop_per_update=gflop,
        share_of_matmul_rate=gflop / seconds / products.gflops(products.seconds),
        share_by_core_seconds=gflop / core_s / products.gflops(products.core_seconds),
        core_s_per_update=core_s,
        loop_updates_per_s=1 / loop_s,
        compile_s=program.compile_s,
        peak_memory_mb=program.peak_bytes / 1e6,
        shares=_shares(agent, invented, state, batch, core_s, loop_core_s),
    )


def _loop(
    program: Program, invented: Invented, state: Any, updates: int
) -> tuple[float, float, Any]:
    """Wall and processor time of an update inside the loop that training runs."""
    drawn = {}

    def batches(update: int) -> tuple[Batch, list[str]]:
        drawn[update] = invented.draw(update)
        return invented.batch(drawn[update]), [str(row) for row in drawn[update].scenario]

    started = time.perf_counter(), time.process_time()
    for update, after, metrics in run_updates(
        program, state, batches, first=0, count=updates, seeds=[0]
    ):
        state = after
        write_back(invented.store, drawn.pop(update), stored(metrics))
        if (update + 1) % LOG_EVERY == 0:
            scalars(metrics)
    jax.block_until_ready(state)
    took = time.perf_counter() - started[0], time.process_time() - started[1]
    return took[0] / updates, took[1] / updates, state


def _shares(
    agent: Any, invented: Invented, state: Any, batch: Batch, update_s: float, loop_s: float
) -> dict[str, float]:
    """Parts of the loop's processor time; each is compiled and timed by itself.

    What a method does between its parts, and gradients through dreams, count for actor and critics.
    """
    parts = {"batch": _core_seconds(lambda: invented.batch(invented.draw(0)))}
    parts["world_model"] = parts["dreams"] = 0.0
    if isinstance(agent, WorldModelAgent):
        parts["world_model"] = _core_seconds(lambda: agent.update_model(state, batch, root_key(0)))
    if agent.dream_steps:
        parts["dreams"] = _core_seconds(_dreams(agent, invented, state))
    learnt = update_s - parts["world_model"] - parts["dreams"]
    parts["actor_and_critics"] = max(0.0, learnt)
    parts["host"] = max(0.0, loop_s - update_s - parts["batch"])
    total = sum(parts.values())
    return {name: seconds / total for name, seconds in parts.items()}


def _dreams(agent: Any, invented: Invented, state: Any) -> Callable[[], Any]:
    """A call that dreams as many steps as an update does."""
    horizon = agent.config.horizon
    rows = jax.numpy.arange(agent.dream_steps // horizon) % agent.num_scenarios
    at = jax.device_get(rows)
    start = agent.start(state, invented.masks.rows(at), choose_prompts(invented.prompt, at)).model

    @jax.jit
    def dream(state: Any, start: Any, key: PRNGKeyArray) -> Any:
        return agent.dream_from(state, start, horizon=horizon, key=key)(agent.actor(state))

    return lambda: dream(state, start, root_key(0))


def _core_seconds(call: Callable[[], Any], times: int = 5) -> float:
    """The median of a call's processor time, after a first call."""
    found = []
    for _ in range(times + 1):
        started = time.process_time()
        jax.block_until_ready(call())
        found.append(time.process_time() - started)
    return statistics.median(found[1:])
