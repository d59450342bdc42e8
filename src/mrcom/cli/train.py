"""`mrcom train`: a world model over many scenarios of several bodies."""

import dataclasses
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from mrcom.cli.bodies import Bodies, chosen
from mrcom.cli.options import (
    JACOBIAN,
    AnySize,
    BehaviourKind,
    Budget,
    Given,
    InputsKind,
    LatentErrorText,
    MethodKind,
    ObservationKind,
    PromptKind,
    Resume,
    RewardKind,
    RunDir,
    Seed,
    place_of_run,
)

if TYPE_CHECKING:
    from mrcom.agents.presets import Budget as AmountOfWork
    from mrcom.train.run import Run
    from mrcom.train.settings import RunConfig


@dataclasses.dataclass(frozen=True)
class Train:
    """Train a world model on the merged experience of many scenarios."""

    seed: Seed = 0
    budget: Budget = "tiny"
    size: AnySize = None
    split: Annotated[
        str,
        tyro.conf.arg(
            help="Training and test boxes by name, such as table1-a, or in per cent as KIND:ALPHA,"
            "BETA:ALPHA,BETA, such as shell:10,50:20,100; ranges may follow: 20,100,gravity=20. Of "
            "whatever KIND (same, wide, shell), policies are judged apart inside the first box and "
            "outside it in the second; tables of a wide one have the mean over it all, too."
        ),
    ] = "table1-d-shell"
    bodies: Bodies = ("hopper", "walker", "cheetah")
    reward: RewardKind = "track"
    observation: ObservationKind = "plain"
    inputs: InputsKind = "vectors"
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
    settings: Annotated[
        tuple[str, ...],
        tyro.conf.arg(
            name="set",
            help="Values of the size that are to be others, such as meta_state=bound; names are "
            "those in a checkpoint's config.json, and weights.TERM. Several of a number, "
            "learning_rate=1e-4,3e-4, train as many runs together.",
            metavar="[NAME=VALUE ...]",
        ),
    ] = ()
    jacobian: Annotated[
        float | None,
        tyro.conf.arg(
            help="Weight of the squared gain of the latent dynamics, one more loss term; 0 only "
            "logs it.",
            metavar="WEIGHT",
        ),
    ] = None
    jacobian_kind: Annotated[
        str,
        JACOBIAN,
        tyro.conf.arg(
            help="Mean gain, estimated forwards or backwards, that of a drift, or the largest.",
            metavar=JACOBIAN.metavar,
        ),
    ] = "jvp"
    latent_error: LatentErrorText = "none"
    rounds: Annotated[
        int | None,
        tyro.conf.arg(
            help="Rounds of collection by the behaviour; those of the budget by default."
        ),
    ] = None
    updates: Annotated[
        int | None,
        tyro.conf.arg(help="Updates of the world model; those of the budget by default."),
    ] = None
    seeds: Annotated[
        int,
        tyro.conf.arg(
            help="Train so many runs together, with this seed and the next ones: in folders "
            "seed-N of the run's.",
            metavar="N",
        ),
    ] = 1
    devices: Annotated[
        int,
        tyro.conf.arg(
            help="Devices, of all hosts together, that share the rows of each batch or, with "
            "several runs, the runs; numbers are those of one device but for rounding.",
            metavar="N",
        ),
    ] = 1
    host: Annotated[
        str | None,
        tyro.conf.arg(
            help="Which of several machines this is, such as 0/2 and 1/2, and where host 0 is: the "
            "same command on each trains one run. Each keeps a run folder of its own.",
            metavar="NUMBER/COUNT@ADDRESS:PORT",
        ),
    ] = None
    run_dir: RunDir = None
    resume: Resume = None
    allow_change: Annotated[
        tuple[str, ...],
        tyro.conf.arg(
            help="Settings that may differ from those of the resumed run: budget.rounds, "
            "budget.updates.",
            metavar="[KEY ...]",
        ),
    ] = ()
    save_every: Annotated[
        int,
        tyro.conf.arg(
            help="Updates between two checkpoints; one follows every round of collection and its "
            "updates in any case."
        ),
    ] = 250
    memory_limit: Annotated[
        float | None,
        tyro.conf.arg(
            help="Refuse a run whose replay, model and optimisers need more.", metavar="GB"
        ),
    ] = None
    given: Given = ()


def run(options: Train) -> int | None:
    """Run the command."""
    for trained in train_or_resume(options, "train"):
        print(f"trained for {trained.counters.updates} updates: {trained.folder.path}")
    return None


def config_of(options: Any) -> "RunConfig":
    """The run's configuration; options that a command does not have keep their defaults.

    Raises:
        ConfigError: an unknown name or a value out of range.
    """
    from mrcom.agents.build import behaviour_of, method_named
    from mrcom.agents.method import with_images, with_jacobian, without
    from mrcom.agents.presets import budget
    from mrcom.models.latent_error import latent_error
    from mrcom.objectives.jacobian import JacobianConfig
    from mrcom.scenarios.splits import split
    from mrcom.train.settings import RunConfig

    given = _as_train(options)
    bodies = chosen(given.bodies)
    given = dataclasses.replace(given, bodies=bodies.names)
    method = method_named(given.method)
    if given.inputs != "vectors":
        method = with_images(method)
    method = without(method, *given.without)
    if given.jacobian is not None:
        method = with_jacobian(method, given.jacobian)
    return RunConfig(
        method=method,
        budget=_collected(_lengthened(budget(given.budget), given), given),
        split=split(given.split),
        size=given.size or given.budget,
        seed=given.seed,
        bodies=bodies.names,
        body_files=bodies.files,
        own_experts=bodies.experts,
        reward=given.reward,
        observation=given.observation,
        inputs=given.inputs,
        observe_reward=given.observe_reward,
        behaviour=given.behaviour or behaviour_of(method_named(given.method).family),
        prompt=given.prompt,
        jacobian=JacobianConfig(kind=given.jacobian_kind),
        latent_error=latent_error(given.latent_error),
        settings=given.settings,
    )


def train_or_resume(options: Any, name: str) -> "list[Run]":
    """Train in a new folder, or go on in an old one with the settings that are stored there.

    Raises:
        ConfigError: a number of runs that cannot be, or is not that of the folder.
        RunFolderError: the folder exists, is missing, or holds other settings than were given.
    """
    from mrcom.core.config import from_json
    from mrcom.core.errors import ConfigError
    from mrcom.train.hosts import host_of, join_hosts
    from mrcom.train.loop import How, train, train_population
    from mrcom.train.population import is_population, open_population, variants
    from mrcom.train.run_folder import open_run
    from mrcom.train.settings import RunConfig

    path, resume = place_of_run(options.run_dir, options.resume, name)
    options = _as_train(options)
    if options.seeds < 1:
        raise ConfigError(f"--seeds {options.seeds} must be at least 1.")
    if resume:
        several = is_population(path)
        begun = open_population(path) if several else [from_json(RunConfig, open_run(path).config)]
        seeds = sorted({config.seed for config in begun})
        if options.seeds not in (1, len(seeds)) or (several and options.seed not in (0, seeds[0])):
            raise ConfigError(
                f"{path} holds {len(begun)} runs from seed {seeds[0]} on, not --seeds "
                f"{options.seeds} --seed {options.seed}; leave both out."
            )
        if several:
            given = tuple(name for name in options.given if name != "seed")
            options = dataclasses.replace(options, seed=0, given=given)
        configs = [_changed(config, options) for config in begun]
    else:
        configs = variants(config_of(options), options.seeds)
        several = len(configs) > 1
    how = How(**{field.name: getattr(options, field.name) for field in dataclasses.fields(How)})
    if options.host is not None:  # late: one that is refused must not leave the others waiting
        join_hosts(host_of(options.host))
    if several:
        return train_population(configs, path, resume=resume, how=how)
    return [train(configs[0], path, resume=resume, how=how)]


def _changed(stored: "RunConfig", options: Train) -> "RunConfig":
    """A folder's configuration with what was given on the command line in its place."""
    config = config_of(options)
    amount = {"rounds": options.rounds, "updates": options.updates}
    default = config_of(dataclasses.replace(Train(), **amount))
    given = {
        field.name: getattr(config, field.name)
        for field in dataclasses.fields(config)
        if field.name in options.given
        or getattr(config, field.name) != getattr(default, field.name)
    }
    stored = dataclasses.replace(stored, **given)
    return dataclasses.replace(stored, budget=_lengthened(stored.budget, options))


def _as_train(options: Any) -> Train:
    return Train(**{f.name: getattr(options, f.name) for f in dataclasses.fields(options)})


def _collected(budget: "AmountOfWork", options: Train) -> "AmountOfWork":
    """The budget, with random actions in place of the experts that a body has not got.

    Raises:
        CheckpointError: its experts' steps are to fill the context.
    """
    from mrcom.behaviour.expert import has_expert, load_expert

    without = [name for name in options.bodies if not has_expert(name)]
    if options.prompt == "expert" or not without:
        for name in without:
            load_expert(name)
        return budget
    rounds = budget.random_rounds + budget.expert_rounds
    return dataclasses.replace(budget, random_rounds=rounds, expert_rounds=0)


def _lengthened(budget: "AmountOfWork", options: Train) -> "AmountOfWork":
    """The budget with as many rounds and updates as were asked for, which its name then says.

    Raises:
        ConfigError: a number that cannot be.
    """
    from mrcom.core.errors import ConfigError

    asked = {name: getattr(options, name) for name in ("rounds", "updates")}
    amount = {name: number for name, number in asked.items() if number is not None}
    for name, number in amount.items():
        if number < (least := int(name == "updates")):
            raise ConfigError(f"--{name} {number} must be at least {least}.")
    if not amount:
        return budget
    longer = dataclasses.replace(budget, **amount)
    name = f"{budget.name.split('-')[0]}-{longer.rounds}x{longer.updates}"
    return dataclasses.replace(longer, name=name)
