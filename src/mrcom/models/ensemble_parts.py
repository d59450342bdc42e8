"""Sizes of the ensemble of dynamics models, its networks, and what it remembers and returns."""

import dataclasses

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from mrcom.core.errors import check_least, unknown
from mrcom.core.rng import named_keys
from mrcom.models.history import History
from mrcom.nn.ensemble import EnsembleMLP, SoftBounds

PARTS = ("context", "ensemble", "variance")
"""Parts a model may be made of: an encoder of the last moves; several members instead of one; a
variance of its predictions instead of certainty."""


@dataclasses.dataclass(frozen=True)
class EnsembleConfig:
    """Sizes of the ensemble. Defaults: the published ones."""

    parts: tuple[str, ...] = PARTS
    """Parts that exist; an ablation takes one out."""
    members: int = 5
    """Models of the ensemble, where there is one."""
    units: int = 200
    """Hidden units of forward, backward and reward networks."""
    layers: int = 4
    """Hidden layers of forward, backward and reward networks."""
    encoder: tuple[int, ...] = (256, 128, 64)
    """Hidden units of the context encoder's layers."""
    context: int = 10
    """Entries of a context (c)."""
    window: int = 10
    """Moves that a context is made of (H)."""
    observe_reward: bool = True
    """Whether the last reward is known to policies and to the reward network."""
    limit: float = 10.0
    """Predicted observations are clipped to this many standard deviations, as real ones are."""

    def __post_init__(self):
        for part in self.parts:
            if part not in PARTS:
                raise unknown("part of the ensemble", part, PARTS)
        check_least(self, 1, "members", "units", "layers", "context", "window")

    @property
    def num_members(self) -> int:
        """Models that there are."""
        return self.members if "ensemble" in self.parts else 1

    @property
    def context_width(self) -> int:
        """Entries of the context that exist."""
        return self.context if "context" in self.parts else 0

    @property
    def before(self) -> int:
        """Steps of a window before its first trained one.

        The first context's moves lie between them, and those of the context one step earlier.
        """
        return self.window + 1


class Networks(eqx.Module):
    """Everything that is learnt. Members are on the first axis; the bounds are shared."""

    encoder: EnsembleMLP | None
    """The last moves to a context (g)."""
    forward: EnsembleMLP
    """State, action, context to the state's change (f)."""
    backward: EnsembleMLP
    """Next state, action, context to the change back (b); for training only."""
    reward: EnsembleMLP
    """State, action, next state, context to the reward on arriving."""
    bounds: SoftBounds | None
    """Of log-variances."""

    def __init__(self, config: EnsembleConfig, obs: int, act: int, *, key: PRNGKeyArray):
        keys = named_keys(key, "encoder", "forward", "backward", "reward")
        members, hidden = config.num_members, (config.units,) * config.layers
        step = obs + act + config.context_width
        width = config.window * (obs + act)
        self.encoder = (
            EnsembleMLP(
                members, width, config.encoder, config.context, activation="relu", key=keys.encoder
            )
            if "context" in config.parts
            else None
        )
        self.bounds = SoftBounds(obs) if "variance" in config.parts else None
        outputs = obs if self.bounds is None else 2 * obs
        new = lambda inputs, outputs, key: EnsembleMLP(
            members, inputs, hidden, outputs, activation="silu", key=key
        )
        self.forward = new(step, outputs, keys.forward)
        self.backward = new(step, obs, keys.backward)
        self.reward = new(step + obs + config.observe_reward, 1, keys.reward)


class State(eqx.Module):
    """What the world model remembers at one step."""

    obs: Float[Array, "*B O"]
    """Normalised, 0 where padded: the state itself."""
    reward: Float[Array, "*B"]
    """Of arriving here: the real one where agents see it, else the predicted one."""
    context: Float[Array, "*B E C"]
    """Of the last moves, by each member's own encoder."""
    history: History
    """The last moves."""
    member: Int[Array, "*B"]
    """Whose dream this is; -1 before one was chosen."""
    started: Bool[Array, "*B"]
    """Whether anything was seen."""
    obs_mask: Float[Array, "*B O"]
    act_mask: Float[Array, "*B A"]
    body: Int[Array, "*B"]


class Posterior(eqx.Module):
    """What the model made of the T trained steps of B windows."""

    obs: Float[Array, "B T O"]
    reward: Float[Array, "B T"]
    context: Float[Array, "B T E C"]
    """Of the moves up to each step."""
    history: History
    obs_mask: Float[Array, "B O"]
    act_mask: Float[Array, "B A"]
    body: Int[Array, " B"]

    @property
    def feature(self) -> Float[Array, "B T F"]:
        """What critics and policies read."""
        return feature_of(self.obs, self.reward, self.context)

    @property
    def expected(self) -> Float[Array, "B T F"]:
        """The same: nothing in it is a sample."""
        return self.feature


class Foresight(eqx.Module):
    """What each member says of the J steps after each of its starts, and what happened.

    True states are told at every step; the context is the start's for all of them. Changes are
    in units of their standard deviation.
    """

    mean: Float[Array, "E B S J O"]
    log_variance: Float[Array, "E B S J O"]
    back: Float[Array, "E B S J O"]
    predicted: Float[Array, "E B S J"]
    """Reward."""
    change: Float[Array, "E B S J O"]
    change_back: Float[Array, "E B S J O"]
    reward: Float[Array, "E B S J"]
    exists: Float[Array, "E B S J"]
    """0 past the end of the window or of the episode."""


def feature_of(
    obs: Float[Array, "*B O"], reward: Float[Array, "*B"], context: Float[Array, "*B E C"]
) -> Float[Array, "*B F"]:
    """Observation, reward and the first member's context side by side.

    Members' encoders start apart, so a mean over members would be a code that none has learnt.
    """
    return jnp.concatenate([obs, reward[..., None], context[..., 0, :]], axis=-1)
