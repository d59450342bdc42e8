"""DreamerV3 as data: its parts, its weights, its sizes."""

import dataclasses
import math

from mrcom.agents.agent import Windows
from mrcom.agents.method import Method
from mrcom.agents.products import perceptron
from mrcom.behaviour.laprop import LaPropConfig
from mrcom.behaviour.policy import ActorConfig
from mrcom.core.config import shallow
from mrcom.core.errors import check_least, check_shares
from mrcom.models.latent_error import NONE, LatentError
from mrcom.models.rssm_parts import RSSMConfig
from mrcom.nn.mlp import LayerKind
from mrcom.objectives.jacobian import JacobianConfig

DREAMER = Method(
    name="DreamerV3",
    family="dreamer",
    parts=("deter", "stoch"),
    # Scales of the authors' present code; imitation is the harness's, the same for every method.
    weights=(
        ("reconstruction", 1.0),
        ("reward", 1.0),
        ("continue", 1.0),
        ("kl_dyn", 1.0),
        ("kl_rep", 0.1),
        ("actor", 1.0),
        ("critic", 1.0),
        ("replay_critic", 0.3),
        ("imitation", 1.0),
    ),
)
"""The whole method. All terms go through one optimiser in one backward pass."""

LAYERS = LayerKind("rms", 1e-4)
"""What every hidden layer is made of."""

DISCOUNT = 1 - 1 / 333
"""Per control step: the future fades over 333 of them."""

NEW_STD = 0.1 + 0.9 / (1 + math.exp(-2.0))
"""Standard deviation of a new policy, between 0.1 and 1."""


@dataclasses.dataclass(frozen=True)
class DreamerConfig:
    """Sizes and choices beyond parts and weights. Defaults: the authors' code, `12M`."""

    model: RSSMConfig = RSSMConfig(discount=DISCOUNT)
    """The world model."""
    actor_layers: int = 3
    """Hidden layers of the policy, as wide as the world model's."""
    critic_layers: int = 3
    """Hidden layers of the critic, as wide as the world model's."""
    optimizer: LaPropConfig = LaPropConfig()
    """Of everything."""
    windows: Windows = Windows(length=64)
    """Which steps make a batch. Trained steps go on from what replay stored of the step before;
    only predictions are filtered through the context."""
    horizon: int = 15
    """Steps of a dream; one starts in every trained step."""
    free_nats: float = 1.0
    """A divergence below this many nats is not pushed further down."""
    lambda_: float = 0.95
    """Of the returns."""
    entropy_weight: float = 3e-4
    """Per nat, against returns divided by their range."""
    slow_rate: float = 0.02
    """Share by which the slow critic moves to the critic at each update."""
    slow_weight: float = 1.0
    """Weight of the distance to the slow critic's value."""
    scale_rate: float = 0.01
    """Share by which the range of returns moves at each update."""
    scale_floor: float = 1.0
    """Ranges of returns below this are not enlarged."""
    jacobian: JacobianConfig = JacobianConfig()
    """How the gain of the latent dynamics is measured, where that is one of the terms."""
    latent_error: LatentError = NONE
    """Added to what is filtered while learning from replay."""

    def __post_init__(self):
        check_least(self, 1, "horizon")
        check_shares(self, "lambda_", "slow_rate", "scale_rate")

    @property
    def discount(self) -> float:
        """Per control step; part of what the continue head is taught."""
        return self.model.discount

    @property
    def actor(self) -> ActorConfig:
        """The policy."""
        return ActorConfig(
            units=self.model.units,
            layers=self.actor_layers,
            min_std=0.1,
            max_std=1.0,
            init_std=NEW_STD,
            distribution="plain_normal",
            kind=self.model.layers,
        )


def _sized(
    *,
    deter: int,
    hidden: int,
    classes: int,
    units: int,
    windows: Windows,
    stoch: int = 32,
    horizon: int = 15,
    hurry: float = 1.0,
) -> DreamerConfig:
    """The method at a size; `hurry` multiplies the learning rate and divides the warm-up."""
    rates = LaPropConfig()
    return DreamerConfig(
        model=RSSMConfig(
            deter=deter,
            hidden=hidden,
            stoch=stoch,
            classes=classes,
            units=units,
            discount=DISCOUNT,
            layers=LAYERS,
        ),
        optimizer=dataclasses.replace(
            rates,
            learning_rate=hurry * rates.learning_rate,
            warmup=round(rates.warmup / hurry),
        ),
        windows=windows,
        horizon=horizon,
    )


SIZES = {
    "debug": shallow(_sized(
        deter=16, hidden=16, stoch=4, classes=4, units=16,
        windows=Windows(scenarios=4, length=8), horizon=3, hurry=25.0,
    )),
    "tiny": _sized(
        deter=256, hidden=48, classes=4, units=64,
        windows=Windows(scenarios=24, length=24), hurry=10.0,
    ),
    "small": _sized(
        deter=512, hidden=64, classes=4, units=64,
        windows=Windows(scenarios=32, length=32), hurry=5.0,
    ),
    "1M": _sized(deter=512, hidden=64, classes=4, units=64, windows=Windows(length=64)),
    "12M": _sized(deter=2048, hidden=256, classes=16, units=256, windows=Windows(length=64)),
    "25M": _sized(deter=3072, hidden=384, classes=24, units=384, windows=Windows(length=64)),
    "full": _sized(deter=2048, hidden=256, classes=16, units=256, windows=Windows(length=64)),
}  # fmt: skip
"""Sizes by name. Those in millions of parameters are the authors'; `full` is `12M`, with which
they report tasks of proprioception. `debug`, `tiny` and `small` learn at higher rates, so that a
few hundred or thousand updates show something."""


def operations(config: DreamerConfig, rows: int, obs: int, act: int) -> int:
    """Floating-point operations that one update on `rows` windows cannot do without.

    Those of matrix products alone, a multiplication and its addition as two. What is trained
    counts three times: forwards, for its weights and for what it read, unless that is a constant.
    `obs` and `act` are padded widths.
    """
    c, units, feature = config.model, config.model.units, config.model.feature
    deep = lambda inputs, layers, *out: perceptron(inputs, units, layers, *out).once
    encoder = deep(obs + c.observe_reward, c.encoder_layers)
    cell = 4 * c.deter**2 // c.groups  # each group's own memory, and three gates of it
    cell += c.hidden * (c.deter + c.flat_stoch + act) + 3 * c.hidden * c.deter
    prior = c.hidden * (c.deter + (c.prior_layers - 1) * c.hidden + c.flat_stoch)
    posterior = c.hidden * (c.deter + units + c.flat_stoch)
    heads = deep(feature, c.head_layers, c.reward_bins) + deep(feature, c.head_layers, 1)
    decoder = deep(feature, c.decoder_layers, obs)
    actor = deep(feature, config.actor_layers, 2 * act)
    critic = deep(feature, config.critic_layers, c.reward_bins)
    constant = units * feature  # read, and not to be moved

    steps, replayed = rows * config.windows.length, rows * (config.windows.length - 1)
    dreamt = steps * config.horizon
    model = 3 * (encoder + cell + prior + posterior + heads + decoder)
    world = steps * (model - units * (obs + c.observe_reward) - c.hidden * act)
    dreams = dreamt * (actor + cell + prior) + (dreamt + steps) * heads
    actors = (dreamt + steps) * (3 * actor - constant)
    critics = dreamt * (4 * critic - constant) + steps * critic + replayed * 4 * critic
    return 2 * (world + dreams + actors + critics)
