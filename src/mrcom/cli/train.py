"""`mrcom train`: a world model over many scenarios of several bodies."""

import dataclasses
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from mrcom.cli.options import (
    BehaviourKind,
    Budget,
    MethodKind,
    ObservationKind,
    PromptKind,
    Resume,
    RewardKind,
    RunDir,
    Seed,
    Size,
    place_of_run,
)

if TYPE_CHECKING:
    from mrcom.train.loop import Run
    from mrcom.train.settings import RunConfig


@dataclasses.dataclass(frozen=True)
class Train:
    """Train a world model on the merged experience of many scenarios."""

    seed: Seed = 0
    budget: Budget = "tiny"
    size: Size = None
    split: Annotated[
        str, tyro.conf.arg(help="Training and test boxes by name, such as table1-a.")
    ] = "table1-d-shell"
    bodies: Annotated[tuple[str, ...], tyro.conf.arg(help="Bodies whose experience is merged.")] = (
        "hopper",
        "walker",
        "cheetah",
    )
    reward: RewardKind = "track"
    observation: ObservationKind = "plain"
    behaviour: BehaviourKind = None
    prompt: PromptKind = "expert"
    observe_reward: Annotated[
        bool, tyro.conf.arg(help="Whether agents see the last reward; no as in the equations.")
    ] = True
    method: MethodKind = "mrcom"
    without: Annotated[
        tuple[str, ...],
        tyro.conf.arg(help="Parts or loss terms to take out: deter, context, meta_state, ..."),
    ] = ()
    run_dir: RunDir = None
    resume: Resume = None


def run(options: Train) -> int | None:
    """Run the command."""
    trained = train_or_resume(options, "train")
    print(f"trained for {trained.counters.updates} updates: {trained.folder.path}")
    return None


def config_of(options: Any) -> "RunConfig":
    """The run's configuration; options that a command does not have keep their defaults.

    Raises:
        ConfigError: an unknown name or a value out of range.
    """
    from mrcom.agents.build import behaviour_of, method_named
    from mrcom.agents.method import without
    from mrcom.agents.presets import budget
    from mrcom.scenarios.bodies import body
    from mrcom.scenarios.splits import split
    from mrcom.train.settings import RunConfig

    given = Train(**{f.name: getattr(options, f.name) for f in dataclasses.fields(options)})
    for name in given.bodies:
        body(name)
    return RunConfig(
        method=without(method_named(given.method), *given.without),
        budget=budget(given.budget),
        split=split(given.split),
        size=given.size or given.budget,
        seed=given.seed,
        bodies=given.bodies,
        reward=given.reward,
        observation=given.observation,
        observe_reward=given.observe_reward,
        behaviour=given.behaviour or behaviour_of(method_named(given.method).family),
        prompt=given.prompt,
    )


def train_or_resume(options: Any, name: str) -> "Run":
    """Train in a new folder, or go on in an old one with the settings that are stored there.

    Raises:
        RunFolderError: the folder exists, is missing, or holds other settings than were given.
    """
    from mrcom.core.config import from_json
    from mrcom.train.loop import train
    from mrcom.train.run_folder import open_run
    from mrcom.train.settings import RunConfig

    path, resume = place_of_run(options.run_dir, options.resume, name)
    config = config_of(options)
    if resume:
        # Only what was given on the command line is compared; the rest comes from the folder.
        default = config_of(type(options)())
        given = {
            field.name: getattr(config, field.name)
            for field in dataclasses.fields(config)
            if getattr(config, field.name) != getattr(default, field.name)
        }
        config = dataclasses.replace(from_json(RunConfig, open_run(path).config), **given)
    return train(config, path, resume=resume)
