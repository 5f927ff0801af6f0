"""Decode chunks of a zarr v2 array one at a time, with the codec that zarr itself uses and nothing around it.

Counting and building a store go through every chunk once. zarr-python's own indexing spends several times the
decoder's time on a small chunk; here a chunk costs a file, a call of the codec and a view.
"""

from __future__ import annotations

import importlib
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self, cast

import numcodecs
import numpy as np

__all__ = ["ChunkDecoder"]

_Decode = Callable[..., Any]
"""Takes a chunk's bytes and, where it is given, the memory for its voxels; returns that or new bytes."""

_PLAIN = frozenset({"zstd", "blosc", "lz4"})
"""Codecs whose module has the function that decodes, ``decompress``. The codec's own ``decode`` calls it after looking
at its arguments in Python, as the function does again itself, while other threads wait for the interpreter's lock."""

_UNLIKELY = 0xA7
"""A last byte that few chunks have; one that has it is decoded twice."""


def _decode_of(description: Mapping[str, Any]) -> _Decode:
    """Find what decodes a chunk of the compressor that ``.zarray`` describes."""
    codec = numcodecs.get_codec(dict(description))
    if codec.codec_id not in _PLAIN:
        return cast("_Decode", codec.decode)
    return cast("_Decode", importlib.import_module(type(codec).__module__).decompress)


def _read(file: str) -> bytes:
    """Read a file with as few calls to the system as can be: at each, a thread may have to wait for its turn."""
    descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    try:
        size = os.fstat(descriptor).st_size
        content = os.read(descriptor, size)
        while len(content) < size and (more := os.read(descriptor, size - len(content))):
            content += more
        return content
    finally:
        os.close(descriptor)


@dataclass(frozen=True)
class ChunkDecoder:
    """What is needed to turn a chunk's bytes into voxels.

    Parameters
    ----------
    shape : (z, y, x)
        Voxels of a stored chunk; those at the end of the array are stored whole.
    dtype : dtype
        As stored, byte order included.
    decode : callable or None
        None where bytes are stored as they are.
    """

    shape: tuple[int, int, int]
    dtype: np.dtype[Any]
    decode: _Decode | None

    @classmethod
    def of(cls, metadata: Mapping[str, Any], shape: tuple[int, int, int], dtype: np.dtype[Any]) -> Self | None:
        """Make the decoder of an array from its ``.zarray``; None where only zarr can read it (filters, order F).

        Raises
        ------
        ValueError
            If the compressor is not known.
        """
        if metadata.get("filters") or metadata.get("order", "C") != "C" or metadata.get("zarr_format") != 2:  # noqa: PLR2004
            return None
        description = metadata.get("compressor")
        return cls(shape, dtype, _decode_of(description) if description else None)

    def memory(self) -> np.ndarray:
        """Make memory for the bytes of one chunk."""
        return np.empty(math.prod(self.shape) * self.dtype.itemsize, np.uint8)

    def read(self, file: str, memory: np.ndarray) -> np.ndarray | None:
        """Decode a chunk's file.

        Parameters
        ----------
        file : str
            The chunk.
        memory : uint8 array
            From :meth:`memory`; holds the voxels afterwards. Used again for the next chunk, it spares a request to the
            system, which takes as long as counting the chunk.

        Returns
        -------
        array, shape ``shape``, or None
            Voxels; None if there is no such file: every voxel has the fill value.

        Raises
        ------
        ValueError
            If the content has another length than a chunk; other errors come from the codec.
        """
        try:
            content: Any = _read(file)
        except FileNotFoundError:
            return None
        if self.decode is not None:
            # A codec does not tell when its content ends early, but then the last byte stays as it was.
            memory[-1] = _UNLIKELY
            self.decode(content, memory)
            if memory[-1] != _UNLIKELY:
                return memory.view(self.dtype).reshape(self.shape)
            content = self.decode(content)
        voxels = np.frombuffer(content, dtype=np.uint8)
        if voxels.size != memory.size:
            raise ValueError(f"{voxels.size} bytes in a chunk of {self.shape} voxels of {self.dtype}")
        return voxels.view(self.dtype).reshape(self.shape)
