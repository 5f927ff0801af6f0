"""Boundary and skeleton counts by hand, and against distance transforms and plain loops."""

from typing import Any

import numpy as np
import pytest
from scipy import ndimage
from skimage import morphology

from counterpoise.metrics.boundary import cl_dice, count_boundaries, default_tolerance_nm, reach, surface_dice


def counted_all(shape: tuple[int, ...]) -> np.ndarray:
    return np.array([0, shape[0], 0, shape[1]])


def words(*planes: np.ndarray) -> np.ndarray:
    found = np.zeros(planes[0].shape, np.int64)
    for c, plane in enumerate(planes):
        found |= plane.astype(np.int64) << c
    return found


def outline(mask: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Find boundary voxels with a loop over voxels and neighbours."""
    edge = np.zeros_like(mask)
    for r, c in np.argwhere(mask & known):
        for y, x in ((r - 1, c), (r + 1, c), (r, c - 1), (r, c + 1)):
            inside = 0 <= y < mask.shape[0] and 0 <= x < mask.shape[1]
            edge[r, c] |= inside and bool(known[y, x]) and not mask[y, x]
    return edge


def expected(
    predicted: np.ndarray,
    present: np.ndarray,
    known: np.ndarray,
    box: np.ndarray,
    tolerance_nm: float,
    voxel_nm: tuple[float, float],
) -> list[list[int]]:
    """Count with distance transforms of whole planes."""
    counts = np.zeros_like(known)
    counts[box[0] : box[1], box[2] : box[3]] = True
    predicted, present = predicted & known, present & known
    edges = outline(predicted, known), outline(present, known)
    surface = []
    for edge, other in (edges, edges[::-1]):
        distance = (
            ndimage.distance_transform_edt(~other, sampling=voxel_nm) if other.any() else np.full(edge.shape, 1e9)
        )
        near = edge & (distance <= tolerance_nm + 1e-6)
        surface += [int((near & counts).sum()), int((edge & counts).sum())]
    skeleton = []
    for mask, other in ((predicted, present), (present, predicted)):
        line = morphology.thin(mask) & counts  # type: ignore[no-untyped-call]
        skeleton += [int((line & other).sum()), int(line.sum())]
    return [surface, skeleton]


@pytest.mark.parametrize("seed", range(12))
def test_counts_equal_those_from_distance_transforms(seed: int) -> None:
    rng = np.random.default_rng(seed)
    shape = (40, 33)

    def blobs(least: float) -> np.ndarray:
        noise = ndimage.gaussian_filter(rng.random(shape), rng.uniform(0.7, 4))
        mask: np.ndarray = noise > np.quantile(noise, least)
        return mask

    predicted, present = ([blobs(0.6) for _ in range(3)] for _ in range(2))
    known = [blobs(0.2), np.ones(shape, bool), np.zeros(shape, bool)]
    box = np.array([3, 30, 0, 25])
    voxel_nm, tolerance = ((8.0, 8.0), 8.0) if seed % 2 else ((4.0, 6.5), 15.0)
    found = count_boundaries(words(*predicted), words(*present), words(*known), box, reach(tolerance, voxel_nm), 3)
    for c in range(3):
        assert found[c].tolist() == expected(predicted[c], present[c], known[c], box, tolerance, voxel_nm)
    assert found[2].sum() == 0
    assert found[:2].min() > 0


def squares(shift: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Put two squares of 5 x 5 voxels, 16 on their boundary, a few columns apart."""
    present, predicted = np.zeros((12, 16), np.int64), np.zeros((12, 16), np.int64)
    present[3:8, 3:8] = 1
    predicted[3:8, 3 + shift : 8 + shift] = 1
    return predicted, present, np.ones_like(present)


def test_a_square_that_is_shifted_by_the_tolerance_is_right_and_by_more_is_not() -> None:
    for shift, tolerance, near in ((0, 0.0, 16), (1, 8.0, 16), (1, 0.0, 8), (3, 8.0, 9)):
        found = count_boundaries(*squares(shift), counted_all((12, 16)), reach(tolerance, (8.0, 8.0)), 1)
        assert found[0, 0].tolist() == [near, 16, near, 16], (shift, tolerance)


def test_the_centre_of_a_square_is_one_voxel() -> None:
    found = count_boundaries(*squares(1), counted_all((12, 16)), reach(8.0, (8.0, 8.0)), 1)
    assert found[0, 1].tolist() == [1, 1, 1, 1]


def test_a_mask_has_no_boundary_against_unknown_voxels_and_the_edge_of_a_tile() -> None:
    present = np.ones((6, 8), np.int64)
    known = np.ones_like(present)
    known[:, 5:] = 0
    found = count_boundaries(present, present, known, counted_all(known.shape), reach(8.0, (8.0, 8.0)), 1)
    assert found[0, 0].tolist() == [0, 0, 0, 0]


def test_parts_of_a_tile_that_are_counted_apart_add_up() -> None:
    rng = np.random.default_rng(0)
    noise = [ndimage.gaussian_filter(rng.random((30, 30)), 2) for _ in range(2)]
    predicted, present = (words(plane > plane.mean()) for plane in noise)
    known = np.ones_like(present)
    near = reach(16.0, (8.0, 8.0))
    halves = [np.array([0, 30, 0, 11]), np.array([0, 30, 11, 30])]
    parts = [count_boundaries(predicted, present, known, half, near, 1) for half in halves]
    whole = count_boundaries(predicted, present, known, np.array([0, 30, 0, 30]), near, 1)
    assert np.array_equal(parts[0] + parts[1], whole)


def test_swapping_prediction_and_annotation_swaps_their_counts() -> None:
    predicted, present, known = squares(2)
    near = reach(8.0, (8.0, 8.0))
    one, other = (
        count_boundaries(*pair, known, counted_all(known.shape), near, 1)
        for pair in ((predicted, present), (present, predicted))
    )
    assert np.array_equal(one[..., [2, 3, 0, 1]], other)


@pytest.mark.parametrize(
    ("tolerance", "voxel", "count"),
    [(0.0, (8.0, 8.0), 1), (8.0, (8.0, 8.0), 5), (8.0, (4.0, 8.0), 7), (12.0, (8.0, 8.0), 9)],
)
def test_what_is_near(tolerance: float, voxel: tuple[float, float], count: int) -> None:
    steps = reach(tolerance, voxel)
    assert len(steps) == count
    assert steps[0].tolist() == [0, 0]


def test_one_voxel_is_its_longer_side() -> None:
    assert default_tolerance_nm((4.0, 8.0)) == 8.0


def test_scores_by_hand() -> None:
    parts: Any = np.array([[6, 8, 3, 4], [0, 0, 0, 5], [0, 5, 0, 0], [0, 0, 0, 0], [np.nan] * 4])
    assert surface_dice(parts)[:3].tolist() == [0.75, 0, 0]
    assert cl_dice(parts)[:3].tolist() == [0.75, 0, 0]
    assert np.isnan([surface_dice(parts)[3:], cl_dice(parts)[3:]]).all()
    precision, sensitivity = 2 / 7, 5 / 6
    assert cl_dice(np.array([[2.0, 7, 5, 6]]))[0] == pytest.approx(
        2 * precision * sensitivity / (precision + sensitivity)
    )
