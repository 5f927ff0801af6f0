"""The verdict: what the runs of an experiment can tell about its arms, and no more (docs/verdict.md)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool

from counterpoise.statistics.counts import CountTable
from counterpoise.statistics.inference import (
    NO_NOISE,
    Pairs,
    RunNoise,
    Scope,
    arm_spread,
    best_set,
    compare_pairs,
    fit_run_noise,
    intervals,
    label_interval,
    probability_of_winning,
)
from counterpoise.statistics.precision import seeds_to_decide
from counterpoise.statistics.scores import (
    crop_mean_scores,
    effective_crops,
    pooled_scores,
    positive_crops,
    pseudo_values,
    scorable_classes,
)
from counterpoise.statistics.verdict_types import (
    ArmVerdict,
    ClassDifference,
    ClassSupport,
    Comparison,
    Noise,
    Recommendation,
    Settings,
    Verdict,
)

__all__ = [
    "ArmVerdict",
    "ClassDifference",
    "ClassSupport",
    "Comparison",
    "Noise",
    "Recommendation",
    "Settings",
    "Verdict",
    "judge",
]

NOISY_RATIO = 2.5
"""An arm that varies this many times as much as the others is flagged (docs/verdict.md)."""


def judge(table: CountTable, settings: Settings | None = None) -> Verdict:
    """Say what the counts of a run can tell.

    Parameters
    ----------
    table : CountTable
        From :func:`counterpoise.statistics.counts.read_counts`; its ``by_data_set()`` if the question is about unseen
        data sets.
    settings : Settings, optional
        Decided before the data are seen.

    Returns
    -------
    Verdict
        Without claims, and with the reason, if the runs allow none.
    """
    chosen = settings or Settings()
    return _Judgement(table, chosen).verdict()


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
        self.scope: Scope = "new" if self.g_eff >= settings.min_effective else "this"
        self.z = pseudo_values(counts, self.scored) if usable else None
        self.noise = fit_run_noise(self.z) if self.z is not None else None
        self.baseline = table.arms.index(table.baseline) if table.baseline in table.arms else None
        self.comparisons = max(len(table.arms) - 1, 1) * settings.looks
        self.no_verdict = self._find_obstacle()

    def verdict(self) -> Verdict:
        """Put the parts together."""
        table = self.table
        pairs = self._pairs(self.scope) if not self.no_verdict else None
        eligible = self._eligible()
        inside = np.zeros(len(table.arms), bool)
        if pairs is not None:
            inside = best_set(pairs, eligible, alpha=self.settings.alpha, comparisons=self.comparisons)
        arms = self._arms(pairs, inside)
        halves = [(a.comparison.high - a.comparison.low) / 2 for a in arms if a.comparison]
        halves = [half for half in halves if not math.isnan(half)]
        return Verdict(
            no_verdict=self.no_verdict,
            baseline=table.baseline,
            settings=self.settings,
            arms=arms,
            seeds=table.seeds,
            crops=len(table.crops),
            data_sets=len(table.data_sets),
            tiles_hash=table.tiles_hash,
            effective_crops=self.g_eff,
            classes=tuple(
                ClassSupport(name, int(self.supported[c]), float(self.effective[c]), bool(self.scored[c]))
                for c, name in enumerate(table.classes)
            ),
            scope=self.scope,
            noise=self._describe_noise(),
            visible_difference=float(np.median(halves)) if halves else math.nan,
            best_set=tuple(arm.name for arm in arms if arm.is_in_best_set),
            recommendation=self._recommend(arms),
            incomplete=tuple(cell for row in table.cells for cell in row if cell.state != "finished"),
            copies=tuple(table.copies.items()),
        )

    def _find_obstacle(self) -> str:
        """Say why there can be no verdict; empty if there can."""
        table = self.table
        if not self.run.any():
            return "no run has finished with counts"
        if not self.scored.any():
            return f"no class has positives in {self.settings.min_crops} validation {self.settings.clusters}"
        if len(table.arms) < 2:  # noqa: PLR2004 - it takes two to compare
            return "there is one arm, and nothing to compare it with"
        if self.baseline is None or not self.run[self.baseline].any():
            return f"the baseline {table.baseline} has no finished run"
        return self._find_lack_of_seeds(self.baseline)

    def _find_lack_of_seeds(self, baseline: int) -> str:
        least = self.settings.min_seeds
        common = (self.run & self.run[baseline]).sum(1)
        most = int(np.delete(common, baseline).max())
        if most < least:
            return f"needs {least} seeds; the baseline and another arm have {most} finished in common"
        if self.noise is None:
            return "no run is left over to estimate the noise from"
        return "other seeds gave the same scores: these runs are no repetitions" if self.noise.sd < NO_NOISE else ""

    def _eligible(self) -> Bool[np.ndarray, " arm"]:
        """Find the arms that may be best: compared with another, and never diverged (docs/verdict.md)."""
        compared = ((self.run.astype(int) @ self.run.astype(int).T) > 1).sum(1) > 1
        stable = np.array([not self._diverged(a) for a in range(len(self.table.arms))], bool)
        eligible: Bool[np.ndarray, " arm"] = compared & (stable | self.settings.allow_unstable)
        return eligible

    def _diverged(self, arm: int) -> tuple[int, ...]:
        return tuple(cell.seed for cell in self.table.cells[arm] if cell.state == "diverged")

    def _pairs(self, scope: Scope) -> Pairs:
        assert self.z is not None  # noqa: S101 - no verdict otherwise
        assert self.noise is not None  # noqa: S101
        return compare_pairs(self.theta, self.z, self.noise, self.g_eff, scope=scope, prior_df=self.settings.prior_df)

    def _describe_noise(self) -> Noise | None:
        if self.noise is None:
            return None
        low, high = self.noise.interval(self.settings.alpha)
        return Noise(self.noise.sd, low, high, self.noise.df, self.noise.seed_share)

    def _arms(self, pairs: Pairs | None, inside: Bool[np.ndarray, " arm"]) -> tuple[ArmVerdict, ...]:
        table, settings = self.table, self.settings
        here = self._pairs("this") if pairs is not None else None
        spread = arm_spread(self.noise) if self.noise is not None else np.full(len(table.arms), np.nan)
        by_class = _ClassTables(self)
        arms = []
        for a, name in enumerate(table.arms):
            diverged, runs, score = self._diverged(a), int(self.run[a].sum()), _mean(self.theta[a])
            tried = runs + len(diverged)
            comparison, wins, seeds = self._compare(pairs, a), math.nan, None
            if pairs is not None and self.baseline is not None and comparison is not None:
                wins = probability_of_winning(pairs, a, self.baseline)
                if comparison.label == "undecided":
                    seeds = seeds_to_decide(
                        pairs,
                        a,
                        self.baseline,
                        margin=settings.margin,
                        alpha=settings.alpha,
                        comparisons=self.comparisons,
                    )
            arms.append(
                ArmVerdict(
                    name=name,
                    score=score,
                    iou=_mean(self.iou[a]),
                    crop_dice=_mean(self.crop_dice[a]),
                    runs=runs,
                    planned=len(table.seeds),
                    diverged=diverged,
                    score_with_failures=float(np.nansum(self.theta[a])) / tried
                    if tried and self.scored.any()
                    else math.nan,
                    sd=float(spread[a]),
                    is_noisy=_is_noisy(spread, a),
                    control_of=table.controls.get(name),
                    simplicity=table.simplicity.get(name, float(a)),
                    comparison=comparison,
                    on_these_crops=self._compare(here, a),
                    beats_baseline=wins,
                    seeds_to_decide=seeds,
                    is_in_best_set=bool(inside[a]),
                    classes=by_class.of(a),
                )
            )
        return tuple(sorted(arms, key=lambda arm: (math.isnan(arm.score), -arm.score)))

    def _compare(self, pairs: Pairs | None, arm: int) -> Comparison | None:
        """Compare an arm with the baseline (steps 5 and 7)."""
        base = self.baseline
        if pairs is None or base is None or arm == base:
            return None
        low, high = intervals(pairs, base, alpha=self.settings.alpha, comparisons=self.comparisons)
        return Comparison(
            difference=float(pairs.difference[arm, base]),
            low=float(low[arm]),
            high=float(high[arm]),
            se=float(pairs.se[arm, base]),
            df=float(pairs.df[arm, base]),
            seeds=int(pairs.common[arm, base]),
            label=label_interval(float(low[arm]), float(high[arm]), self.settings.margin),
        )

    def _recommend(self, arms: Sequence[ArmVerdict]) -> Recommendation:
        """Apply the rule of step 7: the baseline if it may be the best, else the simplest of those at the top."""
        if self.no_verdict:
            return Recommendation(None, f"no verdict: {self.no_verdict}")
        base, margin = self.table.baseline, self.settings.margin
        inside = [arm for arm in arms if arm.is_in_best_set]
        if any(arm.name == base for arm in inside):
            is_uniform = self.table.simplicity.get(base, 0.0) == 0.0
            return Recommendation(base, f"no evidence that {'weighting helps' if is_uniform else 'another is better'}")
        candidates = [arm for arm in inside if arm.control_of is None]
        if not candidates:
            return Recommendation(None, "no arm that may be recommended is left")
        close = [arm for arm in candidates if arm.score >= candidates[0].score - margin]
        choice = min(close, key=lambda arm: (arm.simplicity, -arm.score))
        top = candidates[0]
        reason = "the highest score of those that cannot be told apart from the best"
        if choice is not top:
            reason = f"the simplest of those within {margin:g} of {top.name}, which has the highest score"
        unstable = self.baseline is not None and self._diverged(self.baseline) and not self.settings.allow_unstable
        return Recommendation(choice.name, f"{reason}; the baseline is unstable" if unstable else reason)


class _ClassTables:
    """Differences per class, by the same steps on one class at a time, with single intervals."""

    def __init__(self, judgement: _Judgement) -> None:
        self._judgement = judgement
        self._columns = [self._column(c) for c, scored in enumerate(judgement.scored) if scored]

    def of(self, arm: int) -> tuple[ClassDifference, ...]:
        """Return an arm's classes."""
        return tuple(
            ClassDifference(name, _mean(theta[arm]), float(middle[arm]), float(low[arm]), float(high[arm]), scope)
            for name, theta, middle, low, high, scope in self._columns
        )

    def _column(self, c: int) -> tuple[str, np.ndarray, np.ndarray, np.ndarray, np.ndarray, Scope]:
        judgement = self._judgement
        table, settings, base = judgement.table, judgement.settings, judgement.baseline
        only = np.arange(len(table.classes)) == c
        theta = pooled_scores(table.counts, only)
        g_eff = float(judgement.effective[c])
        scope: Scope = "new" if g_eff >= settings.min_effective else "this"
        nothing = np.full(len(table.arms), np.nan)
        z = pseudo_values(table.counts, only)
        noise: RunNoise | None = fit_run_noise(z)
        if judgement.no_verdict or base is None or noise is None:
            return table.classes[c], theta, nothing, nothing, nothing, scope
        pairs = compare_pairs(theta, z, noise, g_eff, scope=scope, prior_df=settings.prior_df, against=base)
        low, high = intervals(pairs, base, alpha=settings.alpha, comparisons=1)
        return table.classes[c], theta, pairs.difference[:, base], low, high, scope


def _mean(values: np.ndarray) -> float:
    there = values[np.isfinite(values)]
    return float(there.mean()) if there.size else math.nan


def _is_noisy(spread: np.ndarray, arm: int) -> bool:
    others = np.delete(spread, arm)
    others = others[np.isfinite(others)]
    if not others.size or not np.isfinite(spread[arm]):
        return False
    return bool(spread[arm] > NOISY_RATIO * max(math.sqrt(float((others**2).mean())), NO_NOISE))
