"""What every learner of an adaptation does: begin with nothing real, learn after each episode."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from mrcom.behaviour.policy import Actor
from mrcom.core.errors import TrainingDivergedError
from mrcom.train.real_steps import RealSteps


@dataclasses.dataclass(frozen=True)
class Share:
    """One target's updates after an episode there."""

    target: int
    """Its index."""
    num: int
    """Updates to make."""
    total: int
    """Updates of the whole adaptation."""
    act_mask: Float[Array, " A"]
    """Of the target's body."""
    rng: np.random.Generator
    """Of what is drawn on the host."""
    key: PRNGKeyArray
    """Of what is drawn on the device."""
    name: str = ""
    """Of the target, for messages."""

    def check(self, metrics: Mapping[str, Array]) -> None:
        """Raise where what the updates say of themselves is not finite.

        Raises:
            TrainingDivergedError: names the losses and the target.
        """
        broken = [f"'{key}'" for key, value in metrics.items() if not np.isfinite(value).all()]
        if broken:
            raise TrainingDivergedError(
                f"Not finite: {', '.join(broken)} of the policy of target {self.name}; nothing of "
                f"this adaptation is kept. Lower its learning rates."
            )


@runtime_checkable
class Learning(Protocol):
    """What changes while a target's policy is learnt."""

    @property
    def actor(self) -> Actor:
        """The policy."""
        ...

    @property
    def updates(self) -> Int[Array, ""]:
        """How many were made."""
        ...


@runtime_checkable
class TargetLearner(Protocol):
    """Learns one policy for each target; nothing is shared between targets."""

    def dream_steps(self, num: int) -> int:
        """Dreamt steps of one target's `num` updates after an episode."""
        ...

    def begin(self, state: Any, width: int, *, key: PRNGKeyArray) -> Any:
        """A target's `Learning` before its first update.

        Args:
            state: of the agent, after training.
            width: of what the policy reads.
            key: of new networks.
        """
        ...

    def judged(self, learning: Any, best: Actor, *, better: bool) -> Any:
        """A target's `Learning` after its policy acted an episode, from the second one on.

        Args:
            learning: its policy is the one that acted.
            best: the policy whose episode earned most so far.
            better: whether that is the one that acted.
        """
        ...

    def learn(self, learning: Any, state: Any, real: RealSteps, share: Share) -> Any:
        """A target's `Learning` after some more updates.

        Args:
            learning: before it.
            state: of the agent, with the target's model in it; it stays as it is.
            real: what really happened in all targets; only this one's is read.
            share: how much, and for whom.
        """
        ...
