"""The verdict: what the runs of an experiment can tell about its arms, and no more (docs/verdict.md)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property

import numpy as np
from jaxtyping import Bool

from counterpoise.statistics.arm_verdict import ArmVerdict, BaselineComparison, ClassDifference
from counterpoise.statistics.counts import CountTable, RunState
from counterpoise.statistics.inference import Label, Pairs, best_set, half_widths, label_interval, shrink_to_baseline
from counterpoise.statistics.looks import NO_LOOKS, LookHistory
from counterpoise.statistics.measured import comparisons, mean_scores, measure
from counterpoise.statistics.precision import seeds_to_decide
from counterpoise.statistics.run_noise import NO_NOISE, arm_spread, stray_runs
from counterpoise.statistics.scores import (
    RunScores,
    crop_mean_scores,
    effective_crops,
    pooled_scores,
    positive_crops,
    scorable_classes,
)
from counterpoise.statistics.training import judge_training
from counterpoise.statistics.verdict_types import (
    BestBet,
    ClassSupport,
    LooksTaken,
    NoiseSummary,
    Obstacle,
    Recommendation,
    RecommendationReason,
    Settings,
    Verdict,
)
from counterpoise.text import finite

__all__ = ["judge"]

NOISY_RATIO = 2.5
"""An arm that varies this many times as much as the others is flagged (docs/verdict.md)."""


def judge(
    table: CountTable,
    settings: Settings | None = None,
    history: LookHistory = NO_LOOKS,
    *,
    is_before_looks: bool = False,
) -> Verdict:
    """Say what the counts of a run can tell.

    Parameters
    ----------
    table : CountTable
        From :func:`counterpoise.statistics.counts.tabulate_counts`; its ``by_data_set()`` if the question is about
        unseen data sets.
    settings : Settings, optional
        Decided before the data are seen.
    history : LookHistory
        The looks before this one.
    is_before_looks : bool
        Whether this is a race that has not come to its first look: then nothing is claimed.

    Returns
    -------
    Verdict
        Without claims, and with the reason, if the runs allow none.
    """
    return _Judgement(table, settings or Settings(), history, is_before_looks=is_before_looks).verdict()


class _Judgement:
    """The quantities that several parts of a verdict need, computed once in the order of docs/verdict.md."""

    def __init__(
        self, table: CountTable, settings: Settings, history: LookHistory, *, is_before_looks: bool = False
    ) -> None:
        self.table, self.settings, self.history = table, settings, history
        self.is_before_looks = is_before_looks
        counts = table.counts
        self.run: Bool[np.ndarray, "arm seed"] = table.finished
        self.supported = positive_crops(counts).sum(0) if table.crops else np.zeros(len(table.classes), int)
        self.scored = (
            scorable_classes(counts, settings.min_crops) if table.crops else np.zeros(len(table.classes), bool)
        )
        blank = np.full(self.run.shape, np.nan)
        usable = bool(self.scored.any()) and bool(self.run.any())
        self.iou = pooled_scores(counts, self.scored, metric="iou") if usable else blank
        self.crop_dice = crop_mean_scores(counts, self.scored) if usable else blank
        self.effective = effective_crops(counts) if usable else np.full(len(table.classes), np.nan)
        self.g_eff = float(self.effective[self.scored].mean()) if usable else math.nan
        self.measured = measure(table, self.scored, self.g_eff, settings) if usable else None
        self.theta = self.measured.theta if self.measured else blank
        self.noise = self.measured.noise if self.measured else None
        self.baseline = table.arms.index(table.baseline) if table.baseline in table.arms else None
        self.alpha = settings.alpha / comparisons(table)
        self.stray = stray_runs(self.theta) if usable else np.zeros(self.run.shape, bool)
        self.common_seeds = self._count_common_seeds()
        self.training = judge_training(table, self.scored)
        self.obstacle = self._find_obstacle()

    @property
    def pairs(self) -> Pairs | None:
        """Return the comparisons; None where nothing is claimed."""
        return None if self.obstacle or self.measured is None else self.measured.pairs

    @cached_property
    def _levels(self) -> np.ndarray:
        """Return the level of every comparison at this look."""
        return self.history.levels(self.table, self.alpha)

    @cached_property
    def _half_here(self) -> np.ndarray | None:
        """Return the half-widths for these crops alone: what holds for others too, holds for these."""
        if self.pairs is None:
            return None
        here, new = (half_widths(self.pairs, self._levels, is_here=is_here) for is_here in (True, False))
        smaller: np.ndarray = np.minimum(here, new)
        return smaller

    def verdict(self) -> Verdict:
        """Put the parts together."""
        table, pairs = self.table, self.pairs
        inside, half = np.zeros(len(table.arms), bool), None
        if pairs is not None:
            half = half_widths(pairs, self._levels)
            inside = best_set(pairs, self._eligible(), half)
        arms = self._arms(half, inside)
        halves = [
            (c.high - c.low) / 2 for a in arms if (c := a.comparison) and c.low is not None and c.high is not None
        ]
        return Verdict(
            obstacle=self.obstacle,
            common_seeds=self.common_seeds,
            training=self.training,
            baseline=table.baseline,
            settings=self.settings,
            arms=arms,
            seeds=table.seeds,
            crops=len(table.crops),
            data_sets=len(table.data_sets),
            tiles_hash=table.tiles_hash,
            effective_crops=finite(self.g_eff),
            classes=tuple(
                ClassSupport(name, int(self.supported[c]), finite(float(self.effective[c])), bool(self.scored[c]))
                for c, name in enumerate(table.classes)
            ),
            noise=self._summarise_noise(),
            visible_difference=float(np.median(halves)) if halves else None,
            best_set=tuple(arm.name for arm in arms if arm.is_in_best_set),
            recommendation=self._recommend(arms),
            incomplete=tuple(cell for row in table.cells for cell in row if cell.state in _INCOMPLETE),
            copies=tuple(table.copies.items()),
            baseline_is_noisy=pairs is not None and self.measured is not None and self.measured.baseline_is_noisy,
            bet=self._bet(pairs),
            looks=self._looks(),
        )

    def _looks(self) -> LooksTaken:
        """Sum up what was seen, and what it costs all comparisons together."""
        table, base = self.table, self.baseline
        planned = len(table.seeds) - min((len(self._diverged(a)) for a in range(len(table.arms))), default=0)
        seeds = [max((len(runs) for runs in look.runs.values()), default=0) for look in self.history.earlier]
        rate = self.settings.alpha
        if base is not None:
            compared = [a for a, arm in enumerate(table.arms) if a != base and arm not in table.controls]
            rates = [self.history.spent(table, (a, base), self.alpha).overall for a in compared]
            rate = max(rate, *(each / self.alpha * rate for each in rates)) if rates else rate
        return LooksTaken(
            recorded=len(seeds),
            seeds=(*seeds, int(self.run.sum(1).max(initial=0))),
            planned=planned,
            error_rate=rate,
            lost_runs=self.history.lost_runs(table),
        )

    def _bet(self, pairs: Pairs | None) -> BestBet | None:
        """Name the arm with the highest expected score; the baseline where the arms spread no more than the noise."""
        if pairs is None or self.baseline is None:
            return None
        counts = self._eligible() & np.array([arm not in self.table.controls for arm in self.table.arms], bool)
        if not np.delete(counts, self.baseline).any():
            return None
        expected = shrink_to_baseline(pairs, self.baseline, counts)
        top = int(np.nanargmax(expected))
        top = top if expected[top] > 0 else self.baseline
        return BestBet(self.table.arms[top], float(expected[top]))

    def _count_common_seeds(self) -> int:
        """Return the most seeds that the baseline and another arm have both finished."""
        if self.baseline is None or len(self.table.arms) < 2:  # noqa: PLR2004 - it takes two to compare
            return 0
        common = (self.run & self.run[self.baseline]).sum(1)
        return int(np.delete(common, self.baseline).max())

    def _find_obstacle(self) -> Obstacle | None:
        """Say why there can be no verdict, the first reason first; None if there can."""
        noise = self.noise
        reasons = {
            Obstacle.UNTRAINED: self.training.is_untrained,
            Obstacle.NO_RUN: not self.run.any(),
            Obstacle.NO_LOOK: self.is_before_looks,
            Obstacle.NO_CLASS: not self.scored.any(),
            Obstacle.ONE_ARM: len(self.table.arms) < 2,  # noqa: PLR2004 - it takes two to compare
            Obstacle.NO_BASELINE: self.baseline is None or not self.run[self.baseline].any(),
            Obstacle.FEW_SEEDS: self.common_seeds < self.settings.min_seeds,
            Obstacle.NO_NOISE: noise is None,
            Obstacle.NO_REPETITION: noise is not None and noise.sd < NO_NOISE,
        }
        return next((obstacle for obstacle, stands in reasons.items() if stands), None)

    def _eligible(self) -> Bool[np.ndarray, " arm"]:
        """Find the arms that may be best: compared with another, never diverged, no run failed (docs/verdict.md)."""
        compared = ((self.run.astype(int) @ self.run.astype(int).T) > 1).sum(1) > 1
        stable = np.array([not self._diverged(a) for a in range(len(self.table.arms))], bool) & ~self.stray.any(1)
        eligible: Bool[np.ndarray, " arm"] = compared & (stable | self.settings.allow_unstable)
        return eligible

    def _diverged(self, arm: int) -> tuple[int, ...]:
        return tuple(cell.seed for cell in self.table.cells[arm] if cell.state is RunState.DIVERGED)

    def _summarise_noise(self) -> NoiseSummary | None:
        if self.noise is None:
            return None
        low, high = self.noise.interval(self.settings.alpha)
        return NoiseSummary(self.noise.sd, low, high, self.noise.df, self.noise.seed_share)

    def _arms(self, half: np.ndarray | None, inside: Bool[np.ndarray, " arm"]) -> tuple[ArmVerdict, ...]:
        spread = arm_spread(self.noise) if self.noise is not None else np.full(len(self.table.arms), np.nan)
        by_class = _ClassTables(self)
        scores = np.full(len(self.run), np.nan)
        if self.measured is not None:
            scores = mean_scores(self.measured, self.baseline)
        arms = [self._arm(a, half, spread, scores[a], by_class, bool(inside[a])) for a in range(len(self.table.arms))]
        return tuple(sorted(arms, key=lambda arm: (arm.score is None, -(arm.score or 0.0))))

    def _arm(
        self,
        a: int,
        half: np.ndarray | None,
        spread: np.ndarray,
        score: float,
        by_class: _ClassTables,
        is_inside: bool,
    ) -> ArmVerdict:
        table, name, diverged = self.table, self.table.arms[a], self._diverged(a)
        runs, plain = int(self.run[a].sum()), _mean(self.theta[a])
        comparison, seeds = self._compare(half, a), None
        if comparison is not None and comparison.label is Label.UNDECIDED:
            assert self.pairs is not None  # noqa: S101 - else there is no comparison
            assert self.baseline is not None  # noqa: S101
            seeds = seeds_to_decide(self.pairs, a, self.baseline, margin=self.settings.margin, alpha=self.alpha)
        tried = runs + len(diverged)
        return ArmVerdict(
            name=name,
            score=finite(float(score)),
            iou=_mean(self.iou[a]),
            crop_dice=_mean(self.crop_dice[a]),
            is_adjusted=plain is not None and bool(abs(score - plain) > NO_NOISE),
            runs=runs,
            planned=len(table.seeds),
            diverged=diverged,
            stray=tuple(cell.seed for s, cell in enumerate(table.cells[a]) if self.stray[a, s]),
            score_with_failures=float(np.nansum(self.theta[a])) / tried if tried and self.scored.any() else None,
            sd=finite(float(spread[a])),
            sd_over_seeds=_sd(self.theta[a]),
            is_noisy=_is_noisy(spread, a),
            control_of=table.controls.get(name),
            simplicity=finite(table.simplicity.get(name, float(a))),
            comparison=comparison,
            on_these_crops=self._compare(self._half_here, a, is_here=True),
            plain_difference=self.plain_difference(self.theta, a),
            seeds_to_decide=seeds,
            dropped_after=None,
            is_in_best_set=is_inside,
            classes=by_class.of(a),
        )

    def plain_difference(self, theta: RunScores, arm: int) -> float | None:
        """Return an arm's mean difference to the baseline over common seeds; None for the baseline, or without any."""
        return None if self.baseline in {None, arm} else _mean(theta[arm] - theta[self.baseline])

    def _compare(self, half: np.ndarray | None, arm: int, *, is_here: bool = False) -> BaselineComparison | None:
        """Compare an arm with the baseline (steps 5 and 7)."""
        base, pairs = self.baseline, self.pairs
        if half is None or pairs is None or base is None or arm == base:
            return None
        middle, width = float(pairs.difference[arm, base]), float(half[arm, base])
        se, df = (pairs.se_here, pairs.df_here) if is_here else (pairs.se, pairs.df)
        return BaselineComparison(
            difference=finite(middle),
            low=finite(max(middle - width, -1.0)),
            high=finite(min(middle + width, 1.0)),
            se=finite(float(se[arm, base])),
            df=finite(float(df[arm, base])),
            seeds=int(pairs.common[arm, base]),
            label=label_interval(middle - width, middle + width, self.settings.margin),
        )

    def _recommend(self, arms: Sequence[ArmVerdict]) -> Recommendation:
        """Apply the rule of step 7: the simplest of those at the top that beat the baseline themselves, else it."""
        if self.obstacle:
            return Recommendation(None, RecommendationReason.NO_VERDICT)
        base = self.table.baseline
        is_uniform = self.table.simplicity.get(base, 0.0) == 0.0
        unstable = next((arm.is_unstable for arm in arms if arm.name == base), False)
        allowed = unstable and not self.settings.allow_unstable
        better = [
            (arm.score, arm)
            for arm in arms
            if arm.is_in_best_set and not arm.control_of and arm.score is not None and _is_better(arm)
        ]
        if not better:
            reason = RecommendationReason.BASELINE_MAY_BE_BEST
            return Recommendation(base, reason, baseline_is_uniform=is_uniform, baseline_is_unstable=allowed)
        highest, top = better[0]
        close = [(score, arm) for score, arm in better if score >= highest - self.settings.margin]
        _, choice = min(close, key=lambda entry: (_order(entry[1].simplicity), -entry[0]))
        return Recommendation(
            choice.name,
            RecommendationReason.HIGHEST if choice is top else RecommendationReason.SIMPLEST,
            top=None if choice is top else top.name,
            baseline_is_uniform=is_uniform,
            baseline_is_unstable=allowed,
        )


class _ClassTables:
    """Differences per class, by the same steps on one class at a time, with single intervals."""

    def __init__(self, judgement: _Judgement) -> None:
        self._judgement = judgement
        self._columns = [self._column(c) for c, scored in enumerate(judgement.scored) if scored]

    def of(self, arm: int) -> tuple[ClassDifference, ...]:
        """Return an arm's classes."""
        return tuple(column[arm] for column in self._columns)

    def _column(self, c: int) -> tuple[ClassDifference, ...]:
        """Judge one class of every arm."""
        judgement = self._judgement
        table, settings, base = judgement.table, judgement.settings, judgement.baseline
        only = np.arange(len(table.classes)) == c
        iou = pooled_scores(table.counts, only, metric="iou")
        found = measure(table, only, float(judgement.effective[c]), settings, only=True)
        middle, low, high = (np.full(len(table.arms), np.nan) for _ in range(3))
        if not judgement.obstacle and base is not None and found.pairs is not None:
            half = half_widths(found.pairs, settings.alpha)[:, base]
            middle = found.pairs.difference[:, base]
            low, high = np.clip((middle - half, middle + half), -1.0, 1.0)
        scores = mean_scores(found, base)
        return tuple(
            ClassDifference(
                name=table.classes[c],
                dice=finite(float(scores[a])),
                sd=_sd(found.theta[a]),
                iou=_mean(iou[a]),
                difference=finite(float(middle[a])),
                low=finite(float(low[a])),
                high=finite(float(high[a])),
                plain_difference=judgement.plain_difference(found.theta, a),
            )
            for a in range(len(table.arms))
        )


_INCOMPLETE = {RunState.DIVERGED, RunState.FAILED, RunState.UNFINISHED}
_BETTER = {Label.BETTER, Label.BETTER_BY_MARGIN}


def _is_better(arm: ArmVerdict) -> bool:
    return arm.comparison is not None and arm.comparison.label in _BETTER


def _order(simplicity: float | None) -> float:
    return math.inf if simplicity is None else simplicity


def _mean(values: np.ndarray) -> float | None:
    there = values[np.isfinite(values)]
    return float(there.mean()) if there.size else None


def _sd(values: np.ndarray) -> float | None:
    there = values[np.isfinite(values)]
    return float(there.std(ddof=1)) if there.size > 1 else None


def _is_noisy(spread: np.ndarray, arm: int) -> bool:
    others = np.delete(spread, arm)
    others = others[np.isfinite(others)]
    if not others.size or not np.isfinite(spread[arm]):
        return False
    return bool(spread[arm] > NOISY_RATIO * max(math.sqrt(float((others**2).mean())), NO_NOISE))
