"""Multiplications in matrix products: the pieces that formulas of operations are made of.

What is trained counts three times: forwards, for its weights and for what it read, unless that is
a constant. What is frozen counts once, and again where a gradient passes through it. What a
network says of one input counts once, however many losses read it. All steps of a dream count
alike, the first and the last too.
"""

import itertools
import math
from typing import NamedTuple

from mrcom.behaviour.actor_critic import ActorCriticConfig
from mrcom.behaviour.critic import CriticConfig
from mrcom.behaviour.latent_sac import LatentSacConfig
from mrcom.behaviour.policy import ActorConfig


class Net(NamedTuple):
    """A perceptron by the widths of its input, its hidden layers and, if there is one, its output.

    All numbers are multiplications for one row.
    """

    widths: tuple[int, ...]

    @property
    def once(self) -> int:
        """Forwards; for the weights' gradient and for the inputs' as many."""
        return sum(below * above for below, above in itertools.pairwise(self.widths))

    def trained(self, constant: int = 0) -> int:
        """All of learning, where so many of the inputs are constants."""
        return 3 * self.once - constant * self.widths[1]

    def passed(self, constant: int = 0) -> int:
        """Of one that is frozen, and of a gradient to all but so many of its inputs."""
        return 2 * self.once - constant * self.widths[1]


def perceptron(inputs: int, units: int, layers: int, *outputs: int) -> Net:
    """One whose hidden layers are all as wide."""
    return Net((inputs, *[units] * layers, *outputs))


def policy(config: ActorConfig, feature: int, act: int) -> Net:
    """Two numbers for each entry of an action."""
    return perceptron(feature, config.units, config.layers, 2 * act)


def value(config: CriticConfig, feature: int) -> Net:
    """One number."""
    return perceptron(feature, config.units, config.layers, 1)


def of_replay(config: LatentSacConfig, moves: int, feature: int, act: int) -> int:
    """Soft actor-critic on so many replayed moves; features are constants.

    Moves count one by one: that one ends where the next one starts is not made use of.
    """
    sac, number = config.sac, value(config.critic, feature)
    actor, twin = (
        policy(sac.actor, feature, act),
        perceptron(feature + act, sac.units, sac.layers, 1),
    )
    target = actor.once + sac.num_critics * twin.once
    critics = sac.num_critics * twin.trained(constant=feature + act)
    acting = actor.trained(constant=feature) + sac.num_critics * twin.passed(constant=feature)
    # Each scenario's value, its slow copy's of where the move led, and the value of them all.
    values = 2 * number.trained(constant=feature) + number.once
    return moves * (target + critics + acting + values)


def of_dreams(actor: Net, critic: Net, dreams: int, horizon: int) -> int:
    """Learning to act in dreams, by a return's gradient through them; without the dreams' model.

    A critic says what all states are worth, passes a gradient to those that were dreamt, and
    learns from those that the policy read, where a slow copy is asked besides.
    """
    feature, steps = actor.widths[0], dreams * horizon
    worth = dreams * critic.once + steps * critic.passed()
    # What it learns from it has judged already; the slow copy makes up for that.
    learning = actor.trained(constant=feature) + critic.trained(constant=feature)
    return worth + steps * learning


def of_imagination(
    config: ActorCriticConfig, moves: int, dreams: int, horizon: int, feature: int, act: int
) -> int:
    """The actor-critic with a value for each scenario in dreams; experts' moves are imitated."""
    actor, number = policy(config.actor, feature, act), value(config.critic, feature)
    shared = dreams * math.ceil(horizon / config.meta_stride) * number.trained(constant=feature)
    imitated = moves * actor.trained(constant=feature)
    return of_dreams(actor, number, dreams, horizon) + shared + imitated
