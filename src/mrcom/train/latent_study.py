"""World models that learn with errors of their latent state, and what may help against these.

The study of arXiv 2501.00195 on more bodies and with controls: a small DreamerV3 learns from one
body's episodes, always the same ones, with one of several errors and one of several remedies.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from mrcom.agents.agent import Agent, Windows
from mrcom.agents.build import build_agent, method_named
from mrcom.agents.method import Method, with_jacobian
from mrcom.behaviour.expert import has_expert
from mrcom.core.progress import Bar
from mrcom.core.rng import named_generator, named_keys, named_seed, root_key
from mrcom.core.types import Batch, Layout, Steps
from mrcom.models.latent_error import PRESETS, LatentError
from mrcom.replay.normaliser import Normaliser, empty_normaliser
from mrcom.replay.prompts import make_prompts
from mrcom.replay.store import Store
from mrcom.replay.windows import draw_windows, gather, write_back
from mrcom.scenarios.bodies import body as body_named
from mrcom.scenarios.layout import layout_of, masks_of
from mrcom.scenarios.scenario import Scenario
from mrcom.simulate.simulator import Simulator
from mrcom.train.collect import collect_random, collect_with_experts
from mrcom.train.learner import run_updates, stored
from mrcom.train.settings import Worlds

BODIES = ("walker", "quadruped", "cheetah", "hopper")
ERRORS: Mapping[str, LatentError] = {
    "drift": PRESETS["walker-drift"],
    "none": PRESETS["none"],
    "zero drift": PRESETS["walker"],
}
"""Errors of the filtered states, of the paper's figures of the walker, the same for all bodies; in
the order in which they are studied."""

NOISE = 0.1
"""Standard deviation of augmentation's noise, in standard deviations of each quantity."""
MASKED = 0.1
"""Share of the quantities that augmentation sets to 0, others at each step."""


@dataclasses.dataclass(frozen=True)
class Amount:
    """How much of everything a cell of the study may use."""

    name: str
    """What results call it."""
    size: str
    """Preset that the networks are cut from."""
    updates: int
    """Of a world model with its behaviour."""
    rows: int
    """Episodes collected side by side."""
    rounds: int
    """Rounds of collection to learn from: every second one by experts, where the body has one."""
    episode_steps: int
    """Control steps of such an episode."""
    held_out_windows: int
    """Places in each held-out episode at which dreams begin."""
    horizon: int
    """Steps of those dreams."""
    evaluation_episodes: int
    """Episodes of the behaviour."""
    evaluation_steps: int
    """Control steps of each."""


AMOUNTS = {
    amount.name: amount
    for amount in (
        Amount("debug", "debug", 4, 4, 2, 60, 1, 5, 2, 20),
        Amount("tiny", "tiny", 600, 8, 4, 250, 8, 50, 4, 500),
    )
}
"""Amounts by name. At `tiny` a cell has some 15 s of updates on one core."""


def augmented(batch: Batch, std: np.ndarray, rng: np.random.Generator) -> Batch:
    """The batch with noise on every observed quantity, and a share of them read as 0.

    Args:
        batch: raw units.
        std: of each body's observations.
        rng: the only source of randomness.
    """
    obs = np.asarray(batch.obs)
    noise = NOISE * std[np.asarray(batch.body)][:, None] * rng.standard_normal(obs.shape)
    kept = rng.random(obs.shape) >= MASKED
    seen = (obs + noise) * kept * np.asarray(batch.obs_mask)[:, None]
    return dataclasses.replace(batch, obs=jnp.asarray(seen, jnp.float32))


@dataclasses.dataclass(frozen=True)
class Control:
    """What is done against errors."""

    change: Callable[[Method], Method] = lambda method: method
    """What becomes of the method."""
    augment: Callable[[Batch, np.ndarray, np.random.Generator], Batch] = lambda batch, *_: batch
    """What becomes of the batches."""


def _jacobian(weight: float) -> Control:
    return Control(lambda method: with_jacobian(method, weight))


def _l2(weight: float) -> Control:
    return Control(lambda m: dataclasses.replace(m, weights=(*m.weights, ("l2", weight))))


NO_PENALTY = "no penalty"
JACOBIANS: Mapping[str, float] = {
    f"Jacobian {weight:g}": weight for weight in (0.001, 0.01, 0.1, 1.0, 10.0)
}
"""Weights of the penalty, by the names of their controls. The term is a mean over outputs, where a
Frobenius norm is their sum: 0.001 to 0.1 of that would be 0.2 to 20 of this."""
CONTROLS: Mapping[str, Control] = {
    NO_PENALTY: Control(),
    **{name: _jacobian(weight) for name, weight in JACOBIANS.items()},
    "L2 0.001": _l2(0.001),
    "augmentation": Control(augment=augmented),
}
"""Remedies by name; the first is none, which the others are compared with."""


@dataclasses.dataclass(frozen=True)
class Episodes:
    """What happened to one body: what all models learn from and are judged by, under one seed."""

    worlds: Worlds
    """One scenario, as often as there are episodes side by side."""
    rounds: tuple[tuple[Steps, bool], ...]
    """To learn from, each with whether experts acted."""
    held_out: tuple[Steps, ...]
    """To be judged by: as many rounds as there are kinds of actions."""
    normaliser: Normaliser
    """Statistics of what is learnt from."""
    seed: int


def common_layout() -> Layout:
    """Widths that hold every body, so that one compiled program serves all of them."""
    return layout_of(BODIES)


def collect_episodes(body: str, amount: Amount, seed: int) -> Episodes:
    """Episodes of a body in its own form, asked for half its fastest speed."""
    scenario = Scenario(body, target_speed=0.5 * body_named(body).max_speed)
    scenarios, layout = (scenario,) * amount.rows, common_layout()
    worlds = Worlds(scenarios, layout, masks_of(scenarios, layout))
    simulator = Simulator(scenarios, layout=layout)
    kinds = (False, True) if has_expert(body) else (False,)

    def episode(stream: str, number: int, steps: int) -> tuple[Steps, bool]:
        expert = kinds[number % len(kinds)]
        collect = collect_with_experts if expert else collect_random
        own = named_seed(seed, body, stream, number)
        return collect(simulator, worlds, num_steps=steps, seed=own), expert

    rounds = tuple(episode("train", n, amount.episode_steps) for n in range(amount.rounds))
    held = [episode("held_out", n, amount.episode_steps)[0] for n in range(len(kinds))]
    normaliser = empty_normaliser(layout)
    for steps, _ in rounds:
        normaliser = normaliser.updated(steps.obs, worlds.masks)
    return Episodes(worlds, rounds, tuple(held), normaliser, seed)


def agent_with(control: str, error: str, amount: Amount) -> Agent:
    """The agent of a cell; equal for all bodies and seeds, so that it compiles once."""
    agent: Any = build_agent(
        CONTROLS[control].change(method_named("dreamer")),
        amount.size,
        layout=common_layout(),
        num_scenarios=amount.rows,
        latent_error=ERRORS[error],
    )
    if amount.size == "debug":
        return agent
    # Half of `tiny` in every direction, short dreams, fewer bins of rewards and values: there are
    # hundreds of cells. The smaller network bears a higher learning rate.
    config = agent.config
    rate = dataclasses.replace(config.optimizer, learning_rate=1e-3, warmup=40)
    sizes = {"deter": 128, "hidden": 32, "stoch": 16, "units": 48}
    model = dataclasses.replace(config.model, **sizes, reward_bins=63, reward_limit=6.0)
    windows = Windows(scenarios=amount.rows, per_scenario=2, length=16)
    config = dataclasses.replace(config, model=model, windows=windows, horizon=4, optimizer=rate)
    return dataclasses.replace(agent, config=config)


def learn(agent: Agent, control: str, episodes: Episodes, amount: Amount, bar: Bar) -> Any:
    """The agent's state after all updates, on the same batches whatever agent and control.

    Raises:
        TrainingDivergedError: a loss is not finite.
    """
    worlds, seed, windows = episodes.worlds, episodes.seed, agent.windows
    normaliser, num = episodes.normaliser, len(episodes.worlds.scenarios)
    store = Store(
        num, worlds.layout, steps=amount.episode_steps + 1, capacity=amount.rounds,
        written=agent.stored,
    )  # fmt: skip
    for steps, expert in episodes.rounds:
        store.add(np.arange(num), steps, expert=expert)
    prompt = make_prompts("none", num=num, layout=worlds.layout, window=windows.context)
    drawn = {}

    def batch_of(update: int) -> tuple[Batch, list[str]]:
        drawn[update] = draw_windows(
            store,
            named_generator(seed, "batch", update),
            num_scenarios=windows.scenarios,
            per_scenario=windows.per_scenario,
            length=windows.length,
        )
        sizes = {"context": windows.context, "length": windows.length}
        batch = gather(store, worlds.masks, prompt, drawn[update], **sizes)
        rng = named_generator(seed, "augment", update)
        names = [worlds.scenarios[at].name for at in drawn[update].scenario]
        return CONTROLS[control].augment(batch, normaliser.std, rng), names

    state = agent.init(named_keys(root_key(seed), "init").init)
    state = agent.with_statistics(state, normaliser.mean, normaliser.std)
    loop = run_updates(agent, state, batch_of, first=0, count=amount.updates, seeds=[seed])
    for update, now, metrics in loop:
        state = now
        write_back(store, drawn.pop(update), stored(metrics))
        bar.advance(1)
    return state
