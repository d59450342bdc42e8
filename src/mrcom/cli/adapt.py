"""`mrcom adapt`: a policy for a scenario that a trained model has not seen."""

import dataclasses

from mrcom.cli.options import Budget, Resume, Run, RunDir, Seed


@dataclasses.dataclass(frozen=True)
class Adapt:
    """Adapt a trained run to target scenarios."""

    run: Run
    seed: Seed = 0
    budget: Budget = "tiny"
    run_dir: RunDir = None
    resume: Resume = None


def run(options: Adapt) -> int | None:
    """Run the command."""
    raise NotImplementedError
