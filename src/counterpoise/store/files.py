"""The files under a store: arrays with room on disk for every voxel, and errors that say what to do."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tokenize import TokenError

import numpy as np

from counterpoise.errors import StoreError

__all__ = ["map_array", "sync", "writing"]


def map_array(file: Path, size: int, dtype: np.dtype[np.generic]) -> np.memmap:
    """Create a flat array on disk, or reopen the one an interrupted build left."""
    if file.exists():
        try:
            array = np.lib.format.open_memmap(file, mode="r+")
        except (ValueError, SyntaxError, TokenError):  # torn while it was written
            file.unlink()
        else:
            if array.shape == (size,) and array.dtype == dtype:
                return array
            file.unlink()
    array = np.lib.format.open_memmap(file, mode="w+", dtype=dtype, shape=(size,))
    if hasattr(os, "posix_fallocate"):
        # Writing to a mapped page for which the disk has no room kills the process; asking for the room is an error.
        with file.open("r+b") as stream:
            os.posix_fallocate(stream.fileno(), 0, file.stat().st_size)
    return array


def sync(file: Path) -> None:
    """Wait until a file is on disk."""
    descriptor = os.open(file, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn the system's errors while a store is written into one that says what to do."""
    try:
        yield
    except OSError as error:
        raise StoreError(
            f"the voxel store cannot be written at {path}",
            expected="a folder with room for it, where you may write",
            found=str(error),
            remedy="choose another place with data.store in the experiment's configuration, or make room",
        ) from error
