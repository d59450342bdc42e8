"""What a linear map can read of a scenario in a model's context."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jaxtyping import Float, Int

from mrcom.agents.agent import AgentPolicy, WorldModelAgent
from mrcom.core.rng import named_generator, named_keys, named_seed, root_key
from mrcom.models.context import ContextTransformer
from mrcom.models.contextual import ContextualModel
from mrcom.models.dynamics_ensemble import DynamicsEnsemble
from mrcom.models.ensemble_parts import EnsembleConfig
from mrcom.models.world_model import AbstractWorldModel
from mrcom.scenarios.scenario import Scenario
from mrcom.scenarios.splits import DYNAMICS
from mrcom.simulate.rollout import rollout
from mrcom.simulate.simulator import Simulator
from mrcom.train.run import Run, prompts_for
from mrcom.train.settings import target_scenarios, worlds_of
from mrcom.train.views import LatentView

LABELS = ("target_speed", "torso_length", "torso_size", "alpha")
"""What `Scenario.parameters` holds, in its order; and the least alpha whose range has such a torso:
the larger of what its length and its size differ from 1 by."""
PENALTIES = (1.0, 10.0, 100.0, 1000.0)
"""Weights that ridge regression chooses from."""
KEPT = 8
"""Steps of each trajectory that are looked at, evenly over its second half."""


@dataclasses.dataclass(frozen=True)
class Probe:
    """Held-out R^2 of ridge regressions: 1 where all is known, 0 where only the mean is."""

    body: str
    label: str
    """What is predicted."""
    context: float
    """From the context."""
    observation: float
    """From the observation alone, which knows nothing of the past: a control."""
    shuffled: float
    """From the context, after the labels were dealt to other scenarios: a control."""


def context_of(model: AbstractWorldModel, states: Any) -> Float[np.ndarray, "N T C"] | None:
    """A model's context at N x T of its states; None where it has none."""
    match model:
        case ContextualModel(context=ContextTransformer()):
            pass
        case DynamicsEnsemble(config=EnsembleConfig(context_width=width)) if width:
            pass
        case _:
            return None
    found = np.asarray(states.context)
    return found.reshape(*found.shape[:2], -1)


def probe_context(
    run: Run, agent: WorldModelAgent, *, scenarios: int, num_steps: int
) -> list[Probe]:
    """How well contexts tell what a scenario is, body by body; nothing where there are none.

    Args:
        run: whose behaviour acts, in fresh scenarios of its training range.
        agent: of the run.
        scenarios: of each body; half of them fit the probe, the others judge it.
        num_steps: of a trajectory; the second half counts, from which the prompt should be gone.
    """
    targets = target_scenarios(run.config, scenarios, 0, "probe")
    worlds = worlds_of(run.config, [target.scenario for target in targets])
    seed = named_seed(run.config.split.seed, "probe")
    prompt = prompts_for(run.config, agent, worlds, seed=seed)
    policy = AgentPolicy(
        agent, run.state, worlds.masks, prompt, named_keys(root_key(seed), "act").act
    )
    simulator = Simulator(worlds.scenarios, layout=worlds.layout)
    steps = rollout(simulator, policy, num_steps=num_steps, seed=seed)
    view = LatentView(agent, run.state, worlds.masks, prompt)
    _, memory = view.follow(steps.obs, steps.action, steps.reward, steps.image)
    at = np.linspace(num_steps // 2, num_steps, KEPT).astype(int)
    states = jax.tree.map(lambda leaf: leaf[:, at], view.states(memory))
    context = context_of(agent.model(run.state), states)
    if context is None:
        return []
    labels = labels_of(worlds.scenarios)
    found, obs = [], steps.obs[:, at]
    for index, body in enumerate(worlds.layout.bodies):
        rows = np.flatnonzero(worlds.masks.body == index)
        rng = named_generator(seed, "shuffled", body)
        for name, label in labels.items():
            true = label[rows]
            dealt = rng.permutation(true)
            scores = [
                held_out_r2(x[rows], y) for x, y in ((context, true), (obs, true), (context, dealt))
            ]
            found.append(Probe(body, name, *scores))
    return found


def labels_of(scenarios: Sequence[Scenario]) -> dict[str, Float[np.ndarray, " N"]]:
    """`LABELS`, and those of the scales of dynamics that differ between these scenarios."""
    told = np.stack([one.parameters() for one in scenarios]).astype(np.float64)
    alpha = np.abs(told[:, 1:]).max(axis=1)
    found = dict(zip(LABELS, (*told.T, alpha), strict=True))
    scales = {name: np.array([getattr(one, name) for one in scenarios]) for name in DYNAMICS}
    return found | {name: scale for name, scale in scales.items() if np.ptp(scale)}


def held_out_r2(x: Float[np.ndarray, "N T C"], label: Float[np.ndarray, " N"]) -> float:
    """R^2 on every second scenario of a ridge regression on the others.

    The penalty is chosen on folds of the fitting half; all steps of a scenario stay together. A
    label that does not vary cannot be predicted: 0.
    """
    fit, judge = np.arange(0, len(x), 2), np.arange(1, len(x), 2)
    folds = np.arange(len(fit)) % 4

    def left_out(penalty: float) -> float:
        errors = [
            _errors(x, label, fit[folds != fold], fit[folds == fold], penalty) for fold in range(4)
        ]
        return float(np.concatenate(errors).sum())

    errors = _errors(x, label, fit, judge, min(PENALTIES, key=left_out))
    total = np.square(label[judge] - label[fit].mean()).sum() * x.shape[1]
    return float(1.0 - errors.sum() / total) if total > 0 else 0.0


def _errors(
    x: Float[np.ndarray, "N T C"],
    label: Float[np.ndarray, " N"],
    fit: Int[np.ndarray, " F"],
    judge: Int[np.ndarray, " J"],
    penalty: float,
) -> Float[np.ndarray, " E"]:
    """Squared errors of a ridge regression at all steps of some scenarios."""
    inputs = x[fit].reshape(-1, x.shape[2]).astype(np.float64)
    mean, std = inputs.mean(axis=0), inputs.std(axis=0) + 1e-6
    inputs, centre = (inputs - mean) / std, label[fit].mean()
    target = np.repeat(label[fit] - centre, x.shape[1])
    system = inputs.T @ inputs + penalty * np.eye(x.shape[2])
    weight = np.linalg.solve(system, inputs.T @ target)
    guess = (x[judge].reshape(-1, x.shape[2]) - mean) / std @ weight + centre
    return np.square(guess - np.repeat(label[judge], x.shape[1]))
