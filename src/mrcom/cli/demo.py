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
    from mrcom.cli.report import print_report
    from mrcom.cli.stages import ADAPTED, CONTROL, adapt_run, evaluate_run, measure_open_loop
    from mrcom.cli.train import train_or_resume

    run = train_or_resume(options, "demo")
    budget = run.config.budget
    measure_open_loop(run, budget)
    for config in (ADAPTED, CONTROL):
        adapt_run(run, config, budget, seed=run.config.seed)
    evaluate_run(run, budget, seed=run.config.seed)
    print_report(run.folder)
    return None
