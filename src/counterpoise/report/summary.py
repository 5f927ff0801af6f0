"""What a run trained, and which arm scores highest: the plain facts next to the verdict."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from counterpoise.report.statements import NO_SCORE
from counterpoise.runs.read import Trial
from counterpoise.statistics.results import ArmResult, Results
from counterpoise.text import counted, fixed, listed

__all__ = ["Summary", "summarise"]

INVISIBLE = 5e-5
"""Differences of Dice below this do not show in three decimals."""


@dataclass(frozen=True)
class Summary:
    """What the run trained, or was to train, and found, in words; and the trials without a result."""

    design: str
    finding: str
    trials: int
    incomplete: tuple[Trial, ...]

    @property
    def is_complete(self) -> bool:
        """Whether every planned trial finished."""
        return not self.incomplete


def summarise(results: Results) -> Summary:
    """Say what was trained and which arm scores highest; what that is worth, the verdict says.

    Parameters
    ----------
    results : Results
        The arms and their scores.
    """
    scored = [arm for arm in results.trained if arm.last]
    return Summary(
        design=_describe_design(results),
        finding=_describe_finding(scored, results),
        trials=len(results.run.trials),
        incomplete=results.unfinished,
    )


def _describe_design(results: Results) -> str:
    trained, seeds = results.trained, len(results.plan.seeds)
    epochs = max((trial.status.epochs for trial in results.run.trials), default=0)
    copies = len(results.arms) - len(trained)
    verb = "Planned" if results.unfinished else "Trained"
    raced = "at most " if results.plan.race is not None else ""
    text = (
        f"{verb}: {counted(len(trained), 'class weighting')} of one and the same loss, {raced}{counted(seeds, 'seed')} "
        f"each, "
        f"{counted(epochs, 'epoch')}, {counted(len(results.classes), 'class')}"
    )
    return f"{text} ({copies} more not trained: see the table)." if copies else f"{text}."


def _describe_finding(scored: Sequence[ArmResult], results: Results) -> str:
    """Name the arm with the highest score, and how far it is above the baseline."""
    if not scored:
        return NO_SCORE
    top = scored[0]
    tied = [arm.name for arm in scored if _mean(arm) >= _mean(top) - INVISIBLE]
    verb = "has" if len(tied) == 1 else "share"
    over = counted(_seeds(top), "seed")
    mean = "mean Dice" if len(results.scored) != 1 else f"Dice of {results.scored[0]}"
    text = f"In the last epoch {listed(tied)} {verb} the highest {mean}, {fixed(_mean(top))} over {over}"
    if len(tied) > 1:
        return f"{text}."
    if top.difference is not None:
        shared = top.difference.n
        suffix = "" if shared == _seeds(top) else f" on the {counted(shared, 'seed')} that both finished"
        return f"{text}, {_above(top.difference.mean)} the baseline {results.baseline}{suffix}."
    if len(scored) == 1:
        return f"{text}; no other arm has a score to compare it with."
    return f"{text}, {_above(_mean(top) - _mean(scored[1]))} the next, {scored[1].name}."


def _above(gap: float) -> str:
    return f"{fixed(abs(gap))} {'above' if gap > 0 else 'below'}"


def _mean(arm: ArmResult) -> float:
    return arm.last.mean if arm.last else -math.inf


def _seeds(arm: ArmResult) -> int:
    return arm.last.n if arm.last else 0
