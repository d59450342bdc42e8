"""Which steps make a batch: windows of equally many steps from equally weighted scenarios."""

import dataclasses
from collections.abc import Mapping
from typing import Literal

import jax
import numpy as np
from jaxtyping import ArrayLike, Int

from mrcom.core.errors import ConfigError
from mrcom.core.types import Batch, Masks, Prompt
from mrcom.replay.store import Store


@dataclasses.dataclass(frozen=True)
class Windows:
    """B places in a store: the first trained step of each window."""

    scenario: Int[np.ndarray, " B"]
    slot: Int[np.ndarray, " B"]
    start: Int[np.ndarray, " B"]


def sample_batch(
    store: Store,
    masks: Masks,
    prompts: Prompt,
    rng: np.random.Generator,
    *,
    num_scenarios: int,
    per_scenario: int,
    context: int,
    length: int,
    place: Literal["anywhere", "start"] = "anywhere",
) -> Batch:
    """Windows of distinct scenarios, `per_scenario` from each, as one batch.

    Rows k * per_scenario to (k + 1) * per_scenario belong to the k-th scenario drawn.

    Args:
        store: what has been seen.
        masks: of all scenarios of the store.
        prompts: of all scenarios of the store; they fill the context where an episode
            has no earlier step.
        rng: the only source of randomness.
        num_scenarios: scenarios in the batch; all that have data where there are fewer.
        per_scenario: windows from each.
        context: steps W before the first trained one.
        length: steps T that are trained on.
        place: where the first trained step may lie.

    Raises:
        ConfigError: no stored episode has `length` steps.
    """
    windows = draw_windows(
        store,
        rng,
        num_scenarios=num_scenarios,
        per_scenario=per_scenario,
        length=length,
        place=place,
    )
    return gather(store, masks, prompts, windows, context=context, length=length)


def draw_windows(
    store: Store,
    rng: np.random.Generator,
    *,
    num_scenarios: int,
    per_scenario: int,
    length: int,
    place: Literal["anywhere", "start"] = "anywhere",
) -> Windows:
    """Distinct scenarios at random, then windows.

    Windows lie anywhere in an episode, or only at its start: then each episode has one. Anywhere,
    those that would stick out of the episode are pushed back into it, so that its first and last
    steps are trained on as often as all others, and not by one window in hundreds. An episode of
    fewer than `length` steps is never drawn.

    Raises:
        ConfigError: no stored episode is long enough.
    """
    last = store.ring.length - length  # start of each slot's last window
    out = length - 1 if place == "anywhere" else 0  # steps by which one may stick out
    possible = np.where(last < 0, 0, last + 1 + 2 * out if place == "anywhere" else 1)
    seen = np.flatnonzero(possible.any(axis=1))
    if not len(seen):
        raise ConfigError(
            f"No stored episode has the {length} steps of a training window; the longest has "
            f"{store.ring.length.max()}. Collect more, or train on shorter windows."
        )
    scenario = rng.permutation(seen)[:num_scenarios]
    until = np.cumsum(possible[scenario], axis=1)
    number = rng.integers(until[:, -1:], size=(len(scenario), per_scenario))
    slot = (number[:, :, None] >= until[:, None, :]).sum(axis=2)
    before = np.take_along_axis(until - possible[scenario], slot, axis=1)
    start = np.clip(number - before - out, 0, np.take_along_axis(last[scenario], slot, axis=1))
    return Windows(np.repeat(scenario, per_scenario), slot.ravel(), start.ravel())


def gather(
    store: Store,
    masks: Masks,
    prompts: Prompt,
    windows: Windows,
    *,
    context: int,
    length: int,
) -> Batch:
    """The steps at the given places, with the prompt before an episode's first step."""
    scenario, slot = windows.scenario[:, None], windows.slot[:, None]
    time = windows.start[:, None] + np.arange(-context, length)  # below 0: before the episode
    ring, stored = store.ring, np.maximum(time, 0)
    steps = {name: array[scenario, slot, stored] for name, array in ring.arrays.items()}
    ends = steps.pop("is_terminal")
    valid = np.ones(time.shape, np.float32)
    row, column = np.nonzero(time < 0)
    if len(row):
        for array in (*steps.values(), valid, ends):
            array[row, column] = 0
        # The prompt's last step stands right before the episode's first.
        place = prompts.valid.shape[1] + time[row, column]
        row, column, place = (array[place >= 0] for array in (row, column, place))
        chosen = windows.scenario[row], place
        valid[row, column] = shown = np.asarray(prompts.valid)[chosen]
        for name, array in steps.items():
            fill = np.asarray(getattr(prompts, name))[chosen]
            array[row, column] = np.where(shown.reshape(-1, *[1] * (fill.ndim - 1)) > 0, fill, 0)
    arrays = steps | {
        "is_terminal": ends,
        "first": time == 0,
        "valid": valid,
        "obs_mask": masks.obs[windows.scenario],
        "act_mask": masks.act[windows.scenario],
        "told": masks.told[windows.scenario],
        "scenario": windows.scenario.astype(np.int32),
        "body": masks.body[windows.scenario].astype(np.int32),
        "expert": ring.expert[windows.scenario, windows.slot],
        "stored": {name: _before(array, windows) for name, array in store.written.items()},
    }
    return Batch(**jax.device_put(arrays))


def write_back(store: Store, windows: Windows, written: Mapping[str, ArrayLike]) -> None:
    """Keeps what an update made of the trained steps of its windows, `[B, T, ...]` by name."""
    for name, values in written.items():
        array = np.asarray(values)
        time = windows.start[:, None] + np.arange(array.shape[1])
        store.written[name][windows.scenario[:, None], windows.slot[:, None], time] = array


def _before(array: np.ndarray, windows: Windows) -> np.ndarray:
    """What stands at the step before each window; zeros before an episode's first."""
    there = windows.start > 0
    found = array[windows.scenario, windows.slot, np.maximum(windows.start - 1, 0)]
    return np.where(there.reshape(-1, *[1] * (found.ndim - 1)), found, 0).astype(array.dtype)
