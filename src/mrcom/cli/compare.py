"""`mrcom compare`: several runs side by side."""

import dataclasses
import json
import pathlib
from typing import Annotated

import tyro

from mrcom.cli.options import Json


@dataclasses.dataclass(frozen=True)
class Compare:
    """Print several runs side by side, with intervals and probability of improvement."""

    runs: Annotated[
        tuple[pathlib.Path, ...],
        tyro.conf.Positional,
        tyro.conf.arg(help="Folders of evaluated runs; seeds of one method share its rows."),
    ]
    json: Json = False


def run(options: Compare) -> int | None:
    """Run the command."""
    from mrcom.cli.report import print_tables
    from mrcom.report.comparison import compare
    from mrcom.train.run_folder import open_run

    tables = compare([open_run(path) for path in options.runs]).tables
    if options.json:
        rows = [{"title": table.title, "columns": table.columns, "rows": table.rows,
                 "notes": table.notes} for table in tables]  # fmt: skip
        print(json.dumps(rows, indent=2, ensure_ascii=False))
    else:
        print_tables(tables)
    return None
