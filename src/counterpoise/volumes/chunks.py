"""Decode chunks one at a time, with the codecs that zarr itself uses and nothing around them.

Counting and building a store go through every chunk once. zarr-python's own indexing spends several times the
decoder's time on a small chunk; here a chunk costs a file, a call of the codec and a view.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np

from counterpoise.volumes.codecs import Step, n5_steps, v2_steps, v3_steps
from counterpoise.volumes.places import Place

__all__ = ["ChunkDecoder", "Decoder", "N5Decoder", "ShardDecoder", "v2_decoder", "v3_decoder"]

_UNLIKELY = 0xA7
"""A last byte that few chunks have; one that has it is decoded twice."""


class Decoder(Protocol):
    """Turns what is stored of a chunk into voxels; axes as they are stored."""

    def memory(self) -> np.ndarray:
        """Make memory for the bytes of one chunk, to be used again for the next one.

        It spares a request to the system, which takes as long as counting the chunk.
        """

    def load(self, place: Place, file: str, index: Sequence[int]) -> bytes | None:
        """Fetch the bytes of a chunk: its file, and its place among all chunks; None where it is not stored."""

    def decode(self, content: bytes, memory: np.ndarray) -> np.ndarray:
        """Return the voxels of a chunk, which may lie in the memory.

        Raises
        ------
        ValueError
            If the content has another length than a chunk; other errors come from the codec.
        """


@dataclass(frozen=True)
class ChunkDecoder:
    """What is needed to turn a chunk's bytes into voxels.

    Parameters
    ----------
    shape : tuple of int
        Voxels of a stored chunk; those at the end of the array are stored whole.
    dtype : dtype
        As stored, byte order included.
    steps : tuple of callable
        What decodes the bytes, one after the other; none where they are stored as they are.
    axes : tuple of int, optional
        Where an axis of the array stands in memory, if not in its own place: order F, or a transposition.
    ends_with_compressor : bool
        Whether the last step writes into memory that it is given.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    steps: tuple[Step, ...]
    axes: tuple[int, ...] | None = None
    ends_with_compressor: bool = True

    def memory(self) -> np.ndarray:
        """Make memory for the bytes of one chunk."""
        return np.empty(math.prod(self.shape) * self.dtype.itemsize, np.uint8)

    def load(self, place: Place, file: str, index: Sequence[int]) -> bytes | None:  # noqa: ARG002 - the file is the chunk
        """Read a chunk's file."""
        try:
            return place.fetch(file)
        except FileNotFoundError:
            return None

    def decode(self, content: Any, memory: np.ndarray) -> np.ndarray:
        """Decode a chunk."""
        if self.steps and self.ends_with_compressor:
            last = self.steps[-1]
            if len(self.steps) > 1:
                for step in self.steps[:-1]:
                    content = step(content)
            # A codec does not tell when its content ends early, but then the last byte stays as it was.
            memory[-1] = _UNLIKELY
            last(content, memory)
            if memory[-1] != _UNLIKELY:
                return memory.view(self.dtype).reshape(self.shape) if self.axes is None else self._arranged(memory)
            content = last(content)
        else:
            for step in self.steps:
                content = step(content)
        voxels = np.frombuffer(content, dtype=np.uint8)
        if voxels.size != memory.size:
            raise ValueError(f"{voxels.size} bytes in a chunk of {self.shape} voxels of {self.dtype}")
        return self._arranged(voxels)

    def _arranged(self, content: np.ndarray) -> np.ndarray:
        if self.axes is None:
            return content.view(self.dtype).reshape(self.shape)
        in_memory = np.argsort(self.axes)
        return content.view(self.dtype).reshape([self.shape[k] for k in in_memory]).transpose(self.axes)


def v2_decoder(metadata: Mapping[str, Any], shape: tuple[int, ...], dtype: np.dtype[Any]) -> Decoder:
    """Make the decoder of an array from its ``.zarray``.

    Raises
    ------
    ValueError
        If the compressor or a filter is not known.
    """
    axes = tuple(reversed(range(len(shape)))) if metadata.get("order") == "F" else None
    return ChunkDecoder(shape, dtype, v2_steps(metadata), axes, not metadata.get("filters"))


def v3_decoder(codecs: Sequence[Mapping[str, Any]], shape: tuple[int, ...], dtype: np.dtype[Any]) -> Decoder:
    """Make the decoder of an array from the ``codecs`` of its ``zarr.json``.

    Parameters
    ----------
    codecs : sequence of mapping
        As they are listed, the one that the array goes through first at the front.
    shape : tuple of int
        Of the chunks that files are named after: shards, if they hold others.
    dtype : dtype
        Byte order is taken from the codecs.

    Raises
    ------
    ValueError
        If one of the codecs is not known.
    """
    axes: tuple[int, ...] | None = None
    for position, codec in enumerate(codecs):
        name, configuration = codec.get("name"), codec.get("configuration") or {}
        if name == "transpose":
            order = tuple(int(k) for k in configuration["order"])
            axes = tuple(order.index(k) for k in (axes or range(len(shape))))
        elif name == "bytes":
            order_of_bytes: Literal[">", "<"] = ">" if configuration.get("endian") == "big" else "<"
            steps = v3_steps(codecs[position + 1 :])
            is_compressed = bool(steps) and codecs[position + 1].get("name") != "crc32c"
            return ChunkDecoder(shape, dtype.newbyteorder(order_of_bytes), steps, axes, is_compressed)
        elif name == "sharding_indexed" and axes is None and position + 1 == len(codecs):
            return ShardDecoder.of(configuration, shape, dtype)
        else:
            raise ValueError(f"the codec {name!r} of zarr v3 is not known, or not in this place")
    raise ValueError("no codec of zarr v3 makes bytes of the array")


_EMPTY = 2**64 - 1
"""Offset and length of a chunk that a shard does not hold."""


@dataclass(frozen=True)
class ShardDecoder:
    """Chunks that lie together in files, each with an index of where they start and how long they are.

    Parameters
    ----------
    inner : Decoder
        Of a chunk.
    index : ChunkDecoder
        Of the index.
    index_bytes : int
        Length of the index as it is stored.
    is_at_end : bool
        Whether the index stands behind the chunks.
    """

    inner: Decoder
    index: ChunkDecoder
    index_bytes: int
    is_at_end: bool
    _known: dict[str, np.ndarray | None] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def of(cls, configuration: Mapping[str, Any], shape: tuple[int, ...], dtype: np.dtype[Any]) -> ShardDecoder:
        """Read the configuration of ``sharding_indexed``."""
        chunks = tuple(int(n) for n in configuration["chunk_shape"])
        per_shard = tuple(n // c for n, c in zip(shape, chunks, strict=True))
        inner = v3_decoder(configuration["codecs"], chunks, dtype)
        listed = configuration.get("index_codecs") or [{"name": "bytes", "configuration": {"endian": "little"}}]
        index = v3_decoder(listed, (*per_shard, 2), np.dtype(np.uint64))
        if isinstance(inner, ShardDecoder) or not isinstance(index, ChunkDecoder) or index.ends_with_compressor:
            raise ValueError("shards in shards, and shards with a compressed index, cannot be read")
        size = math.prod(per_shard) * 16 + 4 * len(index.steps)
        return cls(inner, index, size, configuration.get("index_location", "end") == "end")

    def memory(self) -> np.ndarray:
        """Make memory for the bytes of one chunk."""
        return self.inner.memory()

    def load(self, place: Place, file: str, index: Sequence[int]) -> bytes | None:
        """Read the part of a shard that is one chunk."""
        if file not in self._known:
            start = -self.index_bytes if self.is_at_end else 0
            try:
                content = place.fetch_part(file, start, self.index_bytes)
            except FileNotFoundError:
                self._known[file] = None
            else:
                self._known[file] = self.index.decode(content, self.index.memory())
        entries = self._known[file]
        if entries is None:
            return None
        inside = tuple(k % n for k, n in zip(index, entries.shape[:-1], strict=True))
        start, length = (int(v) for v in entries[inside])
        if start == _EMPTY and length == _EMPTY:
            return None
        content = place.fetch_part(file, start, length)
        if len(content) != length:
            raise ValueError(f"the shard ends within the chunk {inside} of it")
        return content

    def decode(self, content: bytes, memory: np.ndarray) -> np.ndarray:
        """Decode a chunk."""
        return self.inner.decode(content, memory)


_N5_DEFAULT, _N5_VARYING = 0, 1
"""Modes of a block: as many voxels as its shape says, or as many as it says itself."""


@dataclass(frozen=True)
class N5Decoder:
    """Blocks of N5: a header with the shape, x first, then big-endian voxels. Blocks at the end are cut to the array.

    Parameters
    ----------
    shape : tuple of int
        Voxels of a whole block (z, y, x).
    dtype : dtype
        Big-endian.
    steps : tuple of callable
        What decodes the bytes behind the header.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    steps: tuple[Step, ...]

    @classmethod
    def of(cls, metadata: Mapping[str, Any], shape: tuple[int, ...], dtype: np.dtype[Any]) -> N5Decoder:
        """Make the decoder of an array from its ``attributes.json``."""
        return cls(shape, dtype, n5_steps(metadata))

    def memory(self) -> np.ndarray:
        """Make memory for one block."""
        return np.empty(math.prod(self.shape) * self.dtype.itemsize, np.uint8)

    def load(self, place: Place, file: str, index: Sequence[int]) -> bytes | None:  # noqa: ARG002 - the file is the block
        """Read a block's file."""
        try:
            return place.fetch(file)
        except FileNotFoundError:
            return None

    def decode(self, content: bytes, memory: np.ndarray) -> np.ndarray:
        """Decode a block; what is missing to a whole one is 0."""
        try:
            mode, axes = struct.unpack_from(">HH", content)
            reversed_shape = struct.unpack_from(f">{axes}I", content, 4)
        except struct.error as error:
            raise ValueError(f"no header of an N5 block: {error}") from error
        shape = tuple(reversed(reversed_shape))
        if mode not in {_N5_DEFAULT, _N5_VARYING} or len(shape) != len(self.shape) or not _fits(shape, self.shape):
            raise ValueError(f"a block of shape {shape} (mode {mode}) where {self.shape} was expected")
        body: Any = memoryview(content)[4 + 4 * axes + (4 if mode == _N5_VARYING else 0) :]
        for step in self.steps:
            body = step(bytes(body))
        voxels = np.frombuffer(body, self.dtype)
        if voxels.size != math.prod(shape):
            raise ValueError(f"{voxels.size} voxels in a block of shape {shape}")
        if shape == self.shape:
            return voxels.reshape(shape)
        whole = memory.view(self.dtype).reshape(self.shape)
        whole[...] = 0
        whole[tuple(slice(n) for n in shape)] = voxels.reshape(shape)
        return whole


def _fits(shape: Sequence[int], within: Sequence[int]) -> bool:
    return all(0 < n <= whole for n, whole in zip(shape, within, strict=True))
