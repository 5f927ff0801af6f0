"""What a threshold other than 1/2 would have scored: counts from a histogram of predicted probabilities.

A voxel is predicted present above a threshold, never at it, as everywhere in this package.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Int

__all__ = ["BINS", "HALF", "THRESHOLDS", "counts_by_threshold"]

BINS = 64
"""Bins of the histogram: fine enough that a neighbour's Dice differs by less than retraining changes it."""

THRESHOLDS: np.ndarray = np.arange(1, BINS) / BINS
"""Probabilities between the bins. Bin b holds (THRESHOLDS[b - 1], THRESHOLDS[b]]; the first and the last are open."""

HALF = BINS // 2 - 1
"""Index of the threshold 1/2."""


def counts_by_threshold(
    histogram: Int[np.ndarray, "*batch 2 bin"],
) -> Int[np.ndarray, "threshold *batch 3"]:
    """Count TP, FP, FN at every threshold.

    Parameters
    ----------
    histogram : integer array, shape (..., 2, bins)
        Voxels per bin of predicted probability, where the class is absent and where it is present.

    Returns
    -------
    int64 array, shape (bins - 1, ..., 3)
        TP, FP, FN; their sums TP + FN do not depend on the threshold.

    Examples
    --------
    >>> import numpy as np
    >>> histogram = np.zeros((2, 64), dtype=np.int64)
    >>> histogram[0, 10], histogram[1, 40], histogram[1, 20] = 5, 3, 2
    >>> counts_by_threshold(histogram)[HALF].tolist()
    [3, 0, 2]
    >>> counts_by_threshold(histogram)[15].tolist()
    [5, 0, 0]
    """
    above = np.flip(np.cumsum(np.flip(histogram, -1), -1, dtype=np.int64), -1)
    at = np.moveaxis(above[..., 1:], -1, 0)
    false_pos, true_pos = at[..., 0], at[..., 1]
    return np.stack([true_pos, false_pos, above[..., 1, 0] - true_pos], axis=-1)
