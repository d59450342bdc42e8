"""CaDM: dynamics models told by a context of the last moves. Read with arXiv 2005.06800."""

import dataclasses
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, PRNGKeyArray

from mrcom.agents.acting import CLIP
from mrcom.agents.agent import Metrics
from mrcom.agents.cadm_config import CADM as CADM
from mrcom.agents.cadm_config import SIZES, CadmConfig
from mrcom.agents.cadm_config import VANILLA as VANILLA
from mrcom.agents.method import Method, named
from mrcom.agents.modular_agent import AbstractModularAgent, ModularState
from mrcom.agents.modular_config import with_behaviour
from mrcom.behaviour.steps import descend, start_moments
from mrcom.core.errors import ConfigError
from mrcom.core.rng import named_keys
from mrcom.core.types import Batch, Layout
from mrcom.models.dynamics_ensemble import DynamicsEnsemble
from mrcom.models.ensemble_parts import EnsembleConfig, Foresight
from mrcom.models.ensemble_parts import Networks as Learnt
from mrcom.models.foresight import foresee
from mrcom.models.world_model import Posterior
from mrcom.objectives.context_dynamics import (
    backward_loss,
    bound_penalty,
    forward_loss,
    layer_rates,
    reward_error,
    weight_decay,
)
from mrcom.objectives.total import total_loss


class Forward(eqx.Module):
    """What the loss terms are computed from."""

    nets: Learnt
    foresight: Foresight
    obs_mask: Float[Array, "B O"]


Term = Callable[[Forward], Float[Array, "B _"]]


@dataclasses.dataclass(frozen=True)
class Cadm(AbstractModularAgent):
    """The method with its sizes fixed; all that changes is in `ModularState`."""

    config: CadmConfig

    def __post_init__(self):
        self.method.check_terms(TERMS)
        if "bounds" in self.method.terms and "variance" not in self.method.parts:
            raise ConfigError(
                f"{self.method.name} has the loss term 'bounds' and no part 'variance' that it "
                f"could bound; take both out."
            )
        if (given := self.config.windows.context) < (needed := self.model_config.before):
            raise ConfigError(
                f"Windows.context={given} must be at least {needed}, one more than the "
                f"{self.config.model.window} moves of a context."
            )

    @property
    def model_config(self) -> EnsembleConfig:
        """The models with the method's parts."""
        return dataclasses.replace(self.config.model, parts=self.method.parts, limit=CLIP)

    @property
    def feature(self) -> int:
        """Width of what policies read: observation, last reward, context."""
        return self.layout.obs + 1 + self.model_config.context_width

    def init(self, key: PRNGKeyArray) -> ModularState[DynamicsEnsemble]:
        """The state before anything was learnt."""
        keys = named_keys(key, "model", "behaviour")
        sizes, bodies = (self.layout.obs, self.layout.act), len(self.layout.bodies)
        model = DynamicsEnsemble(self.model_config, *sizes, bodies=bodies, key=keys.model)
        return ModularState(
            model=model,
            moments=start_moments(self.config.optimizer, model.members.nets),
            behaviour=self.behaviour.init(
                self.feature, self.layout.act, self.num_scenarios, key=keys.behaviour
            ),
            **self.new_statistics(),
        )

    def learn_model(
        self, state: ModularState[DynamicsEnsemble], batch: Batch, key: PRNGKeyArray
    ) -> tuple[DynamicsEnsemble, Any, Posterior, Metrics]:
        """One step of the models on a normalised batch, after their scales have seen it."""
        model = state.model.with_scales_of(batch)
        nets, start = model.members.nets, draw_starts(self, len(batch.reward), key)
        loss = eqx.filter_value_and_grad(model_loss, has_aux=True)
        (total, terms), grads = loss(nets, model, self, batch, start)
        nets, moments = descend(self.config.optimizer, nets, grads, state.moments)
        learnt = eqx.tree_at(lambda m: m.members.nets, model, nets)
        metrics = {
            "loss": total,
            "gradient": optax.tree.norm(grads),
            **{f"loss/{name}": jnp.mean(term) for name, term in terms.items()},
            **{f"row/{name}": jnp.mean(terms[name], axis=1) for name in OF_ROWS if name in terms},
        }
        return learnt, moments, jax.lax.stop_gradient(learnt.observe(batch, key=None)), metrics


def build(
    method: Method,
    size: str,
    *,
    layout: Layout,
    num_scenarios: int,
    observe_reward: bool,
    behaviour: str,
    updates: int,
) -> Cadm:
    """The agent of a method of this family.

    Raises:
        ConfigError: no such size or behaviour, or terms or parts that the models do not know.
    """
    config = with_behaviour(named("size", size, SIZES), behaviour)
    model = dataclasses.replace(config.model, observe_reward=observe_reward)
    # Members that are sure dream the same each time: more particles would only cost.
    particles = config.particles if "variance" in method.parts else 1
    config = dataclasses.replace(config, model=model, decay_steps=updates, particles=particles)
    return Cadm(method, config, layout, num_scenarios)


def _forward(given: Forward) -> Float[Array, "B S"]:
    said = given.foresight
    return forward_loss(said.mean, said.log_variance, said.change, given.obs_mask, said.exists)


def _backward(given: Forward) -> Float[Array, "B S"]:
    said = given.foresight
    return backward_loss(said.back, said.change_back, given.obs_mask, said.exists)


def _reward(given: Forward) -> Float[Array, "B S"]:
    said = given.foresight
    return reward_error(said.predicted, said.reward, said.exists)


def _decay(given: Forward) -> Float[Array, "B 1"]:
    """Weights of a part that the method has not got are not there, or have no gradient but this."""
    nets = given.nets
    heads = [net.weights for net in (nets.forward, nets.backward, nets.reward)]
    total = jnp.zeros(())
    for weights in heads:
        total = total + weight_decay(weights, layer_rates(len(weights) - 1, 1e-4))
    if nets.encoder is not None:
        weights = nets.encoder.weights
        total = total + weight_decay(weights, layer_rates(len(weights) - 1, 7.5e-5))
    return jnp.broadcast_to(total, (len(given.obs_mask), 1))


def _bounds(given: Forward) -> Float[Array, "B 1"]:
    bounds = given.nets.bounds
    assert bounds is not None, "the agent refuses bounds without a variance"
    return jnp.broadcast_to(bound_penalty(bounds.low, bounds.high), (len(given.obs_mask), 1))


TERMS: dict[str, Term] = {
    "forward": _forward,
    "backward": _backward,
    "reward": _reward,
    "decay": _decay,
    "bounds": _bounds,
}
"""Every loss term of the models by its name."""
OF_ROWS = ("forward", "backward", "reward")
"""Terms that a row's own steps decide."""


def model_loss(
    nets: Learnt, model: DynamicsEnsemble, agent: Cadm, batch: Batch, start: Int[Array, "E B S"]
) -> tuple[Float[Array, ""], dict[str, Float[Array, "B _"]]]:
    """The weighted sum of the method's terms on a normalised batch; also every term.

    `start` says where each member's futures begin, counted among the trained steps.
    """
    members = eqx.tree_at(lambda m: m.nets, model.members, nets)
    said = foresee(members, batch, start, num=agent.config.future)
    given = Forward(nets, said, batch.obs_mask)
    terms = {name: TERMS[name](given) for name in agent.method.terms}
    return total_loss(terms, agent.method.terms), terms


def draw_starts(agent: Cadm, rows: int, key: PRNGKeyArray) -> Int[Array, "E B S"]:
    """Where futures begin: anew for every member, with replacement, but at no last step.

    DEVIATION(cadm): the bootstrap is of starts within a batch's windows, not of the data set.
    """
    shape = (agent.model_config.num_members, rows, agent.config.futures)
    return jax.random.randint(key, shape, 0, agent.windows.length - 1)
