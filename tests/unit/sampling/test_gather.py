"""Both gathers, compiled and torch, against a slow loop over pixels, in world coordinates, in float64."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from counterpoise.experiment.config import SamplingConfig
from counterpoise.sampling.crop_table import PatchArrays
from counterpoise.sampling.patches import Patches, PatchPlan, draw_patches
from counterpoise.store import VoxelStore
from counterpoise.volumes.geometry import Grid

TIE, ON_SECTION = 1e-6, 1e-3


Gathered = Callable[..., PatchArrays]


def linear(block: np.ndarray, index: tuple[float, ...]) -> float:
    """Interpolate a block at a fractional index inside it, axis after axis."""
    if not index:
        return float(block)
    low = min(math.floor(index[0]), block.shape[0] - 1)
    part = index[0] - low
    if part == 0.0 or low + 1 >= block.shape[0]:
        return linear(block[low], index[1:])
    value: float = (1.0 - part) * linear(block[low], index[1:]) + part * linear(block[low + 1], index[1:])
    return value


def slowly(
    store: VoxelStore, patches: Patches, shape: tuple[int, int], slices: int = 1
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Gather pixel by pixel: world position in nm, then the fractional index on each grid."""
    rows, columns = shape
    images = np.full((len(patches), slices, rows, columns), store.raw_mean / 255.0)
    present = np.zeros((len(patches), rows, columns), dtype=store.present.dtype)
    known = np.zeros_like(present)
    for b in range(len(patches)):
        crop = store.crops[int(patches.crop[b])]
        raw, words, certain = store.raw_of(crop), store.present_of(crop), store.known_of(crop)
        section = int(patches.section[b])
        z = crop.label_grid.translation_nm[0] + section * crop.label_grid.voxel_size_nm[0]
        for r in range(rows):
            for c in range(columns):
                offset = np.array(
                    [(r - (rows - 1) / 2) * store.voxel_size_nm[1], (c - (columns - 1) / 2) * store.voxel_size_nm[2]]
                )
                y, x = patches.centre_nm[b] + patches.orientation[b] @ offset
                for s in range(slices):
                    here = (z + (s - slices // 2) * store.voxel_size_nm[0], y, x)
                    index = crop.raw_grid.index_of(here)
                    sides = zip(index, raw.shape, strict=True)
                    if abs(index[0] - round(index[0])) < ON_SECTION:  # the documented shortcut: no blending there
                        index = (float(round(index[0])), index[1], index[2])
                    if all(-0.5 - TIE <= i <= n - 0.5 + TIE for i, n in sides):
                        held = tuple(min(max(i, 0.0), n - 1.0) for i, n in zip(index, raw.shape, strict=True))
                        images[b, s, r, c] = linear(raw, held) / 255.0
                _, iy, ix = crop.label_grid.index_of((z, y, x))
                j, i = math.floor(iy + 0.5 + TIE), math.floor(ix + 0.5 + TIE)
                if 0 <= j < words.shape[1] and 0 <= i < words.shape[2]:
                    present[b, r, c] = words[section, j, i]
                    known[b, r, c] = certain[section, j, i]
    return images, present, known


@pytest.mark.parametrize("classes", [2, 8, 9, 16, 33, 64])
@pytest.mark.parametrize("seed", [0, 1])
def test_gather_equals_the_loop_over_pixels(
    classes: int,
    seed: int,
    gathered: Gathered,
    make_store: Callable[..., VoxelStore],
    random_crop: Callable[..., Any],
) -> None:
    generator = np.random.default_rng([seed, classes])
    voxel = [(8.0, 8.0, 8.0), (16.0, 8.0, 6.0)][seed]
    slices = (1, 5)[seed]
    store = make_store([random_crop(generator, classes) for _ in range(5)], classes=classes, voxel_size_nm=voxel)
    shape = (7, 10)
    plan = PatchPlan(
        [c.label_grid for c in store.crops], voxel, SamplingConfig(patch_shape=shape, rotation_degrees=180.0)
    )
    patches = draw_patches(plan, seed=seed, step=classes, batch_size=16)
    out = gathered(store, patches, shape, slices)
    images, present, known = slowly(store, patches, shape, slices)
    assert np.array_equal(out.present, present)
    assert np.array_equal(out.known, known)
    assert out.images == pytest.approx(images, abs=1e-5)
    assert 0.0 <= out.images.min() <= out.images.max() <= 1.0
    assert (known != 0).mean() > 0.2  # the example says something
    assert (images > 0).mean() > 0.2


def one_crop(made_crop: Callable[..., Any], generator: np.random.Generator) -> Any:
    """Make a crop of 6 x 30 x 40 voxels of 8 nm with raw 5 voxels wider on every side."""
    return made_crop(
        raw=generator.integers(0, 256, (16, 40, 50), dtype=np.uint8),
        raw_grid=Grid((16, 40, 50), (8.0, 8.0, 8.0), (60.0, 160.0, 260.0)),
        present=generator.integers(0, 4, (6, 30, 40), dtype=np.uint8),
        label_grid=Grid((6, 30, 40), (8.0, 8.0, 8.0), (100.0, 200.0, 300.0)),
    )


def test_patches_on_the_voxel_grid_are_exact_slices_mirrored_and_transposed(
    gathered: Gathered, make_store: Callable[..., VoxelStore], made_crop: Callable[..., Any]
) -> None:
    crop = one_crop(made_crop, np.random.default_rng(0))
    store = make_store([crop])
    shape, slices = (12, 20), 3
    plan = PatchPlan([crop.label_grid], (8.0, 8.0, 8.0), SamplingConfig(patch_shape=shape, rotation_degrees=0))
    patches = draw_patches(plan, seed=5, step=0, batch_size=24)
    out = gathered(store, patches, shape, slices)
    kinds = set()
    for b in range(24):
        turn = patches.orientation[b].round().astype(int)
        transposed = turn[0, 0] == 0
        height, width = shape[::-1] if transposed else shape
        top = round((patches.centre_nm[b, 0] - 200.0) / 8.0 - (height - 1) / 2)
        left = round((patches.centre_nm[b, 1] - 300.0) / 8.0 - (width - 1) / 2)
        z = int(patches.section[b])
        labels = crop.present[z, top : top + height, left : left + width]
        raw = crop.raw[z + 4 : z + 7, top + 5 : top + 5 + height, left + 5 : left + 5 + width]
        if transposed:
            labels, raw = labels.T, raw.transpose(0, 2, 1)
        row_axis, column_axis = (turn[1, 0], turn[0, 1]) if transposed else (turn[0, 0], turn[1, 1])
        labels, raw = labels[::row_axis, ::column_axis], raw[:, ::row_axis, ::column_axis]
        assert np.array_equal(out.present[b], labels)
        assert np.array_equal(np.round(out.images[b] * 255.0).astype(np.uint8), raw)
        assert out.images[b] == pytest.approx(raw / 255.0, abs=1e-6)
        assert np.all(out.known[b] == 3)
        kinds.add(tuple(turn.ravel().tolist()))
    assert len(kinds) >= 6


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("degrees", [0.0, 180.0])
def test_a_ramp_in_the_world_is_a_ramp_in_the_patch(
    axis: int, degrees: float, gathered: Gathered, make_store: Callable[..., VoxelStore], made_crop: Callable[..., Any]
) -> None:
    """Half a voxel of error anywhere (centre or corner, raw or label grid) would shift the ramp."""
    raw_size, raw_origin = (10.0, 4.0, 5.0), (-100.0, -80.0, -90.0)
    raw_grid = Grid((21, 51, 51), raw_size, raw_origin)
    ramp = np.arange(raw_grid.shape[axis], dtype=np.uint8) * (255 // (raw_grid.shape[axis] - 1))
    raw = np.broadcast_to(ramp.reshape([-1 if k == axis else 1 for k in range(3)]), raw_grid.shape)
    label_grid = Grid((5, 10, 10), (8.0, 8.0, 8.0), (-16.0, -30.0, -20.0))
    crop = made_crop(np.ascontiguousarray(raw), raw_grid, np.zeros((5, 10, 10), np.uint8), label_grid)
    store = make_store([crop], voxel_size_nm=(8.0, 6.0, 6.0))
    shape, slices = (9, 8), 3
    config = SamplingConfig(patch_shape=shape, rotation_degrees=degrees, mirror=degrees > 0, transpose=degrees > 0)
    patches = draw_patches(PatchPlan([label_grid], store.voxel_size_nm, config), seed=1, step=axis, batch_size=6)
    images = gathered(store, patches, shape, slices).images
    slope = (255 // (raw_grid.shape[axis] - 1)) / 255.0 / raw_size[axis]
    r, c = np.meshgrid((np.arange(9) - 4.0) * 6.0, (np.arange(8) - 3.5) * 6.0, indexing="ij")
    for b in range(6):
        y, x = np.einsum("ij,jrc->irc", patches.orientation[b], np.stack([r, c])) + patches.centre_nm[b][:, None, None]
        for s in range(slices):
            z = np.full_like(y, -16.0 + 8.0 * patches.section[b] + 8.0 * (s - 1))
            expected = ((z, y, x)[axis] - raw_origin[axis]) * slope
            assert images[b, s] == pytest.approx(expected, abs=2e-6)


def test_labels_of_a_crop_smaller_than_the_patch_are_all_there_and_the_rest_is_unknown(
    gathered: Gathered, make_store: Callable[..., VoxelStore], made_crop: Callable[..., Any]
) -> None:
    generator = np.random.default_rng(2)
    present = generator.integers(0, 4, (2, 5, 6), dtype=np.uint8)
    box = Grid((2, 5, 6), (8.0, 8.0, 8.0), (0.0, 0.0, 0.0))
    store = make_store([made_crop(generator.integers(1, 256, (2, 5, 6), dtype=np.uint8), box, present, box)])
    config = SamplingConfig(patch_shape=(16, 16), rotation_degrees=0, mirror=False, transpose=False)
    patches = draw_patches(PatchPlan([box], (8.0, 8.0, 8.0), config), seed=0, step=0, batch_size=10)
    out = gathered(store, patches, (16, 16))
    for b in range(10):
        inside = np.argwhere(out.known[b])
        (top, left), (bottom, right) = inside.min(0), inside.max(0) + 1
        assert (bottom - top, right - left) == (5, 6)
        assert np.array_equal(out.present[b, top:bottom, left:right], present[patches.section[b]])
        assert np.all(out.known[b, top:bottom, left:right] == 3)
        outside = np.ones((16, 16), dtype=bool)
        outside[top:bottom, left:right] = False
        assert np.all(out.known[b][outside] == 0)
        assert np.all(out.present[b][outside] == 0)
        assert np.all(out.images[b, 0][outside] == np.float32(store.raw_mean) * np.float32(1 / 255))


def test_unknown_words_hide_only_their_own_classes_and_only_in_their_crop(
    gathered: Gathered, make_store: Callable[..., VoxelStore], made_crop: Callable[..., Any]
) -> None:
    box = Grid((1, 4, 4), (8.0, 8.0, 8.0), (0.0, 0.0, 0.0))
    raw, present = np.zeros((1, 4, 4), np.uint8), np.full((1, 4, 4), 0b001, np.uint8)
    unknown = np.zeros((1, 4, 4), np.uint8)
    unknown[0, 1, 2] = 0b110
    crops = [
        made_crop(raw, box, present, box, known_word=0b101),
        made_crop(raw, box, present, box, known_word=0b111, unknown=unknown),
    ]
    store = make_store(crops, classes=3)
    patches = Patches(np.array([0, 1]), np.zeros(2, np.int64), np.full((2, 2), 12.0), np.tile(np.eye(2), (2, 1, 1)))
    out = gathered(store, patches, (4, 4))
    assert np.all(out.known[0] == 0b101)
    expected = np.full((4, 4), 0b111)
    expected[1, 2] = 0b001
    assert np.array_equal(out.known[1], expected)


def test_any_number_of_threads_gives_the_same_batch(
    with_threads: Gathered, make_store: Callable[..., VoxelStore], made_crop: Callable[..., Any]
) -> None:
    crop = one_crop(made_crop, np.random.default_rng(3))
    store = make_store([crop])
    plan = PatchPlan([crop.label_grid], (8.0, 8.0, 8.0), SamplingConfig(patch_shape=(9, 9)))
    patches = draw_patches(plan, seed=0, step=0, batch_size=7)
    one = with_threads(store, patches, (9, 9))
    for threads in (2, 3, 16):  # 16 is more than there are patches
        many = with_threads(store, patches, (9, 9), threads=threads)
        assert np.array_equal(one.images, many.images)
        assert np.array_equal(one.present, many.present)
        assert np.array_equal(one.known, many.known)
