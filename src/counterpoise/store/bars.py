"""Cut a crop into bars, and find the voxels of one grid that lie nearest to those of another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from counterpoise.volumes.fit import FittedCrop
from counterpoise.volumes.geometry import Grid, IndexBox, Shape3

__all__ = ["bars", "nearest", "outside", "part_of", "parts_without_raw"]

_TIE = 1e-6
"""Nearest-neighbour ties (a position exactly between two voxels) go up, whatever the rounding of the division."""
_BAR_BYTES = 1 << 24
"""Size of a bar, unless a single row of chunks is larger. Larger ones are no faster; in smaller ones fewer crops have
whole layers, which are written, and whose checksums are followed, in one piece."""


def bars(block: IndexBox, chunks: Shape3, item_bytes: int) -> Iterator[IndexBox]:
    """Cut a block at borders of chunks into bars: whole layers, or rows of chunks where a layer is too large."""
    room = _BAR_BYTES // item_bytes
    _, height, width = block.shape
    layers = max(room // max(chunks[0] * height * width, 1), 1) * chunks[0]
    rows = max(room // max(chunks[0] * chunks[1] * width, 1), 1) * chunks[1]
    if layers * height * width <= room:
        rows = block.stop[1]  # a whole layer
    for z, z_end in _cuts(block.start[0], block.stop[0], layers):
        for y, y_end in _cuts(block.start[1], block.stop[1], rows):
            yield IndexBox((z, y, block.start[2]), (z_end, y_end, block.stop[2]))


def _cuts(start: int, stop: int, step: int) -> Iterator[tuple[int, int]]:
    """Cut a range at multiples of a step."""
    while start < stop:
        end = min((start // step + 1) * step, stop)
        yield start, end
        start = end


def part_of(index: Sequence[np.ndarray], box: IndexBox) -> IndexBox:
    """Find the voxels whose nearest voxels on another grid lie in a box of that grid; indices ascend."""
    start = [int(np.searchsorted(i, a)) for i, a in zip(index, box.start, strict=True)]
    stop = [int(np.searchsorted(i, b)) for i, b in zip(index, box.stop, strict=True)]
    return IndexBox((start[0], start[1], start[2]), (stop[0], stop[1], stop[2]))


def outside(inner: IndexBox, shape: Shape3) -> Iterator[IndexBox]:
    """Cut what lies around a box into boxes that do not meet."""
    start, stop = [0, 0, 0], list(shape)
    for axis in range(3):
        for a, b in ((0, inner.start[axis]), (inner.stop[axis], shape[axis])):
            first, last = list(start), list(stop)
            first[axis], last[axis] = a, b
            part = IndexBox((first[0], first[1], first[2]), (last[0], last[1], last[2]))
            if part.voxels:
                yield part
        start[axis], stop[axis] = inner.start[axis], inner.stop[axis]


def nearest(grid: Grid, other: Grid, axis: int) -> np.ndarray:
    """Find, for every index of one grid's axis, the nearest index of another grid."""
    centres = grid.translation_nm[axis] + np.arange(grid.shape[axis]) * grid.voxel_size_nm[axis]
    index = (centres - other.translation_nm[axis]) / other.voxel_size_nm[axis]
    found: np.ndarray = np.floor(index + 0.5 + _TIE).astype(np.int64)
    return found


def parts_without_raw(item: FittedCrop, missing: Sequence[IndexBox]) -> Iterator[IndexBox]:
    """Find the label voxels that lie outside the raw volume, or in one of its chunks that is not on disk."""
    index = [nearest(item.grid, item.raw.grid, axis) for axis in range(3)]
    yield from outside(part_of(index, item.raw.whole()), item.grid.shape)
    for box in missing:
        part = part_of(index, box)
        if part.voxels:
            yield part
