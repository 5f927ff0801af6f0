"""Which patches are drawn: purity, chances, and where they may lie."""

import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from counterpoise.errors import ClassNameError
from counterpoise.experiment.config import SamplingConfig
from counterpoise.sampling.patches import (
    Patches,
    PatchPlan,
    class_balanced_weights,
    crops_never_drawn,
    draw_patches,
    snap_nm,
)
from counterpoise.store import VoxelStore
from counterpoise.volumes.annotation import ClassCount, VoxelCount
from counterpoise.volumes.geometry import Grid


def grid(shape: tuple[int, int, int], size: float = 8.0, at: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> Grid:
    return Grid(shape, (size, size, size), at)


def plan(*grids: Grid, voxel: tuple[float, float, float] = (8.0, 8.0, 8.0), **config: object) -> PatchPlan:
    values = {"patch_shape": (16, 16), **config}
    return PatchPlan(grids, voxel, SamplingConfig.model_validate(values))


def same(a: Patches, b: Patches) -> bool:
    return (
        np.array_equal(a.crop, b.crop)
        and np.array_equal(a.section, b.section)
        and np.array_equal(a.centre_nm, b.centre_nm)
        and np.array_equal(a.orientation, b.orientation)
    )


GRIDS = (grid((5, 40, 60)), grid((3, 10, 90), 4.0, (100.0, -50.0, 7.5)))


def test_a_batch_depends_on_seed_and_step_alone_and_not_on_what_was_drawn_before() -> None:
    p = plan(*GRIDS)
    forward = {k: draw_patches(p, seed=k[0], step=k[1], batch_size=9) for k in itertools.product((0, 1), (0, 5, 2))}
    backward = {k: draw_patches(p, seed=k[0], step=k[1], batch_size=9) for k in reversed(list(forward))}
    assert all(same(forward[k], backward[k]) for k in forward)
    for a, b in itertools.combinations(forward, 2):
        # Along x only: along y a crop that is smaller than a turned patch leaves it no room.
        assert not np.isin(forward[a].centre_nm[:, 1], forward[b].centre_nm[:, 1]).any()


def test_seed_and_step_cannot_be_exchanged_or_added() -> None:
    p = plan(*GRIDS)
    assert not same(draw_patches(p, seed=1, step=2, batch_size=4), draw_patches(p, seed=2, step=1, batch_size=4))


def test_a_longer_batch_begins_with_the_shorter_one() -> None:
    p = plan(*GRIDS)
    assert same(draw_patches(p, seed=3, step=4, batch_size=20)[:6], draw_patches(p, seed=3, step=4, batch_size=6))


@pytest.mark.parametrize(("rule", "chances"), [("uniform", (1 / 3, 1 / 3, 1 / 3)), ("volume", (0.5, 0.125, 0.375))])
def test_crops_are_drawn_by_their_chances(rule: str, chances: tuple[float, ...]) -> None:
    # Volumes 4 x 20 x 20 at 8 nm, the same count of voxels in half the extent along two axes, 3 x 20 x 20 at 8 nm.
    grids = (grid((4, 20, 20)), Grid((4, 20, 20), (8.0, 4.0, 4.0), (0.0, 0.0, 0.0)), grid((3, 20, 20)))
    p = plan(*grids, crop_weights=rule)
    assert p.crop_weights() == pytest.approx(chances)
    drawn = draw_patches(p, seed=0, step=0, batch_size=6000).crop
    assert stats.chisquare(np.bincount(drawn, minlength=3), np.array(chances) * 6000).pvalue > 1e-3


def balanced(positives: list[list[int]]) -> PatchPlan:
    """Plan class-balanced patches of small crops with these positive voxels (a row per crop, a column per class)."""
    config = SamplingConfig(patch_shape=(4, 4), crop_weights="class_balanced")
    return PatchPlan([grid((2, 9, 9))] * len(positives), (8.0, 8.0, 8.0), config, np.array(positives))


def test_class_balanced_chances_by_hand() -> None:
    # Class A is in crops 1 and 2, class B in crops 2, 3 and 4, class C in crop 4 alone, class D nowhere. A third of
    # the draws each: 1/3 (1/2), 1/3 (1/2 + 1/3), 1/3 (1/3), 1/3 (1/3 + 1); crop 0 holds nothing.
    positives = [[0, 0, 0, 0], [10**12, 0, 0, 0], [1, 7, 0, 0], [0, 1, 0, 0], [0, 500, 2, 0]]
    expected = [0, 3 / 18, 5 / 18, 2 / 18, 8 / 18]
    assert class_balanced_weights(np.array(positives)) == pytest.approx(expected, abs=1e-15)
    assert balanced(positives).crop_weights() == pytest.approx(expected, abs=1e-15)


def test_class_balanced_crops_are_those_of_two_draws_first_a_class_then_a_crop() -> None:
    generator = np.random.default_rng(11)
    positives = generator.integers(0, 1000, (9, 6)) * (generator.random((9, 6)) < 0.35)
    positives[:, 4] = 0  # a class that is nowhere
    positives[3] = 0  # a crop without anything
    classes = [c for c in range(6) if positives[:, c].any()]
    twice = np.zeros(9, dtype=int)
    for _ in range(20000):
        holders = np.flatnonzero(positives[:, generator.choice(classes)])
        twice[generator.choice(holders)] += 1
    p = balanced(positives.tolist())
    once = sum(np.bincount(draw_patches(p, seed=0, step=s, batch_size=1000).crop, minlength=9) for s in range(20))
    holding = positives.any(axis=1)
    assert twice[~holding].sum() == np.asarray(once)[~holding].sum() == 0
    assert stats.chi2_contingency(np.stack([twice, once])[:, holding]).pvalue > 1e-3


@given(st.lists(st.lists(st.integers(0, 3), min_size=3, max_size=3), min_size=1, max_size=7), st.integers(2, 10**9))
def test_class_balanced_chances_ask_only_whether_a_crop_holds_a_class(rows: list[list[int]], factor: int) -> None:
    positives = np.array(rows)
    if not positives.any():
        return
    chances = class_balanced_weights(positives)
    assert chances.sum() == pytest.approx(1.0)
    assert np.array_equal(chances > 0, positives.any(axis=1))
    assert np.array_equal(class_balanced_weights(positives * factor), chances)
    assert class_balanced_weights(positives[::-1]) == pytest.approx(chances[::-1])
    assert class_balanced_weights(positives[:, [2, 0, 1]]) == pytest.approx(chances)


def test_every_class_comes_up_as_often_where_no_crop_holds_two() -> None:
    chances = class_balanced_weights(np.array([[5, 0], [1, 0], [9, 0], [0, 1]]))
    assert chances == pytest.approx([1 / 6, 1 / 6, 1 / 6, 1 / 2])


@pytest.mark.parametrize("crops", [3, 10, 49, 107])
def test_a_crop_without_a_chance_is_not_drawn_even_by_the_largest_and_smallest_number(crops: int) -> None:
    # Sums of 1/3, 1/10, 1/49 end a rounding error beside 1, and a random number may lie in between.
    p = balanced([[0], *[[1]] * crops, [0]])
    found = np.searchsorted(p.tables.cumulative, [0.0, np.nextafter(1.0, 0.0)], side="right")
    assert found.tolist() == [1, crops]


def test_class_balanced_draws_are_a_function_of_seed_and_step() -> None:
    positives = [[0, 3], [5, 0], [1, 1]]
    first, again = (draw_patches(balanced(positives), seed=4, step=7, batch_size=30) for _ in range(2))
    assert same(first, again)
    other = draw_patches(balanced(positives), seed=4, step=8, batch_size=30)
    assert not np.array_equal(first.crop, other.crop)


def test_class_balanced_chances_without_a_positive_voxel_are_refused() -> None:
    with pytest.raises(ClassNameError, match="no crop can be drawn") as caught:
        balanced([[0, 0], [0, 0]]).crop_weights()
    assert caught.value.found == "none in 2 crops"
    with pytest.raises(ValueError, match="need the positive voxels"):
        plan(*GRIDS, crop_weights="class_balanced").crop_weights()


def test_a_plan_of_a_store_takes_the_exact_counts_of_its_split(
    make_store: Callable[..., VoxelStore], made_crop: Callable[..., Any]
) -> None:
    zeros, box = np.zeros((1, 8, 8), np.uint8), grid((1, 8, 8))
    store = make_store([made_crop(zeros, box, zeros, box, split) for split in ("train", "validate", "train")])
    counted = [{"class-1": 7}, {"class-0": 1}, {"class-0": 0, "class-1": 2}]
    crops = tuple(
        replace(crop, counts={name: ClassCount(VoxelCount(n, 5, 0), (8.0, 8.0, 8.0)) for name, n in counts.items()})
        for crop, counts in zip(store.crops, counted, strict=True)
    )
    config = SamplingConfig(patch_shape=(4, 4), crop_weights="class_balanced")
    p = PatchPlan.of(replace(store, crops=crops), "train", config)
    assert p.positives is not None
    assert p.positives.tolist() == [[0, 7], [0, 2]]
    assert p.crop_weights().tolist() == [0.5, 0.5]
    assert len(PatchPlan.of(replace(store, crops=crops), "validate", config).grids) == 1


def test_crops_that_are_never_drawn_are_named(
    make_store: Callable[..., VoxelStore], made_crop: Callable[..., Any]
) -> None:
    zeros, box = np.zeros((1, 8, 8), np.uint8), grid((1, 8, 8))
    store = make_store([made_crop(zeros, box, zeros, box, split) for split in ("train", "train", "validate")])
    some, none = (ClassCount(VoxelCount(n, 5, 0), (8.0, 8.0, 8.0)) for n in (1, 0))
    counted = ({"class-0": none}, {"class-0": none, "class-1": some}, {"class-1": none})
    store = replace(store, crops=tuple(replace(c, counts=n) for c, n in zip(store.crops, counted, strict=True)))
    balanced_config = SamplingConfig(crop_weights="class_balanced")
    assert tuple(map(str, crops_never_drawn(store, balanced_config))) == (
        "crop-0: no positive voxel of any class, so class-balanced crop weights never draw it",
    )
    assert crops_never_drawn(store, SamplingConfig()) == ()


def test_sections_positions_mirrors_transpositions_and_angles_are_uniform_and_independent() -> None:
    p = plan(grid((5, 41, 60)), patch_shape=(16, 16))
    drawn = draw_patches(p, seed=1, step=0, batch_size=8000)
    assert stats.chisquare(np.bincount(drawn.section, minlength=5)).pvalue > 1e-3
    angle_and_flip = np.arctan2(drawn.orientation[:, 1, 0], drawn.orientation[:, 0, 0])
    assert stats.kstest(angle_and_flip, stats.uniform(-np.pi, 2 * np.pi).cdf).pvalue > 1e-3
    flipped = np.linalg.det(drawn.orientation) < 0
    assert abs(flipped.mean() - 0.5) < 0.02
    assert abs(np.corrcoef(flipped, drawn.section)[0, 1]) < 0.04


def test_unrotated_positions_are_every_place_of_the_voxel_grid_with_the_same_chance() -> None:
    # 41 x 60 voxels hold a 16 x 16 patch in 26 x 45 places; centres are whole voxel faces (even patch).
    p = plan(grid((1, 41, 60), at=(0.0, 1000.0, -200.0)), rotation_degrees=0, mirror=False, transpose=False)
    drawn = draw_patches(p, seed=2, step=0, batch_size=20000)
    place_y = (drawn.centre_nm[:, 0] - 1000.0) / 8.0 - 7.5
    place_x = (drawn.centre_nm[:, 1] + 200.0) / 8.0 - 7.5
    for place, count in ((place_y, 26), (place_x, 45)):
        whole = np.round(place).astype(int)
        assert place == pytest.approx(whole, abs=1e-9)
        assert whole.min() == 0
        assert whole.max() == count - 1
        assert stats.chisquare(np.bincount(whole, minlength=count)).pvalue > 1e-3
    assert np.array_equal(drawn.orientation, np.tile(np.eye(2), (20000, 1, 1)))


def test_mirror_and_transposition_alone_give_the_eight_orientations_of_a_square() -> None:
    p = plan(grid((1, 40, 40)), rotation_degrees=0)
    drawn = draw_patches(p, seed=4, step=0, batch_size=4000).orientation
    found, counts = np.unique(drawn.reshape(-1, 4), axis=0, return_counts=True)
    assert len(found) == 8
    assert set(np.unique(found)) == {-1.0, 0.0, 1.0}
    assert stats.chisquare(counts).pvalue > 1e-3


def corners_nm(patches: Patches, p: PatchPlan) -> np.ndarray:
    """Return the four outer corners of each patch in the world, shape (batch, 4, 2)."""
    half = np.array(p.patch_nm) / 2.0
    signs = np.array([[-1, -1], [-1, 1], [1, -1], [1, 1]]) * half
    corners: np.ndarray = patches.centre_nm[:, None, :] + np.einsum("bij,kj->bki", patches.orientation, signs)
    return corners


@settings(max_examples=60, deadline=None)
@given(
    rows=st.integers(2, 40),
    columns=st.integers(2, 40),
    patch=st.tuples(st.integers(1, 30), st.integers(1, 30)),
    voxel=st.sampled_from([(8.0, 8.0, 8.0), (30.0, 4.0, 4.0), (8.0, 6.0, 9.0)]),
    degrees=st.sampled_from([0.0, 20.0, 180.0]),
    seed=st.integers(0, 2**31 - 1),
)
def test_each_axis_stays_inside_the_crop_or_around_it_or_in_the_middle(
    rows: int,
    columns: int,
    patch: tuple[int, int],
    voxel: tuple[float, float, float],
    degrees: float,
    seed: int,
) -> None:
    crop = Grid((2, rows, columns), voxel, (3.0, -40.0, 1e4))
    p = PatchPlan(
        [crop], voxel, SamplingConfig(patch_shape=patch, rotation_degrees=degrees, transpose=voxel[1] == voxel[2])
    )
    drawn = draw_patches(p, seed=seed, step=0, batch_size=8)
    corners = corners_nm(drawn, p)
    for axis in (0, 1):
        low, high = crop.box.lower_nm[axis + 1], crop.box.upper_nm[axis + 1]
        slack = 1e-6
        inside = (corners[:, :, axis].min(1) >= low - slack) & (corners[:, :, axis].max(1) <= high + slack)
        # Around: the crop's extent lies within the patch's along this axis.
        around = (corners[:, :, axis].min(1) <= low + slack) & (corners[:, :, axis].max(1) >= high - slack)
        centred = np.abs(drawn.centre_nm[:, axis] - (low + high) / 2.0) <= voxel[axis + 1] / 2.0 + slack
        assert np.all(inside | around | centred)


@pytest.mark.parametrize(("samples", "expected"), [(16, 20.0), (15, 16.0)])
def test_snapping_puts_samples_on_voxel_centres(samples: int, expected: float) -> None:
    # Centres of voxels at 0, 8, 16 ... nm: an even patch is centred between two of them, an odd one on one.
    assert snap_nm(18.9, grid((1, 9, 9)), 1, samples, 8.0) == pytest.approx(expected)


def test_snapping_leaves_other_voxel_sizes_alone() -> None:
    assert snap_nm(18.9, grid((1, 9, 9), size=4.0), 1, 16, 8.0) == 18.9


def test_patches_can_be_cut_into_parts() -> None:
    drawn = draw_patches(plan(*GRIDS), seed=0, step=0, batch_size=7)
    assert len(drawn) == 7
    assert len(drawn[5:9]) == 2
    assert np.array_equal(drawn[2:4].centre_nm, drawn.centre_nm[2:4])
