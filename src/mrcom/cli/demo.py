"""`mrcom demo`: the main job from start to end."""

import dataclasses

from mrcom.cli.options import Budget, Resume, RunDir, Seed, Size


@dataclasses.dataclass(frozen=True)
class Demo:
    """Train one world model, adapt it to unseen scenarios, judge it, print a table."""

    seed: Seed = 0
    budget: Budget = "tiny"
    size: Size = None
    run_dir: RunDir = None
    resume: Resume = None


def run(options: Demo) -> int | None:
    """Run the command."""
    raise NotImplementedError
