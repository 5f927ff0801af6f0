r"""With which arms a race goes on: looked at after some blocks of seeds (docs/verdict.md, racing).

A look drops an arm that another beats at a one-sided level which may be wrong more often than a claim (Pocock, overall
.25): to train a good arm no further costs power, not truth. It drops one that would hardly be called better than the
baseline with all seeds (futility): with :math:`v` the variance of a difference within a seed, :math:`s` seeds now and
:math:`S` at most,

.. math:: \mathrm{need} = t_{\mathrm{level} / 2} \sqrt{v / S + h}, \qquad
    \mathrm{chance} = 1 - \Phi\Big(\frac{\mathrm{need} - D}{\sqrt{v (1 / s - 1 / S)}}\Big)

Nobody is told that an arm is worse because it was dropped: what a verdict claims, it claims at the levels that pay for
all looks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy
from jaxtyping import Bool, Float

from counterpoise.runs.looks import Drop, DropReason, LookRecord, RaceLook, StopReason
from counterpoise.statistics.counts import CountTable, RunState
from counterpoise.statistics.inference import Label, Pairs, half_widths, label_interval, satterthwaite
from counterpoise.statistics.looks import LookHistory
from counterpoise.statistics.measured import comparisons, measure
from counterpoise.statistics.scores import effective_crops, scorable_classes
from counterpoise.statistics.spending import LookAt, drop_levels, spend_alpha
from counterpoise.statistics.training import judge_training
from counterpoise.statistics.verdict_types import Settings

__all__ = ["DROP_ALPHA", "FUTILITY", "decide_look", "runs_wanted"]

DROP_ALPHA = 0.25
"""Chance that any look drops an arm for one that is no better."""

FUTILITY = 0.05
"""An arm is dropped if its chance to be called better with all seeds is below this."""

_TOLD_APART = {Label.BETTER, Label.BETTER_BY_MARGIN, Label.WORSE}


def runs_wanted(
    arms: Sequence[str], seeds: Sequence[int], looks: Sequence[int], decided: Sequence[RaceLook]
) -> tuple[tuple[str, int], ...]:
    """Return the runs (arm, position of the seed) that the next look of a race waits for, block by block.

    Parameters
    ----------
    arms : sequence of str
        All that race.
    seeds : sequence of int
        All seeds.
    looks : sequence of int
        Seeds after which there is a look, ascending; the last is the number of seeds.
    decided : sequence of RaceLook
        The looks so far.
    """
    if len(decided) == len(looks) or any(look.stop for look in decided):
        return ()
    dropped = {drop.arm for look in decided for drop in look.dropped}
    upto = looks[len(decided)]
    return tuple((arm, position) for position in range(min(upto, len(seeds))) for arm in arms if arm not in dropped)


def decide_look(table: CountTable, settings: Settings, looks: Sequence[int], earlier: Sequence[LookRecord]) -> RaceLook:
    """Decide a look of a race.

    Parameters
    ----------
    table : CountTable
        As this look sees it: runs of later seeds are left out.
    settings : Settings
        As the verdict has them.
    looks : sequence of int
        Seeds after which there is a look.
    earlier : sequence of LookRecord
        The looks of this race so far.
    """
    number, decided = len(earlier), [record.race for record in earlier if record.race is not None]
    gone = {drop.arm for look in decided for drop in look.dropped}
    race = _Look(table, settings, tuple(looks), LookHistory(tuple(earlier)), number)
    return race.decide(np.array([arm not in gone for arm in table.arms], bool))


@dataclass(frozen=True, eq=False)
class _Look:
    table: CountTable
    settings: Settings
    looks: tuple[int, ...]
    history: LookHistory
    number: int

    @property
    def seeds(self) -> int:
        return self.looks[self.number]

    def decide(self, alive: Bool[np.ndarray, " arm"]) -> RaceLook:
        """Drop arms, and say whether the race ends."""
        table, base = self.table, self.table.arms.index(self.table.baseline)
        is_last = self.number == len(self.looks) - 1
        unstable = [] if self.settings.allow_unstable else self._unstable(alive, base)
        scored = scorable_classes(table.counts, self.settings.min_crops)
        if judge_training(table, scored).is_untrained:
            return RaceLook(self.seeds, table.baseline, (), StopReason.UNTRAINED)
        pairs = self._pairs(scored)
        if pairs is None:
            lost = tuple(Drop(table.arms[a], DropReason.UNSTABLE) for a in unstable)
            return RaceLook(self.seeds, table.baseline, lost, StopReason.SEEDS if is_last else None)
        at_top = pairs.difference[:, base].copy()
        at_top[base] = 0.0
        at_top[~alive | ~np.isfinite(at_top)] = -math.inf
        leader = int(np.argmax(at_top))
        if is_last:
            return RaceLook(self.seeds, table.arms[leader], (), StopReason.SEEDS)
        drops = [Drop(table.arms[a], DropReason.UNSTABLE) for a in unstable]
        drops += self._beaten(pairs, alive, {base, leader, *unstable})
        known = {table.arms.index(drop.arm) for drop in drops}
        drops += self._futile(pairs, alive, base, known)
        left = alive & np.array([arm not in {drop.arm for drop in drops} for arm in table.arms], bool)
        return RaceLook(self.seeds, table.arms[leader], tuple(drops), self._stop(pairs, left, base, leader))

    def _pairs(self, scored: Bool[np.ndarray, " class_"]) -> Pairs | None:
        if not scored.any() or not self.table.finished.any():
            return None
        effective = float(effective_crops(self.table.counts)[scored].mean())
        return measure(self.table, scored, effective, self.settings).pairs

    def _unstable(self, alive: Bool[np.ndarray, " arm"], base: int) -> list[int]:
        diverged = [any(cell.state is RunState.DIVERGED for cell in row) for row in self.table.cells]
        return [a for a in np.flatnonzero(alive).tolist() if diverged[a] and a != base]

    def _beaten(self, pairs: Pairs, alive: Bool[np.ndarray, " arm"], kept: set[int]) -> list[Drop]:
        """Drop what some arm still in the race beats; baseline and leader stay."""
        alpha = DROP_ALPHA / comparisons(self.table)
        level = drop_levels(self.looks, self.looks[-1], alpha)[self.number]
        bound = scipy.stats.t.isf(level, pairs.df) * pairs.se
        drops = []
        for a in np.flatnonzero(alive).tolist():
            with np.errstate(invalid="ignore"):
                above = np.where(alive & (pairs.difference[:, a] > bound[:, a]), pairs.difference[:, a], -math.inf)
            if a not in kept and np.isfinite(above).any():
                by = self.table.arms[int(np.argmax(above))]
                drops.append(Drop(self.table.arms[a], DropReason.BEATEN, by, level))
        return drops

    def _futile(self, pairs: Pairs, alive: Bool[np.ndarray, " arm"], base: int, known: set[int]) -> list[Drop]:
        """Drop what would hardly be called better than the baseline with all seeds, the leader too."""
        last = self.looks[-1]
        plan = tuple(LookAt(seeds, last) for seeds in self.looks)
        level = spend_alpha(plan, self.settings.alpha / comparisons(self.table)).level
        drops = []
        for a in np.flatnonzero(alive).tolist():
            if a == base or a in known or not np.isfinite(pairs.se[a, base]):
                continue
            v, h, observed = (float(t[a, base]) for t in (pairs.one_seed, pairs.crops, pairs.crops_observed))
            now = int(pairs.common[a, base])
            df = satterthwaite(
                v / last, float(pairs.df_seeds[a, base]) * (last - 1) / (now - 1), h, observed, pairs.df_crops
            )
            need = float(scipy.stats.t.isf(level / 2, df)) * math.sqrt(v / last + h)
            spread = math.sqrt(max(v * (1 / now - 1 / last), 0.0))
            if not spread:
                continue
            chance = float(scipy.stats.norm.sf((need - float(pairs.difference[a, base])) / spread))
            if chance < FUTILITY:
                drops.append(Drop(self.table.arms[a], DropReason.FUTILE, level=chance))
        return drops

    def _stop(self, pairs: Pairs, left: Bool[np.ndarray, " arm"], base: int, leader: int) -> StopReason | None:
        others = [a for a in np.flatnonzero(left).tolist() if a != base]
        if not others:
            return StopReason.ALONE
        half = half_widths(pairs, self.history.levels(self.table, self.settings.alpha / comparisons(self.table)))
        if len(others) == 1 and self._label(pairs, half, others[0], base) in _TOLD_APART:
            return StopReason.DECIDED
        rest = [a for a in np.flatnonzero(left).tolist() if a != leader]
        if left[leader] and all(self._label(pairs, half, a, leader) is Label.SAME for a in rest):
            return StopReason.SAME
        return None

    def _label(self, pairs: Pairs, half: Float[np.ndarray, "arm arm"], arm: int, other: int) -> Label:
        middle, width = float(pairs.difference[arm, other]), float(half[arm, other])
        return label_interval(middle - width, middle + width, self.settings.margin)
