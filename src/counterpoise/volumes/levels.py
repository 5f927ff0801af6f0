"""One resolution of a volume whose chunks are files of zarr v2, zarr v3 or N5: in folders, archives, behind a URL."""

from __future__ import annotations

import json
import lzma
import math
import zlib
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from counterpoise.errors import DamagedChunkError, LayoutError
from counterpoise.volumes.chunk_files import Naming, find_naming
from counterpoise.volumes.chunks import Decoder
from counterpoise.volumes.geometry import Grid, IndexBox, Shape3
from counterpoise.volumes.metadata import Node
from counterpoise.volumes.ngff import Axes, LevelPlace
from counterpoise.volumes.places import LOCAL, Place
from counterpoise.volumes.stored_array import StoredArray, parse_array

__all__ = ["ChunkedLevel", "open_level"]

_DECODER_ERRORS = (OSError, EOFError, RuntimeError, ValueError, TypeError, KeyError, zlib.error, lzma.LZMAError)
"""What codecs raise on bytes, or on settings, that they cannot decode."""

_IN_ORDER = (0, 1, 2)


@dataclass(frozen=True)
class ChunkedLevel:
    """One resolution, as :class:`~counterpoise.volumes.volume.Level` says.

    Parameters
    ----------
    name : str
        Within the volume.
    path : Path
        Of the array.
    grid : Grid
        Its voxels in space.
    array : StoredArray
        The array as it is stored.
    naming : Naming
        How the files of the chunks are named.
    order : tuple of int
        For z, y and x the position among the stored axes; the others have length 1.
    place : Place
        How to get at them.
    """

    name: str
    path: Path
    grid: Grid
    array: StoredArray
    naming: Naming
    order: tuple[int, int, int] = _IN_ORDER
    place: Place = LOCAL

    @property
    def chunks(self) -> Shape3:
        """Return the voxels of a chunk."""
        z, y, x = self.order
        return (self.array.chunks[z], self.array.chunks[y], self.array.chunks[x])

    @property
    def dtype(self) -> np.dtype[Any]:
        """Return the type of the stored voxels."""
        return self.array.dtype

    @property
    def attributes(self) -> Mapping[str, Any]:
        """Return what users wrote about the array."""
        return self.array.node.attributes

    @property
    def fill_value(self) -> float:
        """Return the value of voxels whose chunk is not on disk (0 where the metadata leave it open)."""
        value = self.array.fill_value or 0
        return float(value) if self.dtype.kind == "f" else int(value)

    def decoded_chunks(
        self, block: IndexBox, *, as_stored: bool = False
    ) -> Iterator[tuple[IndexBox, np.ndarray | None]]:
        """Decode the chunks that a block touches, each of them whole; the next one takes the memory of the last."""
        try:
            decoder = self.array.decoder()
            memory = decoder.memory()
        except _DECODER_ERRORS as error:
            raise self._unreadable(block, error) from error
        whole, sharded = self.chunks, self.array.files != self.array.chunks
        for box, file, load in self._loads(decoder, block):
            voxels: np.ndarray | None = None
            try:
                content = load() if load else decoder.load(self.place, file, self._index(box) if sharded else ())
                if content is not None:
                    voxels = decoder.decode(content, memory)
            except _DECODER_ERRORS as error:
                raise self._damage(file, error) from error
            if voxels is not None:
                if self.order != _IN_ORDER or voxels.ndim != len(_IN_ORDER):
                    voxels = self._in_space(voxels)
                if not as_stored and box.shape != whole:
                    depth, height, width = box.shape
                    voxels = voxels[:depth, :height, :width]
            yield box, voxels

    def _loads(
        self, decoder: Decoder, block: IndexBox
    ) -> Iterator[tuple[IndexBox, str, Callable[[], bytes | None] | None]]:
        """Walk over chunks; those that take a while are asked for in advance and come with what returns their bytes."""
        if self.place.at_once == 1:
            for box, file in self.chunk_paths(block):
                yield box, file, None
            return
        with ThreadPoolExecutor(self.place.at_once) as pool:
            waiting: deque[tuple[IndexBox, str, Callable[[], bytes | None]]] = deque()
            try:
                for box, file in self.chunk_paths(block):
                    call = pool.submit(decoder.load, self.place, file, self._index(box))
                    waiting.append((box, file, call.result))
                    if len(waiting) > self.place.at_once:
                        yield waiting.popleft()
                yield from waiting
            finally:
                pool.shutdown(wait=False, cancel_futures=True)

    def _index(self, box: IndexBox) -> tuple[int, ...]:
        """Return the place of a chunk among all chunks, by stored axis."""
        index = [0] * len(self.array.shape)
        for axis, start, length in zip(self.order, box.start, self.chunks, strict=True):
            index[axis] = start // length
        return tuple(index)

    def _in_space(self, voxels: np.ndarray) -> np.ndarray:
        """Put z, y, x in this order, and leave the other axes out."""
        others = [axis for axis in range(voxels.ndim) if axis not in self.order]
        volume: np.ndarray = voxels.transpose(*others, *self.order)[(0,) * len(others)]
        return volume

    def chunk_paths(self, block: IndexBox) -> Iterator[tuple[IndexBox, str]]:
        """Walk over the chunks that a block touches: the voxels of each (cut to the array), and its file.

        Files are plain strings: a store of a thousand crops has 100 000 chunks.
        """
        if not block.voxels:
            return
        files = [self.array.files[axis] for axis in self.order]
        z, y, x = (
            [(str(k * c // f), k * c, min(k * c + c, n)) for k in range(a // c, -(-b // c))]
            for a, b, c, f, n in zip(block.start, block.stop, self.chunks, files, self.grid.shape, strict=True)
        )
        name = self._namer()
        for key_z, start_z, stop_z in z:
            for key_y, start_y, stop_y in y:
                before, after = name(key_z, key_y)
                for key_x, start_x, stop_x in x:
                    box = IndexBox((start_z, start_y, start_x), (stop_z, stop_y, stop_x))
                    yield box, f"{before}{key_x}{after}"

    def _namer(self) -> Callable[[str, str], tuple[str, str]]:
        """Return what makes the parts of a file's name before and after the number along x."""
        start, between = f"{self.path}/{self.naming.start}", self.naming.separator
        axes = len(self.array.shape)
        order = self.order if not self._is_reversed else tuple(axes - 1 - axis for axis in self.order)
        if order == _IN_ORDER and axes == len(_IN_ORDER):
            return lambda key_z, key_y: (f"{start}{key_z}{between}{key_y}{between}", "")

        def name(key_z: str, key_y: str) -> tuple[str, str]:
            keys = ["0"] * axes
            keys[order[0]], keys[order[1]] = key_z, key_y
            before = "".join(f"{key}{between}" for key in keys[: order[2]])
            return start + before, "".join(f"{between}{key}" for key in keys[order[2] + 1 :])

        return name

    @property
    def _is_reversed(self) -> bool:
        return self.array.node.kind.names_last_axis_first

    def whole(self) -> IndexBox:
        """Return the block of all voxels."""
        return IndexBox((0, 0, 0), self.grid.shape)

    def description(self) -> bytes:
        """Return JSON with the metadata: fill value and codecs decide what is read, too. An archive adds its state."""
        said = {"order": self.order, "naming": self.naming, "place": self.place.state()}
        return json.dumps({"metadata": self.array.node.content, **said}, sort_keys=True).encode()

    def _damage(self, file: str, error: Exception) -> DamagedChunkError:
        return DamagedChunkError(
            f"chunk {file.removeprefix(f'{self.path}/')} of {self.path} cannot be decoded",
            expected=f"{math.prod(self.chunks)} voxels of {self.dtype} in a compressed chunk",
            found=f"{self._size_in_words(file)}; the decoder says: {error or type(error).__name__}",
            remedy="fetch the file again, or leave this crop out of the datasplit",
        )

    def _size_in_words(self, file: str) -> str:
        try:
            return f"{len(self.place.fetch(file))} bytes"
        except OSError as error:  # gone meanwhile, or a disk that fails
            return f"a file that cannot be read ({error.strerror or error})"

    def _unreadable(self, block: IndexBox, error: Exception) -> DamagedChunkError:
        return DamagedChunkError(
            f"{self.path} cannot be read",
            expected=f"voxels {block.start} to {block.stop} of {self.array.node.kind}",
            found=str(error) or type(error).__name__,
            remedy="write the array again with another codec, or fetch it again",
        )


def open_level(place: Place, path: Path, listed: LevelPlace, axes: Axes, node: Node) -> tuple[ChunkedLevel, str | None]:
    """Make a level of an array's metadata and its place in space.

    Returns
    -------
    level : ChunkedLevel
        The level.
    note : str or None
        What to tell about the names of its files.

    Raises
    ------
    LayoutError
        If it is no volume, or its files have names that it does not ask for.
    """
    array = parse_array(node, path)
    others = [n for axis, n in enumerate(array.shape) if axis not in axes.order]
    if len(array.shape) != axes.count or any(n != 1 for n in others):
        raise LayoutError(
            f"{path} is not a volume",
            expected=f"an array with the {axes.count} axes of its metadata, of which all but z, y, x have length 1",
            found=f"shape {list(array.shape)}",
            remedy="point the datasplit at 3-D arrays",
        )
    counts = [-(-n // c) for n, c in zip(array.shape, array.files, strict=True)]
    keys = counts[::-1] if node.kind.names_last_axis_first else counts
    naming, note = find_naming(place, str(path), array.naming, keys)
    z, y, x = axes.order
    grid = Grid((array.shape[z], array.shape[y], array.shape[x]), listed.voxel_size_nm, listed.translation_nm)
    return ChunkedLevel(listed.path, path, grid, array, naming, axes.order, place), note
