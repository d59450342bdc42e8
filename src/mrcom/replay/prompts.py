"""The steps that fill the context before a scenario is known. They never enter the store."""

from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from mrcom.core.errors import ConfigError, unknown
from mrcom.core.types import Layout, Prompt, Steps

PromptKind = Literal["expert", "own", "none"]
KINDS: tuple[PromptKind, ...] = ("expert", "own", "none")


def make_prompts(
    kind: str, *, num: int, layout: Layout, window: int, steps: Steps | None = None
) -> Prompt:
    """One prompt of `window` steps for each of `num` scenarios.

    Args:
        kind: `expert` takes from `steps`, the expert's own trajectories, the stretch of the
            highest reward; `own` takes the first steps of `steps`, the agent's; `none` is
            empty and nowhere valid.
        num: scenarios.
        layout: widths of the padded arrays.
        window: steps of a prompt.
        steps: one trajectory per scenario, in the scenarios' order; not for `none`.

    Raises:
        ConfigError: an unknown kind, or trajectories that are missing or too many.
    """
    if kind not in KINDS:
        raise unknown("kind of prompt", kind, KINDS)
    if kind == "none":
        return _empty(num, layout, window)
    if steps is None or len(steps.reward) != num:
        given = 0 if steps is None else len(steps.reward)
        raise ConfigError(
            f"Prompts of kind {kind!r} need one trajectory for each of {num} scenarios, got "
            f"{given}. Give them, or choose 'none'."
        )
    first = best_stretch(steps.reward, window) if kind == "expert" else np.zeros(num, np.int64)
    return _cut(steps, first, window)


def best_stretch(reward: Float[np.ndarray, "N T"], window: int) -> Int[np.ndarray, " N"]:
    """Where the `window` consecutive steps of the highest summed reward start."""
    total = np.pad(np.cumsum(reward, axis=1, dtype=np.float64), ((0, 0), (1, 0)))
    window = min(window, reward.shape[1])
    return np.argmax(total[:, window:] - total[:, : total.shape[1] - window], axis=1)


def choose_prompts(prompts: Prompt, rows: Int[np.ndarray, " B"]) -> Prompt:
    """The prompts of some scenarios, in the order of `rows`; a row may come twice."""
    return jax.tree.map(lambda array: array[rows], prompts)


def _cut(steps: Steps, first: np.ndarray, window: int) -> Prompt:
    num, length = steps.reward.shape
    kept, rows = min(window, length), np.arange(num)[:, None]
    times = first[:, None] + np.arange(kept)

    def cut(array: np.ndarray) -> jax.Array:
        # The last step of a prompt stands right before an episode's first, so a short one
        # is filled up at its beginning.
        before = np.zeros((num, window - kept, *array.shape[2:]), array.dtype)
        return jnp.asarray(np.concatenate([before, array[rows, times]], axis=1))

    ones = np.ones((num, length), np.float32)
    image = None if steps.image is None else cut(steps.image)
    return Prompt(cut(steps.obs), cut(steps.action), cut(steps.reward), cut(ones), image)


def _empty(num: int, layout: Layout, window: int) -> Prompt:
    return Prompt(
        obs=jnp.zeros((num, window, layout.obs)),
        action=jnp.zeros((num, window, layout.act)),
        reward=jnp.zeros((num, window)),
        valid=jnp.zeros((num, window)),
        image=jnp.zeros((num, window, *layout.image_shape), jnp.uint8) if layout.image else None,
    )
