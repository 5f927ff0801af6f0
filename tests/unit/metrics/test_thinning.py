"""Thinning against scikit-image's function for the same algorithm, and what a skeleton has to be."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy import ndimage
from skimage import morphology

from counterpoise.metrics.thinning import thin


def reference(mask: np.ndarray) -> np.ndarray:
    found: np.ndarray = morphology.thin(mask)  # type: ignore[no-untyped-call]
    return found


MASKS = arrays.arrays(bool, st.tuples(st.integers(1, 14), st.integers(1, 14)))


@given(MASKS)
def test_it_is_that_of_scikit_image(mask: np.ndarray) -> None:
    assert np.array_equal(thin(mask), reference(mask))


@pytest.mark.parametrize("sigma", [1.0, 3.0, 8.0])
def test_it_is_that_of_scikit_image_on_large_blobs(sigma: float) -> None:
    for seed in range(4):
        noise = ndimage.gaussian_filter(np.random.default_rng(seed).random((150, 170)), sigma)
        mask = noise > np.quantile(noise, 0.4)
        assert np.array_equal(thin(mask), reference(mask))


@given(MASKS)
def test_pieces_stay_and_stay_whole(mask: np.ndarray) -> None:
    eight = np.ones((3, 3))
    line = thin(mask)
    assert not (line & ~mask).any()
    assert ndimage.label(line, eight)[1] == ndimage.label(mask, eight)[1]
    assert np.array_equal(thin(line), line)


def test_a_bar_becomes_its_middle_line() -> None:
    bar = np.zeros((9, 20), bool)
    bar[3:6, 2:18] = True
    rows, columns = np.nonzero(thin(bar))
    assert set(rows.tolist()) == {4}
    assert len(columns) >= 12
