"""Validation tiles: every known voxel once, a cap that picks the same tiles always, a hash that notices changes."""

import itertools
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from counterpoise.experiment.config import SamplingConfig
from counterpoise.sampling.patches import PatchPlan
from counterpoise.sampling.sampler import Sampler, unpack_words
from counterpoise.sampling.tiles import TileList, list_tiles
from counterpoise.store import VoxelStore
from counterpoise.volumes.geometry import Grid

SHAPES = ((3, 40, 70), (2, 16, 16), (4, 5, 9), (1, 17, 32), (2, 33, 100))


def store_of(
    make_store: Callable[..., VoxelStore],
    made_crop: Callable[..., Any],
    shapes: tuple[tuple[int, int, int], ...] = SHAPES,
    size_nm: float = 8.0,
) -> VoxelStore:
    """Make validation crops with random labels and unknown voxels at odd places in the world."""
    crops = []
    for number, shape in enumerate(shapes):
        generator = np.random.default_rng(number)
        box = Grid(shape, (size_nm,) * 3, tuple(np.round(generator.uniform(-1e5, 1e5, 3), 6).tolist()))
        crops.append(
            made_crop(
                np.zeros(shape, np.uint8),
                box,
                generator.integers(0, 4, shape, dtype=np.uint8),
                box,
                "validate",
                unknown=generator.integers(0, 4, shape, dtype=np.uint8),
            )
        )
    return make_store(crops)


def tiles_of(store: VoxelStore, cap: int = 10**6, patch: tuple[int, int] = (16, 16)) -> TileList:
    plan = PatchPlan(
        [c.label_grid for c in store.of("validate")], store.voxel_size_nm, SamplingConfig(patch_shape=patch)
    )
    return list_tiles(plan, store, cap=cap)


def rows(tiles: TileList) -> list[tuple[float, ...]]:
    p = tiles.patches
    return [(int(c), int(z), float(y), float(x)) for c, z, (y, x) in zip(p.crop, p.section, p.centre_nm, strict=True)]


def store_of_two(
    make_store: Callable[..., VoxelStore],
    made_crop: Callable[..., Any],
    grid: Grid,
    first: np.ndarray,
    second: np.ndarray,
    unknown: np.ndarray | None = None,
) -> VoxelStore:
    raw = np.zeros(grid.shape, np.uint8)
    return make_store(
        [
            made_crop(raw, grid, first, grid, "validate", unknown=unknown),
            made_crop(raw, grid, second, grid, "validate"),
        ]
    )


@pytest.mark.parametrize("patch", [(16, 16), (7, 24), (1, 1), (64, 128)])
def test_tiles_cover_every_known_voxel_exactly_once(
    patch: tuple[int, int], make_store: Callable[..., VoxelStore], made_crop: Callable[..., Any]
) -> None:
    shapes = SHAPES if patch != (1, 1) else ((2, 3, 5), (1, 4, 4))
    store = store_of(make_store, made_crop, shapes)
    tiles = tiles_of(store, patch=patch)
    sampler = Sampler(store, "validate", SamplingConfig(patch_shape=patch))
    counts = np.zeros((len(shapes), 2, 2), dtype=np.int64)
    for batch in sampler.batches(tiles.patches, 64):
        known, present = unpack_words(batch.known, 2), unpack_words(batch.present, 2)
        for b, crop in enumerate(batch.crops.tolist()):
            counts[crop, :, 0] += known[b].sum((1, 2)).numpy()
            counts[crop, :, 1] += (present & known)[b].sum((1, 2)).numpy()
    for index, crop in enumerate(store.of("validate")):
        for c in (0, 1):
            known_voxels = store.known_of(crop) >> c & 1
            present_voxels = store.present_of(crop) >> c & 1
            assert counts[index, c, 0] == known_voxels.sum()
            assert counts[index, c, 1] == (known_voxels & present_voxels).sum()


def test_tiles_lie_inside_every_crop_that_is_large_enough_and_in_the_middle_of_one_that_is_not(
    make_store: Callable[..., VoxelStore], made_crop: Callable[..., Any]
) -> None:
    store = store_of(make_store, made_crop)
    tiles = tiles_of(store, patch=(16, 24))
    for index, centre in zip(tiles.patches.crop, tiles.patches.centre_nm, strict=True):
        box = store.of("validate")[index].label_grid.box
        for axis, size in ((1, 16 * 8.0), (2, 24 * 8.0)):
            below = centre[axis - 1] - size / 2 - box.lower_nm[axis]
            above = box.upper_nm[axis] - centre[axis - 1] - size / 2
            if box.size_nm[axis] >= size:
                assert below >= -1e-6
                assert above >= -1e-6
            else:
                assert abs(below - above) <= 8.0 + 1e-6  # as near to the middle as the voxel grid allows


def test_a_pixel_of_an_overlap_counts_in_the_tile_in_which_it_lies_further_from_the_edge(
    make_store: Callable[..., VoxelStore], made_crop: Callable[..., Any]
) -> None:
    # 40 columns in tiles of 16: they begin at 0, 12 and 24, and overlap by 4; the borders are at 14 and 26.
    tiles = tiles_of(store_of(make_store, made_crop, ((1, 16, 40),)))
    assert tiles.counted.tolist() == [[0, 16, 0, 14], [0, 16, 2, 14], [0, 16, 2, 16]]
    # 17 columns: 0 and 1, with the border in the middle of the 15 they share.
    tiles = tiles_of(store_of(make_store, made_crop, ((1, 16, 17),)))
    assert tiles.counted.tolist() == [[0, 16, 0, 8], [0, 16, 7, 16]]


@pytest.mark.parametrize("size_nm", [7.0, 7.95, 12.0])
def test_each_place_counts_once_where_labels_have_another_voxel_size(
    size_nm: float, make_store: Callable[..., VoxelStore], made_crop: Callable[..., Any]
) -> None:
    """The samples that count lie 8 nm apart, all on one grid, from face to face of the crop."""
    store = store_of(make_store, made_crop, ((1, 61, 50),), size_nm=size_nm)
    tiles = tiles_of(store)
    box = store.of("validate")[0].label_grid.box
    for axis, (first, end) in ((1, (0, 1)), (2, (2, 3))):
        places = set()
        for centre, counted in zip(tiles.patches.centre_nm, tiles.counted, strict=True):
            places.add(tuple(np.round(centre[axis - 1] + (np.arange(counted[first], counted[end]) - 7.5) * 8.0, 6)))
        positions = np.sort(np.concatenate([np.array(part) for part in places]))
        assert np.allclose(np.diff(positions), 8.0)
        assert positions[0] - box.lower_nm[axis] < 8.0
        assert -4.0 - 1e-6 <= box.upper_nm[axis] - positions[-1] <= 8.0


def test_number_of_tiles_is_what_one_gets_by_hand(
    make_store: Callable[..., VoxelStore], made_crop: Callable[..., Any]
) -> None:
    # Sections x ceil(rows / 16) x ceil(columns / 16).
    assert tiles_of(store_of(make_store, made_crop)).available == (3 * 3 * 5, 2, 4, 1 * 2 * 2, 2 * 3 * 7)


def test_the_cap_holds_per_crop_and_keeps_tiles_of_the_full_list_without_repeats(
    make_store: Callable[..., VoxelStore], made_crop: Callable[..., Any]
) -> None:
    store = store_of(make_store, made_crop)
    everything, capped = tiles_of(store), tiles_of(store, cap=10)
    assert np.bincount(capped.patches.crop).tolist() == [10, 2, 4, 4, 10]
    assert capped.available == everything.available

    assert set(rows(capped)) <= set(rows(everything))
    assert len(set(rows(capped))) == len(rows(capped))
    assert rows(capped) == sorted(rows(capped))
    sections = {z for c, z, *_ in rows(capped) if c == 0}
    assert len(sections) > 1  # a sample, not the first ten


def test_no_class_loses_its_positives_to_the_cap_and_other_crops_keep_their_sample(
    make_store: Callable[..., VoxelStore], made_crop: Callable[..., Any]
) -> None:
    """Two crops of 60 tiles: one holds a class in four of them, none of which is in the sample of five."""
    cap, grid = 5, Grid((15, 32, 32), (8.0,) * 3, (0.0,) * 3)
    common = np.random.default_rng(0).integers(0, 2, grid.shape, dtype=np.uint8)
    plain = store_of_two(make_store, made_crop, grid, common, common)
    sampled = [int(z) for z in tiles_of(plain, cap).patches.section[:cap]]
    section = next(z for z in range(15) if z not in sampled)
    rare = common.copy()
    rare[section, 3::16, 3::16] |= 2  # one voxel in each tile of a section
    hidden = np.zeros_like(rare)
    store = store_of_two(make_store, made_crop, grid, rare, common, hidden)
    before, after = tiles_of(plain, cap), tiles_of(store, cap)
    kept = [(c, z) for c, z in zip(after.patches.crop, after.patches.section, strict=True)]
    assert sum(pair == (0, section) for pair in kept) == 1
    assert len(set(rows(before)) & set(rows(after))) == 2 * cap - 1
    assert rows(after)[cap:] == rows(before)[cap:]
    assert after.lost == ()
    # Where these voxels are unknown nothing is lost, and nothing is kept for their sake.
    hidden[section] = 2
    assert tiles_of(store_of_two(make_store, made_crop, grid, rare, common, hidden), cap).hash() == before.hash()
    # With one tile per crop there is room for the rarer class only.
    assert int(tiles_of(store_of_two(make_store, made_crop, grid, rare, common), 1).patches.section[0]) == section


def test_classes_that_the_cap_is_too_small_for_are_named(
    make_store: Callable[..., VoxelStore], made_crop: Callable[..., Any]
) -> None:
    grid = Grid((3, 16, 16), (8.0,) * 3, (0.0,) * 3)
    labels = np.zeros(grid.shape, np.uint8)
    labels[0], labels[1, :9], labels[2, :4] = 1, 2, 4  # each class in a section of its own
    crop = made_crop(np.zeros(grid.shape, np.uint8), grid, labels, grid, "validate")
    store = make_store([crop], classes=3)
    tiles = tiles_of(store, 2)
    assert sorted(tiles.patches.section.tolist()) == [1, 2]
    assert tiles.lost == (("crop-0", ("class-0",)),)
    assert tiles_of(store, 3).lost == ()


def test_labels_stored_finer_along_z_are_visited_a_training_voxel_apart(
    make_store: Callable[..., VoxelStore], made_crop: Callable[..., Any]
) -> None:
    # 12 sections of 4 nm are 48 nm: six sections of 8 nm, the upper of each pair.
    store = store_of(make_store, made_crop, ((12, 8, 8),), size_nm=4.0)
    assert sorted(set(tiles_of(store).patches.section.tolist())) == [1, 3, 5, 7, 9, 11]


def test_labels_stored_coarser_along_z_are_visited_once_each(
    make_store: Callable[..., VoxelStore], made_crop: Callable[..., Any]
) -> None:
    store = store_of(make_store, made_crop, ((3, 8, 8),), size_nm=16.0)
    assert tiles_of(store).patches.section.tolist() == [0, 1, 2]


def test_the_hash_is_the_same_for_the_same_list_and_another_for_any_change(
    make_store: Callable[..., VoxelStore], made_crop: Callable[..., Any]
) -> None:
    store = store_of(make_store, made_crop)
    base = tiles_of(store, cap=10)
    assert base.hash() == tiles_of(store_of(make_store, made_crop), cap=10).hash()
    assert len(base.hash()) == 16
    moved = replace(base.patches, centre_nm=base.patches.centre_nm + np.array([0.0, 0.01]))
    lifted = replace(base.patches, section=base.patches.section + 1)
    variants = [
        base,
        tiles_of(store, cap=11),
        tiles_of(store, cap=10, patch=(16, 17)),
        tiles_of(store_of(make_store, made_crop, SHAPES[:-1]), cap=10),
        replace(base, crops=(*base.crops[:-1], "another")),
        replace(base, patches=moved),
        replace(base, patches=lifted),
        replace(base, patches=replace(base.patches, counted=base.counted + np.array([1, 0, 0, 0]))),
        replace(base, patches=base.patches[:-1]),
    ]
    assert all(a.hash() != b.hash() for a, b in itertools.combinations(variants, 2))


def test_the_hash_tells_patch_shapes_apart_even_where_each_crop_is_one_tile(
    make_store: Callable[..., VoxelStore], made_crop: Callable[..., Any]
) -> None:
    store = store_of(make_store, made_crop, ((1, 8, 8),))
    assert tiles_of(store, patch=(16, 16)).hash() != tiles_of(store, patch=(32, 32)).hash()


def test_the_saved_document_holds_the_list(
    make_store: Callable[..., VoxelStore], made_crop: Callable[..., Any]
) -> None:
    store = store_of(make_store, made_crop)
    tiles = tiles_of(store, cap=5)
    document = json.loads(json.dumps(tiles.document()))
    assert document["hash"] == tiles.hash()
    assert document["crops"] == [c.crop_id for c in store.of("validate")]
    assert document["cap_per_crop"] == 5
    assert len(document["tiles"]) == len(tiles.patches)
    assert document["tiles"][3][2:] == [*tiles.patches.centre_nm[3].tolist(), *tiles.counted[3].tolist()]
