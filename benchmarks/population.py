"""What updates of several runs in one program cost, against one run's.

    taskset -c 1 python benchmarks/population.py                   # mrcom tiny, dreamer 1M, 5 runs
    python benchmarks/population.py --methods mamba --sizes 1M --runs 8

Random numbers stand for the experience of the three bodies: they cost as much. An update of all
runs, in turn inside one program or side by side, is timed next to one of a single run, time and
again; printed are the medians of its seconds and of the ratio of neighbours. On a CPU the seconds
are those of all cores, so that other work on the machine counts little.
"""

import argparse
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from mrcom.benchmark.invented import invent, measured_agent
from mrcom.core.rng import root_key
from mrcom.train.population import Population, joined


def main() -> None:
    """Measure every pair of a method and a size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--methods", nargs="+", default=["mrcom", "dreamer"])
    parser.add_argument("--sizes", nargs="+", default=["tiny", "1M"], help="one for each method")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--pairs", type=int, default=5)
    given = parser.parse_args()
    for name, size in zip(given.methods, given.sizes, strict=True):
        for side_by_side in (False, True):
            one, all_ = seconds(name, size, given.runs, given.pairs, side_by_side=side_by_side)
            print(
                f"{name:8} {size:6} {given.runs} runs {'vmap' if side_by_side else 'map':4}: "
                f"{np.median(all_):.3f} s, {np.median(all_ / one):.2f} times one run's "
                f"{np.median(one):.3f} s",
                flush=True,
            )


def seconds(
    name: str, size: str, runs: int, pairs: int, *, side_by_side: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Of updates of a single run and, right after each, of all of them."""
    agent = measured_agent(name, size)
    experience = invent(agent)
    given = [(experience.batch(experience.draw(n)), root_key(n)) for n in range(runs)]
    state, states = agent.init(root_key(0)), joined([agent.init(root_key(n)) for n in range(runs)])
    batches, keys = joined([batch for batch, _ in given]), jnp.stack([key for _, key in given])
    population = Population(agent, side_by_side)
    took = np.zeros((pairs + 1, 2))
    for pair in range(pairs + 1):
        (state, _), took[pair, 0] = timed(agent.update, state, *given[0])
        (states, _), took[pair, 1] = timed(population.update, states, batches, keys)
    return took[1:, 0], took[1:, 1]  # the first ones compile


def timed(call: Callable[..., Any], *args: Any) -> tuple[Any, float]:
    """What a call returns, and its seconds: of all cores, or on an accelerator of the clock."""
    clock = time.process_time if jax.default_backend() == "cpu" else time.perf_counter
    start = clock()
    found = jax.block_until_ready(call(*args))
    return found, clock() - start


if __name__ == "__main__":
    main()
