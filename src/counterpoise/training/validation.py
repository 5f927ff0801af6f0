"""Score a network on the fixed validation tiles: integer TP, FP, FN per crop and class."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from counterpoise.losses.tversky import TverskyLoss
from counterpoise.metrics.thresholds import BINS, THRESHOLDS
from counterpoise.records.schema import Examples
from counterpoise.sampling.sampler import Batch, Sampler, unpack_words
from counterpoise.sampling.tiles import TileList
from counterpoise.training.device import Device
from counterpoise.types import CropCounts

__all__ = ["ValidationResult", "choose_examples", "predict_examples", "validate"]

_LOGITS = np.log(THRESHOLDS / (1.0 - THRESHOLDS))
"""The thresholds before the sigmoid; that of 1/2 is exactly 0."""


@dataclass(frozen=True)
class ValidationResult:
    """Counts per crop and class, and the mean loss over batches.

    ``histogram`` (int64, shape (crops, classes, 2, bins)) is there if it was asked for: known voxels by predicted
    probability, where the class is absent and where it is present.
    """

    counts: CropCounts
    loss: float
    histogram: np.ndarray | None


@torch.no_grad()
def validate(
    model: nn.Module,
    sampler: Sampler,
    tiles: TileList,
    loss: TverskyLoss,
    device: Device,
    *,
    batch_size: int,
    by_probability: bool = False,
) -> ValidationResult:
    """Predict every tile and count where the class is known; a voxel is predicted present above probability 1/2.

    Parameters
    ----------
    model : nn.Module
        Network; put into evaluation mode and left there.
    sampler : Sampler
        Of the validation split.
    tiles : TileList
        The fixed list.
    loss : TverskyLoss
        The arm's loss.
    device : Device
        Where and how precisely to compute.
    batch_size : int
        Tiles at a time.
    by_probability : bool
        Whether to count also by predicted probability, for every threshold.

    Returns
    -------
    ValidationResult
        ``counts``: int64, shape (crops, classes, 3): TP, FP, FN.
    """
    model.eval()
    classes = len(loss.class_weights)
    counts = torch.zeros(len(tiles.crops), classes, 3, dtype=torch.int64)
    histogram = torch.zeros(len(tiles.crops), classes, 2 * BINS, dtype=torch.int64) if by_probability else None
    total, batches = 0.0, 0
    for batch in sampler.batches(tiles.patches, batch_size):
        images, truth, known = _planes(batch, classes, device)
        with device.autocast():
            logits = model(images)
        total += float(loss.of_words(logits, batch.present.to(device.torch), batch.known.to(device.torch)))
        batches += 1
        counts.index_add_(0, batch.crops, _count(logits > 0, truth, known).cpu())
        if histogram is not None:
            histogram.index_add_(0, batch.crops, _count_by_probability(logits, truth, known).cpu())
    result: np.ndarray = counts.numpy()
    shape = (len(tiles.crops), classes, 2, BINS)
    return ValidationResult(result, total / batches, None if histogram is None else histogram.view(shape).numpy())


def _planes(batch: Batch, classes: int, device: Device) -> tuple[Tensor, Tensor, Tensor]:
    images = device.images(batch.images)
    truth = unpack_words(batch.present.to(device.torch), classes)
    known = unpack_words(batch.known.to(device.torch), classes)
    return images, truth, known


def _count(predicted: Tensor, truth: Tensor, known: Tensor) -> Tensor:
    """Count TP, FP, FN of every patch and class: int64, shape (batch, classes, 3)."""
    truth = truth & known
    predicted = predicted & known
    true_pos = (predicted & truth).sum((2, 3))
    return torch.stack([true_pos, predicted.sum((2, 3)) - true_pos, truth.sum((2, 3)) - true_pos], dim=2)


def _count_by_probability(logits: Tensor, truth: Tensor, known: Tensor) -> Tensor:
    """Count the known voxels of every patch and class by truth and bin: int64, shape (batch, classes, 2 * bins)."""
    edges = torch.as_tensor(_LOGITS, dtype=torch.float32, device=logits.device)
    numbers = torch.nan_to_num(logits.float(), nan=-np.inf, posinf=np.inf, neginf=-np.inf)  # NaN predicts nothing
    bins = torch.bucketize(numbers.contiguous(), edges) + BINS * truth
    batch, classes = logits.shape[:2]
    plane = torch.arange(batch * classes, device=logits.device).view(batch, classes, 1, 1)
    found = torch.bincount((plane * (2 * BINS) + bins)[known], minlength=batch * classes * 2 * BINS)
    return found.view(batch, classes, 2 * BINS)


def choose_examples(sampler: Sampler, tiles: TileList, classes: int, count: int) -> np.ndarray:
    """Choose tiles to look at: from each crop the one with the most classes in it, the fullest crops first.

    Returns
    -------
    int64 array, shape (at most count,)
        Indices into the list of tiles; depends on labels only, so it is the same for every trial of a run.
    """
    variety = []
    for batch in sampler.batches(tiles.patches, 32):
        positives = (unpack_words(batch.present, classes) & unpack_words(batch.known, classes)).sum((2, 3))
        variety.append(((positives > 0).sum(1) + positives.sum(1) / (1.0 + positives.sum(1))).cpu().numpy())
    richness = np.concatenate(variety)
    best: dict[int, int] = {}
    for index in np.argsort(-richness, kind="stable"):
        best.setdefault(int(tiles.patches.crop[index]), int(index))
    return np.array(list(best.values())[:count], dtype=np.int64)


@torch.no_grad()
def predict_examples(
    model: nn.Module,
    sampler: Sampler,
    tiles: TileList,
    classes: tuple[str, ...],
    device: Device,
    *,
    count: int,
) -> Examples:
    """Predict the example tiles, one at a time."""
    model.eval()
    raw, truth, prediction, crops = [], [], [], []
    for index in choose_examples(sampler, tiles, len(classes), count):
        patch = tiles.patches[slice(int(index), int(index) + 1)]
        batch = sampler.gather(patch)
        images, present, known = _planes(batch, len(classes), device)
        with device.autocast():
            predicted = model(images) > 0
        middle = batch.images.shape[1] // 2
        raw.append((batch.images[0, middle] * 255.0).round().to(torch.uint8).cpu().numpy())
        unknown = torch.full_like(present, 255, dtype=torch.uint8)
        truth.append(torch.where(known, present.to(torch.uint8), unknown)[0].cpu().numpy())
        prediction.append(predicted[0].to(torch.uint8).cpu().numpy())
        crops.append(tiles.crops[int(tiles.patches.crop[index])])
    rows, columns = sampler.plan.config.patch_shape
    planes = (0, len(classes), rows, columns)
    return Examples(
        tuple(crops),
        classes,
        np.stack(raw) if raw else np.zeros((0, rows, columns), dtype=np.uint8),
        np.stack(truth) if truth else np.zeros(planes, dtype=np.uint8),
        np.stack(prediction) if prediction else np.zeros(planes, dtype=np.uint8),
    )
