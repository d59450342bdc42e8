"""How well an agent's world model predicts scenarios that it was not trained on."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np

from mrcom.agents.agent import WorldModelAgent
from mrcom.core.progress import Bar, SilentBar, progress
from mrcom.core.rng import named_generator, named_keys, root_key
from mrcom.core.types import Batch, Layout, Masks, Prompt, Steps
from mrcom.evaluate.dreams import DreamtStart, dreamt_starts
from mrcom.evaluate.open_loop import (
    HORIZONS,
    Dream,
    Dreams,
    OpenLoopErrors,
    dream_blindly,
    held_out_windows,
    open_loop_errors,
    rescaled,
)
from mrcom.replay.normaliser import Normaliser, empty_normaliser
from mrcom.scenarios.bodies import body as body_named
from mrcom.scenarios.scenario import Scenario

DREAMT = 8
"""Dreams whose mean is the model's prediction."""
SEEN = 64
"""Real steps before every dream, of every method: the longest windows that any learns from."""
AT_ONCE = 65536
"""Steps that are filtered at once; more of them, such as whole episodes, would fill memory."""
PICTURES_AT_ONCE = 2048
"""The same where steps have pictures."""
WINDOWS = 256
"""Places that dreams begin at, of each kind of trajectory."""


@runtime_checkable
class HeldOut(Protocol):
    """What happened in scenarios that a model knows nothing of."""

    @property
    def scenarios(self) -> tuple[Scenario, ...]:
        """Body by body."""
        ...

    @property
    def layout(self) -> Layout:
        """That the model was built for."""
        ...

    @property
    def masks(self) -> Masks:
        """Of the scenarios."""
        ...

    @property
    def prompt(self) -> Prompt:
        """Of the scenarios."""
        ...

    @property
    def steps(self) -> Mapping[str, Steps]:
        """A trajectory of every scenario, by who acted; figures show the first ones."""
        ...

    @property
    def seed(self) -> int:
        """Of everything that is drawn from these."""
        ...


@dataclasses.dataclass(frozen=True)
class Predictions:
    """A model's dreams beside what happened."""

    errors: dict[str, OpenLoopErrors]
    """By body."""
    starts: dict[str, list[DreamtStart]]
    """Some dreams of every body, for figures."""


def measure_predictions(
    agent: WorldModelAgent, state: Any, own: Normaliser, held_out: HeldOut
) -> Predictions:
    """Prediction errors on held-out scenarios, and some dreams for figures.

    The places that dreams begin at are the same for every method, each with its own history. So is
    the unit: that of the held-out trajectories.

    Args:
        agent: the method.
        state: what it learnt.
        own: statistics of the observations it was trained on, the unit of its dreams.
        held_out: trajectories, equally many of each kind count.
    """
    held, batches = empty_normaliser(held_out.layout), {}
    for source, steps in held_out.steps.items():
        held = held.updated(steps.obs, held_out.masks)
        batches[source] = windows_of(agent, held_out, source)
    both = jax.tree.map(lambda *parts: jnp.concatenate(parts), *batches.values())
    longest, shown = max(HORIZONS), next(iter(batches.values()))
    total = len(both.reward) + len(shown.reward)
    with progress("dreaming in held-out scenarios", total=total) as bar:
        dream = dream_of(agent, state, held_out.seed, bar)
        dreams = dream_blindly(dream, both, longest)
        starts = _starts(dream, shown, own, held_out, longest)
    dreams = rescaled(dreams, both, np.stack([own.mean, held.mean]), np.stack([own.std, held.std]))
    errors = open_loop_errors(dreams, both, held_out.layout, held.mean, held.std)
    return Predictions(errors, starts)


def dream_of(agent: WorldModelAgent, state: Any, seed: int, bar: Bar | None = None) -> Dream:
    """How an agent dreams of windows, so many at a time that they fit the memory.

    The bar counts windows.
    """
    key = named_keys(root_key(seed), "open_loop").open_loop

    def dream(batch: Batch, horizon: int) -> Dreams:
        num, length = batch.reward.shape
        parts, at_once = [], AT_ONCE if batch.image is None else PICTURES_AT_ONCE
        rows = max(1, at_once // length)
        for first in range(0, num, rows):
            some = jax.tree.map(lambda leaf, at=first: leaf[at : at + rows], batch)
            own = jax.random.fold_in(key, first)
            parts.append(
                agent.predict_open_loop(state, some, horizon=horizon, num_samples=DREAMT, key=own)
            )
            (bar or SilentBar()).advance(len(some.reward))
        return Dreams(*[np.concatenate(part, axis=1) for part in zip(*parts, strict=True)])

    return dream


def windows_of(agent: WorldModelAgent, held_out: HeldOut, source: str) -> Batch:
    """Windows of one kind of trajectory, each with room for the longest dream at its end."""
    steps, windows, horizon = held_out.steps[source], agent.windows, max(HORIZONS)
    num, length = steps.reward.shape
    return held_out_windows(
        steps,
        held_out.layout,
        held_out.masks,
        held_out.prompt,
        named_generator(held_out.seed, "windows", source),
        per_scenario=max(1, WINDOWS // num),
        context=windows.context,
        length=windows.length,
        horizon=horizon,
        # A trajectory has one entry more than control steps.
        seen=min(SEEN, (length - 1 - horizon) // 2),
        place=windows.place,
    )


def _starts(
    dream: Dream, batch: Batch, own: Normaliser, held_out: HeldOut, horizon: int
) -> dict[str, list[DreamtStart]]:
    dreams, found = dream_blindly(dream, batch, horizon), {}
    body_of, scenario_of = np.asarray(batch.body), np.asarray(batch.scenario)
    for index, name in enumerate(held_out.layout.bodies):
        rows = np.flatnonzero(body_of == index)
        rows = rows[:: max(1, len(rows) // 3)][:3]
        scenarios = [held_out.scenarios[scenario_of[row]] for row in rows]
        found[name] = dreamt_starts(
            dreams,
            batch,
            rows,
            own.mean,
            own.std,
            titles=_titles(scenarios),
            num_obs=body_named(name).obs,
        )
    return found


def _titles(scenarios: Sequence[Scenario]) -> list[str]:
    """What tells starts of one body apart; those in one scenario are numbered."""
    titles = []
    for number, scenario in enumerate(scenarios):
        again = scenarios[:number].count(scenario)
        titles.append(
            f"target {scenario.target_speed:.2f} m/s{f', start {again + 1}' if again else ''}\n"
            f"torso length x{scenario.torso_length:.2f}, size x{scenario.torso_size:.2f}"
        )
    return titles
