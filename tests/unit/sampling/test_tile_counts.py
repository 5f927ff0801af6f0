"""Positives in the validation tiles: each known voxel once, and no more than the tiles that are kept."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from counterpoise.experiment.config import SamplingConfig
from counterpoise.sampling.patches import PatchPlan
from counterpoise.sampling.tile_counts import count_tile_voxels
from counterpoise.sampling.tiles import list_tiles
from counterpoise.volumes.geometry import Grid

SAMPLING = SamplingConfig(patch_shape=(16, 16))


def test_all_tiles_together_hold_every_known_positive_voxel_once(
    make_store: Callable[..., Any], made_crop: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    generator, crops = np.random.default_rng(0), []
    for shape in ((3, 40, 70), (2, 16, 16), (4, 5, 9)):
        grid = Grid(shape, (8.0, 8.0, 8.0), (0.0, 80.0, 160.0))
        labels = generator.integers(0, 8, shape, dtype=np.uint8)
        unknown = generator.integers(0, 8, shape, dtype=np.uint8)
        crops.append(made_crop(np.zeros(shape, np.uint8), grid, labels, grid, "validate", unknown=unknown))
    store = make_store(crops, classes=3)
    plan = PatchPlan([c.label_grid for c in store.of("validate")], store.voxel_size_nm, SAMPLING)
    everything = list_tiles(plan, store, cap=10**6)
    expected = [[int(((crop.present & ~crop.unknown) >> c & 1).sum()) for c in range(3)] for crop in crops]
    known = [[int((~crop.unknown >> c & 1).sum()) for c in range(3)] for crop in crops]
    counted = count_tile_voxels(store, everything, SAMPLING)
    assert (counted.present.tolist(), counted.known.tolist()) == (expected, known)
    monkeypatch.setattr("counterpoise.sampling.tile_words._VALUES_AT_ONCE", 1)  # large tiles go one by one
    assert count_tile_voxels(store, everything, SAMPLING).known.tolist() == known
    one_each = list_tiles(plan, store, cap=1)
    kept = count_tile_voxels(store, one_each, SAMPLING).present
    assert kept[1:].sum() < np.array(expected)[1:].sum()
    assert (kept[0] <= 16 * 16).all()
