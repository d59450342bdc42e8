"""A round of collection comes back as it was, or is refused."""

import numpy as np
import pytest

from mrcom.core.errors import CheckpointError
from mrcom.core.types import Steps
from mrcom.train.episodes import EpisodeFiles


def test_a_bit_that_flipped_in_an_episode_is_refused_or_changes_nothing(tmp_path, flipped):
    files, one = EpisodeFiles(tmp_path), np.ones((1, 1, 1), np.float32)
    checksum = files.write(0, Steps(one, one, one[0], one[0] > 2), expert=True)
    (path,) = tmp_path.iterdir()
    whole, refused = path.read_bytes(), 0
    changes = flipped(whole, every=11)
    for changed in changes:
        path.write_bytes(changed)
        try:
            steps, expert = files.read(0, checksum)
        except CheckpointError as error:
            assert "missing or damaged" in str(error) and "\n" not in str(error)
            refused += 1
            continue
        assert expert and steps.is_terminal.tolist() == [[False]]
        assert steps.obs == steps.action == steps.reward == 1
    assert refused > len(changes) / 2
    with pytest.raises(CheckpointError, match="not those that were collected"):
        path.write_bytes(whole)
        files.read(0, checksum + 1)
