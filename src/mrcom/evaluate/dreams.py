"""Some dreams beside what happened, in raw units, kept for figures."""

import dataclasses
import pathlib
from collections.abc import Sequence

import jax
import numpy as np
from jaxtyping import Float, Int

from mrcom.core.errors import RunFolderError
from mrcom.core.files import read_arrays, write_arrays
from mrcom.core.types import Batch
from mrcom.evaluate.open_loop import Dreams

PAST = 64
"""Real steps before a moment that are kept at most."""


@dataclasses.dataclass(frozen=True)
class DreamtStart:
    """What happened before and after one moment, and what was dreamt from it. Raw units."""

    title: str
    """What the start is, such as the scenario's target speed."""
    past_obs: Float[np.ndarray, "P O"]
    """Real observations up to and including the start."""
    past_reward: Float[np.ndarray, " P"]
    """Real rewards up to and including the start."""
    real_obs: Float[np.ndarray, "H O"]
    """Real observations after the start."""
    real_reward: Float[np.ndarray, " H"]
    """Real rewards after the start."""
    dreamt_obs: Float[np.ndarray, "K H O"]
    """K dreams under the real actions."""
    dreamt_reward: Float[np.ndarray, "K H"]
    """Rewards of the dreams."""


def dreamt_starts(
    dreams: Dreams,
    batch: Batch,
    rows: Int[np.ndarray, " R"],
    mean: Float[np.ndarray, "bodies O"],
    std: Float[np.ndarray, "bodies O"],
    *,
    titles: Sequence[str],
    num_obs: int,
) -> list[DreamtStart]:
    """Some windows with their dreams, in raw units.

    Args:
        dreams: of the windows' last steps.
        batch: the windows, with everything in them.
        rows: which of them; all of one body.
        mean: of the observations the model was trained on.
        std: likewise.
        titles: one for each of `rows`.
        num_obs: the body's real dimensions.
    """
    host, num_dreamt = jax.device_get(batch), dreams.obs.shape[2]
    starts = []
    for row, title in zip(rows, titles, strict=True):
        body, seen = host.body[row], np.flatnonzero(host.valid[row, :-num_dreamt] > 0)[-PAST:]
        obs = dreams.obs[:, row] * std[body] + mean[body]
        starts.append(
            DreamtStart(
                title=title,
                past_obs=host.obs[row, :-num_dreamt, :num_obs][seen],
                past_reward=host.reward[row, :-num_dreamt][seen],
                real_obs=host.obs[row, -num_dreamt:, :num_obs],
                real_reward=host.reward[row, -num_dreamt:],
                dreamt_obs=obs[..., :num_obs],
                dreamt_reward=dreams.reward[:, row],
            )
        )
    return starts


def save_starts(
    path: pathlib.Path, body: str, control_dt: float, starts: Sequence[DreamtStart]
) -> None:
    """Writes one body's starts to an `.npz` file.

    Raises:
        RunFolderError: the file cannot be written.
    """
    arrays = {
        f"{number}.{field.name}": np.asarray(getattr(start, field.name))
        for number, start in enumerate(starts)
        for field in dataclasses.fields(DreamtStart)
    }
    arrays |= {"body": np.asarray(body), "control_dt": np.asarray(control_dt)}
    write_arrays(path, arrays, save=np.savez_compressed)


def load_starts(path: pathlib.Path) -> tuple[str, float, list[DreamtStart]]:
    """The body, its control period [s] and the starts that `save_starts` wrote.

    Raises:
        RunFolderError: the file cannot be read or is not such a file.
    """
    try:
        arrays = read_arrays(path)
        num = len({name.partition(".")[0] for name in arrays if "." in name})
        starts = [_start(arrays, number) for number in range(num)]
        return str(arrays["body"]), float(arrays["control_dt"]), starts
    except (OSError, ValueError, KeyError) as error:
        raise RunFolderError(f"{path} cannot be read as dreams ({error}).") from error


def _start(arrays: dict[str, np.ndarray], number: int) -> DreamtStart:
    names = [field.name for field in dataclasses.fields(DreamtStart) if field.name != "title"]
    values = {name: arrays[f"{number}.{name}"] for name in names}
    return DreamtStart(title=str(arrays[f"{number}.title"]), **values)
