"""`mrcom report`: tables and figures from a run folder's files."""

import dataclasses

from mrcom.cli.options import Json, Run


@dataclasses.dataclass(frozen=True)
class Report:
    """Print a run's table again and draw its figures."""

    run: Run
    json: Json = False


def run(options: Report) -> int | None:
    """Run the command."""
    raise NotImplementedError
