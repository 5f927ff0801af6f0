"""What the fixed validation tiles hold, counted before any training and without torch."""

from __future__ import annotations

import numpy as np
from jaxtyping import Int

from counterpoise.experiment.config import SamplingConfig
from counterpoise.sampling.tile_words import tile_words
from counterpoise.sampling.tiles import TileList
from counterpoise.store import VoxelStore

__all__ = ["count_tile_positives"]


def count_tile_positives(
    store: VoxelStore, tiles: TileList, sampling: SamplingConfig
) -> Int[np.ndarray, "crop class_"]:
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
    int64 array, shape (crops, classes)
        Voxels where the class is known to be present: what TP + FN of every run will be.
    """
    classes = np.arange(len(store.classes), dtype=store.present.dtype)
    counts = np.zeros((len(tiles.crops), len(classes)), dtype=np.int64)
    for part, words in tile_words(store, tiles.patches, sampling):
        for c in classes:
            np.add.at(counts[:, c], tiles.patches.crop[part], ((words >> c) & 1).sum(axis=(1, 2), dtype=np.int64))
    return counts
