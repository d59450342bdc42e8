"""`mrcom adapt`: a policy for a scenario that a trained model has not seen."""

import dataclasses
from typing import Annotated, Literal

import tyro

from mrcom.cli.options import Run


@dataclasses.dataclass(frozen=True)
class Adapt:
    """Adapt a trained run to its target scenarios; the policies stay in the run's folder."""

    run: Run
    policy_init: Annotated[
        Literal["behaviour", "scratch"],
        tyro.conf.arg(help="Start from what training learnt, or from nothing."),
    ] = "behaviour"
    control: Annotated[
        bool, tyro.conf.arg(help="Also train SAC from scratch on as many real steps.")
    ] = True
    seed: Annotated[int | None, tyro.conf.arg(help="Seed; that of the run by default.")] = None


def run(options: Adapt) -> int | None:
    """Run the command."""
    from mrcom.cli.stages import ADAPTED, CONTROL, adapt_run
    from mrcom.train.loop import open_trained
    from mrcom.train.run_folder import open_run

    trained = open_trained(open_run(options.run))
    seed = trained.config.seed if options.seed is None else options.seed
    adapted = dataclasses.replace(ADAPTED, policy_init=options.policy_init)
    for config in (adapted, CONTROL) if options.control else (adapted,):
        adapt_run(trained, config, trained.config.budget, seed=seed)
    print(f"adapted policies: {trained.folder.path / 'adapted'}")
    return None
