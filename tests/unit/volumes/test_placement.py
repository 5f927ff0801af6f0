from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from counterpoise.volumes.placement import PatchReach, half_ranges_nm

Pair = tuple[float, float]

edges = st.floats(8.0, 4000.0)
pairs = st.tuples(edges, edges)
angles = st.floats(-math.pi, math.pi)


def corners(patch: Pair, angle: float) -> np.ndarray:
    """Turn the four corners of a patch about its centre; rows are (y, x)."""
    half = np.array([[a * patch[0] / 2, b * patch[1] / 2] for a in (-1, 1) for b in (-1, 1)])
    cosine, sine = math.cos(angle), math.sin(angle)
    turned: np.ndarray = half @ np.array([[cosine, sine], [-sine, cosine]])
    return turned


def ranges(extent: Pair, patch: Pair, angle: float) -> np.ndarray:
    half: np.ndarray = half_ranges_nm(np.array([extent]), np.array([patch]), np.array([angle]))[0]
    return half


def bounding(patch: Pair, angle: float) -> np.ndarray:
    size: np.ndarray = np.ptp(corners(patch, angle), axis=0)
    return size


@pytest.mark.parametrize(
    ("extent", "patch", "angle", "expected"),
    [
        ((2000.0, 1000.0), (600.0, 600.0), 0.0, (700.0, 200.0)),  # inside the crop: (E - P) / 2
        ((400.0, 600.0), (600.0, 600.0), 0.0, (100.0, 0.0)),  # around it: (P - E) / 2
        ((2000.0, 400.0), (600.0, 800.0), 90.0, (600.0, 100.0)),  # turned: the sides change places
        ((1000.0, 700.0), (600.0, 600.0), 45.0, (75.735931, 0.0)),  # (1000 - 600 sqrt 2) / 2; between: centred
        ((400.0, 410.0), (600.0, 600.0), 45.0, (12.132034, 7.132034)),  # (600 / sqrt 2 - 400) / 2: the crop inside
        ((1000.0, 400.0), (600.0, 600.0), 45.0, (75.735931, 0.0)),  # a square on its corner is longest in the middle
        ((1000.0, 400.0), (600.0, 600.0), -45.0, (75.735931, 0.0)),
        # (1000 - 300 cos 30 - 900 sin 30) / 2; as long as anywhere over 900 cos 30 - 300 sin 30 = 629.422863 of x.
        ((1000.0, 200.0), (300.0, 900.0), 30.0, (145.096189, 214.711432)),
        ((200.0, 1000.0), (900.0, 300.0), -30.0, (214.711432, 145.096189)),
    ],
)
def test_how_far_a_centre_may_lie(extent: Pair, patch: Pair, angle: float, expected: Pair) -> None:
    np.testing.assert_allclose(ranges(extent, patch, math.radians(angle)), expected, atol=1e-5)


@given(pairs, pairs, angles)
def test_a_patch_smaller_than_its_crop_stays_inside_it_and_reaches_its_border(
    extent: Pair, patch: Pair, angle: float
) -> None:
    half = ranges(extent, patch, angle)
    turned = corners(patch, angle)
    for axis in range(2):
        if extent[axis] >= bounding(patch, angle)[axis] + 1e-6:
            reach = half[axis] + turned[:, axis].max()
            assert reach == pytest.approx(extent[axis] / 2)  # inside, and nothing of the crop is out of reach


@given(pairs, pairs, angles)
def test_a_crop_smaller_than_the_patch_stays_inside_it(extent: Pair, patch: Pair, angle: float) -> None:
    half = ranges(extent, patch, angle)
    upright = np.array(patch) * min(np.array(patch) / bounding(patch, angle))
    if not all(extent[k] <= upright[k] - 1e-6 for k in range(2)):
        return
    cosine, sine = math.cos(angle), math.sin(angle)
    for sign_y in (-1, 1):
        for sign_x in (-1, 1):
            centre = half * (sign_y, sign_x)
            for corner in ((a * extent[0] / 2, b * extent[1] / 2) for a in (-1, 1) for b in (-1, 1)):
                y, x = corner - centre
                # Into the patch's own axes: the turn of `corners` undone.
                own = (cosine * y + sine * x, -sine * y + cosine * x)
                assert abs(own[0]) <= patch[0] / 2 + 1e-6
                assert abs(own[1]) <= patch[1] / 2 + 1e-6


@given(pairs, angles)
def test_in_between_a_patch_is_centred(patch: Pair, angle: float) -> None:
    box = bounding(patch, angle)
    upright = np.array(patch) * min(np.array(patch) / box)
    middle = (upright + box) / 2
    extent = (float(middle[0]), float(middle[1]))
    if (box - upright > 1e-6).all():
        np.testing.assert_array_equal(ranges(extent, patch, angle), 0.0)


def test_ranges_of_a_batch_are_those_of_its_members() -> None:
    rng = np.random.default_rng(0)
    extent, patch, angle = rng.uniform(50, 900, (20, 2)), rng.uniform(50, 900, (20, 2)), rng.uniform(-3, 3, 20)
    together = half_ranges_nm(extent, patch, angle)
    for b in range(20):
        np.testing.assert_array_equal(
            together[b], half_ranges_nm(extent[b : b + 1], patch[b : b + 1], angle[b : b + 1])[0]
        )


@given(
    pairs,
    pairs,
    st.floats(0.0, 180.0),
    st.booleans(),
    st.lists(st.tuples(st.floats(-1, 1), st.floats(-1, 1), st.floats(-1, 1), st.booleans()), min_size=8, max_size=8),
)
def test_the_margin_covers_every_corner_of_every_patch(
    extent: Pair, patch: Pair, rotation: float, transpose: bool, draws: list[tuple[float, float, float, bool]]
) -> None:
    margin = PatchReach(patch, 30.0, rotation, transpose).margin_nm((100.0, *extent))
    assert margin[0] == 30.0
    for turn, sy, sx, swap in [*draws, (1.0, 1.0, 1.0, False), (-1.0, -1.0, -1.0, True)]:
        angle = math.radians(turn * rotation)
        shape = patch[::-1] if swap and transpose else patch
        centre = ranges(extent, shape, angle) * (sy, sx)
        beyond = np.abs(corners(shape, angle) + centre).max(axis=0) - np.array(extent) / 2
        assert (beyond <= np.array(margin[1:]) + 0.01).all()


@pytest.mark.parametrize(
    ("extent", "rotation", "expected"),
    [
        ((3000.0, 3000.0), 180.0, 0.0),  # patches stay inside the crop
        ((1000.0, 1000.0), 0.0, 1000.0),  # (P - E) / 2 beyond the centre's own (P - E) / 2
        ((2000.0, 2000.0), 180.0, 448.154688),  # 2048 (sqrt 2 - 0) / 2 - 1000: centred at 45 degrees
    ],
)
def test_the_margin_by_hand(extent: Pair, rotation: float, expected: float) -> None:
    side = 2000.0 if rotation == 0.0 else 2048.0
    margin = PatchReach((side, side), 0.0, rotation, transpose=True).margin_nm((6.0, *extent))
    np.testing.assert_allclose(margin, (0.0, expected, expected), atol=1e-3)


def test_a_fraction_of_a_degree_counts() -> None:
    # A strip of 40 x 4000 nm on a crop of the same size: at 0.4 degrees it stands out 14 nm above and below.
    flat = PatchReach((40.0, 4000.0), 0.0, 0.0, transpose=False).margin_nm((6.0, 40.0, 4000.0))
    turned = PatchReach((40.0, 4000.0), 0.0, 0.4, transpose=False).margin_nm((6.0, 40.0, 4000.0))
    assert flat == (0.0, 0.0, 0.0)
    assert turned[1] == pytest.approx((40 * math.cos(math.radians(0.4)) + 4000 * math.sin(math.radians(0.4)) - 40) / 2)


def test_a_transposed_patch_reaches_as_far_as_its_long_side() -> None:
    plain = PatchReach((100.0, 300.0), 0.0, 0.0, transpose=False).margin_nm((6.0, 50.0, 300.0))
    swapped = PatchReach((100.0, 300.0), 0.0, 0.0, transpose=True).margin_nm((6.0, 50.0, 300.0))
    assert plain == (0.0, 50.0, 0.0)
    assert swapped == (0.0, 250.0, 0.0)
