"""Dice and IoU from counts, and the one rule for classes without a score."""

from __future__ import annotations

import numpy as np
from jaxtyping import Integer

from counterpoise.arrays import Scores

__all__ = ["dice_score", "iou_score", "mean_score"]

Counts = Integer[np.ndarray, "*batch class_"]


def dice_score(true_pos: Counts, false_pos: Counts, false_neg: Counts) -> Scores:
    r"""Score the overlap of prediction and annotation, class by class.

    The score is :math:`2\,TP / (2\,TP + FP + FN)` [1]_. A class that is neither predicted nor annotated has no
    score: its entry is NaN, never 0 or 1. A class that is annotated as absent everywhere and predicted somewhere
    has the score 0.

    Parameters
    ----------
    true_pos, false_pos, false_neg : integer array, shape (..., classes)
        Voxels, counted inside the known part only.

    Returns
    -------
    float64 array, shape (..., classes)
        Dice score in [0, 1], higher is better; NaN where all counts are 0.

    Raises
    ------
    ValueError
        If a count is negative.

    References
    ----------
    .. [1] L. R. Dice, "Measures of the amount of ecologic association between species", Ecology 26(3), 1945,
       pp. 297-302.

    Examples
    --------
    >>> import numpy as np
    >>> dice_score(np.array([3, 0]), np.array([1, 0]), np.array([1, 0]))
    array([0.75,  nan])
    """
    _check(true_pos, false_pos, false_neg)
    return _ratio(2 * true_pos, 2 * true_pos + false_pos + false_neg)


def iou_score(true_pos: Counts, false_pos: Counts, false_neg: Counts) -> Scores:
    r"""Score intersection over union, :math:`TP / (TP + FP + FN)`; the rules are those of :func:`dice_score`.

    Examples
    --------
    >>> import numpy as np
    >>> iou_score(np.array([3, 0]), np.array([1, 0]), np.array([1, 0]))
    array([0.6, nan])
    """
    _check(true_pos, false_pos, false_neg)
    return _ratio(true_pos, true_pos + false_pos + false_neg)


def mean_score(scores: Scores) -> float:
    """Average over the classes that have a score; NaN if none has."""
    there = scores[~np.isnan(scores)]
    return float(there.mean()) if there.size else float("nan")


def _check(*counts: Counts) -> None:
    if any(np.any(count < 0) for count in counts):
        raise ValueError("counts of voxels cannot be negative")


def _ratio(numerator: Counts, denominator: Counts) -> Scores:
    ratio = np.full(numerator.shape, np.nan)
    np.divide(numerator, denominator, out=ratio, where=denominator > 0)
    return ratio
