"""Options that several commands have, worded once."""

import pathlib
from typing import TYPE_CHECKING, Annotated

import tyro

from mrcom.cli.choices import Choice
from mrcom.core.errors import ConfigError

if TYPE_CHECKING:
    from mrcom.agents.presets import Budget as AmountOfWork
    from mrcom.train.run import Run as TrainedRun

AMOUNTS = ("debug", "tiny", "small", "full")
METHOD = Choice("method", ("mrcom", "dreamer", "mamba", "cadm", "cadm-vanilla", "sac", "sac-told"))
REWARD = Choice("reward", ("track", "reach"))
OBSERVATION = Choice("observation", ("plain", "add_g", "add_d", "msk_r", "msk_f"))
INPUTS = Choice("inputs", ("vectors", "images", "both"))
BEHAVIOUR = Choice("behaviour", ("imagination", "sac"))
JACOBIAN = Choice("jacobian-kind", ("jvp", "vjp", "directional", "spectral"))
PROMPT = Choice("prompt", ("expert", "own", "none"))
BUDGET = Choice("budget", AMOUNTS)
SIZE = Choice("size", AMOUNTS)
"""Sizes that every method has."""
ANY_SIZE = Choice("size", ("debug", "tiny", "small", "1M", "12M", "25M", "full"))
"""Sizes that some method has."""
EVALUATION_SEED = 0
"""Of episodes that policies are judged in: runs of all seeds begin them alike."""

MethodKind = Annotated[
    str,
    METHOD,
    tyro.conf.arg(
        help="Which method learns: mrcom, or one of its baselines.", metavar=METHOD.metavar
    ),
]
RewardKind = Annotated[
    str,
    REWARD,
    tyro.conf.arg(
        help="track rewards the target speed itself, reach any speed above it.",
        metavar=REWARD.metavar,
    ),
]
ObservationKind = Annotated[
    str,
    OBSERVATION,
    tyro.conf.arg(
        help="Noise, extra dimensions or masks on what is observed.", metavar=OBSERVATION.metavar
    ),
]
InputsKind = Annotated[
    str,
    INPUTS,
    tyro.conf.arg(
        help="What agents see: vectors, images of 64 x 64 pixels, or both.",
        metavar=INPUTS.metavar,
    ),
]
BehaviourKind = Annotated[
    str | None,
    BEHAVIOUR,
    tyro.conf.arg(
        help="What learns to act: imagination (in dreams) or sac (SAC on features of replayed "
        "steps); that of the method by default.",
        metavar=BEHAVIOUR.metavar,
    ),
]
PromptKind = Annotated[
    str,
    PROMPT,
    tyro.conf.arg(
        help="What fills the model's context before anything real is known.",
        metavar=PROMPT.metavar,
    ),
]
OtherPrompt = Annotated[
    str | None,
    PROMPT,
    tyro.conf.arg(
        help="What fills the model's context at first; as in training by default.",
        metavar=PROMPT.metavar,
    ),
]
LatentErrorText = Annotated[
    str,
    tyro.conf.arg(
        help="Error of the latent state: none, walker, walker-drift, quadruped, or its mean and "
        "variance, each a number or a range, such as 0,5 or 0..5,0.1.",
        metavar="NAME|MU,SIGMA2",
    ),
]
Seed = Annotated[int, tyro.conf.arg(help="Seed of everything random.")]
Budget = Annotated[
    str,
    BUDGET,
    tyro.conf.arg(
        help="How much experience and learning: debug (seconds) to full (accelerator).",
        metavar=BUDGET.metavar,
    ),
]
OtherBudget = Annotated[
    str | None,
    BUDGET,
    tyro.conf.arg(
        help="Targets, steps and episodes; those of the run by default.", metavar=BUDGET.metavar
    ),
]
Size = Annotated[
    str | None,
    SIZE,
    tyro.conf.arg(
        help="Size of the networks; that of the budget by default.", metavar=SIZE.metavar
    ),
]
AnySize = Annotated[
    str | None,
    ANY_SIZE,
    tyro.conf.arg(
        help="Size of the networks; that of the budget by default. 1M, 12M and 25M are dreamer's.",
        metavar=ANY_SIZE.metavar,
    ),
]
RunDir = Annotated[
    pathlib.Path | None,
    tyro.conf.arg(
        help="Folder of the run, which must not exist; runs/NAME by default.", metavar="DIR"
    ),
]
Resume = Annotated[
    pathlib.Path | None,
    tyro.conf.arg(help="Folder of an interrupted run to go on with.", metavar="DIR"),
]
Given = Annotated[tuple[str, ...], tyro.conf.Suppress]
"""Names of the fields that were said on the command line, even if their values are the defaults."""
Json = Annotated[bool, tyro.conf.arg(help="Print JSON for programs instead of text for people.")]
Run = Annotated[
    tyro.conf.Positional[pathlib.Path],
    tyro.conf.arg(help="Folder of a trained run.", metavar="RUN"),
]


def budget_for(run: "TrainedRun", name: str | None) -> "AmountOfWork":
    """The budget of that name, or the one that a run was trained with."""
    from mrcom.agents.presets import budget

    return run.config.budget if name is None else budget(name)


def place_of_run(
    run_dir: pathlib.Path | None, resume: pathlib.Path | None, name: str
) -> tuple[pathlib.Path, bool]:
    """Where a run goes, and whether it goes on with one that is there.

    Args:
        run_dir: as asked for, if at all.
        resume: as asked for, if at all.
        name: of the folder in `runs` otherwise; counted up where it exists.

    Raises:
        ConfigError: both were asked for, and differ.
    """
    from mrcom.train.run_folder import free_path

    if resume is not None:
        if run_dir not in (None, resume):
            raise ConfigError(
                f"--run-dir {run_dir} and --resume {resume} name two folders; give one of them."
            )
        return resume, True
    return (free_path(name) if run_dir is None else run_dir), False
