"""The label words of validation tiles, looked up without torch and without raw."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from jaxtyping import UInt

from counterpoise.experiment.config import SamplingConfig
from counterpoise.sampling.crop_table import CropTable, PatchArrays
from counterpoise.sampling.gather_cpu import gather_patches
from counterpoise.sampling.patches import Patches
from counterpoise.store import VoxelStore

__all__ = ["tile_words"]

_TILES_AT_ONCE = 8
_VALUES_AT_ONCE = 2**25
"""Fewer tiles at once where they are large: a value takes six bytes and more."""

Words = UInt[np.ndarray, "tile row column"]


def tile_words(store: VoxelStore, patches: Patches, sampling: SamplingConfig) -> Iterator[tuple[slice, Words, Words]]:
    """Look up which classes are known, and which of these present, where, by the code that cuts patches.

    Parameters
    ----------
    store : VoxelStore
        What the tiles lie in.
    patches : Patches
        Tiles over its validation crops; pixels that do not count hold no class.
    sampling : SamplingConfig
        Shape of a tile.

    Yields
    ------
    part : slice
        Which of the tiles.
    known, present : unsigned array, shape (tiles, rows, columns)
        Bit c is set where it is known whether class c is there; where it is known to be there.
    """
    table = CropTable.of(store.of("validate"), store)
    values = math.prod(sampling.patch_shape) * sampling.slices
    at_once = min(_TILES_AT_ONCE, max(_VALUES_AT_ONCE // values, 1))
    for start in range(0, len(patches), at_once):
        part = slice(start, min(start + at_once, len(patches)))
        few = patches[part]
        # No section of raw is asked for: only labels are looked up.
        out = PatchArrays.empty(len(few), 0, sampling.patch_shape, store.present.dtype)
        gather_patches(store, table, few, store.voxel_size_nm, out)
        yield part, out.known, out.present & out.known
