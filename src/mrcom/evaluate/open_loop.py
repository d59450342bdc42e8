"""How far dreams stay true: prediction error by horizon, beside what costs nothing."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import jax
import numpy as np
from jaxtyping import Float

from mrcom.core.config import from_json
from mrcom.core.errors import ConfigError, TrainingDivergedError
from mrcom.core.types import Batch, Layout, Masks, Prompt, Steps
from mrcom.replay.normaliser import normalise
from mrcom.replay.store import Store
from mrcom.replay.windows import draw_windows, gather

HORIZONS = (1, 5, 10, 25)


@dataclasses.dataclass(frozen=True)
class Dreams:
    """K dreams of the last H steps of each of B windows, under the windows' own actions."""

    obs: Float[np.ndarray, "K B H O"]
    """Normalised observations."""
    reward: Float[np.ndarray, "K B H"]
    """Rewards, raw units."""


Dream = Callable[[Batch, int], Dreams]
"""Given windows and H, a model's dreams of their last H steps."""


@dataclasses.dataclass(frozen=True)
class OpenLoopErrors:
    """Errors of a model's predictions and of the "last observation stays" predictor.

    All are in units of the observation's standard deviation, over real dimensions only. The
    model's prediction is the mean of its samples.
    """

    horizons: tuple[int, ...]
    """Steps ahead."""
    mse: tuple[float, ...]
    """Mean squared error of the model."""
    last_mse: tuple[float, ...]
    """Mean squared error of predicting that the last observation stays."""
    budget: str = ""
    """Name of the one that says in how many scenarios; empty where it is not known."""

    @property
    def rmse(self) -> tuple[float, ...]:
        """Root mean squared error of the model."""
        return tuple(float(np.sqrt(error)) for error in self.mse)

    @property
    def last_rmse(self) -> tuple[float, ...]:
        """Root mean squared error of predicting that the last observation stays."""
        return tuple(float(np.sqrt(error)) for error in self.last_mse)

    @property
    def ratio(self) -> tuple[float, ...]:
        """RMSE of the model over that of the other; below 1 the model is better."""
        return tuple(_over(a, b) for a, b in zip(self.rmse, self.last_rmse, strict=True))

    @property
    def mse_ratio(self) -> tuple[float, ...]:
        """The same of the mean squared errors: the square of `ratio`."""
        return tuple(_over(a, b) for a, b in zip(self.mse, self.last_mse, strict=True))

    def at(self, horizon: int) -> float:
        """`ratio` at a horizon.

        Raises:
            ConfigError: it was not measured.
        """
        if horizon not in self.horizons:
            raise ConfigError(f"Horizon {horizon} was not measured; {self.horizons} were.")
        return self.ratio[self.horizons.index(horizon)]


def prediction_errors(
    prediction: Float[np.ndarray, "K B H O"],
    truth: Float[np.ndarray, "B H O"],
    last: Float[np.ndarray, "B O"],
    mask: Float[np.ndarray, "B O"],
    horizons: Sequence[int] = HORIZONS,
) -> OpenLoopErrors:
    """Errors at some horizons over all starts and real dimensions, normalised units.

    Args:
        prediction: K samples of the H steps after each of B starts; their mean counts.
        truth: what happened.
        last: the observation at the start.
        mask: 1 for real dimensions.
        horizons: steps ahead, each from 1 to H.

    Raises:
        ConfigError: a horizon beyond the dreams.
        TrainingDivergedError: a prediction that is not finite.
    """
    longest = truth.shape[1]
    for horizon in horizons:
        if not 1 <= horizon <= longest:
            raise ConfigError(f"Horizon {horizon} lies outside the dreams' 1 to {longest} steps.")
    if not np.isfinite(prediction).all():
        raise TrainingDivergedError("The model's dreams are not finite.")
    steps = np.asarray(horizons) - 1
    real = mask[:, None].astype(np.float64)
    num_real = real.sum()

    def error(guess: np.ndarray) -> tuple[float, ...]:
        squared = real * (guess - truth[:, steps].astype(np.float64)) ** 2
        return tuple(float(x) for x in squared.sum(axis=(0, 2)) / num_real)

    return OpenLoopErrors(
        horizons=tuple(int(h) for h in horizons),
        mse=error(prediction.mean(axis=0, dtype=np.float64)[:, steps]),
        last_mse=error(np.repeat(last[:, None].astype(np.float64), len(steps), axis=1)),
    )


def errors_from_json(value: Mapping[str, Any]) -> dict[str, OpenLoopErrors]:
    """Errors per body, from what `core.config.to_json` made of them."""
    return {body: from_json(OpenLoopErrors, errors) for body, errors in value.items()}


def hide_future(batch: Batch, horizon: int) -> Batch:
    """The windows without observation and reward of their last `horizon` steps.

    Actions stay: they are what a dream is asked about.
    """
    return dataclasses.replace(
        batch,
        obs=batch.obs.at[:, -horizon:].set(0.0),
        reward=batch.reward.at[:, -horizon:].set(0.0),
        is_terminal=batch.is_terminal.at[:, -horizon:].set(False),
    )


def dream_blindly(dream: Dream, batch: Batch, horizon: int) -> Dreams:
    """A model's dreams of the last `horizon` steps of windows it cannot look ahead in."""
    return dream(hide_future(batch, horizon), horizon)


def open_loop_errors(
    dreams: Dreams,
    batch: Batch,
    layout: Layout,
    mean: Float[np.ndarray, "bodies O"],
    std: Float[np.ndarray, "bodies O"],
    *,
    horizons: Sequence[int] = HORIZONS,
) -> dict[str, OpenLoopErrors]:
    """Errors of dreams on held-out windows, per body.

    Args:
        dreams: of the windows' last steps, as `dream_blindly` gives them.
        batch: the windows, raw units, with everything in them.
        layout: order of the bodies.
        mean: of the observations whose deviation is the unit, which the dreams have too.
        std: likewise.
        horizons: steps ahead.
    """
    host, num_dreamt = jax.device_get(batch), dreams.obs.shape[2]
    obs = normalised_windows(host, mean, std)[:, -num_dreamt - 1 :]
    errors = {}
    for index, body in enumerate(layout.bodies):
        rows = host.body == index
        if rows.any():
            errors[body] = prediction_errors(
                dreams.obs[:, rows], obs[rows, 1:], obs[rows, 0], host.obs_mask[rows], horizons
            )
    return errors


def open_loop(
    dream: Dream,
    batch: Batch,
    layout: Layout,
    mean: Float[np.ndarray, "bodies O"],
    std: Float[np.ndarray, "bodies O"],
    *,
    horizons: Sequence[int] = HORIZONS,
) -> dict[str, OpenLoopErrors]:
    """Errors of a model on held-out windows, per body: it dreams blindly, then is compared.

    Args as in `open_loop_errors`.
    """
    dreams = dream_blindly(dream, batch, max(horizons))
    return open_loop_errors(dreams, batch, layout, mean, std, horizons=horizons)


def rescaled(
    dreams: Dreams,
    batch: Batch,
    mean: Float[np.ndarray, "2 bodies O"],
    std: Float[np.ndarray, "2 bodies O"],
) -> Dreams:
    """Dreams in other units: normalised by the first row of statistics, then by the second.

    Every method normalises by its own experience, so its own unit would be no common measure.
    """
    body, mask = np.asarray(batch.body), np.asarray(batch.obs_mask)[:, None]
    (mean, to_mean), (std, to_std) = (rows[:, body][:, :, None] for rows in (mean, std))
    obs = np.clip((dreams.obs * std + mean - to_mean) / to_std, -10.0, 10.0) * mask
    return Dreams(obs, dreams.reward)


def held_out_windows(
    steps: Steps,
    layout: Layout,
    masks: Masks,
    prompts: Prompt,
    rng: np.random.Generator,
    *,
    per_scenario: int,
    context: int,
    length: int,
    horizon: int,
    seen: int,
    place: Literal["anywhere", "start"] = "anywhere",
) -> Batch:
    """Windows of trajectories that no model was trained on, equally many of each.

    Where dreams begin depends on `rng`, `per_scenario`, `horizon` and `seen` alone: methods whose
    own windows are long or short, anywhere or at the start, are compared at the same places.

    Args:
        steps: one trajectory of each scenario.
        layout: widths and order of the bodies.
        masks: of the scenarios.
        prompts: of the scenarios.
        rng: the only source of randomness.
        per_scenario: windows of each.
        context: steps W before the first that the model corrects itself on.
        length: steps the model corrects itself on, of which it gets at most `seen`.
        horizon: steps it dreams then; the last of every window.
        seen: real steps that precede every dream, at least 1.
        place: whether the model was trained anywhere, or from the first step on; then it corrects
            itself on all steps since the trajectory's first. What would lie before that is empty.
    """
    num, longest = steps.reward.shape
    store = Store(num, layout, steps=longest, capacity=1)
    store.add(np.arange(num), steps)
    drawn = draw_windows(
        store, rng, num_scenarios=num, per_scenario=per_scenario, length=seen + horizon
    )
    own = longest - horizon if place == "start" else min(length, seen)
    windows = dataclasses.replace(drawn, start=drawn.start + seen - own)
    return gather(store, masks, prompts, windows, context=context, length=own + horizon)


def normalised_windows(
    batch: Batch, mean: Float[np.ndarray, "bodies O"], std: Float[np.ndarray, "bodies O"]
) -> Float[np.ndarray, "B L O"]:
    """Observations of a batch as a model sees them, on the host."""
    body, mask = np.asarray(batch.body), np.asarray(batch.obs_mask)
    return normalise(np.asarray(batch.obs), body, mask, mean, std)


def _over(a: float, b: float) -> float:
    return a / b if b > 0 else (1.0 if a == b else float("inf"))
