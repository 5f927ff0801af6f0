r"""More scores from what a run stores: overlap, precision, recall, data sets, worst crops, probabilities.

Pure functions on arrays with the axes of :mod:`counterpoise.statistics.scores`; formulas and sources in docs/scores.md.
They describe; nothing is claimed from them.
"""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Bool, Float, Int

from counterpoise.metrics.thresholds import BINS
from counterpoise.statistics.scores import Counts, RunScores, positive_crops
from counterpoise.statistics.thresholds import Histograms

__all__ = [
    "INSTANCE_CLASSES",
    "average_precision",
    "calibration_error",
    "class_iou",
    "crop_dice",
    "data_set_dice",
    "precision",
    "recall",
    "reliability",
    "worst_count",
    "worst_crops",
    "worst_dice",
]

INSTANCE_CLASSES = frozenset(
    {"cell", "endo", "instance", "ld", "lyso", "mito", "mt", "np", "nuc", "perox", "ves", "vim"}
)
"""Classes that the CellMap Segmentation Challenge scores object by object: INSTANCE_CLASSES in its config.py, commit
6b9ad68 (2026-06-30)."""

ClassScores = Float[np.ndarray, "arm seed class_"]
MIDDLES: np.ndarray = (np.arange(BINS) + 0.5) / BINS
"""The probability that stands for all of a bin."""


# From counts -----------------------------------------------------------------------------------------------------


def class_iou(counts: Counts) -> ClassScores:
    r"""Score every class by intersection over union from counts pooled over crops: TP / (TP + FP + FN)."""
    pooled = counts.sum(2)
    return _ratio(pooled[..., 0], pooled.sum(-1))


def precision(counts: Counts) -> ClassScores:
    """Return the share of predicted voxels that are right, TP / (TP + FP), pooled; NaN where nothing is predicted."""
    pooled = counts.sum(2)
    return _ratio(pooled[..., 0], pooled[..., 0] + pooled[..., 1])


def recall(counts: Counts) -> ClassScores:
    """Return the share of annotated voxels that are found, TP / (TP + FN), pooled; NaN where there are none."""
    pooled = counts.sum(2)
    return _ratio(pooled[..., 0], pooled[..., 0] + pooled[..., 2])


def data_set_dice(
    counts: Counts, scored: Bool[np.ndarray, " class_"], member: Int[np.ndarray, "data_set crop"]
) -> Float[np.ndarray, "arm seed data_set"]:
    """Score every data set by Dice from counts pooled over its crops, averaged over the scored classes present there.

    Returns
    -------
    float array, shape (arms, seeds, data sets)
        NaN where a data set has positives of no scored class.
    """
    pooled = np.einsum("dg,asgck->asdck", member.astype(float), counts)
    with_class = (member @ positive_crops(counts).astype(int) > 0) & scored
    return _mean(_dice(pooled), with_class)


def crop_dice(counts: Counts, scored: Bool[np.ndarray, " class_"]) -> Float[np.ndarray, "arm seed crop"]:
    """Score every crop by Dice, averaged over the scored classes present in it; NaN where none is."""
    return _mean(_dice(counts), positive_crops(counts) & scored)


def worst_count(crops: int) -> int:
    """Return how many crops are a tenth of them, rounded up: at least one."""
    return math.ceil(crops / 10)


def worst_dice(by_crop: Float[np.ndarray, "arm seed crop"]) -> RunScores:
    """Average the lowest tenth of a run's crops; which ones they are may differ from run to run.

    Parameters
    ----------
    by_crop : float array, shape (arms, seeds, crops)
        From :func:`crop_dice`.

    Returns
    -------
    float array, shape (arms, seeds)
        NaN for a run without a score.
    """
    there = np.isfinite(by_crop)
    lowest = np.sort(np.where(there, by_crop, np.inf), axis=-1)[..., : worst_count(int(there.any((0, 1)).sum()))]
    mean = np.where(np.isfinite(lowest), lowest, 0.0).sum(-1)
    found: RunScores = _ratio(mean, np.isfinite(lowest).sum(-1))
    return found


def worst_crops(by_crop: Float[np.ndarray, "seed crop"]) -> Int[np.ndarray, " crop"]:
    """List the tenth of the crops with the lowest mean over an arm's finished seeds, the lowest first."""
    finished = by_crop[np.isfinite(by_crop).any(1)]
    mean = finished.mean(0) if len(finished) else np.full(by_crop.shape[1], np.nan)
    return np.argsort(mean, kind="stable")[: worst_count(int(np.isfinite(mean).sum()))]


def _dice(counts: np.ndarray) -> np.ndarray:
    return _ratio(2 * counts[..., 0], 2 * counts[..., 0] + counts[..., 1] + counts[..., 2])


def _mean(scores: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Average over chosen classes (the last axis); NaN for a run without scores, and where no class is chosen."""
    return _ratio(np.where(chosen, scores, 0.0).sum(-1), np.broadcast_to(chosen.sum(-1), scores.shape[:-1]))


def _ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    ratio = np.full(numerator.shape, np.nan)
    np.divide(numerator, denominator, out=ratio, where=denominator > 0)
    return ratio


# From histograms of predicted probabilities ----------------------------------------------------------------------


def average_precision(histograms: Histograms) -> ClassScores:
    r"""Score every class over all thresholds, from histograms pooled over crops.

    .. math:: AP = \sum_n (R_n - R_{n-1}) P_n

    over thresholds in falling order, without interpolation. Voxels of one bin count as equally likely.

    Returns
    -------
    float array, shape (arms, seeds, classes)
        In [0, 1]; NaN where no voxel is annotated as present.
    """
    above = np.cumsum(histograms.sum(2)[..., ::-1], axis=-1)
    absent, present = above[..., 0, :], above[..., 1, :]
    gained = np.diff(present, axis=-1, prepend=0.0)
    right = np.divide(present, absent + present, out=np.zeros_like(present), where=absent + present > 0)
    return _ratio((gained * right).sum(-1), present[..., -1])


def calibration_error(histograms: Histograms) -> ClassScores:
    r"""Average how far predicted probabilities are from observed shares (expected calibration error).

    .. math:: ECE = \sum_b \frac{n_b}{N} \left| \frac{k_b}{n_b} - m_b \right|

    with k of the n voxels of bin b present, and m the middle of the bin: what was predicted is known to half a bin.

    Returns
    -------
    float array, shape (arms, seeds, classes)
        In [0, 1], 0 is best; NaN where no voxel is known.
    """
    pooled = histograms.sum(2)
    voxels = pooled.sum(-2)
    off = np.abs(pooled[..., 1, :] - voxels * MIDDLES)
    return _ratio(off.sum(-1), voxels.sum(-1))


def reliability(histograms: Histograms, groups: int) -> Float[np.ndarray, "arm seed class_ group 2"]:
    """Say how often a class is present where a probability was predicted.

    Parameters
    ----------
    histograms : float array, shape (arms, seeds, crops, classes, 2, bins)
        Pooled over crops.
    groups : int
        Equal ranges of probability; divides the number of bins.

    Returns
    -------
    float array, shape (arms, seeds, classes, groups, 2)
        Share of known voxels predicted in this range; share of these where the class is present, NaN where there are
        none.
    """
    pooled = histograms.sum(2)
    parts = pooled.reshape(*pooled.shape[:-1], groups, -1).sum(-1)
    voxels = parts.sum(-2)
    total = np.broadcast_to(voxels.sum(-1, keepdims=True), voxels.shape)
    return np.stack([_ratio(voxels, total), _ratio(parts[..., 1, :], voxels)], axis=-1)
