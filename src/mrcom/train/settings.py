"""One run, as data: everything that decides its numbers."""

import contextlib
import dataclasses
from collections.abc import Generator, Iterable, Sequence

from mrcom.agents.method import Method
from mrcom.agents.modular_config import BEHAVIOURS
from mrcom.agents.presets import Budget
from mrcom.behaviour.expert import OwnExpert
from mrcom.core.errors import ConfigError, MrcomError, check_once, unknown
from mrcom.core.types import Layout, Masks
from mrcom.models.latent_error import NONE, LatentError
from mrcom.objectives.jacobian import JacobianConfig
from mrcom.scenarios.body_file import BodyFile
from mrcom.scenarios.layout import layout_of, masks_of
from mrcom.scenarios.scenario import Scenario
from mrcom.scenarios.splits import Split, sample_scenarios

INPUTS = ("vectors", "images", "both")
"""What agents may see."""

IMAGE_SIDE = 64
"""Height and width of the pictures that agents see [pixels]."""


@dataclasses.dataclass(frozen=True)
class RunConfig:
    """The whole configuration of a run; stored in its folder and in every checkpoint."""

    method: Method
    """The method, with its parts and loss weights."""
    budget: Budget
    """How much experience and learning it may use."""
    split: Split
    """Training and test boxes of scenario parameters."""
    size: str = "tiny"
    """Size preset of the networks."""
    seed: int = 0
    """Seed of everything random but the scenarios, which have the split's."""
    bodies: tuple[str, ...] = ("hopper", "walker", "cheetah")
    """Bodies whose experience is merged."""
    body_files: tuple[BodyFile, ...] = ()
    """Where bodies of the user's own among them come from; registered with this configuration."""
    own_experts: tuple[OwnExpert, ...] = ()
    """Their experts, where they have any; registered as well."""
    reward: str = "track"
    """`track` rewards the target speed itself, `reach` any speed above it."""
    observation: str = "plain"
    """What happens to observations: plain, add_g, add_d, msk_r or msk_f."""
    inputs: str = "vectors"
    """What agents see: vectors, images (and no vectors), or both."""
    observe_reward: bool = True
    """Whether agents see the last reward; the papers' equations do not show it."""
    behaviour: str = "imagination"
    """What learns to act while the model trains: imagination (an actor-critic in dreams) or sac
    (soft actor-critic on the features of replayed steps)."""
    prompt: str = "expert"
    """What fills the context at first: expert, own or none."""
    replay_bytes: int = 2_000_000_000
    """Memory that experience may take; the oldest episodes make room for new ones."""
    jacobian: JacobianConfig = JacobianConfig()
    """How the loss term `jacobian` is measured, where the method has it."""
    settings: tuple[str, ...] = ()
    """Values of the size that are others in this run, each as `dotted.name=value`."""
    latent_error: LatentError = NONE
    """Added to what is filtered in training: while learning from replay, and while the behaviour
    collects."""

    def __post_init__(self):
        if self.prompt not in ("expert", "own", "none"):
            raise ConfigError(f"prompt={self.prompt!r} must be one of expert, own, none.")
        if self.behaviour not in BEHAVIOURS:
            raise unknown("behaviour", self.behaviour, BEHAVIOURS)
        if self.inputs not in INPUTS:
            raise unknown("inputs", self.inputs, INPUTS)
        for own in (*self.body_files, *self.own_experts):
            own.register()
        if not self.bodies:
            raise ConfigError("bodies=() must name at least one body, such as ('cheetah',).")
        check_once("body", self.bodies)
        check_once("setting", [text.partition("=")[0] for text in self.settings])


@contextlib.contextmanager
def settings_answer(configs: Iterable[RunConfig]) -> Generator[None]:
    """Where sizes that are set by name fit no computation, that is what the error says.

    Raises:
        ConfigError: making or tracing an agent fails, and a run has settings of its own.
    """
    try:
        yield
    except MrcomError:
        raise
    except (TypeError, ValueError, LookupError, ArithmeticError) as error:
        given = dict.fromkeys(setting for config in configs for setting in config.settings)
        if not given:
            raise
        why = str(error).partition("\n")[0].rstrip(".")
        raise ConfigError(
            f"Nothing can be learnt with --set {' '.join(given)}: {why}. Leave some of it out."
        ) from error


CHANGEABLE = ("budget.rounds", "budget.updates")
"""Settings that may differ when a run goes on: it becomes longer or shorter. All others decide
what its experience is or what its state holds."""


def may_change(names: Sequence[str]) -> tuple[str, ...]:
    """Settings that may differ when a run goes on, where these are allowed to.

    Raises:
        ConfigError: one that cannot change; the message has the nearest that can.
    """
    for name in names:
        if name not in CHANGEABLE:
            raise unknown("setting that may change in a run", name, CHANGEABLE)
    # The budget's name says how many rounds and updates there are.
    return (*names, "budget.name") if names else ()


@dataclasses.dataclass(frozen=True)
class Worlds:
    """A list of scenarios with their common layout. Order matters: it is their index."""

    scenarios: tuple[Scenario, ...]
    layout: Layout
    masks: Masks


def training_worlds(config: RunConfig) -> Worlds:
    """The training scenarios of all bodies, body by body."""
    scenarios = tuple(
        scenario
        for body in config.bodies
        for scenario in config.split.train_scenarios(
            body, config.budget.scenarios, reward=config.reward, observation=config.observation
        )
    )
    return worlds_of(config, scenarios)


@dataclasses.dataclass(frozen=True)
class Target:
    """A scenario that was not trained on."""

    scenario: Scenario
    inside: bool
    """Whether it lies in the training box."""


def target_scenarios(config: RunConfig, inside: int, outside: int, stream: str) -> list[Target]:
    """Fresh scenarios of every body, body by body: first those inside the training box.

    Args:
        inside: how many per body lie in the training box.
        outside: how many per body lie in the test box but not in the training box; none where
            the test box has no such place.
        stream: another name is another list.
    """
    split, found = config.split, []
    outside = 0 if split.train.contains(split.test) else outside
    for body in config.bodies:
        for count, is_inside in ((inside, True), (outside, False)):
            if not count:
                continue
            scenarios = sample_scenarios(
                body,
                split.train if is_inside else split.test,
                count,
                split.seed,
                reward=config.reward,
                observation=config.observation,
                outside=None if is_inside else split.train,
                stream=f"{stream}/{'inside' if is_inside else 'outside'}",
            )
            found += [Target(scenario, is_inside) for scenario in scenarios]
    return found


def worlds_of(config: RunConfig, scenarios: Sequence[Scenario]) -> Worlds:
    """Any scenarios of a run's bodies, in the layout of the run, with what agents see of them."""
    layout = layout_of(config.bodies, observation=config.observation)
    if config.inputs != "vectors":
        blind = config.inputs == "images"
        layout = dataclasses.replace(layout, image=IMAGE_SIDE, blind=blind)
    return Worlds(tuple(scenarios), layout, masks_of(scenarios, layout))
