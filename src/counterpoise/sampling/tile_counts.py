"""What the fixed validation tiles hold, counted before any training and without torch."""

from __future__ import annotations

import numpy as np

from counterpoise.experiment.config import SamplingConfig
from counterpoise.runs.tile_voxels import TileVoxels
from counterpoise.sampling.tile_words import tile_words
from counterpoise.sampling.tiles import TileList
from counterpoise.store import VoxelStore

__all__ = ["count_tile_voxels"]


def count_tile_voxels(store: VoxelStore, tiles: TileList, sampling: SamplingConfig) -> TileVoxels:
    """Count the voxels of every class in the tiles of each validation crop.

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
    known, present = (np.zeros((len(tiles.crops), len(classes)), dtype=np.int64) for _ in range(2))
    for part, known_words, words in tile_words(store, tiles.patches, sampling):
        for counts, found in ((known, known_words), (present, words)):
            for c in classes:
                np.add.at(counts[:, c], tiles.patches.crop[part], ((found >> c) & 1).sum(axis=(1, 2), dtype=np.int64))
    return TileVoxels(tiles.crops, store.classes, known, present)
