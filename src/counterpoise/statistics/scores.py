"""Scores of runs from counts of voxels: pooled, per crop, and what each rests on (docs/verdict.md, steps 0 and 1).

Pure functions on arrays. Axes: ``arm``, ``seed``, ``crop`` (the cluster: a validation crop, or a whole data set),
``class_``, and TP, FP, FN. A run (one arm, one seed) without a result is a slab of NaN.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int

from counterpoise.volumes.identity import data_set_of

__all__ = [
    "Counts",
    "PseudoValues",
    "RunScores",
    "class_scores",
    "crop_mean_scores",
    "effective_crops",
    "finished_runs",
    "group_by_data_set",
    "pooled_scores",
    "positive_crops",
    "pseudo_values",
    "scorable_classes",
]

Counts = Float[np.ndarray, "arm seed crop class_ 3"]
RunScores = Float[np.ndarray, "arm seed"]
PseudoValues = Float[np.ndarray, "arm seed crop"]


def finished_runs(counts: Counts) -> Bool[np.ndarray, "arm seed"]:
    """Find the runs that have counts."""
    there: Bool[np.ndarray, "arm seed"] = np.isfinite(counts).all((2, 3, 4))
    return there


def scorable_classes(counts: Counts, min_crops: int) -> Bool[np.ndarray, " class_"]:
    """Find the classes with positives in enough crops to be scored (docs/verdict.md).

    The annotation is the same for every run, so any finished run tells; without one no class is scorable.
    """
    enough: Bool[np.ndarray, " class_"] = positive_crops(counts).sum(0) >= min_crops
    return enough


def positive_crops(counts: Counts) -> Bool[np.ndarray, "crop class_"]:
    """Find the crops in which a class is present: TP + FN > 0."""
    runs = np.argwhere(finished_runs(counts))
    if not len(runs):
        return np.zeros(counts.shape[2:4], bool)
    arm, seed = runs[0]
    positive: Bool[np.ndarray, "crop class_"] = counts[arm, seed, :, :, 0] + counts[arm, seed, :, :, 2] > 0
    return positive


def pooled_scores(
    counts: Counts, scored: Bool[np.ndarray, " class_"], *, metric: Literal["dice", "iou"] = "dice"
) -> RunScores:
    r"""Score every run from counts pooled over crops, theta[a, s] (docs/verdict.md and step 1).

    .. math:: D_c = 2 \sum_g TP / (2 \sum_g TP + \sum_g FP + \sum_g FN), \qquad \theta = \mathrm{mean}_c D_c

    with IoU's ratio instead for ``metric="iou"``.

    Returns
    -------
    float array, shape (arms, seeds)
        In [0, 1]; NaN for a run without counts.
    """
    mean: RunScores = class_scores(counts, metric=metric)[..., scored].mean(-1)
    return mean


def class_scores(
    counts: Float[np.ndarray, "*runs crop class_ 3"], *, metric: Literal["dice", "iou"] = "dice"
) -> Float[np.ndarray, "*runs class_"]:
    """Score every class from counts pooled over crops; NaN without counts, or where nothing is present or predicted."""
    hits, size = _overlap(counts.sum(-3))
    return _ratio(hits, size) if metric == "dice" else _ratio(hits / 2, size - hits / 2)


def crop_mean_scores(counts: Counts, scored: Bool[np.ndarray, " class_"]) -> RunScores:
    """Score every run by Dice per crop, averaged over the crops where the class is present, then over classes."""
    hits, size = _overlap(counts)
    with_class = positive_crops(counts)[:, scored]
    dice = np.divide(hits, size, out=np.zeros_like(hits), where=size > 0)[..., scored]
    per_class = (dice * with_class).sum(2) / with_class.sum(0)
    return np.where(finished_runs(counts), per_class.mean(-1), np.nan)


def pseudo_values(counts: Counts, scored: Bool[np.ndarray, " class_"]) -> PseudoValues:
    r"""Make the delete-one-crop jackknife pseudo-values (step 1).

    .. math:: z_{asg} = G \theta_{as} - (G - 1) \theta_{as(-g)}

    Their mean over crops is the bias-corrected score; their spread over crops says how much it rests on single ones.
    """
    crops = counts.shape[2]
    hits, size = _overlap(counts)
    all_hits, all_size = hits.sum(2, keepdims=True), size.sum(2, keepdims=True)
    whole = _mean_ratio(all_hits, all_size, scored)
    without = _mean_ratio(all_hits - hits, all_size - size, scored)
    values: PseudoValues = crops * whole - (crops - 1) * without
    return values


def _overlap(counts: Float[np.ndarray, "*axes 3"]) -> tuple[np.ndarray, np.ndarray]:
    """Return numerator and denominator of Dice: 2 TP and 2 TP + FP + FN."""
    hits = 2 * counts[..., 0]
    return hits, hits + counts[..., 1] + counts[..., 2]


def _mean_ratio(numerator: np.ndarray, denominator: np.ndarray, scored: Bool[np.ndarray, " class_"]) -> np.ndarray:
    mean: np.ndarray = _ratio(numerator, denominator)[..., scored].mean(-1)
    return mean


def _ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    ratio = np.full(numerator.shape, np.nan)
    np.divide(numerator, denominator, out=ratio, where=denominator > 0)
    return ratio


def group_by_data_set(crops: Sequence[str]) -> tuple[tuple[str, ...], Int[np.ndarray, "data_set crop"]]:
    """Name the data sets of crops, and say which crops are of which: 1, else 0."""
    own = [data_set_of(crop) for crop in crops]
    names = tuple(dict.fromkeys(own))
    member = np.array([[name == data_set for name in own] for data_set in names], np.int64)
    return names, member.reshape(len(names), len(crops))


def effective_crops(counts: Counts) -> Float[np.ndarray, " class_"]:
    r"""Count the crops that a class's score effectively rests on (step 3; Kish 1965).

    .. math:: G_{\mathrm{eff},c} = (\sum_g M_{gc})^2 / \sum_g M_{gc}^2, \qquad M = 2\,TP + FP + FN

    with M averaged over runs.

    Returns
    -------
    float array, shape (classes,)
        Between 1 and the number of crops; NaN for a class that is neither annotated nor predicted.
    """
    _, size = _overlap(counts)
    mean = size[finished_runs(counts)].mean(0)
    total, squares = mean.sum(0), (mean**2).sum(0)
    effective = np.full(total.shape, np.nan)
    np.divide(total**2, squares, out=effective, where=squares > 0)
    return effective
