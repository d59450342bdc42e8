"""Dreams as a strip of pictures and as a moving picture: real above, dreamt below."""

import pathlib

import numpy as np
from jaxtyping import UInt8

from mrcom.core.files import write_whole
from mrcom.evaluate.pictures import DreamtPictures
from mrcom.report.style import drawing

SHOWN = 10
"""Pictures in a strip."""
ENLARGED = 3
"""Pixels of a moving picture for one that was dreamt."""


def draw_strip(path: pathlib.Path, pictures: DreamtPictures) -> None:
    """Some pictures, evenly apart, with the time since the last one that the model saw.

    Raises:
        RunFolderError: the file cannot be written.
    """
    steps = np.unique(np.linspace(0, len(pictures.real) - 1, SHOWN).round().astype(int))
    with drawing(path, figsize=(1.0 * len(steps) + 0.6, 2.9)) as figure:
        axes = figure.subplots(2, len(steps), squeeze=False)
        for column, step in enumerate(steps):
            axes[0, column].imshow(pictures.real[step])
            axes[1, column].imshow(pictures.dreamt[step])
            axes[0, column].set_title(f"{(step + 1) * pictures.control_dt:.2f} s")
        for axis in axes.flat:
            axis.set_xticks([])
            axis.set_yticks([])
            axis.grid(visible=False)
        axes[0, 0].set_ylabel("real")
        axes[1, 0].set_ylabel("dreamt")
        what = "what was seen, and dreamt under the same actions"
        figure.suptitle(f"{pictures.body}: {what}", fontweight="bold")


def write_video(path: pathlib.Path, pictures: DreamtPictures) -> None:
    """All pictures as an animated GIF, no faster than 50 a second.

    Raises:
        RunFolderError: the file cannot be written.
    """
    from PIL import Image

    frames = [Image.fromarray(frame) for frame in stacked(pictures)]
    # Viewers round a GIF's pauses to 10 ms, and slow down what is shorter than 20.
    pause = max(20, round(1000 * pictures.control_dt / 10) * 10)
    options = {"save_all": True, "append_images": frames[1:], "duration": pause, "loop": 0}
    write_whole(path, lambda file: frames[0].save(file, format="GIF", **options))


def stacked(pictures: DreamtPictures) -> UInt8[np.ndarray, "H R C 3"]:
    """Real above dreamt, enlarged."""
    both = np.concatenate([pictures.real, pictures.dreamt], axis=1)
    return both.repeat(ENLARGED, axis=1).repeat(ENLARGED, axis=2)
