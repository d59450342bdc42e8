"""What an adaptation may use, and every choice that method and paper leave open."""

import dataclasses
import re
from collections.abc import Sequence

from mrcom.agents.planning import PLANNERS
from mrcom.behaviour.actor_critic import ActorCriticConfig
from mrcom.behaviour.sac import SACConfig
from mrcom.core.errors import ConfigError, check_least, unknown
from mrcom.replay.prompts import KINDS
from mrcom.train.adapt_ppo import PolicyOptimisation

RESERVED = ("random", "expert", "behaviour", *PLANNERS)
"""What scores call policies that are no adaptation."""


@dataclasses.dataclass(frozen=True)
class ImaginationConfig:
    """The actor-critic of training, continued in dreams of a target. Defaults: ours."""

    actor_critic: ActorCriticConfig = ActorCriticConfig()
    """The learner; the actor gets the size of the one that training left, the critic that of the
    meta value. A value means the same here only under the discount of training."""
    dreams: int = 128
    """Dreams in each update, from real states of the target."""
    horizon: int = 12
    """Steps of a dream."""

    def __post_init__(self):
        check_least(self, 1, "dreams", "horizon")


@dataclasses.dataclass(frozen=True)
class AdaptConfig:
    """How a policy is found for a target scenario. Defaults: ours; the paper names none."""

    name: str = "adapted"
    """How tables call the result."""
    learner: str = "sac"
    """`sac` learns from real and dreamt steps, `imagination` from dreams alone: the actor-critic
    of training, continued. `ppo` learns from real steps alone, each used once."""
    policy_init: str = "behaviour"
    """`behaviour` starts from what was learnt in training, `scratch` from nothing."""
    critics: str = "training"
    """SAC's critics, where the policy starts from the behaviour: `training` goes on from those that
    SAC learnt there, `new` from nothing."""
    reads: str = "feature"
    """What the policy reads: the model's `feature`, or the normalised `observation`, and the
    last reward where agents see it."""
    prompt: str = "expert"
    """What fills the model's context at first: expert, own (the first steps of random actions in
    the target, which count as real ones) or none."""
    model: str = "frozen"
    """`frozen`, or `finetune`: each target's own copy goes on learning on its real steps."""
    stretch: int = 50
    """Steps of a real episode whose actions are drawn; as many by the mode follow, and so on: what
    explores is learnt from, and what a policy is judged by decides whether it is kept. PPO draws
    all actions."""
    real_share: float = 0.3
    """Share of real transitions in a minibatch of SAC; 1 dreams nothing."""
    dreams: int = 256
    """Dreams before each chunk of SAC's updates, from real states of the target."""
    first_horizon: int = 1
    """Steps of the first of those dreams."""
    last_horizon: int = 5
    """Steps of the last ones; in between it grows evenly."""
    chunk: int = 125
    """SAC's updates on one set of dreams."""
    anchor_step: float = 2.0
    """Factor by which SAC's anchor weakens after a real episode that earned more than every
    earlier one; after one that did not, it grows by the square, and the policy goes back to the
    best one. What is really earned says how far learnt values can be trusted."""
    keep_states: int = 4000
    """Latest real states that dreams may branch from."""
    model_ratio: float = 0.12
    """Updates of a target's own model for each real step, made after each episode on all steps so
    far, at the rate that training ended with."""
    sac: SACConfig = SACConfig()
    """SAC; policies of features, and their critics, get the size of the actor that training left,
    those of observations a size of their own."""
    imagination: ImaginationConfig = ImaginationConfig()
    """The actor-critic in dreams."""
    ppo: PolicyOptimisation = PolicyOptimisation()
    """Proximal policy optimisation."""

    def __post_init__(self):
        if self.name in RESERVED or not re.fullmatch(r"\w[\w.-]*", self.name):
            taken = "is what tables call another policy" if self.name in RESERVED else "is no name"
            near = re.sub(r"[^\w.-]+", "-", self.name).strip("-.") or "adapted"
            near = f"{near}-adapted" if near in RESERVED else near
            raise ConfigError(f"name={self.name!r} {taken}; the nearest that will do is {near!r}.")
        _one_of("learner", self.learner, ("sac", "imagination", "ppo"))
        if self.policy_init not in ("behaviour", "scratch"):
            raise ConfigError(
                f"policy_init={self.policy_init!r} must be one of behaviour, scratch."
            )
        _one_of("critics", self.critics, ("training", "new"))
        _one_of("reads", self.reads, ("feature", "observation"))
        _one_of("prompt", self.prompt, KINDS)
        _one_of("model", self.model, ("frozen", "finetune"))
        if not 0 < self.real_share <= 1:
            raise ConfigError(
                f"real_share={self.real_share} must lie in (0, 1]; the nearest legal value is "
                f"{1.0 if self.real_share > 1 else 0.05}."
            )
        if self.anchor_step < 1:
            raise ConfigError(
                f"anchor_step={self.anchor_step} must be at least 1; the nearest is 1, which "
                f"leaves the anchor as it is."
            )
        check_least(self, 1, "chunk", "stretch")
        if self.model_ratio <= 0:
            raise ConfigError(
                f"model_ratio={self.model_ratio} must be above 0; for no updates at all choose "
                f"model='frozen'."
            )
        self._check_pairs()

    @property
    def dreams_at_all(self) -> bool:
        """Whether anything is dreamt."""
        return self.learner == "imagination" or (self.learner == "sac" and self.real_share < 1)

    @property
    def asks_model(self) -> bool:
        """Whether the world model's states are asked for."""
        return self.reads == "feature" or self.dreams_at_all

    def explores(self, step: int) -> bool:
        """Whether the action of this step of a real episode is drawn."""
        return self.learner == "ppo" or step // self.stretch % 2 == 0

    def _check_pairs(self) -> None:
        if self.reads == "observation" and self.learner == "imagination":
            raise ConfigError(
                "reads='observation' cannot go with learner='imagination', whose critic starts as "
                "a value of features; the nearest is reads='feature'."
            )
        if self.reads == "observation" and self.policy_init == "behaviour":
            raise ConfigError(
                "policy_init='behaviour' cannot go with reads='observation': the behaviour reads "
                "features; the nearest is policy_init='scratch'."
            )
        if self.learner == "imagination" and self.real_share == 1:
            raise ConfigError(
                "real_share=1.0 cannot go with learner='imagination', which learns from dreams "
                "alone; leave it at 0.3, where it says nothing about this learner."
            )
        if self.model == "finetune" and self.reads == "observation" and not self.dreams_at_all:
            raise ConfigError(
                "model='finetune' would change nothing where nobody asks the model: real_share=1.0 "
                "dreams nothing and the policy reads observations; the nearest is model='frozen'."
            )


@dataclasses.dataclass(frozen=True)
class Amount:
    """How much of everything an adaptation may use.

    A policy acts whole episodes, and learns between them; the first one shows what it could do
    before.
    """

    steps: int
    """Real control steps in each target: at least two whole episodes."""
    updates: int
    """Updates of each policy, whoever learns: one is a minibatch of SAC's transitions, or a batch
    of the actor-critic's dreams, which costs more time."""
    episode_steps: int
    """Real steps between two resets."""

    def __post_init__(self):
        whole = max(2, round(self.steps / self.episode_steps)) * self.episode_steps
        if self.steps != whole:
            raise ConfigError(
                f"steps={self.steps} of an adaptation must be at least two whole episodes of "
                f"{self.episode_steps}; the nearest is {whole}."
            )

    @property
    def episodes(self) -> int:
        """Real episodes in each target."""
        return self.steps // self.episode_steps


def settings(config: AdaptConfig) -> str:
    """What policy and critics started from, and which other choices differ from the default."""
    default = AdaptConfig()
    names = ("learner", "reads", "prompt", "model")
    differ = [name for name in names if getattr(config, name) != getattr(default, name)]
    goes_on = config.policy_init == "behaviour" and config.learner == "sac"
    said = ["policy_init", *(["critics"] if goes_on else []), *differ]
    return ", ".join(f"{name} {getattr(config, name)}" for name in said)


def _one_of(name: str, value: str, known: Sequence[str]) -> None:
    if value not in known:
        raise unknown(name, value, known)
