"""Voxels of a level, whatever is missing or damaged, and what the values of a label mean.

Large blocks are read in slabs, so that memory does not depend on a crop's size.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from counterpoise.errors import DamagedChunkError
from counterpoise.volumes.annotation import is_known, is_present
from counterpoise.volumes.crops import LabelLevel
from counterpoise.volumes.geometry import Box, Grid, IndexBox
from counterpoise.volumes.volume import Level

__all__ = ["Block", "Masks", "centred", "compressor_of", "label_masks", "masks_of", "read_block", "slabs"]

SLAB_VOXELS = 2**24
"""Voxels that are held at a time: 17 million, more than most crops have."""

_ROUNDING = 1e-4
"""Share of a voxel below which a difference of positions is rounding."""


@dataclass(frozen=True)
class Block:
    """Voxels of a block.

    ``stored`` marks those whose chunk is there and can be read (None: all of them), ``damaged`` those whose chunk is
    there and cannot be read (None: none), and ``faults`` say why.
    """

    voxels: np.ndarray
    stored: np.ndarray | None
    damaged: np.ndarray | None = None
    faults: tuple[DamagedChunkError, ...] = ()


@dataclass(frozen=True)
class Masks:
    """Where a class is present and where that is known; ``known`` is None where it is known everywhere."""

    present: np.ndarray
    known: np.ndarray | None


def read_block(level: Level, block: IndexBox) -> Block:
    """Read a block; a chunk that cannot be decoded is one fault, and the others are read all the same."""
    voxels = np.full(block.shape, level.fill_value if level.dtype.kind in "ui" else 0, level.dtype)
    stored, damaged = np.ones(block.shape, bool), np.zeros(block.shape, bool)
    faults: list[DamagedChunkError] = []
    for box, chunk in _chunks(level, block):
        common = box.common(block)
        place = common.within(block)
        if isinstance(chunk, np.ndarray):
            voxels[place] = chunk[common.within(box)]
            continue
        stored[place] = False
        if chunk is not None:
            damaged[place] = True
            faults.append(chunk)
    return Block(voxels, None if stored.all() else stored, damaged if faults else None, tuple(faults))


def _chunks(level: Level, block: IndexBox) -> Iterator[tuple[IndexBox, np.ndarray | DamagedChunkError | None]]:
    """Decode chunk after chunk; at the first fault, begin again and ask for each by itself."""
    try:
        yield from level.decoded_chunks(block)
    except DamagedChunkError:
        for box, _ in level.chunk_paths(block):
            try:
                yield from level.decoded_chunks(box)
            except DamagedChunkError as fault:
                yield box, fault


def slabs(block: IndexBox, depth: int) -> Iterator[IndexBox]:
    """Cut a block into slabs along z that begin at multiples of a chunk's depth and hold few enough voxels."""
    section = math.prod(block.shape[1:])
    step = max(SLAB_VOXELS // max(section * depth, 1), 1) * depth
    start = block.start[0]
    while start < block.stop[0]:
        stop = min(start // step * step + step, block.stop[0])
        yield IndexBox((start, *block.start[1:]), (stop, *block.stop[1:]))
        start = stop


def centred(grid: Grid, box: Box) -> IndexBox:
    """Find the voxels whose centres lie in a box; where none does, those that the box touches."""
    start, stop = [], []
    for k in range(3):
        low, high = (
            (corner[k] - grid.translation_nm[k]) / grid.voxel_size_nm[k] for corner in (box.lower_nm, box.upper_nm)
        )
        start.append(min(max(math.ceil(low - _ROUNDING), 0), grid.shape[k]))
        stop.append(max(min(math.ceil(high - _ROUNDING), grid.shape[k]), start[k]))
    found = IndexBox((start[0], start[1], start[2]), (stop[0], stop[1], stop[2]))
    return found if found.voxels else grid.covering(box)


def masks_of(label: LabelLevel, stored: np.ndarray) -> Masks:
    """Say where stored values mean that the class is present, and where that is known."""
    known = None if label.unknown_code is None else is_known(stored, label.unknown_code)
    if known is not None and known.all():
        known = None
    return Masks(is_present(stored, label.unknown_code), known)


def label_masks(label: LabelLevel, grid: Grid, block: IndexBox) -> Masks:
    """Say where a class is, at the centres of a block of another grid's voxels: the nearest label voxel decides.

    Centres outside the label's array are not known, and neither are those in chunks that cannot be decoded.
    """
    own = label.level.grid
    axes = [_nearest(own, grid, block, axis) for axis in range(3)]
    inside = [(index >= 0) & (index < length) for index, length in zip(axes, own.shape, strict=True)]
    if not all(mask.any() for mask in inside):
        return Masks(np.zeros(block.shape, bool), np.zeros(block.shape, bool))
    low = [int(index[mask].min()) for index, mask in zip(axes, inside, strict=True)]
    high = [int(index[mask].max()) + 1 for index, mask in zip(axes, inside, strict=True)]
    read = read_block(label.level, IndexBox((low[0], low[1], low[2]), (high[0], high[1], high[2])))
    masks = masks_of(label, read.voxels)
    if read.damaged is not None:  # a chunk that is not stored has the fill value; one that is damaged has none
        masks = Masks(masks.present, ~read.damaged if masks.known is None else masks.known & ~read.damaged)
    pick = [np.clip(index - first, 0, last - first - 1) for index, first, last in zip(axes, low, high, strict=True)]
    present, known = _take(masks.present, pick), None if masks.known is None else _take(masks.known, pick)
    if not all(mask.all() for mask in inside):
        within = inside[0][:, None, None] & inside[1][:, None] & inside[2]
        known = within if known is None else known & within
    return Masks(present if known is None else present & known, known)


def _nearest(own: Grid, grid: Grid, block: IndexBox, axis: int) -> np.ndarray:
    """Return the label index nearest to the centre of each voxel of a block along an axis."""
    centres = grid.translation_nm[axis] + np.arange(block.start[axis], block.stop[axis]) * grid.voxel_size_nm[axis]
    place = (centres - own.translation_nm[axis]) / own.voxel_size_nm[axis]
    nearest: np.ndarray = np.floor(place + 0.5 + _ROUNDING).astype(np.int64)
    return nearest


def _take(mask: np.ndarray, pick: Sequence[np.ndarray]) -> np.ndarray:
    """Index along every axis; where all steps are one voxel, make a view."""
    if all(len(index) == 1 or (np.diff(index) == 1).all() for index in pick):
        z, y, x = (slice(int(index[0]), int(index[-1]) + 1) for index in pick)
        view: np.ndarray = mask[z, y, x]
        return view
    taken: np.ndarray = mask[np.ix_(*pick)]
    return taken


def compressor_of(level: Level) -> dict[str, Any]:
    """Return the entry of the compressor in the metadata of a zarr v2 array; empty for other formats."""
    try:
        entry = json.loads(level.description()).get("compressor")
    except (OSError, ValueError, AttributeError):
        return {}
    return entry if isinstance(entry, dict) else {}
