"""What is known of a hypothesis after the runs: an outcome, the figures it rests on, or why it could not be tested."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

__all__ = [
    "Grounds",
    "HypothesisOutcome",
    "HypothesisVerdict",
    "Remark",
    "RemarkKind",
    "Untestable",
    "UntestableKind",
]


class HypothesisOutcome(StrEnum):
    """What the runs say about a claim."""

    SUPPORTED = "supported"
    REFUTED = "refuted"
    UNDECIDED = "undecided"
    NOT_TESTED = "not tested"


class Grounds(StrEnum):
    """What an outcome rests on, if not on the sign of a difference."""

    SAME = "same within the margin"
    APART = "apart by more than the margin"
    RIVAL_BETTER = "a rival is better"
    BEATEN = "better than some rivals"


class UntestableKind(StrEnum):
    """Why a claim cannot be tested."""

    NO_VERDICT = "no verdict"
    NO_ARM = "no such arm"
    NO_CLASS = "no such class"
    NOT_SCORED = "class not scored"
    SAME_WEIGHTS = "the same weights"
    NO_RIVAL = "no rival"
    FEW_SEEDS = "too few finished seeds"
    FEW_COMMON_SEEDS = "too few common seeds"
    NO_REPETITION = "other seeds gave the same score"


@dataclass(frozen=True)
class Untestable:
    """Why a claim cannot be tested: the kind, the names it is about, and the number found where one is too small.

    ``names`` are, by kind: the arm or class; for the same weights the arms that share them and then the one they
    are of; for seeds the arm or the two arms.
    """

    kind: UntestableKind
    names: tuple[str, ...] = ()
    found: int = 0


class RemarkKind(StrEnum):
    """What a reader of a hypothesis' figures must know besides."""

    STANDS_FOR = "another arm stands for it"
    EXCLUDED = "excluded for the same weights"
    DIVERGED = "diverged trainings left out"


@dataclass(frozen=True)
class Remark:
    """A remark: its kind, the arms it is about, and how many trainings of how many."""

    kind: RemarkKind
    names: tuple[str, ...] = ()
    count: int = 0


@dataclass(frozen=True)
class HypothesisVerdict:
    """What the runs say about one claim of the configuration.

    Parameters
    ----------
    claim, because : str
        As they were written down before; ``because`` may be empty.
    outcome : HypothesisOutcome
        All outcomes of a run together are wrong with a chance of at most alpha.
    difference, low, high : float or None
        Left side minus right side, and its interval at the level that all hypotheses together need; for the best of
        several, against the one that decides; for a score against a number, score minus number.
    value : float or None
        That number.
    seeds : int
        Seeds the figures rest on.
    finding : Grounds or None
        What the outcome rests on, if not on the sign.
    rival : str or None
        For the best of several, the one that decides.
    beaten, rivals : int
        How many rivals the arm beats, and of how many.
    untestable : Untestable or None
        Why there was no test.
    remarks : tuple of Remark
        What else must be known.
    is_exploratory : bool
        Whether the claim was made after results came: its outcome is outside the common error rate.
    """

    claim: str
    because: str
    outcome: HypothesisOutcome
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    value: float | None = None
    seeds: int = 0
    finding: Grounds | None = None
    rival: str | None = None
    beaten: int = 0
    rivals: int = 0
    untestable: Untestable | None = None
    remarks: tuple[Remark, ...] = ()
    is_exploratory: bool = False
