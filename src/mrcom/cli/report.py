"""`mrcom report`: tables and figures from a run folder's files."""

import dataclasses
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from mrcom.cli.options import Json, Run

if TYPE_CHECKING:
    from mrcom.report.table import Table
    from mrcom.train.run_folder import RunFolder


@dataclasses.dataclass(frozen=True)
class Report:
    """Print a run's table again and draw its figures."""

    run: Run
    json: Json = False


def run(options: Report) -> int | None:
    """Run the command."""
    from mrcom.report.claims import summary
    from mrcom.report.run_report import write_report
    from mrcom.train.run_folder import open_run

    folder = open_run(options.run)
    if options.json:
        print(json.dumps(summary(write_report(folder).claims), indent=2))
    else:
        print_report(folder)
    return None


def print_report(folder: "RunFolder", budget: str | None = None) -> None:
    """Write a run's report, of the scores of one budget, and print its tables and claims."""
    from mrcom.report.claims import claims_text
    from mrcom.report.run_report import write_report

    report = write_report(folder, budget=budget)
    print_tables(report.tables)
    print(claims_text(report.claims))
    print(f"Everything is in {folder.path}: report.md, summary.json, figures/")


def print_tables(tables: "Sequence[Table]") -> None:
    """Tables for people: in colour on a terminal, else as plain text."""
    from rich.console import Console

    from mrcom.report.table import to_rich, to_text

    console = Console()
    for table in tables:
        if console.is_terminal:
            console.print(to_rich(table))
        else:
            print(to_text(table))
