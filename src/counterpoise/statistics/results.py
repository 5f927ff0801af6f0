"""The results of a run as a table: arms in rows, scores with their spread over seeds."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from counterpoise.runs.arms import ArmRecord, ArmsRecord
from counterpoise.runs.read import Run, Trial
from counterpoise.statistics.micro_batches import BatchParts, find_parts

__all__ = ["ArmResult", "Results", "Spread", "summarise_run"]


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
class ArmResult:
    """One arm: its weights, its trials and what they say together.

    ``trials`` are the finished ones; ``unfinished`` the others. An arm that is the same experiment as another
    (``record.same_as``) and was not trained itself shows the other's trials.
    """

    record: ArmRecord
    trials: tuple[Trial, ...]
    unfinished: tuple[Trial, ...]
    best_dice: Spread | None
    best_epoch: Spread | None
    last_dice: Spread | None
    last_dice_by_class: Mapping[str, Spread | None]
    difference: Spread | None
    """Last Dice minus the baseline's, seed by seed."""

    @property
    def name(self) -> str:
        """Return the name of the arm."""
        return self.record.name


@dataclass(frozen=True)
class Results:
    """The table: arms sorted by last Dice, the highest first, with what it rests on."""

    run: Run
    arms: tuple[ArmResult, ...]
    parts: BatchParts
    """Finished trainings that saw their batches in parts."""

    @property
    def plan(self) -> ArmsRecord:
        """Return what the run compares."""
        return self.run.plan

    @property
    def classes(self) -> tuple[str, ...]:
        """Return the classes, in their order."""
        return self.plan.classes

    @property
    def baseline(self) -> str:
        """Return the name of the arm the others are compared to."""
        return self.plan.baseline

    @property
    def trained(self) -> tuple[ArmResult, ...]:
        """Return the arms that have trials of their own."""
        return tuple(arm for arm in self.arms if arm.record.runs)

    @property
    def unfinished(self) -> tuple[Trial, ...]:
        """Return the trials without a result, arm by arm."""
        return tuple(trial for arm in self.trained for trial in arm.unfinished)

    @property
    def failed(self) -> tuple[Trial, ...]:
        """Return the trials that failed."""
        return tuple(trial for trial in self.unfinished if trial.status.state == "failed")


def summarise_run(run: Run) -> Results:
    """Summarise the trials of a run, finished or not.

    Returns
    -------
    Results
        Scores are those of finished trials; an arm without any has None.
    """
    arms = [_summarise(arm, run) for arm in run.plan.arms]
    arms.sort(key=lambda arm: -(arm.last_dice.mean if arm.last_dice else -1.0))
    return Results(run, tuple(arms), find_parts(run.trials))


def _summarise(arm: ArmRecord, run: Run) -> ArmResult:
    trials = run.of(arm.name) or run.of(arm.same_as or "")
    finished = tuple(trial for trial in trials if trial.is_finished)
    last = {t.seed: t.last.dice_mean for t in finished if t.last}
    base = {t.seed: t.last.dice_mean for t in run.of(run.plan.baseline) if t.last and t.is_finished}
    differences = [
        value - base[seed]  # type: ignore[operator]
        for seed, value in last.items()
        if value is not None and base.get(seed) is not None
    ]
    best = [t.best for t in finished]
    return ArmResult(
        record=arm,
        trials=finished,
        unfinished=tuple(t for t in trials if not t.is_finished),
        best_dice=Spread.of([e.dice_mean if e else None for e in best]),
        best_epoch=Spread.of([float(e.epoch) if e else None for e in best]),
        last_dice=Spread.of(list(last.values())),
        last_dice_by_class={
            name: Spread.of([t.last.dice.get(name) for t in finished if t.last]) for name in run.plan.classes
        },
        difference=None if arm.name == run.plan.baseline else Spread.of(differences),
    )
