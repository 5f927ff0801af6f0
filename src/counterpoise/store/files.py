"""The files of a store: arrays with reserved disk space, and errors that say what to do."""

from __future__ import annotations

import math
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np

from counterpoise.errors import StoreError
from counterpoise.files.disk import describe_shortage, is_disk_full
from counterpoise.volumes.geometry import IndexBox, Shape3

__all__ = ["ArrayFile", "BlockFile", "file_checksum", "open_array", "sync", "writing"]

_PIECE_BYTES = 1 << 22
_NOTES_BYTES = 100_000
"""About what a store takes in addition to its arrays."""


@dataclass(frozen=True)
class ArrayFile:
    """A flat ``.npy`` file that is being written.

    Parameters
    ----------
    path : Path
        The file; disk space is reserved for every element.
    dtype : dtype
        Of an element.
    first_byte : int
        Where the elements begin.
    is_new : bool
        Whether the file was made just now, so that every element is 0.
    """

    path: Path
    dtype: np.dtype[Any]
    first_byte: int
    is_new: bool

    def block(self, start: int, shape: Shape3) -> BlockFile:
        """Return the elements from ``start`` on as a block of a crop."""
        return BlockFile(self, self.first_byte + start * self.dtype.itemsize, shape)


@dataclass
class _Written:
    """The CRC-32 of what was written to a block so far, as long as each part went where the one before it ended.

    ``is_blank`` says that nothing was: the block of a new file is zeros.
    """

    crc: int = 0
    size: int = 0
    is_blank: bool = True

    def add(self, first: int, content: memoryview) -> None:
        """Follow what is written; the first part that goes elsewhere ends this for good."""
        self.is_blank = False
        if first == self.size:
            self.crc = zlib.crc32(content, self.crc)
            self.size += content.nbytes
        else:
            self.size = -1


@dataclass(frozen=True)
class BlockFile:
    """A crop's block (z, y, x) in an array file; only written, never mapped: memory stays bounded."""

    array: ArrayFile
    first_byte: int
    shape: Shape3
    _written: _Written = field(default_factory=_Written, compare=False, repr=False)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Return the type of an element."""
        return self.array.dtype

    def write(self, bar: IndexBox, elements: np.ndarray | None) -> None:
        """Write a part that is as wide as the block.

        Parameters
        ----------
        bar : IndexBox
            Place in the block; its last axis is the whole width.
        elements : array, shape ``bar.shape``, or None
            Contiguous; None for zeros, which a new file holds already: nothing is written as long as nothing was.
        """
        if elements is None:
            if self.array.is_new and self._written.is_blank:
                return
            elements = np.zeros(bar.shape, self.dtype)
        _, height, width = self.shape
        is_whole_layers = bar.shape[1] == height
        with self.array.path.open("r+b", buffering=0) as stream:
            for depth, run in enumerate([elements] if is_whole_layers else elements):
                first = ((bar.start[0] + depth) * height + bar.start[1]) * width * self.dtype.itemsize
                stream.seek(self.first_byte + first)
                left = memoryview(run).cast("B")
                self._written.add(first, left)
                while left:
                    left = left[stream.write(left) :]

    def fill(self, box: IndexBox, value: int) -> None:
        """Write one value into a part of any width; the checksum is taken from the file then."""
        block = np.memmap(self.array.path, self.dtype, "r+", self.first_byte, self.shape)
        block[box.slices] = value
        block.flush()
        self._written.size = -1

    def checksum(self) -> int:
        """Return the CRC-32 of the block: of what was written if that came in order, else of what is in the file."""
        size = math.prod(self.shape) * self.dtype.itemsize
        if self._written.size == size:
            return self._written.crc
        return file_checksum(self.array.path, self.first_byte, size)


def open_array(path: Path, size: int, dtype: np.dtype[Any]) -> ArrayFile:
    """Create a flat array on disk, or reopen the one an interrupted build left."""
    is_new = not _is_array(path, size, dtype)
    if is_new:
        path.unlink(missing_ok=True)
        np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=(size,))
    with path.open("r+b") as stream:
        total = os.fstat(stream.fileno()).st_size
        if hasattr(os, "posix_fallocate"):  # also of one that was left: it may have been the disk that interrupted
            os.posix_fallocate(stream.fileno(), 0, total)  # a full disk is found before anything is decoded
    return ArrayFile(path, dtype, total - size * dtype.itemsize, is_new)


def _is_array(file: Path, size: int, dtype: np.dtype[Any]) -> bool:
    try:
        array = np.lib.format.open_memmap(file, mode="r")
    except (FileNotFoundError, ValueError, SyntaxError, TokenError):  # none yet, or torn while it was written
        return False
    return array.shape == (size,) and array.dtype == dtype


def file_checksum(file: Path, first_byte: int, size: int) -> int:
    """Compute the CRC-32 of a part of a file, in pieces, so that memory stays bounded.

    A file that ends early has the checksum of what is there.
    """
    value = 0
    buffer = memoryview(bytearray(min(_PIECE_BYTES, size)))
    with file.open("rb", buffering=0) as stream:
        stream.seek(first_byte)
        left = size
        while left and (count := stream.readinto(buffer[: min(left, len(buffer))])):
            value = zlib.crc32(buffer[:count], value)
            left -= count
    return value


def sync(file: Path) -> None:
    """Wait until a file is on disk."""
    descriptor = os.open(file, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def writing(path: Path, size_bytes: int = 0) -> Iterator[None]:
    """Turn the system's errors while a store is written into one that says what to do.

    Parameters
    ----------
    path : Path
        The store.
    size_bytes : int
        What will be written; a full disk is told with it.
    """
    try:
        yield
    except OSError as error:
        if is_disk_full(error):
            raise _full(path, size_bytes, error) from error
        raise StoreError(
            f"the voxel store cannot be written at {path}",
            expected="a folder with space for it, where you may write",
            found=str(error),
            remedy="choose another place with data.store in the experiment's configuration, or free some space",
        ) from error


def _full(path: Path, size_bytes: int, error: OSError) -> StoreError:
    """Say how much more space a store needs than the files of its unfinished build already take."""
    folder = next(parent for parent in path.parents if parent.exists())
    there = sum(file.stat().st_blocks * 512 for file in folder.glob(f"{path.name}.*/*.npy"))
    shortage = describe_shortage(folder, max(size_bytes - there, 0) + _NOTES_BYTES, error)
    return StoreError(
        f"no space for the voxel store at {path}: it needs {shortage.needed} more, the disk at {shortage.disk} has "
        f"{shortage.free} left",
        expected=f"{shortage.needed} free at {folder}",
        found=shortage.found,
        remedy="free some space and run the same command again (decoded crops are kept), or choose another place with "
        "data.store in the experiment's configuration",
    )
