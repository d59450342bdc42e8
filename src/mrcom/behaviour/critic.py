"""Values: one critic per training scenario, and one meta value over all of them.

Every value is in units of 1 / (1 - discount): reward 1 for ever is worth 1.
"""

import dataclasses
import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree

from mrcom.behaviour.steps import adam, descend, follow, start_moments
from mrcom.core.errors import check_least, check_shares
from mrcom.core.rng import named_keys
from mrcom.nn.mlp import MLP
from mrcom.objectives.imagination import critic_loss
from mrcom.objectives.meta_value import meta_value_loss


@dataclasses.dataclass(frozen=True)
class CriticConfig:
    """Size and learning of a critic."""

    units: int = 256
    """Width of the hidden layers."""
    layers: int = 2
    """Hidden layers."""
    learning_rate: float = 3e-4
    """Of Adam."""
    max_norm: float = 10.0
    """Longest gradient of one critic; longer ones are shortened to it."""
    slow_rate: float = 0.02
    """Share by which slow copies move to their originals at each update. Source: DreamerV3."""
    slow_weight: float = 1.0
    """Weight of the distance to the slow copy's value. Source: DreamerV3."""

    def __post_init__(self):
        check_least(self, 1, "units")
        check_shares(self, "slow_rate")

    @property
    def optimizer(self) -> optax.GradientTransformation:
        """Clipping and Adam; its state is stacked like the parameters."""
        return adam(self.learning_rate, eps=1e-7, max_norm=self.max_norm)


class Critic(eqx.Module):
    """Feature to a number; it starts as 0."""

    net: MLP

    def __init__(self, feature: int, config: CriticConfig, *, key: PRNGKeyArray):
        self.net = MLP(feature, config.units, config.layers, 1, key=key, out_scale=0.0)

    def __call__(self, feature: Float[Array, "*B F"]) -> Float[Array, "*B"]:
        """The value of every feature."""
        return self.net(feature)[..., 0]


class ScenarioCritics(eqx.Module):
    """Critics of several scenarios, stacked on the first axis of every leaf.

    An update gathers the rows of a batch's scenarios, changes them, and scatters them back.
    Optimiser state travels with its row, so each critic has an Adam of its own with its own
    step count, and nothing here depends on other scenarios or on how many there are.

    Attributes:
        online: what is trained.
        slow: a copy that follows it.
        moments: state of the optimiser.
    """

    online: Critic
    slow: Critic
    moments: PyTree[Array]

    @property
    def num(self) -> int:
        """How many scenarios."""
        return self.online.net.out.weight.shape[0]

    def gather(self, scenario: Int[Array, " S"]) -> "ScenarioCritics":
        """The critics of some scenarios, in the order given."""
        return jax.tree.map(lambda leaf: leaf[scenario], self)

    def scatter(self, scenario: Int[Array, " S"], rows: "ScenarioCritics") -> "ScenarioCritics":
        """These critics with some rows replaced. The scenarios must be distinct."""
        return jax.tree.map(
            lambda leaf, row: leaf.at[scenario].set(row, unique_indices=True), self, rows
        )

    def value(self, feature: Float[Array, "S M F"]) -> Float[Array, "S M"]:
        """The value of M features of each scenario, by its own critic."""
        return _values(self.online, feature)

    def slow_value(self, feature: Float[Array, "S M F"]) -> Float[Array, "S M"]:
        """The same by the slow copies."""
        return _values(self.slow, feature)


class MetaValue(eqx.Module):
    """One value for all scenarios, and the slow copy that the world model is trained with."""

    online: Critic
    slow: Critic
    moments: PyTree[Array]


def init_critics(
    feature: int, num_scenarios: int, config: CriticConfig, *, key: PRNGKeyArray
) -> ScenarioCritics:
    """Critics that all start from the same weights, however many there are."""
    one = Critic(feature, config, key=named_keys(key, "critic").critic)
    state = (one, one, start_moments(config.optimizer, one))
    return ScenarioCritics(*_repeated(state, num_scenarios))


@functools.partial(jax.jit, static_argnames="num")
def _repeated(tree: PyTree[Array], num: int) -> PyTree[Array]:
    return jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (num, *leaf.shape)), tree)


def fit_critics(
    rows: ScenarioCritics,
    feature: Float[Array, "S M F"],
    target: Float[Array, "S M"],
    weight: Float[Array, "S M"],
    config: CriticConfig,
) -> tuple[ScenarioCritics, Float[Array, " S"]]:
    """One step of gathered critics towards their targets, and each one's loss.

    Features, targets and weights are constants here.
    """
    feature, target, weight = jax.lax.stop_gradient((feature, target, weight))
    # A distance without a weight needs no slow values.
    slow = rows.slow_value(feature) if config.slow_weight else target

    def total(online: Critic) -> tuple[Float[Array, ""], Float[Array, " S"]]:
        value = _values(online, feature)
        losses = critic_loss(value, target, slow, weight, slow_weight=config.slow_weight)
        # The sum over scenarios has each critic's own gradient in its own row.
        each = jnp.mean(losses, axis=1)
        return jnp.sum(each), each

    grads, losses = eqx.filter_grad(total, has_aux=True)(rows.online)
    step = functools.partial(descend, config.optimizer)
    online, moments = jax.vmap(step)(rows.online, grads, rows.moments)
    return ScenarioCritics(online, follow(rows.slow, online, config.slow_rate), moments), losses


def init_meta(feature: int, config: CriticConfig, *, key: PRNGKeyArray) -> MetaValue:
    """A meta value that starts as 0."""
    one = Critic(feature, config, key=named_keys(key, "meta").meta)
    return MetaValue(one, jax.tree.map(jnp.copy, one), start_moments(config.optimizer, one))


def fit_meta(
    meta: MetaValue,
    feature: Float[Array, "*B F"],
    scenario_value: Float[Array, "*B"],
    config: CriticConfig,
) -> tuple[MetaValue, Float[Array, ""]]:
    """One step of the meta value towards the scenarios' own values, and its loss."""
    feature, target = jax.lax.stop_gradient((feature, scenario_value))

    def loss_of(online: Critic) -> Float[Array, ""]:
        return jnp.mean(meta_value_loss(target, online(feature)))

    loss, grads = eqx.filter_value_and_grad(loss_of)(meta.online)
    online, moments = descend(config.optimizer, meta.online, grads, meta.moments)
    return MetaValue(online, follow(meta.slow, online, config.slow_rate), moments), loss


def _values(critics: Critic, feature: Float[Array, "S M F"]) -> Float[Array, "S M"]:
    return eqx.filter_vmap(lambda critic, rows: critic(rows))(critics, feature)
