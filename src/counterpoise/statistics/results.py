"""The results of a run as a table: arms in rows, scores with their spread over seeds."""

from __future__ import annotations

import statistics
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from counterpoise.errors import RunFolderError
from counterpoise.runs.layout import RunFolder, TrialFolder
from counterpoise.runs.records import ArmRecord, ArmsRecord, EpochRecord, TrialStatus, read_arms, read_epochs
from counterpoise.statistics.micro_batches import describe_parts, note_parts

__all__ = ["ArmResult", "Results", "Spread", "TrialResult", "load_results"]


@dataclass(frozen=True)
class Spread:
    """Mean and standard deviation over seeds; ``sd`` is None for a single seed."""

    mean: float
    sd: float | None
    n: int

    @classmethod
    def of(cls, values: Sequence[float | None]) -> Spread | None:
        """Summarise the values that exist; None if there are none."""
        there = [v for v in values if v is not None]
        if not there:
            return None
        return cls(statistics.fmean(there), statistics.stdev(there) if len(there) > 1 else None, len(there))


@dataclass(frozen=True)
class TrialResult:
    """One training of one arm: its state and all its epochs; ``parts`` says if its batches did not fit into memory."""

    arm: str
    seed: int
    status: TrialStatus
    epochs: tuple[EpochRecord, ...]
    parts: str = ""

    @property
    def best(self) -> EpochRecord | None:
        """Return the epoch with the highest mean Dice, the first of equals (an optimistic figure)."""
        scored = [e for e in self.epochs if e.dice_mean is not None]
        return max(scored, key=lambda e: e.dice_mean or 0.0) if scored else None

    @property
    def last(self) -> EpochRecord | None:
        """Return the last finished epoch."""
        return self.epochs[-1] if self.epochs else None


@dataclass(frozen=True)
class ArmResult:
    """One arm: its weights, its trials and what they say together.

    ``trials`` are the finished ones; ``unfinished`` the others. An arm that is the same experiment as another
    (``record.same_as``) and was not trained itself shows the other's trials.
    """

    record: ArmRecord
    trials: tuple[TrialResult, ...]
    unfinished: tuple[TrialResult, ...]
    best_dice: Spread | None
    best_epoch: Spread | None
    last_dice: Spread | None
    last_dice_by_class: Mapping[str, Spread | None]
    difference: Spread | None
    """Last Dice minus the baseline's, seed by seed."""


@dataclass(frozen=True)
class Results:
    """The table: arms by falling last Dice, with what it rests on."""

    run: RunFolder
    record: ArmsRecord
    arms: tuple[ArmResult, ...]

    @property
    def classes(self) -> tuple[str, ...]:
        """Return the classes, in their order."""
        return self.record.classes

    @property
    def baseline(self) -> str:
        """Return the name of the arm the others are compared to."""
        return self.record.baseline

    @property
    def failed(self) -> tuple[TrialResult, ...]:
        """Return the trials that failed."""
        return tuple(t for arm in self.arms if arm.record.runs for t in arm.unfinished if t.status.state == "failed")

    @property
    def notes(self) -> tuple[str, ...]:
        """Return what makes finished trials less than exactly comparable."""
        finished = [t for arm in self.arms if arm.record.runs for t in arm.trials]
        return note_parts((t.arm, t.seed, t.parts) for t in finished)


def load_results(run: RunFolder) -> Results:
    """Read a run folder, finished or not.

    Parameters
    ----------
    run : RunFolder
        A folder in which ``counterpoise run`` has planned its arms.

    Returns
    -------
    Results
        Scores are those of finished trials; an arm without any has None.

    Raises
    ------
    RunFolderError
        If this is not a run folder, or its plan is damaged.
    """
    record = read_arms(run)
    trials = {
        arm.name: [_load_trial(run.trial(arm.name, seed)) for seed in record.seeds] for arm in record.arms if arm.runs
    }
    arms = [
        _summarise(
            arm,
            trials.get(arm.name) or trials.get(arm.same_as or "", []),
            trials.get(record.baseline, []),
            record,
        )
        for arm in record.arms
    ]
    arms.sort(key=lambda a: -(a.last_dice.mean if a.last_dice else -1.0))
    return Results(run, record, tuple(arms))


def _load_trial(folder: TrialFolder) -> TrialResult:
    status = TrialStatus.of(folder)
    try:
        epochs = read_epochs(folder)
    except RunFolderError as error:  # one trial's damage is told as its reason; the others are still worth a table
        epochs, status = (), replace(status, state="failed", reason=error.problem)
    parts = describe_parts(epochs, _batch_size(folder)) if any(e.micro_batch for e in epochs) else ""
    return TrialResult(folder.arm, folder.seed, status, epochs, parts)


def _batch_size(folder: TrialFolder) -> int | None:
    """Read how many patches an update was to see; None where the trial's configuration is lost or damaged."""
    try:
        return int(tomllib.loads(folder.config.read_text(encoding="utf-8"))["training"]["batch_size"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _summarise(
    arm: ArmRecord, trials: Sequence[TrialResult], baseline: Sequence[TrialResult], record: ArmsRecord
) -> ArmResult:
    finished = tuple(t for t in trials if t.status.state == "finished")
    last = {t.seed: t.last.dice_mean for t in finished if t.last}
    base = {t.seed: t.last.dice_mean for t in baseline if t.last and t.status.state == "finished"}
    differences = [
        value - base[seed]  # type: ignore[operator]
        for seed, value in last.items()
        if value is not None and base.get(seed) is not None
    ]
    best = [t.best for t in finished]
    return ArmResult(
        record=arm,
        trials=finished,
        unfinished=tuple(t for t in trials if t.status.state != "finished"),
        best_dice=Spread.of([e.dice_mean if e else None for e in best]),
        best_epoch=Spread.of([float(e.epoch) if e else None for e in best]),
        last_dice=Spread.of(list(last.values())),
        last_dice_by_class={
            name: Spread.of([t.last.dice.get(name) for t in finished if t.last]) for name in record.classes
        },
        difference=None if arm.name == record.baseline else Spread.of(differences),
    )
