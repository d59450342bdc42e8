"""MAMBA as data: its parts, its weights, its sizes."""

import dataclasses

import optax

from mrcom.agents.agent import Windows
from mrcom.agents.dreamer_config import NEW_STD
from mrcom.agents.method import Method
from mrcom.agents.products import Net, of_dreams, perceptron, policy
from mrcom.behaviour.policy import ActorConfig
from mrcom.behaviour.steps import adam
from mrcom.core.config import shallow
from mrcom.core.errors import ConfigError, check_least, check_shares
from mrcom.models.latent_error import NONE, LatentError
from mrcom.models.rssm_parts import RSSMConfig
from mrcom.models.timed import TimedConfig
from mrcom.nn.mlp import LayerKind
from mrcom.objectives.jacobian import JacobianConfig

MAMBA = Method(
    name="MAMBA",
    family="mamba",
    parts=("deter", "stoch"),
    # Scales of the authors' code; imitation is the harness's, the same for every method.
    weights=(
        ("reconstruction", 1.0),
        ("reward", 1.0),
        ("continue", 1.0),
        ("local_reconstruction", 1.0),
        ("local_reward", 1.0),
        ("local_continue", 1.0),
        ("kl_dyn", 0.5),
        ("kl_rep", 0.1),
        ("actor", 1.0),
        ("critic", 1.0),
        ("imitation", 1.0),
    ),
)
"""The whole method."""

LAYERS = LayerKind("layer", 1e-3, bias=False)
"""What every hidden layer is made of."""


@dataclasses.dataclass(frozen=True)
class ClippedAdam:
    """Rates of one optimiser."""

    learning_rate: float
    """Constant."""
    eps: float
    """Added to the root of the mean squared gradient."""
    max_norm: float
    """Longest gradient; longer ones are shortened to it."""

    @property
    def optimizer(self) -> optax.GradientTransformation:
        """Clipping, then Adam."""
        return adam(self.learning_rate, eps=self.eps, max_norm=self.max_norm)


@dataclasses.dataclass(frozen=True)
class MambaConfig:
    """Sizes and choices beyond parts and weights. Defaults: the authors' code."""

    model: TimedConfig = TimedConfig()
    """The world model, and how long a meta-episode is."""
    sub_episodes: int = 2
    """Episodes in a meta-episode: the body starts anew, the memory goes on."""
    actor_layers: int = 2
    """Hidden layers of the policy, as wide as the world model's heads."""
    critic_layers: int = 2
    """Hidden layers of the critic, as wide as the world model's heads."""
    model_rates: ClippedAdam = ClippedAdam(1e-4, 1e-8, 1000.0)
    """Of the world model's optimiser."""
    actor_rates: ClippedAdam = ClippedAdam(3e-5, 1e-5, 100.0)
    """Of the actor's."""
    critic_rates: ClippedAdam = ClippedAdam(3e-5, 1e-5, 100.0)
    """Of the critic's."""
    windows: Windows = Windows(context=0, length=1001, place="start")
    """Which steps make a batch: whole meta-episodes from their first step."""
    first_steps: int = 50
    """Steps of a meta-episode that are learnt from at first."""
    grown_after: int = 0
    """Updates after which all of them are; 0 begins with all."""
    some: int = 64
    """Random steps of each row, with replacement, that the decoders and heads learn from."""
    starts: int = 512
    """Random steps of each row, with replacement, that dreams start from."""
    local_window: int = 3
    """Neighbouring embeddings that local heads read beside a state, itself included."""
    horizon: int = 10
    """Steps of a dream."""
    free_nats: float = 1.0
    """A divergence below this many nats is not pushed further down."""
    discount: float = 0.997
    """Per control step; the continue head does not know it."""
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
        check_least(self, 1, "sub_episodes", "some", "starts", "horizon")
        check_least(self, 2, "first_steps")  # an example is a step and the one after it
        check_shares(self, "discount", "lambda_", "slow_rate", "scale_rate")
        if self.windows.place != "start" or self.windows.context:
            raise ConfigError(
                f"MambaConfig.windows has place={self.windows.place!r} and "
                f"context={self.windows.context}; a memory that starts with the episode needs "
                f"place='start' and context=0."
            )
        if self.local_window % 2 == 0:
            raise ConfigError(
                f"MambaConfig.local_window={self.local_window} must be odd; the nearest are "
                f"{self.local_window - 1} and {self.local_window + 1}."
            )

    @property
    def actor(self) -> ActorConfig:
        """The policy."""
        return ActorConfig(
            units=self.model.rssm.units,
            layers=self.actor_layers,
            min_std=0.1,
            max_std=1.0,
            init_std=NEW_STD,
            distribution="plain_normal",
            kind=self.model.rssm.layers,
            out_scale=1.0,
        )


GROWING = 0.5
"""Share of a run's updates until whole meta-episodes are learnt from. The authors' 5 million of
10 million steps or so."""


def _sized(
    *,
    deter: int,
    hidden: int,
    stoch: int,
    units: int,
    coder_units: int,
    coder_layers: int,
    scenarios: int,
    steps: int,
    first_steps: int,
    some: int,
    starts: int,
    horizon: int = 10,
    hurry: float = 1.0,
) -> MambaConfig:
    """The method at a size for meta-episodes of `steps`; `hurry` multiplies learning rates."""
    rssm = RSSMConfig(
        deter=deter,
        hidden=hidden,
        stoch=stoch,
        classes=stoch,
        units=units,
        coder_units=coder_units,
        encoder_layers=coder_layers,
        decoder_layers=coder_layers,
        head_layers=2,
        prior_layers=1,
        posterior_layers=1,
        observe_reward=False,
        cell="gru",
        start="learned",
        reward_head="symlog_bins",
        layers=LAYERS,
    )
    rates = MambaConfig()
    faster = lambda adam: dataclasses.replace(adam, learning_rate=hurry * adam.learning_rate)
    return MambaConfig(
        model=TimedConfig(rssm, total_steps=steps),
        model_rates=faster(rates.model_rates),
        actor_rates=faster(rates.actor_rates),
        critic_rates=faster(rates.critic_rates),
        windows=Windows(scenarios=scenarios, context=0, length=steps + 1, place="start"),
        first_steps=first_steps,
        some=some,
        starts=starts,
        horizon=horizon,
    )


SIZES = {
    "debug": shallow(_sized(
        deter=16, hidden=16, stoch=4, units=16, coder_units=16, coder_layers=1,
        scenarios=4, steps=60, first_steps=16, some=8, starts=4, horizon=3, hurry=10.0,
    )),
    "tiny": _sized(
        deter=192, hidden=64, stoch=8, units=64, coder_units=96, coder_layers=2,
        scenarios=14, steps=250, first_steps=50, some=32, starts=24, hurry=5.0,
    ),
    "small": _sized(
        deter=256, hidden=64, stoch=12, units=96, coder_units=128, coder_layers=2,
        scenarios=16, steps=500, first_steps=50, some=48, starts=48, hurry=3.0,
    ),
    "full": _sized(
        deter=512, hidden=64, stoch=16, units=128, coder_units=512, coder_layers=4,
        scenarios=16, steps=1000, first_steps=50, some=64, starts=512,
    ),
}  # fmt: skip
"""Sizes by name, each for the meta-episodes that the budget of that name collects. `debug`, `tiny`
and `small` learn at higher rates, so that a few hundred or thousand updates show something."""


def operations(config: MambaConfig, rows: int, obs: int, act: int) -> int:
    """Floating-point operations that one update on `rows` windows cannot do without.

    Those of matrix products alone, a multiplication and its addition as two; `products` says what
    counts how often. `obs` and `act` are padded widths. Windows are whole meta-episodes, as they
    are once the horizon of learning has grown to that.
    """
    c, dreams = config.model.rssm, rows * config.starts
    told, whole = Net((c.flat_stoch + act, c.hidden)), obs + config.model.extra
    gates = (c.deter + c.hidden) * 3 * c.deter
    encoder = perceptron(whole, c.coder, c.encoder_layers)
    prior = perceptron(c.deter, c.hidden, c.prior_layers, c.flat_stoch)
    posterior = perceptron(c.deter + c.coder, c.hidden, c.posterior_layers, c.flat_stoch)
    filtered = encoder.trained(constant=whole) + told.trained(constant=act) + 3 * gates
    filtered += prior.trained() + posterior.trained()

    said = 0  # of a state by itself, then beside each embedding near it
    for read, times in ((c.feature + c.coder, config.local_window), (c.feature, 1)):
        decoder = perceptron(read, c.coder, c.decoder_layers, whole)
        heads = [perceptron(read, c.units, c.head_layers, out) for out in (c.reward_bins, 1)]
        said += times * sum(net.trained() for net in (decoder, *heads))
    world = rows * (config.windows.length * filtered + config.some * said)

    step = told.passed() + 2 * gates + prior.passed() + sum(head.passed() for head in heads)
    actor = policy(config.actor, c.feature, act)
    critic = perceptron(c.feature, c.units, config.critic_layers, c.reward_bins)
    acting = of_dreams(actor, critic, dreams, config.horizon)
    imitated = rows * config.some * actor.trained(constant=c.feature)
    return 2 * (world + dreams * config.horizon * step + acting + imitated)
