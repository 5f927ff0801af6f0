"""What the fixed validation tiles hold, counted before any training and without torch."""

from __future__ import annotations

import math

import numpy as np

from counterpoise.experiment.config import SamplingConfig
from counterpoise.runs.tile_voxels import TileVoxels
from counterpoise.sampling.crop_table import CropTable, PatchArrays
from counterpoise.sampling.gather_cpu import gather_patches
from counterpoise.sampling.tiles import TileList
from counterpoise.store import VoxelStore

__all__ = ["count_tile_voxels"]

_TILES_AT_ONCE = 32
_VALUES_AT_ONCE = 2**25
"""Fewer tiles at once where they are large: a value takes six bytes and more."""


def count_tile_voxels(store: VoxelStore, tiles: TileList, sampling: SamplingConfig) -> TileVoxels:
    """Count the voxels of every class in the tiles of each validation crop, by the code that cuts patches.

    Parameters
    ----------
    store : VoxelStore
        What the tiles lie in.
    tiles : TileList
        The fixed list.
    sampling : SamplingConfig
        Shape of a tile.

    Returns
    -------
    TileVoxels
        Known and positive voxels: what every run is scored on.
    """
    classes = np.arange(len(store.classes), dtype=store.present.dtype)
    table = CropTable.of(store.of("validate"), store)
    known, present = (np.zeros((len(tiles.crops), len(classes)), dtype=np.int64) for _ in range(2))
    values = math.prod(sampling.patch_shape) * sampling.slices
    at_once = min(_TILES_AT_ONCE, max(_VALUES_AT_ONCE // values, 1))
    for start in range(0, len(tiles.patches), at_once):
        patches = tiles.patches[start : start + at_once]
        # No section of raw is asked for: only labels are looked up.
        out = PatchArrays.empty(len(patches), 0, sampling.patch_shape, store.present.dtype)
        gather_patches(store, table, patches, store.voxel_size_nm, out)
        for counts, words in ((known, out.known), (present, out.present & out.known)):
            for c in classes:
                np.add.at(counts[:, c], patches.crop, ((words >> c) & 1).sum(axis=(1, 2), dtype=np.int64))
    return TileVoxels(tiles.crops, store.classes, known, present)
