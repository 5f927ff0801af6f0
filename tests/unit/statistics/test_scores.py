"""Scores from counts: worked by hand from a few crops."""

import numpy as np
import pytest

from counterpoise.statistics.scores import crop_mean_scores, effective_crops, pooled_scores


def test_scores_of_crops_count_only_crops_with_the_class() -> None:
    # Crop 1: Dice 0.8. Crop 2: class absent, something predicted. Crop 3: Dice 0.4.
    counts = np.array([[[[[4, 1, 1]], [[0, 5, 0]], [[2, 3, 3]]]]], float)
    only = np.array([True])
    assert crop_mean_scores(counts, only)[0, 0] == pytest.approx(0.6)
    assert pooled_scores(counts, only)[0, 0] == pytest.approx(12 / (12 + 9 + 4))
    assert pooled_scores(counts, only, metric="iou")[0, 0] == pytest.approx(6 / (6 + 9 + 4))


def test_kish_counts_equal_crops_fully_and_a_giant_one_as_one() -> None:
    equal = np.zeros((1, 1, 10, 1, 3))
    equal[..., 0] = 50
    assert effective_crops(equal)[0] == pytest.approx(10)
    equal[0, 0, 0, 0, 0] = 5e6
    assert effective_crops(equal)[0] == pytest.approx(1, abs=0.001)
