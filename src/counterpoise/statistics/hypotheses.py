"""What the runs say about the claims that were written down before: supported, refuted, undecided, not tested.

The rules are in docs/verdict.md. All outcomes of a run together are wrong with a chance of at most alpha.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import scipy

from counterpoise.experiment.hypothesis import BestClaim, Claim, Hypothesis, LevelClaim, PairClaim
from counterpoise.statistics.arm_score import arm_score
from counterpoise.statistics.claims import Contenders, NotTestedError, require_scored
from counterpoise.statistics.counts import CountTable, RunState
from counterpoise.statistics.hypothesis_types import (
    Grounds,
    HypothesisOutcome,
    HypothesisVerdict,
    Remark,
    RemarkKind,
    UntestableKind,
)
from counterpoise.statistics.inference import NO_NOISE, Pairs, RunNoise, Scope, compare_pairs, fit_run_noise
from counterpoise.statistics.scores import PseudoValues, RunScores, pooled_scores, pseudo_values
from counterpoise.statistics.verdict_types import Verdict

__all__ = ["decide_comparison", "decide_level", "judge_hypotheses"]


def judge_hypotheses(
    hypotheses: Sequence[Hypothesis], table: CountTable, verdict: Verdict
) -> tuple[HypothesisVerdict, ...]:
    """Decide every hypothesis from the counts that a verdict was made from.

    Parameters
    ----------
    hypotheses : sequence of Hypothesis
        As the run's plan has them.
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
    tests: list[_Test | NotTestedError] = []
    for hypothesis in hypotheses:
        try:
            tests.append(maker.make(hypothesis.claim))
        except NotTestedError as error:
            tests.append(error)
    tested = sum(not isinstance(test, NotTestedError) for test in tests)
    alpha = verdict.settings.alpha / max(tested * verdict.settings.looks, 1)
    decided = []
    for hypothesis, test in zip(hypotheses, tests, strict=True):
        blank = HypothesisVerdict(str(hypothesis.claim), hypothesis.because, HypothesisOutcome.NOT_TESTED)
        if isinstance(test, NotTestedError):
            decided.append(replace(blank, untestable=test.why))
        else:
            decided.append(test.decide(alpha, blank))
    return tuple(decided)


# Outcomes -------------------------------------------------------------------------------------------------------


def decide_comparison(
    claim: PairClaim, low: float, high: float, margin: float
) -> tuple[HypothesisOutcome, Grounds | None]:
    """Say what an interval of left minus right shows about a claim, and by what if not by its sign.

    An interval that touches a limit has not passed it.

    Examples
    --------
    >>> from counterpoise.experiment.hypothesis import parse_claim
    >>> outcome, finding = decide_comparison(parse_claim("a > b"), -0.004, 0.006, 0.01)
    >>> str(outcome), str(finding)
    ('refuted', 'same within the margin')
    """
    same = low > -margin and high < margin
    if claim.relation == "=":
        if same:
            return HypothesisOutcome.SUPPORTED, Grounds.SAME
        apart = low > margin or high < -margin
        return (HypothesisOutcome.REFUTED, Grounds.APART) if apart else (HypothesisOutcome.UNDECIDED, None)
    above, below = low > 0, high < 0
    claimed, opposite = {">": (above, below), "<": (below, above), "!=": (above or below, False)}[claim.relation]
    if claimed:
        return HypothesisOutcome.SUPPORTED, None
    if opposite:
        return HypothesisOutcome.REFUTED, None
    return (HypothesisOutcome.REFUTED, Grounds.SAME) if same else (HypothesisOutcome.UNDECIDED, None)


def decide_level(claim: LevelClaim, low: float, high: float) -> HypothesisOutcome:
    """Say what an interval of a score shows about a claim that it is above or below a number."""
    above = low > claim.value if claim.relation in (">", "<=") else low >= claim.value
    below = high < claim.value if claim.relation in (">=", "<") else high <= claim.value
    claimed, opposite = (above, below) if claim.relation.startswith(">") else (below, above)
    if claimed:
        return HypothesisOutcome.SUPPORTED
    return HypothesisOutcome.REFUTED if opposite else HypothesisOutcome.UNDECIDED


# What is tested, and by what ------------------------------------------------------------------------------------


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
        half = float(scipy.stats.t.isf(alpha / 2, self.pairs.df[left, right]) * self.pairs.se[left, right])
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
    remarks: tuple[Remark, ...]

    def decide(self, alpha: float, blank: HypothesisVerdict) -> HypothesisVerdict:
        middle, low, high = self.scores.interval(self.left, self.right, alpha)
        outcome, finding = decide_comparison(self.claim, low, high, self.margin)
        return replace(
            blank,
            outcome=outcome,
            difference=middle,
            low=low,
            high=high,
            seeds=self.scores.common(self.left, self.right),
            finding=finding,
            remarks=self.remarks,
        )


@dataclass(frozen=True, eq=False)
class _LevelTest:
    claim: LevelClaim
    scores: _Measured
    arm: int
    prior_df: float
    remarks: tuple[Remark, ...]

    def decide(self, alpha: float, blank: HypothesisVerdict) -> HypothesisVerdict:
        s, value = self.scores, self.claim.value
        score = arm_score(s.theta, s.z, s.noise, s.g_eff, self.arm, scope=s.scope, prior_df=self.prior_df)
        low, high = score.interval(alpha)
        return replace(
            blank,
            outcome=decide_level(self.claim, low, high),
            difference=score.score - value,
            low=low - value,
            high=high - value,
            value=value,
            seeds=score.seeds,
            remarks=self.remarks,
        )


@dataclass(frozen=True, eq=False)
class _BestTest:
    scores: _Measured
    names: tuple[str, ...]
    arm: int
    rivals: tuple[int, ...]
    remarks: tuple[Remark, ...]

    def decide(self, alpha: float, blank: HypothesisVerdict) -> HypothesisVerdict:
        """Support it if the arm beats every rival; refute it if a rival beats the arm, corrected for their number."""
        number = len(self.rivals)
        alone = {rival: self.scores.interval(self.arm, rival, alpha) for rival in self.rivals}
        together = {rival: self.scores.interval(self.arm, rival, alpha / number) for rival in self.rivals}
        worst = min(together, key=lambda rival: together[rival][2])
        beaten = sum(low > 0 for _, low, _ in alone.values())
        if together[worst][2] < 0:
            outcome, finding, decisive, found = HypothesisOutcome.REFUTED, Grounds.RIVAL_BETTER, worst, together[worst]
        else:
            nearest = min(alone, key=lambda rival: alone[rival][1])
            outcome = HypothesisOutcome.SUPPORTED if beaten == number else HypothesisOutcome.UNDECIDED
            finding, decisive, found = Grounds.BEATEN, nearest, alone[nearest]
        middle, low, high = found
        return replace(
            blank,
            outcome=outcome,
            difference=middle,
            low=low,
            high=high,
            seeds=self.scores.common(self.arm, decisive),
            finding=finding,
            rival=self.names[decisive],
            beaten=beaten,
            rivals=number,
            remarks=self.remarks,
        )


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
        return _PairTest(claim, scores, left, right, self._verdict.settings.margin, self._remarks(scores, names))

    def _level(self, claim: LevelClaim) -> _LevelTest:
        arm, scores = self._arm(claim.left.arm), self._scores(claim.left.class_name)
        runs = int(self._table.finished[arm].sum())
        if runs < self._verdict.settings.min_seeds:
            raise NotTestedError(UntestableKind.FEW_SEEDS, claim.left.arm, found=runs)
        remarks = self._remarks(scores, (claim.left.arm,))
        return _LevelTest(claim, scores, arm, self._verdict.settings.prior_df, remarks)

    def _best(self, claim: BestClaim) -> _BestTest:
        arm, found = self._arm(claim.arm), self._contenders.rivals(claim)
        rivals = tuple(self._arm(name) for name in found.trained)
        scores = self._scores(None)
        for rival in rivals:
            self._require_common(scores, arm, rival)
        excluded = tuple(Remark(RemarkKind.EXCLUDED, (name,)) for name in found.same)
        said = [name for name in found.named if self._table.copies.get(name) not in found.named]
        remarks = (*excluded, *self._remarks(scores, (claim.arm, *said)))
        return _BestTest(scores, self._table.arms, arm, rivals, remarks)

    def _arm(self, name: str) -> int:
        """Find an arm, or the one that was trained in its stead."""
        return self._table.arms.index(self._contenders.trained(name))

    def _require_common(self, scores: _Measured, left: int, right: int) -> None:
        common = scores.common(left, right)
        if common < self._verdict.settings.min_seeds:
            names = (self._table.arms[left], self._table.arms[right])
            raise NotTestedError(UntestableKind.FEW_COMMON_SEEDS, *names, found=common)

    def _scores(self, class_name: str | None) -> _Measured:
        """Measure mean Dice, or Dice of one class, as the verdict does."""
        if class_name not in self._measured:
            self._measured[class_name] = self._measure(class_name)
        return self._measured[class_name]

    def _measure(self, class_name: str | None) -> _Measured:
        table, verdict = self._table, self._verdict
        if not verdict.has_verdict:
            raise NotTestedError(UntestableKind.NO_VERDICT)
        if class_name is None:
            scored, effective = np.array([entry.scored for entry in verdict.classes]), verdict.effective_crops
        else:
            effective = require_scored(class_name, verdict.classes).effective_crops
            scored = np.array([name == class_name for name in table.classes])
        assert effective is not None  # noqa: S101 - what is scored rests on something
        theta, z = pooled_scores(table.counts, scored), pseudo_values(table.counts, scored)
        noise = fit_run_noise(z)
        if noise is None or noise.sd < NO_NOISE:
            raise NotTestedError(UntestableKind.NO_REPETITION, *([class_name] if class_name else []))
        scope = Scope.NEW if effective >= verdict.settings.min_effective else Scope.THIS
        pairs = compare_pairs(theta, z, noise, effective, scope=scope, prior_df=verdict.settings.prior_df)
        return _Measured(theta, z, noise, effective, scope, pairs)

    def _remarks(self, scores: _Measured, names: Sequence[str]) -> tuple[Remark, ...]:
        """Say what a reader of the figures must know besides."""
        copies = self._table.copies
        remarks = [Remark(RemarkKind.STANDS_FOR, (name, copies[name])) for name in names if name in copies]
        for arm in dict.fromkeys(self._arm(name) for name in names):
            lost = sum(cell.state is RunState.DIVERGED for cell in self._table.cells[arm])
            if lost:
                remarks.append(Remark(RemarkKind.DIVERGED, (self._table.arms[arm],), lost))
        if scores.scope is Scope.THIS:
            remarks.append(Remark(RemarkKind.THESE_CROPS))
        return tuple(remarks)
