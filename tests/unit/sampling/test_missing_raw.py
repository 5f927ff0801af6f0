"""The share of what is shown that has no raw, against a look at every pixel."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from counterpoise.experiment.config import SamplingConfig
from counterpoise.sampling.crop_table import CropTable, PatchArrays
from counterpoise.sampling.gather_cpu import gather_patches
from counterpoise.sampling.missing_raw import share_without_raw
from counterpoise.sampling.patches import PatchPlan, draw_patches
from counterpoise.store import VoxelStore
from counterpoise.volumes.geometry import Grid, IndexBox

MISSING = (IndexBox((0, 0, 0), (2, 8, 8)), IndexBox((0, 8, 16), (4, 16, 24)), IndexBox((2, 16, 0), (4, 20, 8)))


@pytest.mark.parametrize("degrees", [0.0, 180.0])
@pytest.mark.parametrize("slices", [1, 3])
def test_the_share_is_what_a_store_that_is_white_where_there_is_raw_shows(
    degrees: float, slices: int, make_store: Callable[..., VoxelStore], made_crop: Callable[..., Any]
) -> None:
    """Nearest voxels decide: interpolated ones are white from half on, as long as they lie on the voxel grid."""
    crops = []
    for number in range(3):
        grid = Grid((4, 20, 24), (8.0, 8.0, 8.0), (0.0, 1000.0 * number, 0.0))
        white = np.full(grid.shape, 255, np.uint8)
        for box in MISSING if number else ():
            white[box.slices] = 0
        crops.append(made_crop(white, grid, np.zeros(grid.shape, np.uint8), grid))
    store = replace(make_store(crops), raw_mean=0)
    store = replace(store, crops=tuple(replace(c, raw_missing=MISSING if k else ()) for k, c in enumerate(store.crops)))
    config = SamplingConfig(patch_shape=(24, 16), slices=slices, rotation_degrees=degrees)
    plan = PatchPlan([c.label_grid for c in store.crops], (8.0, 8.0, 8.0), config)
    patches = draw_patches(plan, seed=1, step=0, batch_size=64)
    out = PatchArrays.empty(64, slices, (24, 16), store.present.dtype)
    gather_patches(store, CropTable.of(store.crops, store), patches, store.voxel_size_nm, out)
    expected = 1.0 - (out.images >= 0.5).mean()
    found = share_without_raw(store, "train", patches, config, lattice=24)
    assert 0.2 < expected < 0.8
    assert found == pytest.approx(expected, abs=1e-12 if degrees == 0 else 0.01)
    assert share_without_raw(store, "train", patches, config) == pytest.approx(expected, abs=0.03)


def test_nothing_is_missing_where_patches_stay_in_whole_blocks(
    make_store: Callable[..., VoxelStore], made_crop: Callable[..., Any]
) -> None:
    grid = Grid((1, 20, 20), (8.0, 8.0, 8.0), (0.0, 0.0, 0.0))
    store = make_store([made_crop(np.zeros(grid.shape, np.uint8), grid, np.zeros(grid.shape, np.uint8), grid)])
    config = SamplingConfig(patch_shape=(8, 8), rotation_degrees=0)
    patches = draw_patches(PatchPlan([grid], (8.0, 8.0, 8.0), config), seed=0, step=0, batch_size=8)
    assert share_without_raw(store, "train", patches, config) == 0.0
