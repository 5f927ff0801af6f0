"""The results of a run as a table: arms in rows, scores with their spread over seeds, all of them the verdict's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from counterpoise.runs.arms import ArmRecord, ArmsRecord
from counterpoise.runs.read import Run, Trial
from counterpoise.statistics.run_scores import RunScore
from counterpoise.statistics.verdict_types import Verdict

__all__ = ["ArmResult", "Results", "Spread", "summarise_run"]


@dataclass(frozen=True)
class Spread:
    """Mean and standard deviation over seeds as they are; ``sd`` is None for a single seed."""

    mean: float
    sd: float | None
    n: int

    @classmethod
    def of(cls, values: Sequence[float | None]) -> Spread | None:
        """Summarise the values that exist; None if there are none."""
        there = [v for v in values if v is not None]
        if not there:
            return None
        sd = float(np.std(there, ddof=1)) if len(there) > 1 else None
        return cls(float(np.mean(there)), sd, len(there))


@dataclass(frozen=True)
class ArmResult:
    """One arm: its weights, its trials and what they say together.

    Parameters
    ----------
    trials, unfinished : tuple of Trial
        The finished ones, and the others. An arm that is the same experiment as another (``record.same_as``) and was
        not trained itself shows the other's trials.
    scores : tuple of RunScore
        Of those trials that the verdict counts as finished: that have counts, and did not collapse.
    last, best, best_epoch, difference : Spread or None
        Dice over the scored classes after the last epoch, and in the best; last Dice minus the baseline's, by seed.
    by_class : mapping
        Last Dice of every class, the ones that are not scored too.
    """

    record: ArmRecord
    trials: tuple[Trial, ...]
    unfinished: tuple[Trial, ...]
    scores: tuple[RunScore, ...]
    last: Spread | None
    best: Spread | None
    best_epoch: Spread | None
    difference: Spread | None
    by_class: Mapping[str, Spread | None]

    @property
    def name(self) -> str:
        """Return the name of the arm."""
        return self.record.name


@dataclass(frozen=True)
class Results:
    """The table: arms sorted by last Dice, the highest first, with what it rests on."""

    run: Run
    verdict: Verdict
    arms: tuple[ArmResult, ...]

    @property
    def plan(self) -> ArmsRecord:
        """Return what the run compares."""
        return self.run.plan

    @property
    def scored(self) -> tuple[str, ...]:
        """Return the classes that the mean is taken over."""
        return self.verdict.scored

    @property
    def not_scored(self) -> tuple[str, ...]:
        """Return the other classes: their Dice is shown apart."""
        return tuple(name for name in self.plan.classes if name not in self.scored)

    @property
    def classes(self) -> tuple[str, ...]:
        """Return all classes, the scored ones first."""
        return (*self.scored, *self.not_scored)

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


def summarise_run(run: Run, verdict: Verdict) -> Results:
    """Put the scores of a run, finished or not, into a table.

    Parameters
    ----------
    run : Run
        Its trials.
    verdict : Verdict
        On the same run: every score comes from it.

    Returns
    -------
    Results
        An arm without a finished trial has None for a score.
    """
    scores: dict[str, list[RunScore]] = {}
    for score in verdict.run_scores:
        scores.setdefault(score.arm, []).append(score)
    base = {score.block: score.dice for score in scores.get(run.plan.baseline, [])}
    arms = [_summarise(arm, run, verdict, scores, base) for arm in run.plan.arms]
    arms.sort(key=lambda arm: -(arm.last.mean if arm.last else -1.0))
    return Results(run, verdict, tuple(arms))


def _summarise(
    arm: ArmRecord,
    run: Run,
    verdict: Verdict,
    scores: Mapping[str, Sequence[RunScore]],
    base: Mapping[int, float | None],
) -> ArmResult:
    own = arm.name if arm.runs else arm.same_as or arm.name
    found = scores.get(own, ())
    pairs = [(score.dice, base.get(score.block)) for score in found]
    trials = run.of(own)
    return ArmResult(
        record=arm,
        trials=tuple(trial for trial in trials if trial.is_finished),
        unfinished=tuple(trial for trial in trials if not trial.is_finished),
        scores=tuple(found),
        last=_headline(verdict, own),
        best=Spread.of([score.best for score in found]),
        best_epoch=Spread.of([score.best_epoch for score in found]),
        difference=None
        if arm.name == run.plan.baseline
        else Spread.of([dice - other for dice, other in pairs if dice is not None and other is not None]),
        by_class={name: Spread.of([score.of_class(name) for score in found]) for name in run.plan.classes},
    )


def _headline(verdict: Verdict, name: str) -> Spread | None:
    """Return the score that the verdict gives an arm, with its spread over seeds as they are."""
    found = next((arm for arm in verdict.arms if arm.name == name), None)
    return None if found is None or found.score is None else Spread(found.score, found.sd_over_seeds, found.runs)
