"""How the cost of an update grows: with scenarios, bodies, context and size.

    taskset -c 1 python benchmarks/growth.py --figure docs/figures/growth.png

MrCoM at `tiny`, batches of 48 windows, one thing changed at a time. Random numbers stand for the
experience: they cost as much. Time is processor time; each update is divided by a matrix product
measured right before it, so that other work on the machine, which slows both, counts less.
"""

import argparse
import dataclasses
import pathlib
import statistics
import time
from collections.abc import Iterator
from typing import Any

import jax

from mrcom.agents.build import build_agent, method_named
from mrcom.agents.mrcom_config import SIZES
from mrcom.benchmark.invented import BODIES, SCENARIOS, invent
from mrcom.benchmark.learn import Program
from mrcom.benchmark.operations import operations_of_update
from mrcom.benchmark.rate import MatrixProducts
from mrcom.core.rng import root_key
from mrcom.core.types import Layout
from mrcom.report.style import BLUE, drawing
from mrcom.scenarios.layout import layout_of

SWEEPS: dict[str, tuple[Any, ...]] = {
    "scenarios": (8, 64, 512),
    "bodies": (1, 3, 8),
    "context": (8, 32, 128),
    "size": tuple(SIZES),
}
WIDEST = layout_of(BODIES)


def agent_with(what: str, value: Any) -> Any:
    """MrCoM at `tiny` with one thing changed; batches keep their 48 windows."""
    size = value if what == "size" else "tiny"
    bodies = value if what == "bodies" else len(BODIES)
    agent: Any = build_agent(
        method_named("mrcom"),
        size,
        # Bodies of equal widths: what more of them cost, not what wider ones do.
        layout=Layout(tuple(f"body {k}" for k in range(bodies)), WIDEST.obs, WIDEST.act),
        num_scenarios=value if what == "scenarios" else SCENARIOS,
        updates=1000,
    )
    config, windows = agent.config, agent.windows
    if what == "scenarios":
        windows = dataclasses.replace(windows, scenarios=8, per_scenario=6)
    if what == "context":
        windows = dataclasses.replace(windows, context=value)
        context = dataclasses.replace(config.model.context, window=value)
        config = dataclasses.replace(
            config, model=dataclasses.replace(config.model, context=context)
        )
    return dataclasses.replace(agent, config=dataclasses.replace(config, windows=windows))


def costs(agent: Any, updates: int) -> dict[str, float]:
    """Of one update: operations, processor time, the same in matrix products, memory."""
    invented = invent(agent, agent.num_scenarios)
    state, batch = agent.init(root_key(0)), invented.batch(invented.draw(0))
    program, products = Program(agent, state, batch), MatrixProducts()
    seconds = []
    for number in range(updates + 1):
        products.measure()
        start = time.process_time()
        state, metrics = program.update(state, batch, jax.random.fold_in(root_key(1), number))
        jax.block_until_ready((state, metrics))
        seconds.append(time.process_time() - start)
    ratios = [a / b for a, b in zip(seconds[1:], products.core_seconds[1:], strict=True)]
    return {
        "gflop": operations_of_update(agent) / 1e9,
        "core_s": statistics.median(seconds[1:]),
        "products": statistics.median(ratios),
        "state_mb": sum(leaf.nbytes for leaf in jax.tree.leaves(state)) / 1e6,
        "between_mb": program.plan.temp_size_in_bytes / 1e6,
    }


def measured(updates: int) -> Iterator[tuple[str, Any, dict[str, float]]]:
    """Every point of every sweep."""
    for what, values in SWEEPS.items():
        for value in values:
            yield what, value, costs(agent_with(what, value), updates)


def main() -> None:
    """Print the table and draw the figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--updates", type=int, default=9)
    parser.add_argument("--figure", type=pathlib.Path)
    given = parser.parse_args()
    print("| what | value | GFLOP | core s | in products | state MB | between MB |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    points = []
    for what, value, cost in measured(given.updates):
        points.append((what, value, cost))
        row = f"{cost['gflop']:.2f} | {cost['core_s']:.3f} | {cost['products']:.2f}"
        memory = f"{cost['state_mb']:.1f} | {cost['between_mb']:.0f}"
        print(f"| {what} | {value} | {row} | {memory} |", flush=True)
    if given.figure is not None:
        draw(given.figure, points)


def draw(path: pathlib.Path, points: list[tuple[str, Any, dict[str, float]]]) -> None:
    """One panel a sweep, all on one scale of time but the sizes."""
    with drawing(path, figsize=(8.4, 2.5)) as figure:
        axes = figure.subplots(1, len(SWEEPS))
        for axis, (what, values) in zip(axes, SWEEPS.items(), strict=True):
            found = [cost["core_s"] for name, _, cost in points if name == what]
            axis.bar([str(value) for value in values], found, color=BLUE, width=0.6)
            axis.set_xlabel({"context": "steps of context", "size": "size"}.get(what, what))
            axis.margins(y=0.15)
            for at, seconds in enumerate(found):
                axis.annotate(
                    f"{seconds:.2f}", (at, seconds), ha="center", va="bottom", fontsize=7.5
                )
        axes[0].set_ylabel("core seconds an update")


if __name__ == "__main__":
    main()
