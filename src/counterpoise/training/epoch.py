"""One finished epoch: as a record, in words."""

from __future__ import annotations

import numpy as np

from counterpoise.metrics.dice import dice_score, mean_score
from counterpoise.runs.records import EpochRecord
from counterpoise.training.trainer import EpochOutcome
from counterpoise.training.validation import ValidationResult

__all__ = ["describe_epoch", "make_record"]


def make_record(
    epoch: int,
    classes: tuple[str, ...],
    outcome: EpochOutcome,
    result: ValidationResult | None,
    validation_s: float,
) -> EpochRecord:
    """Put together what is kept of an epoch; ``result`` is None if it was not scored."""
    dice: dict[str, float | None] = dict.fromkeys(classes)
    counts: dict[str, list[int]] = {}
    mean = None
    if result is not None:
        pooled = result.counts.sum(axis=0)
        scores = dice_score(pooled[:, 0], pooled[:, 1], pooled[:, 2])
        dice = {c: None if np.isnan(s) else float(s) for c, s in zip(classes, scores, strict=True)}
        counts = {c: [int(n) for n in row] for c, row in zip(classes, pooled, strict=True)}
        average = mean_score(scores)
        mean = None if np.isnan(average) else average
    return EpochRecord(
        epoch=epoch,
        train_loss=outcome.loss,
        val_loss=result.loss if result is not None and np.isfinite(result.loss) else None,
        dice_mean=mean,
        dice=dice,
        counts=counts,
        learning_rate=outcome.learning_rate,
        clipped_steps=outcome.clipped_steps,
        nonfinite_steps=outcome.nonfinite_steps,
        train_s=outcome.seconds,
        exposure=outcome.exposure.to_json(),
        data_wait_s=outcome.data_wait_s,
        micro_batch=outcome.micro_batch,
        validation_s=validation_s,
    )


def describe_epoch(record: EpochRecord, epochs: int) -> list[str]:
    """Say an epoch in the reference's words, so that scripts that read its logs read ours."""

    def number(value: float | None) -> str:
        return "-" if value is None else f"{value:.4f}"

    lines = [
        f"Epoch {record.epoch}/{epochs}",
        (
            f"  Train Loss: {number(record.train_loss)}  LR: {record.learning_rate:.2e}  "
            f"({record.train_s:.1f} s + {record.validation_s:.1f} s validation)"
        ),
    ]
    if record.counts:
        lines.append(f"  Val Loss: {number(record.val_loss)}  Val Dice: {number(record.dice_mean)}")
        lines += [f"    {name}: {number(score)}" for name, score in record.dice.items()]
    if record.nonfinite_steps:
        lines.append(f"  {record.nonfinite_steps} steps with a non-finite loss or gradient moved no weight")
    return lines
