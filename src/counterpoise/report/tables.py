"""The tables of a paper: every arm, and every class of every arm, with intervals and a caption that says what they are.

Scores are those of the verdict (docs/verdict.md); this module computes the spread over seeds beside them and, where
there is no verdict, plain differences without intervals.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool

from counterpoise.files.atomic import read_json
from counterpoise.runs.layout import RunFolder
from counterpoise.statistics.counts import CountTable
from counterpoise.statistics.question import read_question
from counterpoise.statistics.results import load_results
from counterpoise.statistics.scores import RunScores, pooled_scores
from counterpoise.statistics.verdict import judge
from counterpoise.statistics.verdict_types import ArmVerdict, ClassDifference, Verdict
from counterpoise.text import counted

__all__ = ["ResultTables", "ScoreRow", "make_tables", "read_tables"]


@dataclass(frozen=True)
class ScoreRow:
    """One line of a table: an arm, or one class of an arm.

    Parameters
    ----------
    arm : str
        Name of the arm.
    class_name : str or None
        None for the mean over the scored classes.
    seeds, planned : int
        Finished runs, and seeds.
    dice, sd, iou : float
        Mean over the finished runs, and standard deviation of Dice over them; NaN where there are none (for sd:
        fewer than two).
    difference, low, high : float
        Dice minus the baseline's over the seeds both have, and the bounds of its interval; NaN for the baseline, and
        where there is none.
    label : str
        ``baseline``, what the verdict says, or nothing.
    in_best_set : bool or None
        Whether the arm cannot be told apart from the best; None without a verdict, and for a class.
    few_crops : bool
        Whether the interval is about these crops only.
    """

    arm: str
    class_name: str | None
    seeds: int
    planned: int
    dice: float
    sd: float
    iou: float
    difference: float
    low: float
    high: float
    label: str = ""
    in_best_set: bool | None = None
    few_crops: bool = False


@dataclass(frozen=True)
class ResultTables:
    """What ``results --format latex``, ``markdown`` and ``csv`` show.

    Parameters
    ----------
    arms : tuple of ScoreRow
        By falling score.
    classes : tuple of ScoreRow
        The scored classes in their order, each with the arms in the order of ``arms``.
    arms_caption, classes_caption : str
        What the figures are, how they were made, and what they hold for: plain text.
    baseline : str
        The arm the others are compared to.
    confidence : float
        Of the intervals, 0.95 by default.
    no_verdict : str
        Why there are no intervals; empty if there are.
    """

    arms: tuple[ScoreRow, ...]
    classes: tuple[ScoreRow, ...]
    arms_caption: str
    classes_caption: str
    baseline: str
    confidence: float
    no_verdict: str


def read_tables(run: RunFolder) -> ResultTables:
    """Judge a run folder, finished or not, and make its tables; nothing is written.

    Raises
    ------
    RunFolderError
        If this is not a run folder, or its counts cannot be used together.
    """
    question = read_question(run)
    tiles = _count_tiles(run) if question.settings.thresholds == "half" else None  # else some crops are not scored
    verdict = replace(judge(question.table, question.settings), notes=load_results(run).notes)
    return make_tables(question.table, verdict, tiles=tiles)


def make_tables(table: CountTable, verdict: Verdict, *, tiles: int | None = None) -> ResultTables:
    """Put a verdict and the spread of its scores over seeds into tables.

    Parameters
    ----------
    table : CountTable
        What was judged.
    verdict : Verdict
        Of this table.
    tiles : int, optional
        Length of the fixed list of validation tiles, for the caption.
    """
    scored = np.array([support.scored for support in verdict.classes], bool)
    means = _Scores(table, scored)
    arms = tuple(_arm_row(arm, verdict, means) for arm in verdict.arms)
    classes = []
    for c in np.flatnonzero(scored):
        scores = _Scores(table, np.arange(len(scored)) == c)
        for arm in verdict.arms:
            found = next(entry for entry in arm.classes if entry.name == table.classes[c])
            classes.append(_class_row(arm, found, verdict, scores))
    return ResultTables(
        arms=arms,
        classes=tuple(classes),
        arms_caption=" ".join(_describe_arms(verdict, tiles)),
        classes_caption=" ".join(_describe_classes(verdict, few_crops=any(row.few_crops for row in classes))),
        baseline=verdict.baseline,
        confidence=1 - verdict.settings.alpha,
        no_verdict=verdict.no_verdict,
    )


class _Scores:
    """Dice and IoU of every run over some of the classes."""

    def __init__(self, table: CountTable, classes: Bool[np.ndarray, " class_"]) -> None:
        usable = bool(classes.any()) and bool(table.finished.any())
        blank: RunScores = np.full(table.finished.shape, np.nan)
        self._arms, self._baseline = table.arms, table.baseline
        self._dice = pooled_scores(table.counts, classes) if usable else blank
        self._iou = pooled_scores(table.counts, classes, metric="iou") if usable else blank

    def sd(self, arm: str) -> float:
        """Return the standard deviation of an arm's Dice over its runs; NaN for fewer than two."""
        dice = self._of(self._dice, arm)
        return float(dice.std(ddof=1)) if len(dice) > 1 else math.nan

    def iou(self, arm: str) -> float:
        """Return an arm's mean IoU."""
        iou = self._of(self._iou, arm)
        return float(iou.mean()) if len(iou) else math.nan

    def difference(self, arm: str) -> float:
        """Return the mean difference to the baseline over common seeds; NaN for the baseline, or without any."""
        if arm == self._baseline or self._baseline not in self._arms:
            return math.nan
        pairs = self._dice[self._arms.index(arm)] - self._dice[self._arms.index(self._baseline)]
        there = pairs[np.isfinite(pairs)]
        return float(there.mean()) if len(there) else math.nan

    def _of(self, scores: RunScores, arm: str) -> np.ndarray:
        row: np.ndarray = scores[self._arms.index(arm)]
        there: np.ndarray = row[np.isfinite(row)]
        return there


def _arm_row(arm: ArmVerdict, verdict: Verdict, scores: _Scores) -> ScoreRow:
    comparison = arm.comparison
    label = "baseline" if arm.name == verdict.baseline else comparison.label if comparison else ""
    return ScoreRow(
        arm=arm.name,
        class_name=None,
        seeds=arm.runs,
        planned=arm.planned,
        dice=arm.score,
        sd=scores.sd(arm.name),
        iou=arm.iou,
        difference=comparison.difference if comparison else scores.difference(arm.name),
        low=comparison.low if comparison else math.nan,
        high=comparison.high if comparison else math.nan,
        label=label,
        in_best_set=arm.is_in_best_set if verdict.has_verdict else None,
    )


def _class_row(arm: ArmVerdict, found: ClassDifference, verdict: Verdict, scores: _Scores) -> ScoreRow:
    is_baseline = arm.name == verdict.baseline
    judged = verdict.has_verdict and not is_baseline and not math.isnan(found.low)
    return ScoreRow(
        arm=arm.name,
        class_name=found.name,
        seeds=arm.runs,
        planned=arm.planned,
        dice=found.dice,
        sd=scores.sd(arm.name),
        iou=scores.iou(arm.name),
        difference=found.difference if judged else scores.difference(arm.name),
        low=found.low if judged else math.nan,
        high=found.high if judged else math.nan,
        label="baseline" if is_baseline else "",
        few_crops=judged and found.scope == "this",
    )


def _describe_arms(verdict: Verdict, tiles: int | None) -> Iterator[str]:
    """Say what the table of arms shows, sentence by sentence."""
    settings = verdict.settings
    arms, seeds = counted(len(verdict.arms), "weighting"), counted(len(verdict.seeds), "seed")
    yield f"Dice of {arms} over {seeds} (n: those finished): mean ± standard deviation."
    yield _describe_scoring(verdict, tiles)
    if not verdict.has_verdict:
        yield f"No intervals and no verdict: {verdict.no_verdict}."
        yield f"Δ: mean difference to {verdict.baseline} over the seeds both have."
    else:
        yield (
            f"Δ: difference to {verdict.baseline} over the seeds both have, with the {1 - settings.alpha:.0%} interval "
            f"that holds for all {_comparisons(verdict)} together (jackknife over {_units(verdict)}, additive model of "
            "arm and seed, moderated pair variance, Satterthwaite's degrees of freedom, Bonferroni)."
        )
        yield f"The verdict's margin is {settings.margin:g}."
        yield "Best: whether the arm is in the set that cannot be told apart from the best."
        yield _describe_scope(verdict)
    yield from _describe_flags(verdict)


def _describe_scoring(verdict: Verdict, tiles: int | None) -> str:
    scored = [support.name for support in verdict.classes if support.scored]
    of_tiles = f"a fixed list of {tiles} tiles in " if tiles is not None else ""
    effective = "" if math.isnan(verdict.effective_crops) else f" (effective {verdict.effective_crops:.1f})"
    threshold = "above probability 1/2"
    if verdict.settings.thresholds == "tuned":
        threshold = f"above thresholds tuned on {counted(verdict.settings.select_crops, 'other crop')}"
    units = counted(verdict.crops, f"validation {verdict.settings.cluster}")
    return (
        f"Present {threshold}; counts pooled over {of_tiles}{units}{effective}, averaged "
        f"weights of the last epoch, mean over {', '.join(scored) or 'no class'}."
    )


def _units(verdict: Verdict) -> str:
    return f"validation {verdict.settings.clusters}"


def _comparisons(verdict: Verdict) -> str:
    others = max(len(verdict.arms) - 1, 1)
    looks = verdict.settings.looks
    text = counted(others, "comparison")
    return text if looks == 1 else f"{text} at {looks} looks"


def _describe_scope(verdict: Verdict) -> str:
    if verdict.scope == "new":
        return f"Holds for new {verdict.settings.clusters} like these, this split, this model and schedule."
    return f"Holds for these {_units(verdict)} only: they are too few to speak of others."


def _describe_flags(verdict: Verdict) -> Iterator[str]:
    for arm in verdict.arms:
        if arm.diverged:
            yield f"{arm.name}: {len(arm.diverged)} of {arm.planned} trainings diverged."
        if arm.control_of:
            yield f"{arm.name} is a control with the weights of {arm.control_of}."
    for name, other in verdict.copies:
        yield f"{name} has the weights of {other} and was not trained."
    yield from (f"{note}." for note in verdict.notes)


def _describe_classes(verdict: Verdict, *, few_crops: bool) -> Iterator[str]:
    yield "Dice by class: mean ± standard deviation over seeds."
    units = verdict.settings.clusters
    unscored = [f"{c.name} (positives in {c.positive_crops} {units})" for c in verdict.classes if not c.scored]
    if unscored:
        yield f"Not scored: {', '.join(unscored)}."
    if not verdict.has_verdict:
        yield f"Δ: mean difference to {verdict.baseline}; no intervals: {verdict.no_verdict}."
        return
    yield f"Δ: difference to {verdict.baseline} with its single {1 - verdict.settings.alpha:.0%} interval."
    yield "Exploratory: not corrected for the number of classes and arms."
    if few_crops:
        yield f"†: too few effective {units}; the interval is about these {units} only."


def _count_tiles(run: RunFolder) -> int | None:
    """Count the validation tiles; None where the run does not say."""
    try:
        return len(read_json(run.tiles)["tiles"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
