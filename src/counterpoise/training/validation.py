"""Score a network on the fixed validation tiles: integer TP, FP, FN per crop and class."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from counterpoise.arrays import CropCounts
from counterpoise.losses.register import Loss
from counterpoise.metrics.thresholds import BINS
from counterpoise.runs.npz import Examples
from counterpoise.sampling.exposure import count_pixels
from counterpoise.sampling.sampler import Batch, Sampler, unpack_words
from counterpoise.sampling.tiles import TileList
from counterpoise.training.counting import count_by_probability, count_outcomes
from counterpoise.training.device import Device
from counterpoise.training.micro_batches import MicroBatches, is_out_of_memory

__all__ = ["ValidationResult", "choose_examples", "in_parts", "predict_examples", "validate"]

_Part = TypeVar("_Part")


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
    loss: Loss,
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
    loss : Loss
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
    shape = (len(tiles.crops), len(loss.class_weights))
    counts = torch.zeros(*shape, 3, dtype=torch.int64)
    histogram = torch.zeros(*shape, 2 * BINS, dtype=torch.int64) if by_probability else None
    score = _Score(model, loss, device, by_probability)
    parts = MicroBatches(batch_size)
    total, batches = 0.0, 0
    for batch in sampler.batches(tiles.patches, batch_size):
        found = list(in_parts(score, batch, parts, sampler, device))
        total += float(loss.of_parts([part.of_loss for part in found]))
        batches += 1
        counts.index_add_(0, batch.crops, torch.cat([part.counts for part in found]).cpu())
        if histogram is not None:
            histogram.index_add_(0, batch.crops, torch.cat([part.by_probability for part in found]).cpu())
    by_threshold = None if histogram is None else histogram.view(*shape, 2, BINS).numpy()
    return ValidationResult(counts.numpy(), total / batches, by_threshold)


@dataclass(frozen=True)
class _Found:
    """What some patches came out as, patch by patch; ``of_loss`` is what the loss of their batch needs of them."""

    of_loss: Any
    counts: Tensor
    by_probability: Tensor


@dataclass(frozen=True)
class _Score:
    """Predict patches and count; ``by_probability`` is empty if it is not wanted."""

    model: nn.Module
    loss: Loss
    device: Device
    by_probability: bool

    def __call__(self, images: Tensor, present: Tensor, known: Tensor) -> _Found:
        with self.device.autocast():
            logits = self.model(self.device.images(images))
        present, known = present.to(self.device.torch), known.to(self.device.torch)
        counts = count_outcomes(logits, present, known)
        by_probability = count_by_probability(logits, present, known) if self.by_probability else counts[:, :, :0]
        return _Found(self.loss.of_part(logits, present, known), counts, by_probability)


def in_parts(
    score: Callable[[Tensor, Tensor, Tensor], _Part],
    batch: Batch,
    parts: MicroBatches,
    sampler: Sampler,
    device: Device,
) -> Iterator[_Part]:
    """Score a batch; if the device's memory is not enough, voxels leave it, then fewer patches are scored at a time.

    Parameters
    ----------
    score : callable
        Takes images, label words and known words of some patches.
    batch : Batch
        All of them.
    parts : MicroBatches
        How many at a time; remembers what fits.
    sampler : Sampler
        Where the batch comes from.
    device : Device
        Where the network is.

    Yields
    ------
    object
        What ``score`` returned for the first patches, for the next, ...
    """
    first = 0
    while first < len(batch.images):
        part = slice(first, first + parts.size)
        try:
            found = score(batch.images[part], batch.present[part], batch.known[part])
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            found, reason = None, str(error).splitlines()[0]
        if found is None:  # outside of the handler, where the error no longer holds on to what was allocated
            if not sampler.leave_device():
                parts.make_room(device.torch, reason)
            continue
        yield found
        first = part.stop


def choose_examples(sampler: Sampler, tiles: TileList, classes: int, count: int) -> np.ndarray:
    """Choose tiles to look at: from each crop the one with the most classes in it, the fullest crops first.

    Returns
    -------
    int64 array, shape (at most count,)
        Indices into the list of tiles; depends on labels only, so it is the same for every trial of a run.
    """
    variety = []
    for batch in sampler.batches(tiles.patches, 32):
        positives = count_pixels(batch.present, batch.known, classes)[:, :, 1]
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
        patch = replace(tiles.patches[slice(int(index), int(index) + 1)], counted=None)  # the whole tile is looked at
        batch = sampler.gather(patch)
        present, known = (unpack_words(words, len(classes)) for words in (batch.present, batch.known))
        with device.autocast():
            predicted = model(device.images(batch.images)) > 0
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
