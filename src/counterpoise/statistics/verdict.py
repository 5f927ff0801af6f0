"""The verdict: what the runs of an experiment can tell about its arms, and no more (docs/verdict.md)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Bool

from counterpoise.notes import NoteKind, of_kind
from counterpoise.runs.read import Run
from counterpoise.statistics.counts import CountTable, RunState, tabulate_counts
from counterpoise.statistics.hypotheses import judge_hypotheses
from counterpoise.statistics.inference import (
    NO_NOISE,
    Label,
    Pairs,
    Scope,
    arm_spread,
    best_set,
    compare_pairs,
    fit_run_noise,
    intervals,
    label_interval,
    probability_of_winning,
)
from counterpoise.statistics.micro_batches import find_parts
from counterpoise.statistics.precision import seeds_to_decide
from counterpoise.statistics.scores import (
    RunScores,
    crop_mean_scores,
    effective_crops,
    pooled_scores,
    positive_crops,
    pseudo_values,
    scorable_classes,
)
from counterpoise.statistics.thresholds import describe_tuning, tune_run
from counterpoise.statistics.verdict_types import (
    ArmVerdict,
    BaselineComparison,
    ClassDifference,
    ClassSupport,
    NoiseSummary,
    Obstacle,
    Recommendation,
    RecommendationReason,
    Settings,
    Unit,
    Verdict,
)
from counterpoise.text import finite

__all__ = ["judge", "judge_run"]

NOISY_RATIO = 2.5
"""An arm that varies this many times as much as the others is flagged (docs/verdict.md)."""


def judge_run(run: Run) -> Verdict:
    """Judge a run as its configuration asked before the first training.

    Parameters
    ----------
    run : Run
        Finished or not; nothing is written.

    Raises
    ------
    RunFolderError
        If its counts cannot be used together, or tuned thresholds are asked for and a finished trial has no record of
        them.
    """
    asked, counts = run.plan.verdict, tabulate_counts(run)
    unit, is_tuned = Unit(asked.unit), asked.thresholds == "tuned"
    tuned = tune_run(run, counts, by_data_set=unit is Unit.DATA_SET, is_asked=is_tuned)
    judged = tuned.table if tuned is not None and is_tuned else counts
    settings = Settings(
        margin=asked.margin,
        looks=asked.looks,
        allow_unstable=asked.allow_unstable,
        unit=unit,
        thresholds=asked.thresholds,
        select_crops=len(tuned.select) if tuned is not None and is_tuned else 0,
    )
    table = judged.by_data_set() if unit is Unit.DATA_SET else judged
    verdict = judge(table, settings)
    return replace(
        verdict,
        tile_count=None if is_tuned else run.tile_count,  # with tuned thresholds some crops are not scored
        tuned=() if tuned is None else describe_tuning(tuned, settings.min_crops, by_data_set=unit is Unit.DATA_SET),
        hypotheses=judge_hypotheses(run.plan.hypotheses, table, verdict),
        notes=of_kind(run.notes, NoteKind.LEAK, NoteKind.TRAINING, NoteKind.SCORES),
        parts=find_parts(run.trials),
    )


def judge(table: CountTable, settings: Settings | None = None) -> Verdict:
    """Say what the counts of a run can tell.

    Parameters
    ----------
    table : CountTable
        From :func:`counterpoise.statistics.counts.tabulate_counts`; its ``by_data_set()`` if the question is about
        unseen data sets.
    settings : Settings, optional
        Decided before the data are seen.

    Returns
    -------
    Verdict
        Without claims, and with the reason, if the runs allow none.
    """
    return _Judgement(table, settings or Settings()).verdict()


class _Judgement:
    """The quantities that several parts of a verdict need, computed once in the order of docs/verdict.md."""

    def __init__(self, table: CountTable, settings: Settings) -> None:
        self.table, self.settings = table, settings
        counts = table.counts
        self.run: Bool[np.ndarray, "arm seed"] = table.finished
        self.supported = positive_crops(counts).sum(0) if table.crops else np.zeros(len(table.classes), int)
        self.scored = (
            scorable_classes(counts, settings.min_crops) if table.crops else np.zeros(len(table.classes), bool)
        )
        blank = np.full(self.run.shape, np.nan)
        usable = bool(self.scored.any()) and bool(self.run.any())
        self.theta = pooled_scores(counts, self.scored) if usable else blank
        self.iou = pooled_scores(counts, self.scored, metric="iou") if usable else blank
        self.crop_dice = crop_mean_scores(counts, self.scored) if usable else blank
        self.effective = effective_crops(counts) if usable else np.full(len(table.classes), np.nan)
        self.g_eff = float(self.effective[self.scored].mean()) if usable else math.nan
        self.scope = self.scope_of(self.g_eff)
        self.z = pseudo_values(counts, self.scored) if usable else None
        self.noise = fit_run_noise(self.z) if self.z is not None else None
        self.baseline = table.arms.index(table.baseline) if table.baseline in table.arms else None
        self.comparisons = max(len(table.arms) - 1, 1) * settings.looks
        self.common_seeds = self._count_common_seeds()
        self.obstacle = self._find_obstacle()

    def scope_of(self, effective: float) -> Scope:
        """Say what intervals hold for that rest on so many effective crops."""
        return Scope.NEW if effective >= self.settings.min_effective else Scope.THIS

    def verdict(self) -> Verdict:
        """Put the parts together."""
        table = self.table
        pairs = None if self.obstacle else self._pairs(self.scope)
        inside = np.zeros(len(table.arms), bool)
        if pairs is not None:
            inside = best_set(pairs, self._eligible(), alpha=self.settings.alpha, comparisons=self.comparisons)
        arms = self._arms(pairs, inside)
        halves = [
            (c.high - c.low) / 2 for a in arms if (c := a.comparison) and c.low is not None and c.high is not None
        ]
        return Verdict(
            obstacle=self.obstacle,
            common_seeds=self.common_seeds,
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
            scope=self.scope,
            noise=self._summarise_noise(),
            visible_difference=float(np.median(halves)) if halves else None,
            best_set=tuple(arm.name for arm in arms if arm.is_in_best_set),
            recommendation=self._recommend(arms),
            incomplete=tuple(cell for row in table.cells for cell in row if cell.state is not RunState.FINISHED),
            copies=tuple(table.copies.items()),
        )

    def _count_common_seeds(self) -> int:
        """Return the most seeds that the baseline and another arm have both finished."""
        if self.baseline is None or len(self.table.arms) < 2:  # noqa: PLR2004 - it takes two to compare
            return 0
        common = (self.run & self.run[self.baseline]).sum(1)
        return int(np.delete(common, self.baseline).max())

    def _find_obstacle(self) -> Obstacle | None:
        """Say why there can be no verdict, the first reason first; None if there can."""
        reasons = {
            Obstacle.NO_RUN: not self.run.any(),
            Obstacle.NO_CLASS: not self.scored.any(),
            Obstacle.ONE_ARM: len(self.table.arms) < 2,  # noqa: PLR2004 - it takes two to compare
            Obstacle.NO_BASELINE: self.baseline is None or not self.run[self.baseline].any(),
            Obstacle.FEW_SEEDS: self.common_seeds < self.settings.min_seeds,
            Obstacle.NO_NOISE: self.noise is None,
            Obstacle.NO_REPETITION: self.noise is not None and self.noise.sd < NO_NOISE,
        }
        return next((obstacle for obstacle, stands in reasons.items() if stands), None)

    def _eligible(self) -> Bool[np.ndarray, " arm"]:
        """Find the arms that may be best: compared with another, and never diverged (docs/verdict.md)."""
        compared = ((self.run.astype(int) @ self.run.astype(int).T) > 1).sum(1) > 1
        stable = np.array([not self._diverged(a) for a in range(len(self.table.arms))], bool)
        eligible: Bool[np.ndarray, " arm"] = compared & (stable | self.settings.allow_unstable)
        return eligible

    def _diverged(self, arm: int) -> tuple[int, ...]:
        return tuple(cell.seed for cell in self.table.cells[arm] if cell.state is RunState.DIVERGED)

    def _pairs(self, scope: Scope) -> Pairs:
        assert self.z is not None  # noqa: S101 - no verdict otherwise
        assert self.noise is not None  # noqa: S101
        return compare_pairs(self.theta, self.z, self.noise, self.g_eff, scope=scope, prior_df=self.settings.prior_df)

    def _summarise_noise(self) -> NoiseSummary | None:
        if self.noise is None:
            return None
        low, high = self.noise.interval(self.settings.alpha)
        return NoiseSummary(self.noise.sd, low, high, self.noise.df, self.noise.seed_share)

    def _arms(self, pairs: Pairs | None, inside: Bool[np.ndarray, " arm"]) -> tuple[ArmVerdict, ...]:
        here = self._pairs(Scope.THIS) if pairs is not None else None
        spread = arm_spread(self.noise) if self.noise is not None else np.full(len(self.table.arms), np.nan)
        by_class = _ClassTables(self)
        arms = [self._arm(a, pairs, here, spread, by_class, bool(inside[a])) for a in range(len(self.table.arms))]
        return tuple(sorted(arms, key=lambda arm: (arm.score is None, -(arm.score or 0.0))))

    def _arm(
        self,
        a: int,
        pairs: Pairs | None,
        here: Pairs | None,
        spread: np.ndarray,
        by_class: _ClassTables,
        is_inside: bool,
    ) -> ArmVerdict:
        table, name, diverged = self.table, self.table.arms[a], self._diverged(a)
        runs = int(self.run[a].sum())
        comparison = self._compare(pairs, a)
        wins, seeds = None, None
        if pairs is not None and self.baseline is not None and comparison is not None:
            wins = finite(probability_of_winning(pairs, a, self.baseline))
            if comparison.label is Label.UNDECIDED:
                seeds = seeds_to_decide(
                    pairs,
                    a,
                    self.baseline,
                    margin=self.settings.margin,
                    alpha=self.settings.alpha,
                    comparisons=self.comparisons,
                )
        tried = runs + len(diverged)
        return ArmVerdict(
            name=name,
            score=_mean(self.theta[a]),
            iou=_mean(self.iou[a]),
            crop_dice=_mean(self.crop_dice[a]),
            runs=runs,
            planned=len(table.seeds),
            diverged=diverged,
            score_with_failures=float(np.nansum(self.theta[a])) / tried if tried and self.scored.any() else None,
            sd=finite(float(spread[a])),
            sd_over_seeds=_sd(self.theta[a]),
            is_noisy=_is_noisy(spread, a),
            control_of=table.controls.get(name),
            simplicity=finite(table.simplicity.get(name, float(a))),
            comparison=comparison,
            on_these_crops=self._compare(here, a),
            plain_difference=self.plain_difference(self.theta, a),
            beats_baseline=wins,
            seeds_to_decide=seeds,
            is_in_best_set=is_inside,
            classes=by_class.of(a),
        )

    def plain_difference(self, theta: RunScores, arm: int) -> float | None:
        """Return an arm's mean difference to the baseline over common seeds; None for the baseline, or without any."""
        return None if self.baseline in {None, arm} else _mean(theta[arm] - theta[self.baseline])

    def _compare(self, pairs: Pairs | None, arm: int) -> BaselineComparison | None:
        """Compare an arm with the baseline (steps 5 and 7)."""
        base = self.baseline
        if pairs is None or base is None or arm == base:
            return None
        low, high = intervals(pairs, base, alpha=self.settings.alpha, comparisons=self.comparisons)
        return BaselineComparison(
            difference=finite(float(pairs.difference[arm, base])),
            low=finite(float(low[arm])),
            high=finite(float(high[arm])),
            se=finite(float(pairs.se[arm, base])),
            df=finite(float(pairs.df[arm, base])),
            seeds=int(pairs.common[arm, base]),
            label=label_interval(float(low[arm]), float(high[arm]), self.settings.margin),
        )

    def _recommend(self, arms: Sequence[ArmVerdict]) -> Recommendation:
        """Apply the rule of step 7: the baseline if it may be the best, else the simplest of those at the top."""
        if self.obstacle:
            return Recommendation(None, RecommendationReason.NO_VERDICT)
        base = self.table.baseline
        if any(arm.name == base for arm in arms if arm.is_in_best_set):
            is_uniform = self.table.simplicity.get(base, 0.0) == 0.0
            reason = RecommendationReason.BASELINE_MAY_BE_BEST
            return Recommendation(base, reason, baseline_is_uniform=is_uniform)
        candidates = [(arm.score, arm) for arm in arms if arm.is_in_best_set and not arm.control_of]
        scored = [(score, arm) for score, arm in candidates if score is not None]
        if not scored:
            return Recommendation(None, RecommendationReason.NONE_ELIGIBLE)
        highest, top = scored[0]
        close = [(score, arm) for score, arm in scored if score >= highest - self.settings.margin]
        _, choice = min(close, key=lambda entry: (_order(entry[1].simplicity), -entry[0]))
        unstable = self.baseline is not None and bool(self._diverged(self.baseline))
        return Recommendation(
            choice.name,
            RecommendationReason.HIGHEST if choice is top else RecommendationReason.SIMPLEST,
            top=None if choice is top else top.name,
            baseline_is_unstable=unstable and not self.settings.allow_unstable,
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
        theta, iou = pooled_scores(table.counts, only), pooled_scores(table.counts, only, metric="iou")
        g_eff = float(judgement.effective[c])
        scope = judgement.scope_of(g_eff)
        middle, low, high = (np.full(len(table.arms), np.nan) for _ in range(3))
        z = pseudo_values(table.counts, only)
        noise = fit_run_noise(z)
        if not judgement.obstacle and base is not None and noise is not None:
            pairs = compare_pairs(theta, z, noise, g_eff, scope=scope, prior_df=settings.prior_df, against=base)
            low, high = intervals(pairs, base, alpha=settings.alpha, comparisons=1)
            middle = pairs.difference[:, base]
        return tuple(
            ClassDifference(
                name=table.classes[c],
                dice=_mean(theta[a]),
                sd=_sd(theta[a]),
                iou=_mean(iou[a]),
                difference=finite(float(middle[a])),
                low=finite(float(low[a])),
                high=finite(float(high[a])),
                plain_difference=judgement.plain_difference(theta, a),
                scope=scope,
            )
            for a in range(len(table.arms))
        )


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
