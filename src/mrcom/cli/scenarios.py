"""`mrcom scenarios`: which worlds a box, a seed and a body make."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import tyro

from mrcom.cli.bodies import Body, single
from mrcom.cli.options import Json


@dataclasses.dataclass(frozen=True)
class Scenarios:
    """List scenarios with their physical values; the same list on every machine."""

    body: Body = "walker"
    alpha: float = 20.0
    """Torso length and radius lie within this many per cent of the default."""
    beta: float = 100.0
    """Target speeds lie between 0 and this share of the body's fastest [%]."""
    gravity: float = 0.0
    """Gravity lies within this many per cent of the default."""
    friction: float = 0.0
    """So does the friction of every surface."""
    mass: float = 0.0
    """So does every mass, beyond what follows from the torso."""
    count: int = 5
    """How many."""
    seed: Annotated[int, tyro.conf.arg(help="Decides the list, with the other options.")] = 0
    reward: str = "track"
    """track: 1 at the target speed only; reach: at or above it; stand: for standing still."""
    observation: str = "plain"
    """What happens to observations: plain, add_g, add_d, msk_r or msk_f."""
    json: Json = False


IN_TABLE = (
    "scenario",
    "target_speed",
    "torso_length",
    "torso_radius",
    "torso_mass",
    "total_mass",
)
"""Columns that always have a place in the table; others have one where their values differ."""


def run(options: Scenarios) -> int:
    """Print the list."""
    from mrcom.scenarios.splits import Box, sample_scenarios
    from mrcom.simulate.listing import UNITS, physical_values

    drawn = sample_scenarios(
        single(options.body),
        Box(
            options.alpha,
            options.beta,
            gravity=options.gravity,
            friction=options.friction,
            mass=options.mass,
        ),
        options.count,
        options.seed,
        reward=options.reward,
        observation=options.observation,
    )
    rows = physical_values(drawn)
    if options.json:
        listed = [
            {"physical": row, "record": scenario.to_json()}
            for row, scenario in zip(rows, drawn, strict=True)
        ]
        print(json.dumps({"units": dict(UNITS), "scenarios": listed}, indent=2))
        return 0
    for line in table(rows, UNITS):
        print(line)
    return 0


def table(rows: Sequence[Mapping[str, Any]], units: Mapping[str, str]) -> list[str]:
    """A line with what all rows share, and a table of the rest; numbers are exact."""
    shared = {
        name: rows[0][name]
        for name in units
        if name not in IN_TABLE and all(row[name] == rows[0][name] for row in rows)
    }
    first = ", ".join(
        f"{name} {_text(value)} {units[name]}".strip()
        for name, value in shared.items()
        if value not in (None, "")
    )
    names = [name for name in units if name not in shared]
    heads = [f"{name} [{units[name]}]" if units[name] else name for name in names]
    cells = [[_text(row[name]) for name in names] for row in rows]
    widths = [max(map(len, column)) for column in zip(heads, *cells, strict=True)]
    lines = [
        "  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True))
        for line in [heads, *cells]
    ]
    return [first, *lines]


def _text(value: Any) -> str:
    # Exact, and as JSON has it; NumPy's own floats would say their type too.
    return repr(float(value)) if isinstance(value, float) else str(value)
