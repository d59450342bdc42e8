"""`mrcom train`: a world model over many scenarios of several bodies."""

import dataclasses

from mrcom.cli.options import Budget, Resume, RunDir, Seed, Size


@dataclasses.dataclass(frozen=True)
class Train:
    """Train a world model on the merged experience of many scenarios."""

    seed: Seed = 0
    budget: Budget = "tiny"
    size: Size = None
    run_dir: RunDir = None
    resume: Resume = None


def run(options: Train) -> int | None:
    """Run the command."""
    raise NotImplementedError
