"""What a trial writes while it trains: a line per epoch, and how far it is."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal, Self, get_args

from counterpoise.errors import RunFolderError
from counterpoise.files.atomic import read_json, read_lines, write_json
from counterpoise.files.checksum import checksum_of
from counterpoise.runs.layout import TrialFolder
from counterpoise.runs.legacy import was_divergence
from counterpoise.runs.npz import BoundaryCounts, Examples, ThresholdCounts, ValidationCounts

__all__ = ["EpochRecord", "FailureCause", "TrialState", "TrialStatus", "read_epochs"]

STATUS_VERSION = 2
"""Since version 2 a failed trial says of which cause, and a flipped bit is found."""

TrialState = Literal["waiting", "running", "finished", "failed"]


class FailureCause(StrEnum):
    """Why a trial failed; only a training that diverged says something about its arm."""

    DIVERGED = "diverged"
    """Loss or gradients were not finite too often: a result of the arm."""
    DAMAGED = "damaged"
    """What the trial left cannot be read."""
    OTHER = "other"
    """Anything else: machine, disk, configuration."""


@dataclass(frozen=True)
class EpochRecord:
    """One epoch of one trial; ``epoch`` counts from 1.

    ``dice`` is None for a class that has no score; ``dice_mean`` is the mean over the others, None if there are
    none. ``counts`` holds TP, FP, FN per class, summed over the validation tiles. ``exposure`` is what the epoch's
    patches showed, as :meth:`counterpoise.frequencies.exposure.Exposure.to_json` writes it; ``data_wait_s`` is how
    long the training waited for them; ``micro_batch`` is how many patches at a time the network saw: fewer than the
    batch size where the device's memory was not enough. Older runs have none of these.
    """

    epoch: int
    train_loss: float | None
    val_loss: float | None
    dice_mean: float | None
    dice: Mapping[str, float | None]
    counts: Mapping[str, Sequence[int]]
    learning_rate: float
    clipped_steps: int
    nonfinite_steps: int
    train_s: float
    validation_s: float
    exposure: Mapping[str, Any] | None = None
    data_wait_s: float | None = None
    micro_batch: int | None = None

    def mean_over(self, classes: Iterable[str]) -> float | None:
        """Return the mean Dice over those of some classes that have a score; None if none has."""
        there = [value for name in classes if (value := self.dice.get(name)) is not None]
        return math.fsum(there) / len(there) if there else None

    @classmethod
    def from_line(cls, line: Mapping[str, Any]) -> Self:
        """Rebuild from a line of ``metrics.jsonl``."""
        return cls(**line)


def read_epochs(folder: TrialFolder) -> tuple[EpochRecord, ...]:
    """Read the epochs of a trial; a torn last line is left out.

    Raises
    ------
    RunFolderError
        If a line is not the record of an epoch.
    """
    try:
        return tuple(EpochRecord.from_line(line) for line in read_lines(folder.metrics))
    except (OSError, ValueError, TypeError) as error:
        raise RunFolderError(
            f"{folder.metrics} is damaged",
            expected="one JSON object per line, each the record of an epoch",
            found=str(error).splitlines()[0],
            remedy="run the experiment again: this trial starts from the beginning",
        ) from error


@dataclass(frozen=True)
class TrialStatus:
    """How far a trial is; times are seconds since 1970.

    ``cause`` and ``error`` (the type of what was raised) are set for a failed trial, ``reason`` says it in words. A
    trial that waits has a cause only if its ``status.json`` is damaged.
    """

    state: TrialState
    epoch: int = 0
    epochs: int = 0
    step: int = 0
    steps_per_epoch: int = 0
    train_loss: float | None = None
    dice_mean: float | None = None
    best_dice: float | None = None
    best_epoch: int = 0
    patches_per_s: float | None = None
    started: float | None = None
    updated: float | None = None
    reason: str = ""
    cause: FailureCause | None = None
    error: str = ""

    def failed(self, cause: FailureCause, reason: str, *, error: str = "", **changes: Any) -> TrialStatus:
        """Return this status as that of a trial that has failed."""
        return replace(self, state="failed", cause=cause, reason=reason, error=error, **changes)

    def waiting(self, reason: str) -> TrialStatus:
        """Return this status as that of a trial that is to be started, or started again."""
        return replace(self, state="waiting", reason=reason, cause=None, error="")

    def write(self, file: Path, *, durable: bool = False) -> None:
        """Write ``status.json``."""
        content = {"version": STATUS_VERSION, **asdict(self)}
        write_json(file, {**content, "checksum": checksum_of(content)}, durable=durable)

    @classmethod
    def read(cls, file: Path) -> Self:
        """Read ``status.json``; a trial that has none, or a damaged one, is waiting: it goes on from its checkpoint."""
        damaged = cls("waiting", reason=f"{file.name} is damaged", cause=FailureCause.DAMAGED)
        try:
            content = read_json(file)
        except FileNotFoundError:
            return cls("waiting")
        except (OSError, ValueError, TypeError):
            return damaged
        is_old = content.get("version") == 1  # these have no checksum
        if not is_old and content.pop("checksum", None) != checksum_of(content):
            return damaged
        names = {field.name for field in fields(cls)} - {"cause"}
        numbers = [content.get(key, 0) for key in ("epoch", "epochs", "step", "steps_per_epoch", "best_epoch")]
        if content.get("state") not in get_args(TrialState) or not all(isinstance(n, int) for n in numbers):
            return damaged
        status = cls(**{key: value for key, value in content.items() if key in names})
        return replace(status, cause=_cause(content, status.reason) if status.state == "failed" else None)

    def checked(self, epochs: Sequence[EpochRecord], name: str) -> TrialStatus:
        """Check a finished trial against the epochs in the file of this name: there must be a record of every one."""
        if self.state == "finished" and [e.epoch for e in epochs] != list(range(1, self.epochs + 1)):
            return self.failed(FailureCause.DAMAGED, f"{name} lacks some epochs")
        return self

    @classmethod
    def of(cls, folder: TrialFolder) -> TrialStatus:
        """Read a trial's status and check it against its scores."""
        status = cls.read(folder.status)
        if status.state != "finished":
            return status
        try:
            return status.checked(read_epochs(folder), folder.metrics.name)
        except RunFolderError as error:
            return status.failed(FailureCause.DAMAGED, error.problem)

    @classmethod
    def with_counts(cls, folder: TrialFolder) -> TrialStatus:
        """Read a trial's status as :meth:`of` does, and open its arrays too: without counts a finished trial is none.

        Trials of older versions have no counts by probability, not every trial counts boundaries, and examples may be
        deleted. If they are there, they are whole, or the trial has to make them again.
        """
        status = cls.of(folder)
        if status.state != "finished" or not status.epochs:
            return status
        arrays = (
            (folder.counts, ValidationCounts.read),
            (folder.thresholds, ThresholdCounts.read),
            (folder.boundaries, BoundaryCounts.read),
            (folder.examples, Examples.read),
        )
        for file, read in arrays:
            if file != folder.counts and not file.exists():
                continue
            try:
                read(file)
            except (OSError, ValueError, KeyError) as error:
                return status.failed(FailureCause.DAMAGED, f"{file.name} cannot be read ({type(error).__name__})")
        return status


def _cause(content: Mapping[str, Any], reason: str) -> FailureCause:
    """Read why a trial failed; records of before version 2 do not say it."""
    if "cause" not in content:
        return FailureCause.DIVERGED if was_divergence(str(reason)) else FailureCause.OTHER
    return next((cause for cause in FailureCause if cause == content["cause"]), FailureCause.OTHER)
