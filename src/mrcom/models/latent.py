"""Sizes of the contextual world model, and what it remembers and returns."""

import dataclasses
from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from mrcom.core.errors import ConfigError, check_least, unknown
from mrcom.models.context import ContextConfig, Memory
from mrcom.models.latent_error import disturbed
from mrcom.models.pixels import PixelsConfig
from mrcom.nn.distributions import Normal

PARTS = ("stoch", "deter", "aux", "context", "reference")
"""Parts a model may be made of. `reference` is a second, separately learned prior of `stoch`."""

BODIES = ("padded", "stems")
"""Ways in which arrays of different bodies enter and leave the shared networks."""


@dataclasses.dataclass(frozen=True)
class ContextualConfig:
    """Sizes and choices of the contextual world model."""

    parts: tuple[str, ...] = ("stoch", "deter", "aux", "context")
    """Parts that exist; an ablation takes one out. `stoch` must stay."""
    stoch: int = 32
    """Entries of the stochastic state, which actions control (u)."""
    deter: int = 256
    """Units of the recurrent state, the memory (d)."""
    aux: int = 16
    """Entries of the auxiliary state, which actions do not control (h)."""
    units: int = 256
    """Hidden units of priors, posteriors, decoder and heads."""
    layers: int = 2
    """Hidden layers of priors, posteriors and decoder."""
    head_layers: int = 1
    """Hidden layers of the reward and continue heads."""
    aux_units: int = 128
    """Hidden units of the auxiliary state's prior and posterior, the nets inside the loop."""
    min_std: float = 0.1
    """Floor of the standard deviation of every latent Gaussian."""
    reward_bins: int = 63
    """Bins of the two-hot reward; an odd number."""
    reward_limit: float = 4.0
    """Bins reach symexp of this; rewards of the suite are in [0, 1]."""
    observe_reward: bool = True
    """Whether the context knows rewards besides observations and actions."""
    action_index: Literal["previous", "current"] = "previous"
    """Which action belongs to a step: the one that led into it, or, as a literal reading of the
    paper's indices, the one taken at it. With the latter the model can be trained and can
    predict, but no policy can act from its states, which already know the action."""
    bodies: str = "padded"
    """How bodies of different sizes share networks. `padded`: padded arrays go in and out as they
    are; `stems`: through a linear map in (stem) and an output layer of each body's own."""
    stem_units: int = 64
    """Outputs of a stem, where there are stems; no fewer than the widest observation has entries,
    if nothing of it shall be lost."""
    pixels: PixelsConfig | None = None
    """Pictures, where there are any beside observations."""
    context: ContextConfig = dataclasses.field(default_factory=ContextConfig)
    """Sizes of the context transformer."""

    def __post_init__(self):
        for part in self.parts:
            if part not in PARTS:
                raise unknown("part of the world model", part, PARTS)
        if "stoch" not in self.parts:
            raise ConfigError(
                "ContextualConfig.parts must contain 'stoch': it is the only part that reads "
                "both the action and the observation."
            )
        if self.bodies not in BODIES:
            raise unknown("ContextualConfig.bodies", self.bodies, BODIES)
        check_least(self, 1, "stoch", "deter", "aux", "units", "aux_units", "stem_units")
        check_least(self, 1, "reward_bins")
        if self.reward_bins % 2 == 0:
            raise ConfigError(
                f"ContextualConfig.reward_bins={self.reward_bins} must be odd, so that one bin "
                f"is 0; the nearest are {self.reward_bins - 1} and {self.reward_bins + 1}."
            )

    @property
    def deter_width(self) -> int:
        """Units of the recurrent state that exist."""
        return self.deter if "deter" in self.parts else 0

    @property
    def aux_width(self) -> int:
        """Entries of the auxiliary state that exist."""
        return self.aux if "aux" in self.parts else 0

    @property
    def blocks(self) -> dict[str, int]:
        """Widths of the states, in the feature's order."""
        return {"stoch": self.stoch, "deter": self.deter_width, "aux": self.aux_width}

    @property
    def feature(self) -> int:
        """Width of what heads, critics and policies read."""
        return sum(self.blocks.values())

    def noise(self, key: PRNGKeyArray | None, shape: tuple[int, ...]) -> "Noise | None":
        """Draws for `shape` steps; none without a key."""
        if key is None:
            return None
        return self.shares(jax.random.normal(key, (*shape, self.stoch + self.aux_width)))

    def shares(self, drawn: Float[Array, "*B E"] | None) -> "Noise":
        """What of some numbers belongs to which of the sampled states."""
        if drawn is None:
            return Noise(None, None)
        return Noise(*jnp.split(drawn, [self.stoch], axis=-1))

    def split(self, feature: Float[Array, "*B F"]) -> list[Float[Array, "*B _"]]:
        """The states that a feature is made of: u, d and h."""
        return jnp.split(feature, [self.stoch, self.stoch + self.deter_width], axis=-1)

    def indexed(self, action: Float[Array, "B L A"]) -> Float[Array, "B L A"]:
        """The action that belongs to each step; of the last one nothing may be known."""
        if self.action_index == "previous":
            return action
        return jnp.concatenate([action[:, 1:], jnp.zeros_like(action[:, :1])], axis=1)

    def check_window(self, steps: int, *, at_least: int) -> None:
        """Raise where so many steps do not fill the context.

        Raises:
            ConfigError: they do not.
        """
        if steps < at_least:
            raise ConfigError(
                f"{steps} steps cannot fill a context window of {self.context.window}: "
                f"at least {at_least} are needed; pad with steps of `valid` 0."
            )

    def check_pushes(self) -> None:
        """Raise where dreamt steps cannot enter the context.

        Raises:
            ConfigError: a step of the context has a picture, and dreams draw none.
        """
        if self.pixels is not None:
            raise ConfigError(
                "Dreamt steps cannot enter the context where steps have pictures: use "
                "dream_context='frozen'."
            )

    def check_behaviour(self) -> None:
        """Raise where no behaviour can be learned on this model.

        Raises:
            ConfigError: the state of a step depends on the action taken at it.
        """
        if self.action_index == "current":
            raise ConfigError(
                "ContextualConfig.action_index='current' makes a step's state depend on the "
                "action taken at it, so a policy cannot choose that action from the state; "
                "use action_index='previous', or train the model without a behaviour."
            )


class State(eqx.Module):
    """What the world model remembers at one step."""

    stoch: Float[Array, "*B U"]
    """Sampled: what actions control (the paper's u)."""
    deter: Float[Array, "*B D"]
    """Recurrent: carries the history (the paper's d)."""
    aux: Float[Array, "*B X"]
    """Sampled: what actions do not control (the paper's h)."""
    context: Float[Array, "*B C"]
    """Of the steps up to this one: what the *next* step is predicted from."""
    memory: Memory
    """Keys and values of the last steps."""
    obs_mask: Float[Array, "*B O"]
    act_mask: Float[Array, "*B A"]
    body: Int[Array, "*B"] | None = None
    """Index of the body, where bodies have parameters of their own."""


class Statistics(eqx.Module):
    """Distributions of one step's states."""

    stoch: Normal
    aux: Normal
    obs: Float[Array, "*B O"] | None = None
    """Decoded observation, zero where padded, if it entered the context."""
    reward: Float[Array, "*B"] | None = None
    """Decoded reward, if it entered the context."""


class Noise(eqx.Module):
    """Standard normal draws behind the samples of one or many steps, or errors of these."""

    stoch: Float[Array, "*B U"] | None
    aux: Float[Array, "*B X"] | None


class Posterior(eqx.Module):
    """What the model made of the T trained steps of B windows."""

    stoch: Float[Array, "B T U"]
    deter: Float[Array, "B T D"]
    told: Float[Array, "B T G"]
    """What the memory before each step told the gates of the next one."""
    aux: Float[Array, "B T X"]
    context: Float[Array, "B T+1 C"]
    """context[t] is what step t was predicted from."""
    stoch_prior: Normal
    stoch_posterior: Normal
    aux_prior: Normal
    aux_posterior: Normal
    reference: Normal | None
    """Second prior of `stoch`, where that part exists."""
    error: Noise
    """What was added to the samples, if anything was."""
    action: Float[Array, "B T _"]
    """As used: masked, shifted where `action_index` says so, and after the stem if there is one."""
    memory: Memory
    obs_mask: Float[Array, "B O"]
    act_mask: Float[Array, "B A"]
    body: Int[Array, " B"] | None
    """Index of the body, where bodies have parameters of their own."""

    @property
    def feature(self) -> Float[Array, "B T F"]:
        """What heads, critics and policies read."""
        return jnp.concatenate([self.stoch, self.deter, self.aux], axis=-1)

    @property
    def expected(self) -> Float[Array, "B T F"]:
        """The same with the posteriors' means, and the errors, in place of the samples."""
        stoch = disturbed(self.stoch_posterior.mean, self.error.stoch)
        aux = disturbed(self.aux_posterior.mean, self.error.aux)
        return jnp.concatenate([stoch, self.deter, aux], axis=-1)
