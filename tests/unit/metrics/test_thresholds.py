"""Counts by threshold against a plain comparison of every voxel's probability."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from counterpoise.metrics.thresholds import BINS, HALF, THRESHOLDS, counts_by_threshold


def test_one_half_is_among_the_thresholds() -> None:
    assert THRESHOLDS[HALF] == 0.5
    assert len(THRESHOLDS) == BINS - 1


@given(st.integers(0, 2**32 - 1))
def test_counts_equal_a_plain_comparison(seed: int) -> None:
    rng = np.random.default_rng(seed)
    probability = rng.choice(np.linspace(0, 1, 257), size=300)  # half of them exactly on a threshold's grid
    truth = rng.random(300) < 0.3
    histogram = np.zeros((2, BINS), dtype=np.int64)
    for p, t in zip(probability, truth, strict=True):
        histogram[int(t), sum(p > threshold for threshold in THRESHOLDS)] += 1
    counts = counts_by_threshold(histogram)
    for k in (0, 7, HALF, 50, BINS - 2):
        predicted = probability > THRESHOLDS[k]
        expected = [(predicted & truth).sum(), (predicted & ~truth).sum(), (~predicted & truth).sum()]
        assert counts[k].tolist() == expected


def test_leading_axes_stay_in_their_order() -> None:
    histogram = np.random.default_rng(0).integers(0, 9, size=(3, 4, 2, BINS))
    counts = counts_by_threshold(histogram)
    assert counts.shape == (BINS - 1, 3, 4, 3)
    assert np.array_equal(counts[:, 2, 1], counts_by_threshold(histogram[2, 1]))
