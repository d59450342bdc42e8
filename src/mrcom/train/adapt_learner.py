"""What every learner of an adaptation does: begin with nothing real, then learn in chunks."""

import dataclasses
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from mrcom.behaviour.policy import Actor
from mrcom.train.real_steps import RealSteps


@dataclasses.dataclass(frozen=True)
class Chunk:
    """One target's share of updates after some real steps."""

    target: int
    """Its index."""
    num: int
    """Updates to make."""
    done: float
    """Share of the real steps that are made."""
    act_mask: Float[Array, " A"]
    """Of the target's body."""
    rng: np.random.Generator
    """Of what is drawn on the host."""
    key: PRNGKeyArray
    """Of what is drawn on the device."""


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
        """Dreamt steps of one target's chunk of `num` updates."""
        ...

    def begin(self, state: Any, width: int, *, key: PRNGKeyArray) -> Any:
        """A target's `Learning` before its first update.

        Args:
            state: of the agent, after training.
            width: of what the policy reads.
            key: of new networks.
        """
        ...

    def learn(self, learning: Any, state: Any, real: RealSteps, chunk: Chunk) -> Any:
        """A target's `Learning` after one more chunk of updates.

        Args:
            learning: before it.
            state: of the agent, with the target's model in it; it stays as it is.
            real: what really happened in all targets; only this one's is read.
            chunk: how much, and for whom.
        """
        ...
