"""`mrcom expert`: a policy that knows its scenario, for prompts and as the 100 of scores."""

import dataclasses

from mrcom.cli.options import Resume, RunDir, Seed, place_of_run


@dataclasses.dataclass(frozen=True)
class Expert:
    """Train the expert of one body on the real simulator."""

    body: str
    """Body to train: hopper, walker, cheetah or one of your own."""
    seconds: float | None = None
    """Stop after this many seconds of training."""
    env_steps: int | None = None
    """Stop after this many actions, summed over all simulations."""
    seed: Seed = 0
    run_dir: RunDir = None
    resume: Resume = None


def run(options: Expert) -> int | None:
    """Run the command."""
    from mrcom.scenarios.bodies import body
    from mrcom.train.expert import train_expert

    name = body(options.body).name
    run_dir, resume = place_of_run(options.run_dir, options.resume, f"expert-{name}-{options.seed}")
    train_expert(
        name,
        seconds=options.seconds,
        env_steps=options.env_steps,
        run_dir=run_dir,
        seed=options.seed,
        resume=resume,
    )
    return None
