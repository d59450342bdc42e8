"""`mrcom adapt`: a policy for a scenario that a trained model has not seen."""

import dataclasses
import sys
from typing import Annotated

import tyro

from mrcom.cli.choices import Choice
from mrcom.cli.options import OtherBudget, OtherPrompt, Run, budget_for

LEARNER = Choice("learner", ("sac", "imagination", "ppo"))
POLICY_INIT = Choice("policy-init", ("behaviour", "scratch"))
READS = Choice("reads", ("feature", "observation"))
MODEL = Choice("model", ("frozen", "finetune"))


@dataclasses.dataclass(frozen=True)
class Adapt:
    """Adapt a trained run to its target scenarios; the policies stay in the run's folder."""

    run: Run
    learner: Annotated[
        str,
        LEARNER,
        tyro.conf.arg(
            help="SAC on real and dreamt steps, the actor-critic of training in dreams alone, or "
            "PPO on real steps alone.",
            metavar=LEARNER.metavar,
        ),
    ] = "sac"
    policy_init: Annotated[
        str,
        POLICY_INIT,
        tyro.conf.arg(
            help="Start from what training learnt, or from nothing.", metavar=POLICY_INIT.metavar
        ),
    ] = "behaviour"
    reads: Annotated[
        str,
        READS,
        tyro.conf.arg(
            help="What the policy reads: the model's state, or observations (from scratch only).",
            metavar=READS.metavar,
        ),
    ] = "feature"
    model: Annotated[
        str,
        MODEL,
        tyro.conf.arg(
            help="Keep the world model, or let each target's own copy learn on.",
            metavar=MODEL.metavar,
        ),
    ] = "frozen"
    prompt: OtherPrompt = None
    name: Annotated[
        str, tyro.conf.arg(help="How tables and `mrcom.load` call the result.", metavar="NAME")
    ] = "adapted"
    control: Annotated[
        bool, tyro.conf.arg(help="Also train SAC from scratch on as many real steps.")
    ] = True
    budget: OtherBudget = None
    seed: Annotated[int | None, tyro.conf.arg(help="Seed; that of the run by default.")] = None


def run(options: Adapt) -> int | None:
    """Run the command."""
    from mrcom.core.errors import ConfigError
    from mrcom.train.adapt_config import AdaptConfig
    from mrcom.train.adaptation import CONTROL, adapt_run, adaptation
    from mrcom.train.run import open_trained
    from mrcom.train.run_folder import open_run

    names = ("learner", "policy_init", "reads", "model")
    choices = {name: getattr(options, name) for name in names}
    choices |= {} if options.prompt is None else {"prompt": options.prompt}
    AdaptConfig(options.name, **choices)  # What does not go together is refused before all else.
    if options.name == CONTROL.name:
        raise ConfigError(
            f"name={options.name!r} is what tables call the control from scratch; the nearest "
            f"that will do is '{options.name}-adapted'."
        )
    trained = open_trained(open_run(options.run))
    seed = trained.config.seed if options.seed is None else options.seed
    budget = budget_for(trained, options.budget)
    configs = [adaptation(trained, options.name, **choices)]
    if trained.config.inputs == "images" and options.control:
        print(f"without {CONTROL.name}: it reads vectors, and there are none", file=sys.stderr)
    elif options.control:
        configs.append(CONTROL)
    for config in configs:
        adapt_run(trained, config, budget, seed=seed)
    print(f"adapted policies: {trained.folder.path / 'adapted'}")
    return None
