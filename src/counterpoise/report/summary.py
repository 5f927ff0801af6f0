"""What a run says, in plain words, and what may not be concluded from it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from counterpoise.runs.records import TrialState
from counterpoise.statistics.results import ArmResult, Results, Spread
from counterpoise.text import counted

__all__ = ["MIN_SEEDS", "IncompleteTrial", "Summary", "pooled_sd", "summarise"]

INVISIBLE = 5e-5
"""Differences of Dice below this do not show in three decimals."""

MIN_SEEDS = 3
"""Fewest seeds per arm for a verdict (docs/verdict.md)."""


@dataclass(frozen=True)
class IncompleteTrial:
    """A trial that has no result, and why."""

    arm: str
    seed: int
    state: TrialState
    epoch: int
    epochs: int
    reason: str


@dataclass(frozen=True)
class Summary:
    """What the run says, in words; ``verdict`` says what may not be concluded."""

    trained: str
    finding: str
    verdict: str
    trials: int
    incomplete: tuple[IncompleteTrial, ...]

    @property
    def is_complete(self) -> bool:
        """Whether every planned trial finished."""
        return not self.incomplete


def summarise(results: Results, verdict: str = "") -> Summary:
    """Say what was trained and which arm scores highest, beside the spread that chance alone makes.

    Whether that spread explains the gap is said only where no verdict has weighed it.

    Parameters
    ----------
    results : Results
        The arms and their scores.
    verdict : str
        The run's verdict in one sentence; what stands there instead if it has not been judged.
    """
    trained = [arm for arm in results.arms if arm.record.runs]
    trials = [trial for arm in trained for trial in (*arm.trials, *arm.unfinished)]
    incomplete = tuple(
        IncompleteTrial(t.arm, t.seed, t.status.state, t.status.epoch, t.status.epochs, t.status.reason)
        for arm in trained
        for t in arm.unfinished
    )
    scored = sorted((arm for arm in trained if arm.last_dice), key=lambda a: -_mean(a))
    return Summary(
        trained=_describe_training(trained, results),
        finding=_describe_finding(scored, results, judged=bool(verdict)),
        verdict=verdict or _describe_verdict(scored),
        trials=len(trials),
        incomplete=incomplete,
    )


def pooled_sd(spreads: Sequence[Spread | None]) -> float | None:
    """Pool standard deviations over arms, by their degrees of freedom; None without a second seed."""
    known = [(s.sd, s.n - 1) for s in spreads if s is not None and s.sd is not None]
    if not known:
        return None
    return math.sqrt(sum(sd * sd * df for sd, df in known) / sum(df for _, df in known))


def _mean(arm: ArmResult) -> float:
    return arm.last_dice.mean if arm.last_dice else -math.inf


def _seeds(arm: ArmResult) -> int:
    return arm.last_dice.n if arm.last_dice else 0


def _describe_training(trained: Sequence[ArmResult], results: Results) -> str:
    epochs = max((t.status.epochs for arm in trained for t in (*arm.trials, *arm.unfinished)), default=0)
    copies = len(results.arms) - len(trained)
    seeds, classes = len(results.record.seeds), len(results.classes)
    text = (
        f"{counted(len(trained), 'class weighting')} of one and the same loss, {counted(seeds, 'seed')} each, "
        f"{counted(epochs, 'epoch')}, {counted(classes, 'class')}"
    )
    return f"{text} ({copies} more not trained: see the table)." if copies else f"{text}."


def _describe_finding(scored: Sequence[ArmResult], results: Results, *, judged: bool) -> str:
    if not scored:
        return "No trial has finished, so there is no score to report."
    top = scored[0]
    tied = [arm.record.name for arm in scored if _mean(arm) >= _mean(top) - INVISIBLE]
    highest = tied[0] if len(tied) == 1 else f"{', '.join(tied[:-1])} and {tied[-1]}"
    verb = "has" if len(tied) == 1 else "share"
    over = counted(_seeds(top), "seed")
    text = f"In the last epoch {highest} {verb} the highest mean Dice, {_mean(top):.3f} over {over}"
    spread = _describe_spread(scored)
    if len(tied) > 1:
        return f"{text}; {spread}."
    gap = _gap(scored, results.baseline)
    if gap is None:
        return f"{text}; no other arm has a score to compare it with."
    size, other = gap
    relation = f"{abs(size):.3f} {'above' if size > 0 else 'below'} {other}"
    if judged:  # the verdict weighs the gap; a ratio of our own beside it could say something else
        return f"{text}, {relation}; {spread}."
    return f"{text}, {relation}; {spread}{_compare(size, scored)}."


def _gap(scored: Sequence[ArmResult], baseline: str) -> tuple[float, str] | None:
    """Return how far the top arm is above the baseline, or above the next arm where that cannot be said.

    Against the baseline the gap is taken seed by seed; where the two did not finish the same seeds it may be
    negative, and the text says which seeds it is about.
    """
    top, rest = scored[0], scored[1:]
    if top.difference is not None:
        shared = top.difference.n
        suffix = "" if shared == _seeds(top) else f" on the {counted(shared, 'seed')} that both finished"
        return top.difference.mean, f"the baseline {baseline}{suffix}"
    return (_mean(top) - _mean(rest[0]), f"the next, {rest[0].record.name}") if rest else None


def _describe_spread(scored: Sequence[ArmResult]) -> str:
    sd = pooled_sd([arm.last_dice for arm in scored])
    if sd is None:
        return "how much a score changes from seed to seed is not known: no arm has two finished seeds"
    if sd < INVISIBLE:
        return "the seeds of an arm do not differ"
    return f"the seeds of one and the same arm differ by ±{sd:.3f} (1 sd)"


def _compare(gap: float, scored: Sequence[ArmResult]) -> str:
    sd = pooled_sd([arm.last_dice for arm in scored])
    if sd is None or sd < INVISIBLE or gap <= 0:
        return ""
    return f", so this gap is {gap / sd:.1f} times that spread"


def _describe_verdict(scored: Sequence[ArmResult]) -> str:
    if not scored:
        return "No verdict."
    fewest = min(_seeds(arm) for arm in scored)
    if fewest < MIN_SEEDS:
        return f"No verdict: needs {MIN_SEEDS} seeds; with fewer, the spread itself is hardly known."
    return "No verdict yet: this run has not been judged, and the highest of several scores is always partly luck."
