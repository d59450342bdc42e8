"""`mrcom evaluate`: returns of a trained run, inside and outside its training range."""

import dataclasses

from mrcom.cli.options import Budget, Run, Seed


@dataclasses.dataclass(frozen=True)
class Evaluate:
    """Measure a run's returns and append them to its scores.jsonl."""

    run: Run
    seed: Seed = 0
    budget: Budget = "tiny"


def run(options: Evaluate) -> int | None:
    """Run the command."""
    raise NotImplementedError
