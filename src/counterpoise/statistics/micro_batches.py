"""Trainings for which a device's memory was not enough for a whole batch, and what that means for the comparison.

The loss is still that of the whole batch (training/micro_batches.py), but batch normalisation sees the parts.
Two trainings with parts of different sizes are therefore not exactly comparable.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from counterpoise.runs.read import Trial
from counterpoise.runs.records import EpochRecord

__all__ = ["BatchParts", "PartSpan", "TrainingParts", "find_parts", "find_spans"]


@dataclass(frozen=True)
class PartSpan:
    """Epochs (from 1) in which a training saw ``size`` patches at a time; ``to_the_end`` if they are its last."""

    size: int
    first: int
    last: int
    to_the_end: bool


@dataclass(frozen=True)
class TrainingParts:
    """One training that saw its batches of ``batch`` patches in parts, and when."""

    arm: str
    seed: int
    batch: int
    spans: tuple[PartSpan, ...]


@dataclass(frozen=True)
class BatchParts:
    """The trainings that saw their batches in parts, of so many finished ones."""

    trainings: int = 0
    found: tuple[TrainingParts, ...] = ()

    @property
    def are_the_same(self) -> bool:
        """Whether all finished trainings saw the same parts at the same time: then they are comparable."""
        alike = {(entry.batch, entry.spans) for entry in self.found}
        return len(self.found) == self.trainings and len(alike) == 1


def find_parts(trials: Iterable[Trial]) -> BatchParts:
    """Find the trainings, among finished ones, that saw their batches in parts."""
    finished = [trial for trial in trials if trial.is_finished]
    found = []
    for trial in finished:
        whole, spans = find_spans(trial.epochs, trial.batch_size)
        if spans:
            found.append(TrainingParts(trial.arm, trial.seed, whole, spans))
    return BatchParts(len(finished), tuple(found))


def find_spans(epochs: Sequence[EpochRecord], batch_size: int | None) -> tuple[int, tuple[PartSpan, ...]]:
    """Find the epochs in which a training saw its batches in parts.

    Parameters
    ----------
    epochs : sequence of EpochRecord
        All epochs of the training, in their order.
    batch_size : int or None
        Patches per update; None if its configuration is lost: then its largest part counts as a whole batch.

    Returns
    -------
    whole : int
        Patches of a whole batch.
    spans : tuple of PartSpan
        Empty if it saw whole batches, or if its records do not say.
    """
    recorded = [epoch for epoch in epochs if epoch.micro_batch is not None]
    whole = batch_size or max((epoch.micro_batch or 0 for epoch in recorded), default=0)
    spans = [(size, list(span)) for size, span in itertools.groupby(recorded, lambda e: e.micro_batch or whole)]
    return whole, tuple(
        PartSpan(size, span[0].epoch, span[-1].epoch, span[-1] is epochs[-1]) for size, span in spans if size < whole
    )
