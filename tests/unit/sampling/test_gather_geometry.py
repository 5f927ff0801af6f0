"""Both gathers on patches of any size and any turn, against SciPy's interpolation at positions worked out in nm.

The slow loop of `test_gather` shows a few pixels at a time; these references are whole arrays, still float64 and still
by way of the world, so that sides, corners and full rows are met in numbers.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import ndimage

from counterpoise.experiment.config import SamplingConfig
from counterpoise.sampling.crop_table import CropTable, PatchArrays, PatchGeometry
from counterpoise.sampling.patches import Patches, PatchPlan, draw_patches
from counterpoise.store import VoxelStore
from counterpoise.volumes.geometry import Grid

Gathered = Callable[..., PatchArrays]
TIE = 1e-6


def world(store: VoxelStore, patches: Patches, b: int, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Place every pixel of a patch in nm (y, x)."""
    r, c = np.meshgrid(*(np.arange(n) - (n - 1) / 2 for n in shape), indexing="ij")
    flat = np.stack([r.ravel() * store.voxel_size_nm[1], c.ravel() * store.voxel_size_nm[2]])
    y, x = patches.orientation[b] @ flat + patches.centre_nm[b][:, None]
    return y.reshape(shape), x.reshape(shape)


def expected(
    store: VoxelStore, patches: Patches, b: int, shape: tuple[int, int], slices: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Gather one patch: raw by SciPy's linear interpolation, labels by rounding."""
    crop = store.crops[int(patches.crop[b])]
    y, x = world(store, patches, b, shape)
    section = int(patches.section[b])
    middle = crop.label_grid.translation_nm[0] + section * crop.label_grid.voxel_size_nm[0]
    images = np.empty((slices, *shape))
    for s in range(slices):
        z = middle + (s - slices // 2) * store.voxel_size_nm[0]
        grid = crop.raw_grid
        index = np.stack(
            [
                (np.broadcast_to(np.asarray(p), shape) - o) / n
                for p, o, n in zip((z, y, x), grid.translation_nm, grid.voxel_size_nm, strict=True)
            ]
        )
        near = np.round(index[0])
        index[0] = np.where(np.abs(index[0] - near) < 1e-3, near, index[0])  # documented: no blending that close
        ends = np.array(grid.shape).reshape(3, 1, 1) - 1
        inside = np.all((index >= -0.5 - TIE) & (index <= ends + 0.5 + TIE), axis=0)
        values = ndimage.map_coordinates(store.raw_of(crop).astype(np.float64), index, order=1, mode="nearest")
        images[s] = np.where(inside, values, store.raw_mean) / 255.0
    grid = crop.label_grid
    row = np.floor((y - grid.translation_nm[1]) / grid.voxel_size_nm[1] + 0.5 + TIE).astype(int)
    column = np.floor((x - grid.translation_nm[2]) / grid.voxel_size_nm[2] + 0.5 + TIE).astype(int)
    inside = (row >= 0) & (row < grid.shape[1]) & (column >= 0) & (column < grid.shape[2])
    at = (section, np.where(inside, row, 0), np.where(inside, column, 0))
    return images, np.where(inside, store.present_of(crop)[at], 0), np.where(inside, store.known_of(crop)[at], 0)


def assert_equal_to_reference(
    gathered: Gathered, store: VoxelStore, patches: Patches, shape: tuple[int, int], slices: int
) -> PatchArrays:
    out = gathered(store, patches, shape, slices)
    for b in range(len(patches)):
        images, present, known = expected(store, patches, b, shape, slices)
        assert np.array_equal(out.present[b], present)
        assert np.array_equal(out.known[b], known)
        assert np.abs(out.images[b] - images).max() < 1e-6
    return out


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 2**32 - 1),
    shape=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    degrees=st.sampled_from([0.0, 1.0, 180.0]),
    slices=st.sampled_from([1, 3]),
    sides=st.sampled_from([(1, 2), (1, 5), (3, 40)]),
    classes=st.sampled_from([5, 20]),
)
def test_any_patch_of_any_crop(
    seed: int,
    shape: tuple[int, int],
    degrees: float,
    slices: int,
    sides: tuple[int, int],
    classes: int,
    gathered: Gathered,
    make_store: Callable[..., VoxelStore],
    random_crop: Callable[..., Any],
) -> None:
    generator = np.random.default_rng(seed)
    voxel = tuple(generator.choice([4.0, 7.3, 8.0], 3).tolist())
    crops = [random_crop(generator, classes, sides=sides) for _ in range(3)]
    store = make_store(crops, classes=classes, voxel_size_nm=voxel)
    config = SamplingConfig(patch_shape=shape, rotation_degrees=degrees, slices=slices)
    plan = PatchPlan([crop.label_grid for crop in crops], store.voxel_size_nm, config)
    patches = draw_patches(plan, seed=seed, step=0, batch_size=4)
    assert_equal_to_reference(gathered, store, patches, shape, slices)


@pytest.fixture
def same_grid_store(make_store: Callable[..., VoxelStore], made_crop: Callable[..., Any]) -> VoxelStore:
    """Return a store as real ones are: 8 nm everywhere, raw wider than the labels by 20 and 30 voxels, some unknown."""
    generator = np.random.default_rng(3)
    raw, label = Grid((7, 90, 120), (8.0,) * 3, (0.0, 0.0, 0.0)), Grid((3, 50, 60), (8.0,) * 3, (16.0, 160.0, 240.0))
    words = [generator.integers(0, 2**20, label.shape, dtype=np.uint64) for _ in range(2)]
    crops = [
        made_crop(generator.integers(0, 256, raw.shape, dtype=np.uint8), raw, words[0], label, unknown=unknown)
        for unknown in (None, words[1])
    ]
    return make_store(crops, classes=20)


@pytest.mark.parametrize("shape", [(32, 48), (64, 40), (130, 100)])  # within, across and beyond the crop
@pytest.mark.parametrize("slices", [1, 3])
def test_patches_on_the_voxel_grid_are_copied_and_equal_what_interpolation_gives(
    shape: tuple[int, int], slices: int, gathered: Gathered, same_grid_store: VoxelStore
) -> None:
    store = same_grid_store
    config = SamplingConfig(patch_shape=shape, rotation_degrees=0, slices=slices)
    plan = PatchPlan([crop.label_grid for crop in store.crops], store.voxel_size_nm, config)
    patches = draw_patches(plan, seed=0, step=0, batch_size=48)
    geometry = PatchGeometry.of(CropTable.of(store.crops, store), patches, store.voxel_size_nm, shape, slices)
    assert geometry.raw.on_grid.all()  # or the test below would not meet the copying path
    assert geometry.label.on_grid.all()
    assert len({tuple(turn.ravel().tolist()) for turn in patches.orientation}) == 8
    out = assert_equal_to_reference(gathered, store, patches, shape, slices)
    assert (out.known != 0).any(axis=(1, 2)).all()


@pytest.mark.parametrize("degrees", [0.0, 180.0])
def test_a_ramp_shows_no_half_voxel_error_where_all_voxels_have_one_size(
    degrees: float, gathered: Gathered, make_store: Callable[..., VoxelStore], made_crop: Callable[..., Any]
) -> None:
    """Value = 2 per voxel along y + 1 per voxel along x, in the world: known at every pixel without any index."""
    raw_grid, label = (
        Grid((1, 80, 80), (8.0,) * 3, (0.0, -100.0, 60.0)),
        Grid((1, 20, 30), (8.0,) * 3, (0.0, 140.0, 260.0)),
    )
    ramp = (2 * np.arange(80)[:, None] + np.arange(80)[None, :]).astype(np.uint8)[None]
    store = make_store([made_crop(ramp, raw_grid, np.zeros(label.shape, np.uint8), label)])
    shape = (21, 26)
    config = SamplingConfig(patch_shape=shape, rotation_degrees=degrees)
    patches = draw_patches(PatchPlan([label], store.voxel_size_nm, config), seed=0, step=0, batch_size=16)
    images = gathered(store, patches, shape).images
    for b in range(16):
        y, x = world(store, patches, b, shape)
        assert np.abs(images[b, 0] - (2.0 * (y + 100.0) + (x - 60.0)) / 8.0 / 255.0).max() < 1e-6


@pytest.mark.parametrize(("axis", "offset"), [(0, 4.0), (1, 4.0), (1, -4.0), (0, 4.0 - 1e-5), (0, 4.0 + 1e-5)])
def test_a_position_between_two_label_voxels_takes_the_upper_one(
    axis: int, offset: float, gathered: Gathered, make_store: Callable[..., VoxelStore], made_crop: Callable[..., Any]
) -> None:
    """A tie goes up; 1e-5 nm (just above 1e-6 voxel) below it, down."""
    box = Grid((1, 9, 9), (8.0,) * 3, (0.0, 0.0, 0.0))
    words = np.arange(9, dtype=np.uint8).reshape(9, 1) if axis == 0 else np.arange(9, dtype=np.uint8).reshape(1, 9)
    present = np.ascontiguousarray(np.broadcast_to(words, (1, 9, 9)))
    store = make_store([made_crop(np.zeros((1, 9, 9), np.uint8), box, present, box)], classes=8)
    centre = np.array([[32.0, 32.0]])
    centre[0, axis] += offset
    patches = Patches(np.zeros(1, np.int64), np.zeros(1, np.int64), centre, np.eye(2)[None])
    found = gathered(store, patches, (3, 3)).present[0]
    first = 3 + math.floor(offset / 8.0 + 0.5 + 1e-6)
    line = found[:, 0] if axis == 0 else found[0]
    assert line.tolist() == [first, first + 1, first + 2]


@pytest.mark.parametrize(("beyond", "is_inside"), [(0.0, True), (5e-7, True), (2e-6, False)])
def test_raw_ends_half_a_voxel_beyond_the_last_one_however_long_the_block(
    beyond: float,
    is_inside: bool,
    gathered: Gathered,
    make_store: Callable[..., VoxelStore],
    made_crop: Callable[..., Any],
) -> None:
    """A sample on the outer face is a tie, as patches of 8 nm have them on raw of 4 nm; ``beyond`` is in voxels."""
    box = Grid((1, 900, 900), (4.0,) * 3, (0.0, 0.0, 0.0))
    white = np.full(box.shape, 255, np.uint8)
    store = make_store([made_crop(white, box, np.zeros(box.shape, np.uint8), box)], voxel_size_nm=(8.0, 8.0, 8.0))
    for axis in (0, 1):
        centre = np.array([[2000.0, 2000.0]])
        centre[0, axis] = (899.5 + beyond) * 4.0
        patches = Patches(np.zeros(1, np.int64), np.zeros(1, np.int64), centre, np.eye(2)[None])
        image = gathered(store, patches, (3, 3)).images[0, 0]
        line = image[:, 1] if axis == 0 else image[1]
        outside = store.raw_mean / 255
        assert line.tolist() == pytest.approx([1.0, 1.0 if is_inside else outside, outside])


def test_a_patch_beside_its_crop_shows_the_mean_and_knows_nothing(
    gathered: Gathered, make_store: Callable[..., VoxelStore], made_crop: Callable[..., Any]
) -> None:
    box = Grid((1, 9, 9), (8.0,) * 3, (0.0, 0.0, 0.0))
    full = np.full((1, 9, 9), 3, np.uint8)
    store = make_store([made_crop(full, box, full, box, unknown=np.zeros((1, 9, 9), np.uint8))])
    turns = [np.eye(2), np.array([[0.0, 1.0], [-1.0, 0.0]]), np.array([[0.6, -0.8], [0.8, 0.6]])]
    for turn in turns:
        for centre in ([-200.0, 32.0], [32.0, 400.0], [1e9, -1e9]):
            patches = Patches(np.zeros(1, np.int64), np.zeros(1, np.int64), np.array([centre]), turn[None])
            out = gathered(store, patches, (12, 10))
            assert np.unique(out.images).tolist() == pytest.approx([store.raw_mean / 255], abs=1e-7)
            assert not out.present.any()
            assert not out.known.any()
