"""What was collected, on disk: one file for each round, written once and never changed.

A checkpoint holds the checksum of every round that belongs to it, in order. That list is its
watermark: experience is rebuilt from those files and from no others.
"""

import pathlib
import zlib
from collections.abc import Sequence

import numpy as np

from mrcom.core.errors import CheckpointError
from mrcom.core.files import read_arrays, write_arrays
from mrcom.core.types import Steps
from mrcom.train.leaves import checksum

_ARRAYS = ("obs", "action", "reward", "is_terminal")


class EpisodeFiles:
    """The rounds of collection in one folder: one episode of every scenario in each file."""

    def __init__(self, folder: pathlib.Path):
        self.folder = folder

    def write(self, number: int, steps: Steps, *, expert: bool) -> int:
        """Store a round; it is on disk on return.

        Args:
            number: of the round, from 0.
            steps: one trajectory of every scenario.
            expert: whether the scenarios' experts made them.

        Returns:
            The checksum of what is in it.

        Raises:
            RunFolderError: the file cannot be written.
        """
        arrays = {name: getattr(steps, name) for name in _ARRAYS} | {"expert": np.array(expert)}
        if steps.image is not None:
            arrays["image"] = steps.image
        write_arrays(self._path(number), arrays)
        return _checksum(arrays)

    def read(self, number: int, expected: int) -> tuple[Steps, bool]:
        """A round, and whether experts made it.

        Raises:
            CheckpointError: the file is missing, damaged or not the one that was written.
        """
        path = self._path(number)
        try:
            arrays = read_arrays(path)
            if _checksum(arrays) != expected:
                raise ValueError("its contents are not those that were collected")
        except (OSError, ValueError, KeyError) as error:
            reason = getattr(error, "strerror", None) or error
            raise CheckpointError(
                f"{path} is missing or damaged ({reason}); `mrcom doctor RUN` goes back to the "
                "newest checkpoint that does without it."
            ) from error
        steps = Steps(*(arrays[name] for name in _ARRAYS), image=arrays.get("image"))
        return steps, bool(arrays["expert"])

    def numbers(self) -> list[int]:
        """Rounds that lie here, oldest first."""
        return sorted(int(path.stem) for path in self.folder.glob("*.npz") if path.stem.isdigit())

    def drop_after(self, count: int) -> None:
        """Remove what is newer than the first `count` rounds: it will be collected again."""
        for number in self.numbers():
            if number >= count:
                self._path(number).unlink()

    def broken(self, checksums: Sequence[int]) -> list[int]:
        """Which of a checkpoint's rounds cannot be read."""
        found = []
        for number, expected in enumerate(checksums):
            try:
                self.read(number, expected)
            except CheckpointError:
                found.append(number)
        return found

    def _path(self, number: int) -> pathlib.Path:
        return self.folder / f"{number:06}.npz"


def _checksum(arrays: dict[str, np.ndarray]) -> int:
    found = 0
    for name in (*_ARRAYS, "expert", *(("image",) if "image" in arrays else ())):
        array = arrays[name]
        text = f"{name} {array.dtype} {array.shape} {checksum(array)}"
        found = zlib.crc32(text.encode(), found)
    return found
