"""How much of what networks are shown has no raw: beyond the volume, beyond what the store keeps, or never fetched."""

from __future__ import annotations

import numpy as np

from counterpoise.experiment.config import SamplingConfig
from counterpoise.sampling.crop_table import CropTable, PatchGeometry
from counterpoise.sampling.patches import Patches
from counterpoise.store import StoredCrop, VoxelStore
from counterpoise.volumes.datasplit import Split

__all__ = ["share_without_raw"]

_LATTICE = 16
"""Rows and columns of a patch that are looked at: a share is known to better than a percent of it."""


def share_without_raw(
    store: VoxelStore, split: Split, patches: Patches, sampling: SamplingConfig, *, lattice: int = _LATTICE
) -> float:
    """Find the share of the pixels of some patches that show the store's mean because there is no raw.

    Parameters
    ----------
    store : VoxelStore
        What the patches lie in.
    split : {"train", "validate"}
        Whose crops ``patches.crop`` indexes.
    patches : Patches
        At least one.
    sampling : SamplingConfig
        Shape and sections of a patch.
    lattice : int
        Rows and columns of each patch to look at, evenly spread.

    Returns
    -------
    float
        In [0, 1], over all patches, input sections and the pixels looked at.
    """
    crops = store.of(split)
    geometry = PatchGeometry.of(
        CropTable.of(crops, store), patches, store.voxel_size_nm, sampling.patch_shape, sampling.slices
    )
    rows, columns = (_spread(size, lattice) for size in sampling.patch_shape)
    section = geometry.sections.below + np.where(geometry.sections.part >= 0.5, 1, 0)  # noqa: PLR2004
    shown = there = 0
    for index in np.unique(patches.crop):
        chosen = np.flatnonzero(patches.crop == index)
        start, by_row, by_column = (
            numbers[chosen, :, None, None]
            for numbers in (geometry.raw.start, geometry.raw.by_row, geometry.raw.by_column)
        )
        position = start + by_row * rows[:, None] + by_column * columns
        y, x = np.floor(position + 0.5).astype(np.int64).transpose(1, 0, 2, 3)
        for z in section[chosen].T:
            found = _has_raw(crops[index], np.broadcast_to(z[:, None, None], y.shape), y, x)
            shown, there = shown + found.size, there + int(found.sum())
    return 1.0 - there / shown


def _spread(size: int, lattice: int) -> np.ndarray:
    count = min(size, lattice)
    return np.floor((np.arange(count) + 0.5) * size / count)


def _has_raw(crop: StoredCrop, z: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Tell for voxels of a crop's raw block, and beyond it, whether they are stored."""
    depth, height, width = crop.raw_grid.shape
    found: np.ndarray = (z >= 0) & (z < depth) & (y >= 0) & (y < height) & (x >= 0) & (x < width)
    if not crop.raw_missing:
        return found
    # Missing boxes are chunks: their faces cut the block into few cells, each of which is there or not as a whole.
    edges = [np.unique([face for box in crop.raw_missing for face in (box.start[k], box.stop[k])]) for k in range(3)]
    is_missing = np.zeros([len(e) + 1 for e in edges], dtype=bool)
    for box in crop.raw_missing:
        first, last = (
            [int(np.searchsorted(e, corner, side="right")) for e, corner in zip(edges, corners, strict=True)]
            for corners in (box.start, box.stop)
        )
        is_missing[tuple(slice(a, b) for a, b in zip(first, last, strict=True))] = True
    cell = (np.searchsorted(e, place, side="right") for e, place in zip(edges, (z, y, x), strict=True))
    return found & ~is_missing[tuple(cell)]
