"""The records that pass through files: arms, epochs, states, validation counts, example patches."""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, Self, get_args

import numpy as np
from jaxtyping import Int, UInt8

from counterpoise.errors import RunFolderError
from counterpoise.experiment.config import VerdictConfig
from counterpoise.experiment.hypothesis import Hypothesis
from counterpoise.files.atomic import read_json, read_lines, write_atomically, write_json
from counterpoise.runs.layout import RunFolder, TrialFolder

__all__ = [
    "ArmRecord",
    "ArmsRecord",
    "EpochRecord",
    "Examples",
    "ThresholdCounts",
    "TrialState",
    "TrialStatus",
    "ValidationCounts",
    "read_arms",
    "read_epochs",
]

RECORD_VERSION = 1

TrialState = Literal["waiting", "running", "finished", "failed"]


@dataclass(frozen=True)
class ArmRecord:
    """One arm of the experiment.

    Parameters
    ----------
    name : str
        Name of the strategy.
    summary : str
        The strategy in one sentence.
    weights : mapping
        Class name to weight.
    clamped : sequence of str
        Classes whose weight was clamped.
    same_as : str or None
        The arm whose weights these are after scaling; such an arm is not trained a second time.
    runs : bool
        Whether the arm has trials of its own.
    """

    name: str
    summary: str
    weights: Mapping[str, float]
    clamped: Sequence[str]
    same_as: str | None
    runs: bool


@dataclass(frozen=True)
class ArmsRecord:
    """All arms of a run, what they are compared on, and what is asked of the comparison."""

    classes: tuple[str, ...]
    baseline: str
    seeds: tuple[int, ...]
    arms: tuple[ArmRecord, ...]
    notes: tuple[str, ...]
    verdict: VerdictConfig = field(default_factory=VerdictConfig)
    hypotheses: tuple[Hypothesis, ...] = ()

    def write(self, file: Path) -> None:
        """Write ``weights.json``."""
        content = {
            **asdict(self),
            "verdict": self.verdict.model_dump(mode="json"),
            "hypotheses": [hypothesis.model_dump(mode="json") for hypothesis in self.hypotheses],
        }
        write_json(file, {"version": RECORD_VERSION, **content})

    @classmethod
    def read(cls, file: Path) -> Self:
        """Read ``weights.json``.

        Raises
        ------
        OSError, ValueError, KeyError, TypeError
            If it is not there, or not what :meth:`write` writes.
        """
        content = read_json(file)
        seeds = content["seeds"]
        if not all(isinstance(seed, int) for seed in seeds) or len(set(seeds)) != len(seeds):
            raise ValueError(f"seeds must be different whole numbers, found {seeds}")
        for arm in content["arms"]:
            for name, weight in arm["weights"].items():
                if not isinstance(weight, int | float) or not math.isfinite(weight):
                    raise ValueError(f"the weight of {name} in {arm['name']} is no number: {weight!r}")
        return cls(
            tuple(content["classes"]),
            content["baseline"],
            tuple(content["seeds"]),
            tuple(ArmRecord(**arm) for arm in content["arms"]),
            tuple(content["notes"]),
            VerdictConfig(**content.get("verdict", {})),  # runs of before 2026-11-22 have none
            tuple(Hypothesis(**entry) for entry in content.get("hypotheses", ())),  # nor these
        )


def read_arms(run: RunFolder) -> ArmsRecord:
    """Read what a run compares.

    Raises
    ------
    RunFolderError
        If this is not a run folder, or its plan is damaged.
    """
    if not run.weights.exists():
        raise RunFolderError(
            f"{run.path} is not a run folder",
            expected=f"{run.weights.name} and trials/, as `counterpoise run` leaves them",
            found=_what_is_at(run),
            remedy="name the folder that [run] folder = ... has in the experiment's configuration; if its "
            f"{run.weights.name} is lost, `counterpoise run` writes it anew",
        )
    try:
        return ArmsRecord.read(run.weights)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunFolderError(
            f"{run.weights} cannot be read",
            expected="the arms, as `counterpoise run` writes them",
            found=f"{type(error).__name__}: {error}",
            remedy="run the experiment again: it writes this file anew and trains nothing twice",
        ) from error


def _what_is_at(run: RunFolder) -> str:
    if not run.path.exists():
        return "no such folder"
    return f"trials, and no {run.weights.name}" if run.trials() else "other files"


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

    @classmethod
    def from_line(cls, line: Mapping[str, Any]) -> Self:
        """Rebuild from a line of ``metrics.jsonl``."""
        return cls(**line)


@dataclass(frozen=True)
class TrialStatus:
    """How far a trial is; times are seconds since 1970."""

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

    def write(self, file: Path, *, durable: bool = False) -> None:
        """Write ``status.json``."""
        write_json(file, {"version": RECORD_VERSION, **asdict(self)}, durable=durable)

    @classmethod
    def read(cls, file: Path) -> Self:
        """Read ``status.json``; a trial that has none is waiting."""
        try:
            content = read_json(file)
        except (OSError, ValueError, TypeError):
            return cls("waiting")
        known = {field.name for field in fields(cls)}
        numbers = [content.get(key, 0) for key in ("epoch", "epochs", "step", "steps_per_epoch", "best_epoch")]
        if content.get("state") not in get_args(TrialState) or not all(isinstance(n, int) for n in numbers):
            return cls("waiting")
        return cls(**{key: value for key, value in content.items() if key in known})

    @classmethod
    def of(cls, folder: TrialFolder) -> Self:
        """Read a trial's status and check it against its scores: a finished trial has a record of every epoch."""
        status = cls.read(folder.status)
        if status.state != "finished":
            return status
        try:
            epochs = [record.epoch for record in read_epochs(folder)]
        except RunFolderError as error:
            return replace(status, state="failed", reason=error.problem)
        if epochs != list(range(1, status.epochs + 1)):
            return replace(status, state="failed", reason=f"{folder.metrics.name} lacks some epochs")
        return status

    @classmethod
    def with_counts(cls, folder: TrialFolder) -> Self:
        """Read a trial's status as :meth:`of` does, and open its arrays too: without counts a finished trial is none.

        Trials of older versions have no counts by probability; examples may be deleted. If they are there, they are
        whole, or the trial has to make them again.
        """
        status = cls.of(folder)
        if status.state != "finished" or not status.epochs:
            return status
        arrays = (
            (folder.counts, ValidationCounts.read),
            (folder.thresholds, ThresholdCounts.read),
            (folder.examples, Examples.read),
        )
        for file, read in arrays:
            if file != folder.counts and not file.exists():
                continue
            try:
                read(file)
            except (OSError, ValueError, KeyError) as error:
                reason = f"{file.name} cannot be read ({type(error).__name__})"
                return replace(status, state="failed", reason=reason)
        return status


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
class ValidationCounts:
    """TP, FP, FN of every epoch, validation crop and class, counted where the class is known.

    Parameters
    ----------
    crops, classes : tuple of str
        Names along the second and third axis.
    counts : int64 array, shape (epochs, crops, classes, 3)
    """

    crops: tuple[str, ...]
    classes: tuple[str, ...]
    counts: Int[np.ndarray, "epoch crop class_ 3"]

    def write(self, file: Path) -> None:
        """Write ``counts.npz`` atomically."""
        _write_npz(file, crops=np.array(self.crops), classes=np.array(self.classes), counts=self.counts)

    @classmethod
    def read(cls, file: Path) -> Self:
        """Read ``counts.npz``; nothing in it is unpickled.

        Raises
        ------
        OSError, ValueError, KeyError
            If it is not there, damaged, or lacks an array.
        """
        content = _read_npz(file)
        return cls(tuple(content["crops"].tolist()), tuple(content["classes"].tolist()), content["counts"])


@dataclass(frozen=True)
class Examples:
    """Validation patches for the eye: the same ones in every trial of a run.

    Parameters
    ----------
    crops : tuple of str
        Crop each patch comes from.
    raw : uint8 array, shape (patches, rows, columns)
        The predicted section.
    truth : uint8 array, shape (patches, classes, rows, columns)
        1 present, 0 absent, 255 unknown.
    prediction : uint8 array, shape (patches, classes, rows, columns)
        1 predicted present, 0 absent.

    Raises
    ------
    ValueError
        If the arrays do not fit each other or the names.
    """

    crops: tuple[str, ...]
    classes: tuple[str, ...]
    raw: UInt8[np.ndarray, "patch row column"]
    truth: UInt8[np.ndarray, "patch class_ row column"]
    prediction: UInt8[np.ndarray, "patch class_ row column"]

    def __post_init__(self) -> None:
        rows, columns = self.raw.shape[-2:] if self.raw.ndim > 1 else (0, 0)
        patches = len(self.crops), rows, columns
        masks = len(self.crops), len(self.classes), rows, columns
        for name, shape in (("raw", patches), ("truth", masks), ("prediction", masks)):
            array = getattr(self, name)
            if array.shape != shape or array.dtype != np.uint8:
                raise ValueError(f"{name} is {array.dtype} of shape {array.shape}, where uint8 of {shape} was expected")

    def write(self, file: Path) -> None:
        """Write ``examples.npz`` atomically."""
        _write_npz(
            file,
            crops=np.array(self.crops),
            classes=np.array(self.classes),
            raw=self.raw,
            truth=self.truth,
            prediction=self.prediction,
        )

    @classmethod
    def read(cls, file: Path) -> Self:
        """Read ``examples.npz`` as :meth:`ValidationCounts.read` reads ``counts.npz``."""
        content = _read_npz(file)
        return cls(
            tuple(content["crops"].tolist()),
            tuple(content["classes"].tolist()),
            content["raw"],
            content["truth"],
            content["prediction"],
        )


@dataclass(frozen=True)
class ThresholdCounts:
    """Known voxels of the last epoch by predicted probability: what any threshold would have scored.

    Parameters
    ----------
    crops, classes : tuple of str
        Names along the first and second axis.
    counts : int64 array, shape (crops, classes, 2, bins)
        Voxels where the class is absent, where it is present; the bins are those of
        :mod:`counterpoise.metrics.thresholds`.
    """

    crops: tuple[str, ...]
    classes: tuple[str, ...]
    counts: Int[np.ndarray, "crop class_ 2 bin"]

    def write(self, file: Path) -> None:
        """Write ``thresholds.npz`` atomically."""
        _write_npz(file, crops=np.array(self.crops), classes=np.array(self.classes), counts=self.counts)

    @classmethod
    def read(cls, file: Path) -> Self:
        """Read ``thresholds.npz`` as :meth:`ValidationCounts.read` reads ``counts.npz``."""
        content = _read_npz(file)
        return cls(tuple(content["crops"].tolist()), tuple(content["classes"].tolist()), content["counts"])

    @classmethod
    def is_whole(cls, file: Path) -> bool:
        """Return whether the file is there and can be read."""
        try:
            cls.read(file)
        except (OSError, ValueError, KeyError):
            return False
        return True


def _write_npz(file: Path, **arrays: Any) -> None:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    write_atomically(file, lambda stream: stream.write(buffer.getbuffer()))


def _read_npz(file: Path) -> dict[str, np.ndarray]:
    """Read all arrays of a file; whatever is raised about damaged bytes (zlib has its own) becomes a ValueError."""
    try:
        with zipfile.ZipFile(file) as archive:
            changed = archive.testzip()
        with np.load(file, allow_pickle=False) as content:
            arrays = dict(content)
    except OSError:
        raise
    except Exception as error:
        raise ValueError(f"{file} is damaged: {error}") from error
    if changed is not None:
        raise ValueError(f"{file} is damaged: {changed} differs from its checksum")
    return arrays
