"""CaDM as data: its parts, its weights, and its sizes."""

import dataclasses

import optax

from mrcom.agents.agent import Windows
from mrcom.agents.method import Method
from mrcom.agents.modular_config import falling_adam, sized_actor_critic
from mrcom.agents.planning import Planning
from mrcom.agents.products import Net, of_imagination, of_replay, perceptron
from mrcom.behaviour.actor_critic import ActorCriticConfig
from mrcom.behaviour.latent_sac import LatentSacConfig
from mrcom.behaviour.mpc import CrossEntropy, Spread
from mrcom.core.config import shallow
from mrcom.core.errors import check_least
from mrcom.models.dynamics_ensemble import DynamicsEnsemble
from mrcom.models.ensemble_parts import EnsembleConfig

_WEIGHTS = (
    ("forward", 1.0),
    ("backward", 0.5),
    ("reward", 1.0),
    ("decay", 1.0),
)

CADM = Method(
    name="CaDM",
    family="cadm",
    parts=("context", "ensemble", "variance"),
    weights=(*_WEIGHTS, ("bounds", 0.01)),
)
"""PE-TS + CaDM. `without(CADM, "context", "backward")` is PE-TS."""

VANILLA = Method(name="Vanilla + CaDM", family="cadm", parts=("context",), weights=_WEIGHTS)
"""One model that is sure of what it says: squared error instead of likelihood, no bounds."""


def _members(model: DynamicsEnsemble) -> Spread:
    return model.alone


@dataclasses.dataclass(frozen=True)
class CadmConfig:
    """Sizes and choices of the method beyond its parts and weights."""

    model: EnsembleConfig = EnsembleConfig()
    """The dynamics models."""
    behaviour: ActorCriticConfig | LatentSacConfig = LatentSacConfig()
    """SAC on the features of replayed steps, or actor and critics in the models' dreams."""
    planner: CrossEntropy = CrossEntropy()
    """What acts by planning instead."""
    particles: int = 4
    """Of each member, in every candidate of a plan; methods without `variance` have 1."""
    windows: Windows = Windows(context=11)
    """Which steps make a batch."""
    future: int = 10
    """Transitions that are predicted with one context (F)."""
    futures: int = 4
    """Starts of such a future in each window of a batch, drawn by every member for itself."""
    learning_rate: float = 1e-3
    """Of the models' Adam."""
    decay_steps: int = 0
    """Updates over which that rate falls, along a cosine, to a small share of it; 0 keeps it."""
    max_norm: float = 100.0
    """Longest gradient of the models; longer ones are shortened to it."""
    horizon: int = 12
    """Steps of a dream, where the behaviour learns from dreams."""
    starts: int = 8
    """Steps of each window that such dreams start from."""

    def __post_init__(self):
        check_least(self, 1, "particles", "future", "futures", "horizon", "starts")

    @property
    def planning(self) -> Planning:
        """How to act by planning: each member dreams its own particles in its own context."""
        return Planning(self.planner, self.particles, spread=_members)

    @property
    def optimizer(self) -> optax.GradientTransformation:
        """The models'."""
        return falling_adam(
            self.learning_rate, decay_steps=self.decay_steps, max_norm=self.max_norm
        )


SIZES = {
    "debug": shallow(
        CadmConfig(
            model=EnsembleConfig(members=2, units=16, encoder=(16, 8), context=3, window=4),
            planner=CrossEntropy(horizon=3, candidates=8, iterations=2, elites=2),
            particles=2,
            windows=Windows(scenarios=4, context=5, length=8),
            future=3,
            futures=2,
            horizon=3,
            starts=2,
            behaviour=sized_actor_critic(actor=16, critic=16),
        )
    ),
    "tiny": CadmConfig(
        model=EnsembleConfig(units=96, layers=3, encoder=(96, 64, 32)),
        planner=CrossEntropy(horizon=12, candidates=48, iterations=3, elites=8),
        particles=1,
        windows=Windows(scenarios=48, context=11, length=24),
        futures=3,
        starts=3,
        behaviour=sized_actor_critic(actor=128, critic=64, hurry=3.0),
    ),
    "small": CadmConfig(
        model=EnsembleConfig(units=128, layers=4, encoder=(128, 128, 64)),
        planner=CrossEntropy(horizon=20, candidates=100, iterations=4, elites=20),
        particles=1,
        windows=Windows(scenarios=48, context=11, length=32),
        futures=2,
        starts=4,
        behaviour=sized_actor_critic(actor=256, critic=128, hurry=2.0),
    ),
    "full": CadmConfig(
        windows=Windows(context=11, length=64),
        starts=32,
        horizon=15,
        behaviour=sized_actor_critic(actor=256, critic=256),
    ),
}
"""Sizes by name. `full` has the published ones; the others are smaller, so that two cores
finish."""


def operations(config: CadmConfig, rows: int, obs: int, act: int) -> int:
    """Floating-point operations that one update on `rows` windows cannot do without.

    Those of matrix products alone, a multiplication and its addition as two; `products` says what
    counts how often. `obs` and `act` are padded widths. A policy reads one member's context of
    every replayed step, and each dream is one member's own.
    """
    m, length = config.model, config.windows.length
    context, seen = m.context_width, obs + act + m.context_width
    encoder = Net((m.window * (obs + act), *m.encoder, context))
    outputs = 2 * obs if "variance" in m.parts else obs
    forward = perceptron(seen, m.units, m.layers, outputs)
    backward = perceptron(seen, m.units, m.layers, obs)
    reward = perceptron(seen + obs + m.observe_reward, m.units, m.layers, 1)

    # Of what the networks read, only the context learns.
    each = sum(net.trained(net.widths[0] - context) for net in (forward, backward, reward))
    futures = encoder.trained(constant=encoder.widths[0]) + config.future * each
    world = m.num_members * rows * config.futures * futures + rows * length * encoder.once
    feature, moves = obs + 1 + context, rows * (length - 1)
    if isinstance(config.behaviour, LatentSacConfig):
        return 2 * (world + of_replay(config.behaviour, moves, feature, act))
    dreams, horizon = rows * config.starts, config.horizon
    constant = m.context_width  # a dream keeps that of its start
    world += dreams * horizon * (forward.passed(constant) + reward.passed(constant))
    world += dreams * encoder.once * (m.num_members - 1) // m.num_members
    return 2 * (world + of_imagination(config.behaviour, moves, dreams, horizon, feature, act))
