"""What the tests of several formats share."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from counterpoise.volumes.volume import Level


@pytest.fixture(scope="session")
def read_level() -> Callable[[Level], np.ndarray]:
    """Return :func:`_read_level`."""
    return _read_level


def _read_level(level: Level) -> np.ndarray:
    """Put all chunks of an array together."""
    voxels = np.full(level.grid.shape, level.fill_value, level.dtype)
    for box, decoded in level.decoded_chunks(level.whole()):
        if decoded is not None:
            voxels[box.slices] = decoded
    return voxels
