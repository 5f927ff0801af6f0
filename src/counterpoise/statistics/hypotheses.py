"""What the runs say about the claims that were written down before: supported, refuted, undecided, not tested.

The rules are in docs/verdict.md. All outcomes of a run together are wrong with a chance of at most alpha, those of
claims that were made after results came apart: they are exploratory, and each has an error rate of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

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
from counterpoise.statistics.inference import Pairs, half_widths
from counterpoise.statistics.looks import NO_LOOKS, LookHistory
from counterpoise.statistics.measured import Measured, measure
from counterpoise.statistics.run_noise import RunNoise
from counterpoise.statistics.verdict_types import Verdict

__all__ = ["decide_comparison", "decide_level", "judge_hypotheses"]


def judge_hypotheses(
    hypotheses: Sequence[Hypothesis],
    table: CountTable,
    verdict: Verdict,
    history: LookHistory = NO_LOOKS,
    *,
    stated: Sequence[str] | None = None,
) -> tuple[HypothesisVerdict, ...]:
    """Decide every hypothesis from the counts that a verdict was made from.

    Parameters
    ----------
    hypotheses : sequence of Hypothesis
        As the run's plan has them.
    table : CountTable
        Counts; its clusters are what the verdict's are.
    verdict : Verdict
        Of the same table: its settings and scored classes hold here too.
    history : LookHistory
        The looks before this one.
    stated : sequence of str, optional
        Claims that were stated before results came; all of them if left out.

    Returns
    -------
    tuple of HypothesisVerdict
        In the order given.
    """
    before = [str(h.claim) for h in hypotheses] if stated is None else list(stated)
    family = _Family(table, verdict, history)
    ours = [h for h in hypotheses if str(h.claim) in before]
    withdrawn = len(set(before) - {str(h.claim) for h in ours})  # asked all the same
    decided = {str(h.claim): entry for h, entry in zip(ours, family.judge(ours, withdrawn), strict=True)}
    for hypothesis in hypotheses:
        if str(hypothesis.claim) not in before:
            (entry,) = family.judge([hypothesis])
            decided[str(hypothesis.claim)] = replace(entry, is_exploratory=True)
    return tuple(decided[str(h.claim)] for h in hypotheses)


class _Family:
    """Claims whose outcomes share one error rate."""

    def __init__(self, table: CountTable, verdict: Verdict, history: LookHistory) -> None:
        self._maker, self._alpha = _TestMaker(table, verdict, history), verdict.settings.alpha

    def judge(self, hypotheses: Sequence[Hypothesis], withdrawn: int = 0) -> list[HypothesisVerdict]:
        """Decide them; ``withdrawn`` counts claims of the same family that nobody asks for any more."""
        tests: list[_Test | NotTestedError] = []
        for hypothesis in hypotheses:
            try:
                tests.append(self._maker.make(hypothesis.claim))
            except NotTestedError as error:
                tests.append(error)
        tested = sum(not isinstance(test, NotTestedError) for test in tests)
        alpha = self._alpha / max(tested + withdrawn, 1)
        decided = []
        for hypothesis, test in zip(hypotheses, tests, strict=True):
            blank = HypothesisVerdict(str(hypothesis.claim), hypothesis.because, HypothesisOutcome.NOT_TESTED)
            if isinstance(test, NotTestedError):
                decided.append(replace(blank, untestable=test.why))
            else:
                decided.append(test.decide(alpha, blank))
        return decided


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
class _Scores:
    """Scores of all runs, mean Dice or Dice of one class, and what a look at them costs."""

    table: CountTable
    measured: Measured
    pairs: Pairs
    noise: RunNoise
    history: LookHistory

    def interval(self, left: int, right: int, alpha: float) -> tuple[float, float, float]:
        """Return the difference of two arms and its interval in [-1, 1], wrong at any look with chance alpha."""
        level = self.history.spent(self.table, (left, right), alpha).level
        middle = float(self.pairs.difference[left, right])
        half = float(half_widths(self.pairs, level)[left, right])
        return middle, max(middle - half, -1.0), min(middle + half, 1.0)

    def common(self, left: int, right: int) -> int:
        """Return the number of seeds that both arms finished."""
        return int(self.pairs.common[left, right])


@dataclass(frozen=True, eq=False)
class _PairTest:
    claim: PairClaim
    scores: _Scores
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
    scores: _Scores
    arm: int
    prior_df: float
    remarks: tuple[Remark, ...]

    def decide(self, alpha: float, blank: HypothesisVerdict) -> HypothesisVerdict:
        s, value = self.scores, self.claim.value
        found = s.measured
        score = arm_score(found.theta, found.z, s.noise, found.effective, self.arm, prior_df=self.prior_df)
        low, high = score.interval(s.history.spent(s.table, (self.arm,), alpha).level)
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
    scores: _Scores
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

    def __init__(self, table: CountTable, verdict: Verdict, history: LookHistory) -> None:
        self._table, self._verdict, self._history = table, verdict, history
        self._contenders = Contenders(table.arms, table.copies, table.controls)
        self._measured: dict[str | None, _Scores] = {}

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
        return _PairTest(claim, scores, left, right, self._verdict.settings.margin, self._remarks(names))

    def _level(self, claim: LevelClaim) -> _LevelTest:
        arm, scores = self._arm(claim.left.arm), self._scores(claim.left.class_name)
        runs = int(self._table.finished[arm].sum())
        if runs < self._verdict.settings.min_seeds:
            raise NotTestedError(UntestableKind.FEW_SEEDS, claim.left.arm, found=runs)
        remarks = self._remarks((claim.left.arm,))
        return _LevelTest(claim, scores, arm, self._verdict.settings.prior_df, remarks)

    def _best(self, claim: BestClaim) -> _BestTest:
        arm, found = self._arm(claim.arm), self._contenders.rivals(claim)
        rivals = tuple(self._arm(name) for name in found.trained)
        scores = self._scores(None)
        for rival in rivals:
            self._require_common(scores, arm, rival)
        excluded = tuple(Remark(RemarkKind.EXCLUDED, (name,)) for name in found.same)
        said = [name for name in found.named if self._table.copies.get(name) not in found.named]
        remarks = (*excluded, *self._remarks((claim.arm, *said)))
        return _BestTest(scores, self._table.arms, arm, rivals, remarks)

    def _arm(self, name: str) -> int:
        """Find an arm, or the one that was trained in its stead."""
        return self._table.arms.index(self._contenders.trained(name))

    def _require_common(self, scores: _Scores, left: int, right: int) -> None:
        common = scores.common(left, right)
        if common < self._verdict.settings.min_seeds:
            names = (self._table.arms[left], self._table.arms[right])
            raise NotTestedError(UntestableKind.FEW_COMMON_SEEDS, *names, found=common)

    def _scores(self, class_name: str | None) -> _Scores:
        """Measure mean Dice, or Dice of one class, as the verdict does."""
        if class_name not in self._measured:
            self._measured[class_name] = self._measure(class_name)
        return self._measured[class_name]

    def _measure(self, class_name: str | None) -> _Scores:
        table, verdict = self._table, self._verdict
        if not verdict.has_verdict:
            raise NotTestedError(UntestableKind.NO_VERDICT)
        if class_name is None:
            scored, effective = np.array([entry.scored for entry in verdict.classes]), verdict.effective_crops
        else:
            effective = require_scored(class_name, verdict.classes).effective_crops
            scored = np.array([name == class_name for name in table.classes])
        assert effective is not None  # noqa: S101 - what is scored rests on something
        found = measure(table, scored, effective, verdict.settings)
        if found.noise is None or found.pairs is None:
            raise NotTestedError(UntestableKind.NO_REPETITION, *([class_name] if class_name else []))
        return _Scores(table, found, found.pairs, found.noise, self._history)

    def _remarks(self, names: Sequence[str]) -> tuple[Remark, ...]:
        """Say what a reader of the figures must know besides."""
        copies = self._table.copies
        remarks = [Remark(RemarkKind.STANDS_FOR, (name, copies[name])) for name in names if name in copies]
        for arm in dict.fromkeys(self._arm(name) for name in names):
            lost = sum(cell.state is RunState.DIVERGED for cell in self._table.cells[arm])
            if lost:
                remarks.append(Remark(RemarkKind.DIVERGED, (self._table.arms[arm],), lost))
        return tuple(remarks)
