"""What an experiment will cost on this machine: arithmetic on steps that were measured."""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass

from counterpoise.metrics.boundary import PARTS
from counterpoise.metrics.thresholds import BINS
from counterpoise.preflight.design import Design
from counterpoise.runs.speed import Speed
from counterpoise.store import VoxelStore

__all__ = ["BUSY", "Cost", "Work", "estimate_cost", "store_bytes"]

BUSY = 0.3
"""With a higher load per core than this, others use the machine too, and steps take longer than they would."""

_EPOCH_RECORD_BYTES = 2048
"""A line of metrics, TensorBoard scalars and log of one epoch, generously."""

_COUNT_BYTES = 8


@dataclass(frozen=True)
class Work:
    """How much there is to compute.

    Parameters
    ----------
    trials : int
        Trainings that are left to do.
    epochs, steps_per_epoch : int
        Of each.
    validations : int
        How often each is scored.
    tiles : int
        What it is scored on.
    record_bytes : int
        What it leaves in addition to its checkpoints, at most.
    """

    trials: int
    epochs: int
    steps_per_epoch: int
    validations: int
    tiles: int
    record_bytes: int

    @classmethod
    def of(cls, design: Design, *, trials: int) -> Work:
        """Work out the amounts from one of the (alike) trials of a design, for those that are left."""
        config, tiles, crops = design.trials[0], len(design.tiles.patches), len(design.tiles.crops)
        epochs, every, classes = config.training.epochs, config.validation.every_epochs, len(config.classes)
        boundary = config.validation.boundary
        validations = math.ceil(epochs / every) + boundary  # boundaries are counted on tiles predicted once more
        rows, columns = config.sampling.patch_shape
        arrays = crops * classes * (3 * validations + 2 * BINS + 2 * PARTS * boundary) * _COUNT_BYTES
        examples = config.validation.example_patches * rows * columns * (1 + 2 * classes)
        return cls(
            trials=trials,
            epochs=epochs,
            steps_per_epoch=config.training.steps_per_epoch,
            validations=validations,
            tiles=tiles,
            record_bytes=arrays + examples + epochs * _EPOCH_RECORD_BYTES,
        )


@dataclass(frozen=True)
class Cost:
    """What the work takes.

    Parameters
    ----------
    epoch_s, trial_s : float
        Seconds per epoch with its share of validation and checkpoints, and per trial; mean over slots.
    run_s : float
        Until the last trial has ended.
    disk_bytes : int
        Space the run folder will need.
    memory_bytes, gpu_memory_bytes : int
        Of the largest trial; None if no step was made with the whole batch.
    """

    epoch_s: float
    trial_s: float
    run_s: float
    disk_bytes: int
    memory_bytes: int | None
    gpu_memory_bytes: int | None


def estimate_cost(work: Work, speeds: Sequence[Speed]) -> Cost:
    r"""Add up what was measured.

    .. math:: t_{trial} = t_{start} + E (S t_{step} + t_{save}) + V (T t_{tile} + t_{best})

    for E epochs of S steps, V validations on T tiles; every validation is taken to be the best so far, which costs
    another checkpoint. Trials go to the slot that is free first.

    Parameters
    ----------
    work : Work
        How much there is to do.
    speeds : sequence of Speed
        One per slot, measured with all slots busy.
    """
    per_trial = [_trial_seconds(work, speed) for speed in speeds]
    free = [(0.0, slot) for slot in range(len(speeds))]
    ends = 0.0
    for _ in range(work.trials):
        at, slot = heapq.heappop(free)
        ends = max(ends, at + per_trial[slot])
        heapq.heappush(free, (at + per_trial[slot], slot))
    training = [took - speed.startup_s for took, speed in zip(per_trial, speeds, strict=True)]
    checkpoints = max(speed.last_bytes + speed.best_bytes for speed in speeds)
    return Cost(
        epoch_s=sum(training) / len(training) / work.epochs,
        trial_s=sum(per_trial) / len(per_trial),
        run_s=ends,
        disk_bytes=work.trials * (checkpoints + work.record_bytes),
        memory_bytes=max(speed.memory_bytes for speed in speeds),
        gpu_memory_bytes=max(speed.gpu_memory_bytes for speed in speeds),
    )


def _trial_seconds(work: Work, speed: Speed) -> float:
    best_s = speed.save_s * speed.best_bytes / speed.last_bytes
    training = work.epochs * (work.steps_per_epoch * speed.step_s + speed.save_s)
    return speed.startup_s + training + work.validations * (work.tiles * speed.tile_s + best_s)


def store_bytes(store: VoxelStore) -> int:
    """Return the size of a store on disk."""
    return sum(file.stat().st_size for file in store.path.iterdir() if file.is_file())
