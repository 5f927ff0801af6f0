"""Which patches are drawn: purity, chances, and where they may lie."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from counterpoise.data.geometry import Grid
from counterpoise.experiment.config import SamplingConfig
from counterpoise.sampling.patches import Patches, PatchPlan, draw_patches, snap_nm


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
        assert not np.isin(forward[a].centre_nm, forward[b].centre_nm).any()


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
