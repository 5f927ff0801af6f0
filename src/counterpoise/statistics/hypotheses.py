"""What the runs say about the claims that were written down before: supported, refuted, undecided, not tested.

The rules are in docs/verdict.md. All outcomes of a run together are wrong with a chance of at most alpha.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from counterpoise.experiment.hypothesis import BestClaim, Claim, Hypothesis, LevelClaim, PairClaim
from counterpoise.statistics.claims import Contenders, NotTestedError, require_scored
from counterpoise.statistics.counts import CountTable
from counterpoise.statistics.inference import NO_NOISE, Pairs, RunNoise, Scope, compare_pairs, fit_run_noise
from counterpoise.statistics.level import arm_level
from counterpoise.statistics.scores import PseudoValues, RunScores, pooled_scores, pseudo_values
from counterpoise.statistics.verdict_types import HypothesisVerdict, Outcome, Verdict

__all__ = ["decide_comparison", "decide_level", "judge_hypotheses"]


def judge_hypotheses(
    hypotheses: Sequence[Hypothesis], table: CountTable, verdict: Verdict
) -> tuple[HypothesisVerdict, ...]:
    """Decide every hypothesis from the counts that a verdict was made from.

    Parameters
    ----------
    hypotheses : sequence of Hypothesis
        As the run's record has them.
    table : CountTable
        Counts; its clusters are what the verdict's are.
    verdict : Verdict
        Of the same table: its settings, scored classes and scope hold here too.

    Returns
    -------
    tuple of HypothesisVerdict
        In the order given.
    """
    maker = _TestMaker(table, verdict)
    tests: list[_Test | str] = []
    for hypothesis in hypotheses:
        try:
            tests.append(maker.make(hypothesis.claim))
        except NotTestedError as reason:
            tests.append(str(reason))
    tested = sum(not isinstance(test, str) for test in tests)
    alpha = verdict.settings.alpha / max(tested * verdict.settings.looks, 1)
    findings = [_Finding("not tested", test) if isinstance(test, str) else test.decide(alpha) for test in tests]
    return tuple(
        HypothesisVerdict(str(h.claim), h.because, f.outcome, f.figures, f.difference, f.low, f.high)
        for h, f in zip(hypotheses, findings, strict=True)
    )


# Outcomes -------------------------------------------------------------------------------------------------------


def decide_comparison(claim: PairClaim, low: float, high: float, margin: float) -> tuple[Outcome, str]:
    """Say what an interval of left minus right shows about a claim, and in which words if not by its sign.

    An interval that touches a limit has not passed it.

    Examples
    --------
    >>> from counterpoise.experiment.hypothesis import parse_claim
    >>> decide_comparison(parse_claim("a > b"), -0.004, 0.006, 0.01)
    ('refuted', 'same within the margin of 0.01')
    >>> decide_comparison(parse_claim("a = b"), 0.004, 0.03, 0.01)
    ('undecided', '')
    """
    same = low > -margin and high < margin
    within, beyond = f"same within the margin of {margin:g}", f"apart by more than the margin of {margin:g}"
    if claim.relation == "=":
        if same:
            return "supported", within
        return ("refuted", beyond) if low > margin or high < -margin else ("undecided", "")
    above, below = low > 0, high < 0
    claimed, opposite = {">": (above, below), "<": (below, above), "!=": (above or below, False)}[claim.relation]
    if claimed:
        return "supported", ""
    if opposite:
        return "refuted", ""
    return ("refuted", within) if same else ("undecided", "")


def decide_level(claim: LevelClaim, low: float, high: float) -> Outcome:
    """Say what an interval of a score shows about a claim that it is above or below a number."""
    above = low > claim.value if claim.relation in (">", "<=") else low >= claim.value
    below = high < claim.value if claim.relation in (">=", "<") else high <= claim.value
    claimed, opposite = (above, below) if claim.relation.startswith(">") else (below, above)
    return "supported" if claimed else "refuted" if opposite else "undecided"


# What is tested, and by what ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Finding:
    """An outcome, the figures it rests on in words, and left side minus right side with its interval."""

    outcome: Outcome
    figures: str
    difference: float = math.nan
    low: float = math.nan
    high: float = math.nan


@dataclass(frozen=True, eq=False)
class _Measured:
    """Scores of all runs: mean Dice, or Dice of one class."""

    theta: RunScores
    z: PseudoValues
    noise: RunNoise
    g_eff: float
    scope: Scope
    pairs: Pairs

    def interval(self, left: int, right: int, alpha: float) -> tuple[float, float, float]:
        """Return the difference of two arms and its two-sided interval at level 1 - alpha."""
        middle = float(self.pairs.difference[left, right])
        half = float(stats.t.isf(alpha / 2, self.pairs.df[left, right]) * self.pairs.se[left, right])
        return middle, middle - half, middle + half

    def common(self, left: int, right: int) -> int:
        """Return the number of seeds that both arms finished."""
        return int(self.pairs.common[left, right])


@dataclass(frozen=True, eq=False)
class _PairTest:
    claim: PairClaim
    scores: _Measured
    left: int
    right: int
    margin: float
    notes: tuple[str, ...]

    def decide(self, alpha: float) -> _Finding:
        middle, low, high = self.scores.interval(self.left, self.right, alpha)
        outcome, words = decide_comparison(self.claim, low, high, self.margin)
        figures = _signed(middle, low, high, self.scores.common(self.left, self.right))
        return _Finding(outcome, _join(figures, words, *self.notes), middle, low, high)


@dataclass(frozen=True, eq=False)
class _LevelTest:
    claim: LevelClaim
    scores: _Measured
    arm: int
    prior_df: float
    notes: tuple[str, ...]

    def decide(self, alpha: float) -> _Finding:
        s, value = self.scores, self.claim.value
        level = arm_level(s.theta, s.z, s.noise, s.g_eff, self.arm, scope=s.scope, prior_df=self.prior_df)
        low, high = level.interval(alpha)
        figures = f"{level.score:.3f} [{low:.3f}, {high:.3f}] over {level.seeds} seeds"
        outcome = decide_level(self.claim, low, high)
        return _Finding(outcome, _join(figures, *self.notes), level.score - value, low - value, high - value)


@dataclass(frozen=True, eq=False)
class _BestTest:
    scores: _Measured
    names: tuple[str, ...]
    arm: int
    rivals: tuple[int, ...]
    notes: tuple[str, ...]

    def decide(self, alpha: float) -> _Finding:
        """Support it if the arm beats every rival; refute it if a rival beats the arm, corrected for their number."""
        number = len(self.rivals)
        alone = {rival: self.scores.interval(self.arm, rival, alpha) for rival in self.rivals}
        together = {rival: self.scores.interval(self.arm, rival, alpha / number) for rival in self.rivals}
        worst = min(together, key=lambda rival: together[rival][2])
        if together[worst][2] < 0:
            return self._finding("refuted", f"{self.names[worst]} is better", worst, together[worst])
        nearest = min(alone, key=lambda rival: alone[rival][1])
        beaten = sum(low > 0 for _, low, _ in alone.values())
        words = f"better than {beaten} of {number}, nearest {self.names[nearest]}"
        return self._finding("supported" if beaten == number else "undecided", words, nearest, alone[nearest])

    def _finding(self, outcome: Outcome, words: str, rival: int, interval: tuple[float, float, float]) -> _Finding:
        figures = f"{words}: {_signed(*interval, self.scores.common(self.arm, rival))}"
        return _Finding(outcome, _join(figures, *self.notes), *interval)


_Test = _PairTest | _LevelTest | _BestTest


class _TestMaker:
    """Finds the runs that a claim speaks of, and their scores."""

    def __init__(self, table: CountTable, verdict: Verdict) -> None:
        self._table, self._verdict = table, verdict
        self._contenders = Contenders(table.arms, table.copies, table.controls)
        self._measured: dict[str | None, _Measured] = {}

    def make(self, claim: Claim) -> _Test:
        """Make the test of a claim.

        Raises
        ------
        NotTestedError
            If the claim is about arms or classes that have no scores here.
        """
        if isinstance(claim, PairClaim):
            return self._pair(claim)
        return self._level(claim) if isinstance(claim, LevelClaim) else self._best(claim)

    def _pair(self, claim: PairClaim) -> _PairTest:
        names = (claim.left.arm, claim.right.arm)
        left, right = (self._arm(name) for name in names)
        self._contenders.refuse_one_experiment(*names)
        scores = self._scores(claim.left.class_name)
        self._require_common(scores, left, right)
        return _PairTest(claim, scores, left, right, self._verdict.settings.margin, self._notes(scores, names))

    def _level(self, claim: LevelClaim) -> _LevelTest:
        arm, scores = self._arm(claim.left.arm), self._scores(claim.left.class_name)
        least, runs = self._verdict.settings.min_seeds, int(self._table.finished[arm].sum())
        if runs < least:
            raise NotTestedError(f"{claim.left.arm} has {runs} finished of the {least} seeds it takes")
        notes = self._notes(scores, (claim.left.arm,))
        return _LevelTest(claim, scores, arm, self._verdict.settings.prior_df, notes)

    def _best(self, claim: BestClaim) -> _BestTest:
        arm, found = self._arm(claim.arm), self._contenders.rivals(claim)
        rivals = tuple(self._arm(name) for name in found.trained)
        scores = self._scores(None)
        for rival in rivals:
            self._require_common(scores, arm, rival)
        left_out = [f"{name} has the same weights and is left out" for name in found.same]
        said = [name for name in found.named if self._table.copies.get(name) not in found.named]
        notes = (*left_out, *self._notes(scores, (claim.arm, *said)))
        return _BestTest(scores, self._table.arms, arm, rivals, notes)

    def _arm(self, name: str) -> int:
        """Find an arm, or the one that was trained in its stead."""
        return self._table.arms.index(self._contenders.trained(name))

    def _require_common(self, scores: _Measured, left: int, right: int) -> None:
        least, common = self._verdict.settings.min_seeds, scores.common(left, right)
        if common < least:
            names = f"{self._table.arms[left]} and {self._table.arms[right]}"
            raise NotTestedError(f"{names} have {common} finished seeds in common, and it takes {least}")

    def _scores(self, class_name: str | None) -> _Measured:
        """Measure mean Dice, or Dice of one class, as the verdict does."""
        if class_name not in self._measured:
            self._measured[class_name] = self._measure(class_name)
        return self._measured[class_name]

    def _measure(self, class_name: str | None) -> _Measured:
        table, settings = self._table, self._verdict.settings
        if self._verdict.no_verdict:
            raise NotTestedError(f"no verdict: {self._verdict.no_verdict}")
        support = {entry.name: entry for entry in self._verdict.classes}
        if class_name is None:
            scored, g_eff = np.array([entry.scored for entry in self._verdict.classes]), self._verdict.effective_crops
        else:
            require_scored(class_name, self._verdict.classes, settings.clusters)
            scored = np.array([name == class_name for name in table.classes])
            g_eff = support[class_name].effective_crops
        theta, z = pooled_scores(table.counts, scored), pseudo_values(table.counts, scored)
        noise = fit_run_noise(z)
        if noise is None or noise.sd < NO_NOISE:
            raise NotTestedError(f"other seeds gave the same Dice of {class_name}: these runs are no repetitions")
        scope: Scope = "new" if g_eff >= settings.min_effective else "this"
        pairs = compare_pairs(theta, z, noise, g_eff, scope=scope, prior_df=settings.prior_df)
        return _Measured(theta, z, noise, g_eff, scope, pairs)

    def _notes(self, scores: _Measured, names: Sequence[str]) -> tuple[str, ...]:
        """Say what a reader of the figures must know besides."""
        copies = self._table.copies
        notes = [f"{name} has the weights of {copies[name]}, which stands for it" for name in names if name in copies]
        for arm in dict.fromkeys(self._arm(name) for name in names):
            lost = sum(cell.state == "diverged" for cell in self._table.cells[arm])
            if lost:
                tried = len(self._table.seeds)
                notes.append(f"without {lost} diverged of {tried} trainings of {self._table.arms[arm]}")
        if scores.scope == "this":
            notes.append(f"about these validation {self._verdict.settings.clusters} only")
        return tuple(notes)


def _signed(middle: float, low: float, high: float, seeds: int) -> str:
    middle, low, high = (round(value, 3) + 0.0 for value in (middle, low, high))  # -0.000 would look like a sign
    return f"{middle:+.3f} [{low:+.3f}, {high:+.3f}] over {seeds} seeds"


def _join(*parts: str) -> str:
    return "; ".join(part for part in parts if part)
