"""What the Jacobian's term adds to an update: one core, updates with and without it in turn.

    taskset -c 1 python benchmarks/jacobian_cost.py                  # mrcom and dreamer, to 1M
    taskset -c 1 python benchmarks/jacobian_cost.py --methods mamba --sizes tiny --kind vjp

Random numbers stand for the experience of the three bodies: they cost as much. Printed are medians
of the seconds of an update, and of the ratio of each pair of neighbours, so that other work on the
machine, which slows both, does not count as the term's.
"""

import argparse
import time

import jax
import numpy as np

from mrcom.agents.build import build_agent, method_named
from mrcom.agents.method import with_jacobian
from mrcom.benchmark.invented import BODIES, SCENARIOS, invent
from mrcom.core.errors import ConfigError
from mrcom.core.rng import root_key
from mrcom.objectives.jacobian import JacobianConfig
from mrcom.scenarios.layout import layout_of


def main() -> None:
    """Measure every method at every size that it has."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--methods", nargs="+", default=["mrcom", "dreamer"])
    parser.add_argument("--sizes", nargs="+", default=["tiny", "small", "1M"])
    parser.add_argument("--kind", default="jvp")
    parser.add_argument("--share", type=float, default=JacobianConfig.share)
    parser.add_argument("--pairs", type=int, default=15)
    given = parser.parse_args()
    config = JacobianConfig(kind=given.kind, share=given.share)
    for name in given.methods:
        for size in given.sizes:
            try:
                without, with_it = seconds(name, size, config, given.pairs)
            except ConfigError as error:
                print(f"{name:8} {size:6} {error}")
                continue
            extra = np.median(with_it / without) - 1
            print(
                f"{name:8} {size:6} {config.kind}, share {config.share:g}: "
                f"{np.median(without):.3f} s without, {np.median(with_it):.3f} s with, "
                f"{100 * extra:+.1f} %",
                flush=True,
            )


def seconds(
    name: str, size: str, config: JacobianConfig, pairs: int
) -> tuple[np.ndarray, np.ndarray]:
    """Of alternated updates, the two of a pair one after the other."""
    plain = method_named(name)
    made = {"num_scenarios": SCENARIOS, "layout": layout_of(BODIES), "updates": 1000}
    agents = [
        build_agent(plain, size, **made),
        build_agent(with_jacobian(plain, 0.01), size, jacobian=config, **made),
    ]
    states = [agent.init(root_key(0)) for agent in agents]
    experience = invent(agents[0])
    batch = experience.batch(experience.draw(0))
    took = np.zeros((pairs + 2, 2))
    for pair in range(pairs + 2):
        # Whoever goes second may find warmer caches.
        for which in (0, 1) if pair % 2 else (1, 0):
            key = jax.random.fold_in(root_key(1), pair)
            start = time.perf_counter()
            states[which], metrics = agents[which].update(states[which], batch, key)
            jax.block_until_ready((states[which], metrics))
            took[pair, which] = time.perf_counter() - start
    return took[2:, 0], took[2:, 1]  # the first ones compile


if __name__ == "__main__":
    main()
