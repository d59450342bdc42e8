"""`mrcom benchmark learn`: what an update costs here, and how near that is to what it could."""

import dataclasses
import json
import os
import sys
from typing import Annotated, Any

import tyro

from mrcom.cli.choices import Choice
from mrcom.cli.options import ANY_SIZE, METHOD, Json

WHAT = Choice("benchmark", ("learn",))
OTHERWISE = "small"
"""The size of methods that have none of the name that was asked for."""


@dataclasses.dataclass(frozen=True)
class Benchmark:
    """Measure what learning costs on this machine."""

    what: Annotated[
        tyro.conf.Positional[str],
        WHAT,
        tyro.conf.arg(help="learn: updates of every method.", metavar=WHAT.metavar),
    ] = "learn"
    size: Annotated[
        str,
        ANY_SIZE,
        tyro.conf.arg(
            help=f"Size of the networks; a method without it is measured at `{OTHERWISE}`.",
            metavar=ANY_SIZE.metavar,
        ),
    ] = "1M"
    methods: Annotated[
        tuple[str, ...],
        METHOD,
        tyro.conf.arg(help="Methods; all by default.", metavar=f"[{METHOD.metavar} ...]"),
    ] = METHOD.names
    updates: Annotated[int, tyro.conf.arg(help="Updates that are timed of each.")] = 10
    json: Json = False


def run(options: Benchmark) -> int | None:
    """Measure, and print a table or JSON."""
    from mrcom.benchmark.learn import measure
    from mrcom.benchmark.rate import MatrixProducts
    from mrcom.core.errors import ConfigError

    if options.updates < 1:
        raise ConfigError(f"--updates {options.updates} must be at least 1; the nearest is 1.")
    if not options.methods:
        raise ConfigError(f"--methods names none; give one or more of {', '.join(METHOD.names)}.")
    costs = {}
    for name in options.methods:
        agent, size = _agent(name, options.size)
        print(f"measuring {name} at {size}", file=sys.stderr)
        costs[name] = dataclasses.asdict(measure(agent, size, updates=options.updates))
    products = MatrixProducts()
    for _ in range(5):
        products.measure()
    rate = products.gflops(products.seconds)
    record = {
        "matmul_gflops": rate,
        "matmul_gflops_per_core": products.gflops(products.core_seconds),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
        "load": os.getloadavg()[0],
        "methods": costs,
    }
    print(json.dumps(record, indent=2) if options.json else _table(record))
    return None


def _agent(name: str, size: str) -> tuple[Any, str]:
    """A method at a size, or at the one that it has instead."""
    from mrcom.agents.build import has_size
    from mrcom.benchmark.invented import measured_agent

    size = size if has_size(name, size) else OTHERWISE
    return measured_agent(name, size), size


def _table(record: dict[str, Any]) -> str:
    """For people."""
    lines = [
        f"matrix products: {record['matmul_gflops']:.0f} GFLOP/s "
        f"({record['matmul_gflops_per_core']:.0f} a core), load {record['load']:.1f}",
        f"{'method':13} {'size':6} {'updates/s':>9} {'GFLOP':>7} {'of rate':>7} {'core s':>7} "
        f"{'loop/s':>7} {'compile':>8} {'memory':>8}  share of time",
    ]
    for name, cost in record["methods"].items():
        shares = ", ".join(f"{part} {share:.0%}" for part, share in cost["shares"].items())
        lines.append(
            f"{name:13} {cost['size']:6} {cost['updates_per_s']:9.2f} "
            f"{cost['gflop_per_update']:7.2f} {cost['share_of_matmul_rate']:7.0%} "
            f"{cost['core_s_per_update']:7.3f} {cost['loop_updates_per_s']:7.2f} "
            f"{cost['compile_s']:6.1f} s {cost['peak_memory_mb']:5.0f} MB  {shares}"
        )
    return "\n".join(lines)
