"""Exact counts of what a network predicted, patch by patch and class by class, from logits and label words.

Everything is done one class at a time: next to the logits it takes a few numbers per pixel, whatever the number of
classes.
"""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Int, Integer
from torch import Tensor

from counterpoise.metrics.thresholds import BINS, THRESHOLDS
from counterpoise.sampling.exposure import count_pixels

__all__ = ["count_by_probability", "count_outcomes", "predicted_words"]

_LOGITS = np.log(THRESHOLDS / (1.0 - THRESHOLDS))
"""The thresholds before the sigmoid; that of 1/2 is exactly 0."""


def count_outcomes(
    logits: Float[Tensor, "batch class_ row column"],
    present: Integer[Tensor, "batch row column"],
    known: Integer[Tensor, "batch row column"],
) -> Int[Tensor, "batch class_ 3"]:
    """Count true positives, false positives and false negatives; a voxel is predicted present above probability 1/2.

    Parameters
    ----------
    logits : float tensor, shape (batch, classes, rows, columns)
        Network output; NaN predicts nothing.
    present, known : integer tensor, shape (batch, rows, columns)
        Label words: bit c is set where class c is present / known. Only known voxels count.

    Returns
    -------
    int64 tensor, shape (batch, classes, 3), on the device of the logits
        TP, FP, FN.
    """
    classes = logits.shape[1]
    predicted = predicted_words(logits, present.dtype)
    positives, true_pos = count_pixels(predicted, present & known, classes).unbind(2)
    predicted_positives = count_pixels(predicted, known, classes)[:, :, 1]
    return torch.stack([true_pos, predicted_positives - true_pos, positives - true_pos], dim=2)


def predicted_words(
    logits: Float[Tensor, "batch class_ row column"], dtype: torch.dtype
) -> Integer[Tensor, "batch row column"]:
    """Pack what is predicted above probability 1/2 into label words of this type: bit c is set for class c."""
    predicted = torch.zeros(logits.shape[0], *logits.shape[2:], dtype=dtype, device=logits.device)
    for c in range(logits.shape[1]):
        predicted |= (logits[:, c] > 0).to(dtype) << c
    return predicted


def count_by_probability(
    logits: Float[Tensor, "batch class_ row column"],
    present: Integer[Tensor, "batch row column"],
    known: Integer[Tensor, "batch row column"],
) -> Int[Tensor, "batch class_ bin"]:
    """Count known voxels by truth and by predicted probability, for every threshold.

    Parameters
    ----------
    logits, present, known
        As for :func:`count_outcomes`.

    Returns
    -------
    int64 tensor, shape (batch, classes, 2 * bins), on the device of the logits
        First the bins of voxels where the class is absent, then of those where it is present.
    """
    batch, classes = logits.shape[:2]
    edges = torch.as_tensor(_LOGITS, dtype=torch.float32, device=logits.device)
    unknown = 2 * BINS  # a bin of its own, left out at the end
    first = torch.arange(batch, dtype=torch.int32, device=logits.device).view(-1, 1, 1) * (unknown + 1)
    counts = torch.empty(batch, classes, unknown, dtype=torch.int64, device=logits.device)
    for c in range(classes):
        numbers = logits[:, c].to(torch.float32, memory_format=torch.contiguous_format)
        numbers = torch.nan_to_num(numbers, nan=-np.inf, posinf=np.inf, neginf=-np.inf)
        bins = torch.bucketize(numbers, edges, out_int32=True)
        bins += BINS * ((present >> c) & 1)
        bins.masked_fill_(((known >> c) & 1) == 0, unknown)
        bins += first
        found = torch.bincount(bins.flatten(), minlength=batch * (unknown + 1))
        counts[:, c] = found.view(batch, -1)[:, :unknown]
    return counts
