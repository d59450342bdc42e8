"""Dreams as pictures beside what was seen, kept for figures."""

import dataclasses
import pathlib
from typing import Any

import jax
import numpy as np
from jaxtyping import UInt8

from mrcom.agents.latent_agent import AbstractLatentAgent
from mrcom.agents.picturing import draw_open_loop
from mrcom.core.errors import ConfigError, RunFolderError
from mrcom.core.files import read_arrays, write_arrays
from mrcom.core.rng import named_keys, root_key
from mrcom.evaluate.open_loop import HORIZONS
from mrcom.evaluate.predictions import HeldOut, windows_of


@dataclasses.dataclass(frozen=True)
class DreamtPictures:
    """What was seen after one moment of a held-out scenario, and what was dreamt from there."""

    body: str
    """Whose."""
    control_dt: float
    """Time between two pictures [s]."""
    real: UInt8[np.ndarray, "H S S 3"]
    dreamt: UInt8[np.ndarray, "H S S 3"]


def dreamt_pictures(agent: Any, state: Any, held_out: HeldOut) -> list[DreamtPictures]:
    """One dream of each body, as long as the longest horizon, under the actions taken.

    Raises:
        ConfigError: the agent's world model sees no pictures.
    """
    if not isinstance(agent, AbstractLatentAgent) or not held_out.layout.image:
        raise ConfigError("Pictures are dreamt by agents that see pictures.")
    batch = windows_of(agent, held_out, next(iter(held_out.steps)))
    body_of, horizon = np.asarray(batch.body), max(HORIZONS)
    rows = np.array([np.flatnonzero(body_of == i)[0] for i in range(len(held_out.layout.bodies))])
    chosen = jax.tree.map(lambda leaf: leaf[rows], batch)
    key = named_keys(root_key(held_out.seed), "pictures").pictures
    drawn = np.asarray(
        draw_open_loop(
            state.filter, chosen, key, horizon=horizon, dream_context=agent.dream_context
        )
    )
    real, dreamt = np.asarray(chosen.image)[:, -horizon:], np.rint(255 * drawn).astype(np.uint8)
    scenarios = [held_out.scenarios[int(index)] for index in np.asarray(chosen.scenario)]
    return [
        DreamtPictures(scenario.body, float(scenario.embodiment.control_dt), real[row], dreamt[row])
        for row, scenario in enumerate(scenarios)
    ]


def save_pictures(folder: pathlib.Path, pictures: list[DreamtPictures]) -> None:
    """Write one file for each body.

    Raises:
        RunFolderError: a file cannot be written.
    """
    for one in pictures:
        arrays = dataclasses.asdict(one)
        write_arrays(folder / f"{one.body}.npz", arrays, save=np.savez_compressed)


def load_pictures(folder: pathlib.Path) -> list[DreamtPictures]:
    """What `save_pictures` wrote; nothing where it never did.

    Raises:
        RunFolderError: a file cannot be read.
    """
    found = []
    for path in sorted(folder.glob("*.npz")):
        try:
            arrays = read_arrays(path)
            body, control_dt = str(arrays["body"]), float(arrays["control_dt"])
            found.append(DreamtPictures(body, control_dt, arrays["real"], arrays["dreamt"]))
        except (OSError, ValueError, KeyError) as error:
            raise RunFolderError(f"{path} cannot be read as pictures ({error}).") from error
    return found
