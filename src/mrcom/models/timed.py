"""A recurrent state-space model that observes the last reward and the time, too."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from mrcom.core.errors import ConfigError
from mrcom.core.numerics import symlog
from mrcom.core.types import Batch, Prompt
from mrcom.models import rssm_parts
from mrcom.models.latent_error import Shift
from mrcom.models.rssm import RSSM
from mrcom.models.rssm_parts import RSSMConfig
from mrcom.models.world_model import AbstractLatentModel, DreamContext
from mrcom.nn.categorical import Categorical


@dataclasses.dataclass(frozen=True)
class TimedConfig:
    """What is observed beside the observation."""

    rssm: RSSMConfig = RSSMConfig(observe_reward=False)
    """The model itself, which reads all of it as one observation."""
    total_steps: int = 1000
    """Control steps of a whole episode: the time is the share of them that is over, at most 1."""
    observe_reward: bool = True
    """Whether the last reward is observed."""

    def __post_init__(self):
        if self.rssm.observe_reward:
            raise ConfigError(
                "TimedConfig.rssm.observe_reward=True would show the reward twice; it must be "
                "False: TimedConfig.observe_reward says whether the reward is seen."
            )
        if self.total_steps < 1:
            raise ConfigError(f"TimedConfig.total_steps={self.total_steps} must be at least 1.")

    @property
    def extra(self) -> int:
        """Entries beside the observation's own."""
        return 1 + int(self.observe_reward)

    @property
    def feature(self) -> int:
        """Width of what heads, critics and policies read."""
        return self.rssm.feature


class State(eqx.Module):
    """What the model remembers at one step."""

    rssm: rssm_parts.State
    obs_mask: Float[Array, "*B O"]
    """Of the observation's own entries."""
    steps: Int[Array, "*B"]
    """Steps taken in since the episode began: what the next one's time is counted by."""

    @property
    def act_mask(self) -> Float[Array, "*B A"]:
        """Of actions."""
        return self.rssm.act_mask

    @property
    def body(self) -> Int[Array, "*B"] | None:
        """Index of the body."""
        return self.rssm.body


class Posterior(eqx.Module):
    """What the model made of L steps of B windows."""

    rssm: rssm_parts.Posterior
    obs_mask: Float[Array, "B O"]
    steps: Int[Array, "B L"]
    """Steps of the episode before each."""

    @property
    def feature(self) -> Float[Array, "B L F"]:
        """What heads, critics and policies read."""
        return self.rssm.feature


class TimedRSSM(AbstractLatentModel):
    """The recurrent state-space model of longer observations: [o, last reward, time].

    All of them are encoded and decoded. Observations come as symlogs.
    """

    rssm: RSSM
    config: TimedConfig = eqx.field(static=True)

    def __init__(self, config: TimedConfig, obs: int, act: int, *, key: PRNGKeyArray):
        """Fresh parameters for observations and actions of these padded widths."""
        self.rssm = RSSM(config.rssm, obs + config.extra, act, key=key)
        self.config = config

    def initial(
        self,
        prompt: Prompt,
        obs_mask: Float[Array, "N O"],
        act_mask: Float[Array, "N A"],
        body: Int[Array, " N"] | None = None,
    ) -> State:
        """State before anything real is seen. The prompt is not used."""
        inner = self.rssm.initial(prompt, self.whole_mask(obs_mask), act_mask, body)
        return State(inner, obs_mask, jnp.zeros(obs_mask.shape[0], jnp.int32))

    def observe(self, batch: Batch, *, key: PRNGKeyArray | None, error: Shift = None) -> Posterior:
        """Filter all steps of a batch. Time starts at an episode's first step, or where the
        window does.
        """
        steps = elapsed(batch.first)
        extras = symlog(self.extras(batch.reward, steps))
        whole = jnp.concatenate([batch.obs, extras], axis=-1), self.whole_mask(batch.obs_mask)
        wide = eqx.tree_at(lambda b: (b.obs, b.obs_mask), batch, whole)
        return Posterior(self.rssm.observe(wide, key=key, error=error), batch.obs_mask, steps)

    def states_at(self, posterior: Posterior, index: Int[Array, " N"]) -> State:
        """The states at some of the B x L filtered steps, counted row by row."""
        row, step = jnp.divmod(index, posterior.steps.shape[1])
        inner = self.rssm.states_at(posterior.rssm, index)
        return State(inner, posterior.obs_mask[row], posterior.steps[row, step] + 1)

    def correct(
        self,
        state: State,
        obs: Float[Array, "*B O"],
        action: Float[Array, "*B A"],
        reward: Float[Array, "*B"],
        *,
        key: PRNGKeyArray | None,
        error: Shift = None,
    ) -> tuple[State, Categorical]:
        """Advance by `action`, then take in what was seen; most likely classes without a key."""
        extras = symlog(self.extras(reward, state.steps))
        whole = jnp.concatenate([obs, extras], axis=-1)
        inner, posterior = self.rssm.correct(
            state.rssm, whole, action, reward, key=key, error=error
        )
        return State(inner, state.obs_mask, state.steps + 1), posterior

    def predict(
        self,
        state: State,
        action: Float[Array, "*B A"],
        *,
        key: PRNGKeyArray | None,
        dream_context: DreamContext = "push",
    ) -> tuple[State, Categorical]:
        """Advance by `action` without looking."""
        inner, prior = self.rssm.predict(state.rssm, action, key=key)
        return State(inner, state.obs_mask, state.steps + 1), prior

    def feature(self, state: State) -> Float[Array, "*B F"]:
        """Sampled and recurrent state side by side."""
        return self.rssm.feature(state.rssm)

    @property
    def blocks(self) -> dict[str, int]:
        """Widths of the two states, in the feature's order."""
        return self.rssm.blocks

    @property
    def num_sampled(self) -> int:
        """Entries of the sampled state."""
        return self.rssm.num_sampled

    def with_feature(self, state: State, feature: Float[Array, "*B F"]) -> State:
        """The state with this sample and this memory; the time stays."""
        inner = self.rssm.with_feature(state.rssm, feature)
        return State(inner, state.obs_mask, state.steps)

    def decode(
        self, feature: Float[Array, "*B F"], body: Int[Array, "..."] | None = None
    ) -> Float[Array, "*B O"]:
        """The expected symlog of the observation alone; padded entries are meaningless."""
        return self.decode_whole(feature)[..., : -self.config.extra]

    def decode_whole(self, feature: Float[Array, "*B F"]) -> Float[Array, "*B E"]:
        """The expected symlogs of observation, last reward and time."""
        return self.rssm.decode(feature)

    def reward(self, feature: Float[Array, "*B F"]) -> Float[Array, "*B"]:
        """The expected reward on arriving at a state."""
        return self.rssm.reward(feature)

    def cont(self, feature: Float[Array, "*B F"]) -> Float[Array, "*B"]:
        """The probability that the episode goes on after a state."""
        return self.rssm.cont(feature)

    def extras(self, reward: Float[Array, "*B"], steps: Int[Array, "*B"]) -> Float[Array, "*B X"]:
        """Last reward, where it is seen, and time: what is observed beside the observation."""
        time = jnp.minimum(steps / self.config.total_steps, 1.0)
        return jnp.stack([reward, time][-self.config.extra :], axis=-1)

    def whole_mask(self, obs_mask: Float[Array, "*B O"]) -> Float[Array, "*B E"]:
        """The mask of observation, last reward and time."""
        return jnp.pad(
            obs_mask,
            [(0, 0)] * (obs_mask.ndim - 1) + [(0, self.config.extra)],
            constant_values=1.0,
        )


def elapsed(first: Bool[Array, "B L"]) -> Int[Array, "B L"]:
    """Steps since an episode began, or since the window did where none began in it."""
    at = jnp.broadcast_to(jnp.arange(first.shape[1]), first.shape)
    return at - jax.lax.cummax(jnp.where(first, at, 0), axis=1)
