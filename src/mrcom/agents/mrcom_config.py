"""MrCoM as data: its parts, its weights, and every choice the paper leaves open."""

import dataclasses
from typing import Literal

import optax

from mrcom.agents.agent import Windows
from mrcom.agents.method import Method
from mrcom.agents.modular_config import falling_adam, sized_actor_critic
from mrcom.agents.products import Net, of_imagination, of_replay, perceptron, value
from mrcom.behaviour.actor_critic import ActorCriticConfig
from mrcom.behaviour.latent_sac import LatentSacConfig
from mrcom.core.config import shallow
from mrcom.core.errors import ConfigError, check_least
from mrcom.models.context import ContextConfig
from mrcom.models.contextual import ContextualConfig
from mrcom.models.latent_error import NONE, LatentError
from mrcom.objectives.jacobian import JacobianConfig
from mrcom.objectives.kl import KLConfig

DREAMT_CONTEXT = "dreamt_context"
"""The part that lets dreamt steps enter the context; without it, it stays as the dream found it."""

MRCOM = Method(
    name="MrCoM",
    family="mrcom",
    parts=("stoch", "deter", "aux", "context", DREAMT_CONTEXT),
    # Eq. 16 with lambda = (1, 1, 0.1); reward and continue are our addition, which dreams need.
    weights=(
        ("reconstruction", 1.0),
        ("reward", 1.0),
        ("continue", 1.0),
        ("kl_stoch", 1.0),
        ("kl_aux", 1.0),
        ("meta_state", 1.0),
        ("meta_value", 0.1),
    ),
)
"""The whole method. `without(MRCOM, "deter")`, `"context"`, `"meta_state"` and `"meta_value"` are
the paper's four ablations, `"dreamt_context"` is a fifth."""


@dataclasses.dataclass(frozen=True)
class MrComConfig:
    """Sizes and choices of the method beyond its parts and weights."""

    model: ContextualConfig = ContextualConfig()
    """The world model."""
    behaviour: ActorCriticConfig | LatentSacConfig = ActorCriticConfig()
    """Actor and critics in its dreams, or soft actor-critic on the features of replayed steps."""
    windows: Windows = Windows()
    """Which steps make a batch."""
    kl: KLConfig = KLConfig()
    """Direction, free nats and balance of u's divergence."""
    kl_aux: KLConfig = KLConfig(rep=1.0)
    """The same of h. Its prior sees no action, so what actions decide must not hide in h, where
    no dream could predict it: the posterior is held to the prior with full strength."""
    meta_state: Literal["reweight", "bound"] = "reweight"
    """Eq. 12 as printed, or the bound of Eq. 11 with a separately learned prior."""
    value_samples: int = 4
    """Draws of the model inside the square of Eq. 15; 0 takes the prior's mean."""
    value_warmup: int = 200
    """Updates before Eq. 15 counts: until then values mean nothing."""
    decoder_std: float = 0.5
    """Standard deviation of the decoder's Gaussian, in normalised units."""
    learning_rate: float = 4e-4
    """Of the world model's Adam."""
    decay_steps: int = 0
    """Steps of the world model over which its rate falls, along a cosine, to `LAST_RATE` of it;
    0 keeps it. A run sets this to its own length: most of a short run's precision comes at
    small rates."""
    max_norm: float = 100.0
    """Longest gradient of the world model; longer ones are shortened to it."""
    model_steps: int = 1
    """Steps of the world model in one update, each on an equal share of the batch's rows: as many
    as share them equally, up to this. One step of actor and critics follows, from dreams that
    start in all of them."""
    horizon: int = 12
    """Steps of a dream that the behaviour learns from."""
    starts: int = 8
    """Steps of each window that dreams start from."""
    jacobian: JacobianConfig = JacobianConfig()
    """How the gain of the latent dynamics is measured, where that is one of the terms."""
    latent_error: LatentError = NONE
    """Added to what is filtered while learning from replay."""

    def __post_init__(self):
        check_least(self, 1, "model_steps", "horizon", "starts")
        check_least(self, 0, "value_samples")
        if not self.decoder_std > 0:
            raise ConfigError(
                f"MrComConfig.decoder_std={self.decoder_std} must be above 0; 0.5 is the default."
            )

    def steps_on(self, rows: int) -> int:
        """Steps of the world model in one update on a batch of so many rows."""
        return max(num for num in range(1, self.model_steps + 1) if rows % num == 0)

    @property
    def optimizer(self) -> optax.GradientTransformation:
        """The world model's."""
        return falling_adam(
            self.learning_rate, decay_steps=self.decay_steps, max_norm=self.max_norm
        )


def _sized(
    *,
    stoch: int,
    deter: int,
    aux: int,
    units: int,
    width: int,
    actor: int,
    critic: int,
    windows: Windows,
    starts: int,
    horizon: int,
    hurry: float = 1.0,
    model_steps: int = 1,
) -> MrComConfig:
    """The method at a size; `hurry` multiplies all learning rates."""
    return MrComConfig(
        model=ContextualConfig(
            stoch=stoch,
            deter=deter,
            aux=aux,
            units=units,
            aux_units=min(units, 128),
            context=ContextConfig(width=width, window=windows.context),
        ),
        behaviour=sized_actor_critic(actor, critic, hurry),
        learning_rate=hurry * MrComConfig().learning_rate,
        windows=windows,
        starts=starts,
        horizon=horizon,
        model_steps=model_steps,
    )


SIZES = {
    "debug": shallow(_sized(
        stoch=4, deter=8, aux=4, units=16, width=12, actor=16, critic=16,
        windows=Windows(scenarios=4, length=8), starts=2, horizon=3,
    )),
    "tiny": _sized(
        stoch=32, deter=128, aux=16, units=128, width=96, actor=128, critic=64,
        windows=Windows(scenarios=48, length=32), starts=3, horizon=12, hurry=3.0, model_steps=3,
    ),
    "small": _sized(
        stoch=32, deter=256, aux=16, units=256, width=96, actor=256, critic=128,
        windows=Windows(scenarios=48, length=32), starts=4, horizon=12, hurry=2.0, model_steps=3,
    ),
    "full": _sized(
        stoch=32, deter=512, aux=32, units=256, width=192, actor=256, critic=256,
        windows=Windows(length=64), starts=32, horizon=15,
    ),
}  # fmt: skip
"""Sizes by name. stoch 32, aux 16 to 32, deter 256 to 512, width 96 or 192 are the
specification's; `debug` and `tiny` are smaller. `tiny` and `small` learn with larger steps, so that
two cores finish in minutes or half an hour."""


def operations(config: MrComConfig, rows: int, obs: int, act: int) -> int:
    """Floating-point operations that one update on `rows` windows cannot do without.

    Those of matrix products alone, a multiplication and its addition as two; `products` says what
    counts how often. `obs` and `act` are padded widths. Dreamt steps enter the context.
    """
    m, length = config.model, config.windows.length
    feature, moves = m.feature, rows * (length - 1)
    world = rows * _context(m.context, length, obs + act + m.observe_reward)
    world += rows * length * _filter(m, obs, act) + moves * _one_step_values(config)
    if isinstance(config.behaviour, LatentSacConfig):
        return 2 * (world + of_replay(config.behaviour, moves, feature, act))
    dreams, horizon = rows * config.starts, config.horizon
    world += dreams * horizon * 2 * _dreamt_step(m, obs, act)  # forwards, and to what it read
    return 2 * (world + of_imagination(config.behaviour, moves, dreams, horizon, feature, act))


def _context(c: ContextConfig, length: int, token: int) -> int:
    """The contexts of `length` steps and of the one after, learnt from; tokens are constants.

    A layer reads its band of steps before the first that it has to answer for.
    """
    asked, products = length + 1, 0
    for band in reversed(c.bands):
        told = asked + band - 1
        answer = 2 * c.width**2 * (1 + c.expand) + 2 * band * c.width
        products += 3 * (asked * answer + told * 2 * c.width**2)
        asked = told
    return products + asked * 2 * token * c.width


def _filter(m: ContextualConfig, obs: int, act: int) -> int:
    """Learning from one step after its context: priors, posteriors, cell, decoder and heads."""
    width, aux = m.context.width, m.aux_width
    prior = perceptron(width + act, m.units, m.layers, 2 * m.stoch).trained(constant=act)
    seen = perceptron(width + act + obs, m.units, m.layers, 2 * m.stoch)
    cell = Net((m.stoch + act + m.deter_width, 3 * m.deter_width)).trained(constant=act)
    aux_prior = Net((width + aux, m.aux_units, 2 * aux)).trained()
    aux_posterior = Net((width + obs + aux, m.aux_units, 2 * aux)).trained(constant=obs)
    said = sum(net.trained() for net in _said(m, obs))
    return prior + seen.trained(constant=act + obs) + cell + aux_prior + aux_posterior + said


def _said(m: ContextualConfig, obs: int) -> tuple[Net, Net, Net]:
    """Decoder, reward head and continue head."""
    head = lambda out: perceptron(m.feature, m.units, m.head_layers, out)
    return perceptron(m.feature, m.units, m.layers, obs), head(m.reward_bins), head(1)


def _one_step_values(config: MrComConfig) -> int:
    """Eq. 15 of one move: draws of the next state, which share what memory and action tell."""
    m, draws = config.model, max(config.value_samples, 1)
    number = value(config.behaviour.critic, m.feature)
    return draws * (Net((m.stoch, 3 * m.deter_width)).trained() + number.passed()) + number.once


def _dreamt_step(m: ContextualConfig, obs: int, act: int) -> int:
    """One step forwards: its state, what it says, and the context that knows of it."""
    c, aux = m.context, m.aux_width
    prior = perceptron(c.width + act, m.units, m.layers, 2 * m.stoch).once
    prior += Net((c.width + aux, m.aux_units, 2 * aux)).once
    cell = (m.stoch + act + m.deter_width) * 3 * m.deter_width
    said = sum(net.once for net in _said(m, obs))
    token = (obs + act + m.observe_reward) * c.width
    return prior + cell + said + token + c.layers * c.width**2 * (4 + 2 * c.expand)
