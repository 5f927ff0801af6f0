"""What a verdict consists of: frozen values without NaN (None is what is not known) that JSON holds as they are.

Made by :func:`counterpoise.statistics.verdict.judge`. Nothing here is a sentence: those are made in one place,
:mod:`counterpoise.report.statements`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from counterpoise.notes import Note
from counterpoise.statistics.counts import RunCell
from counterpoise.statistics.hypothesis_types import HypothesisVerdict
from counterpoise.statistics.inference import PRIOR_DF, Label, Scope
from counterpoise.statistics.micro_batches import BatchParts
from counterpoise.text import plural

__all__ = [
    "ArmVerdict",
    "BaselineComparison",
    "ClassDifference",
    "ClassSupport",
    "NoiseSummary",
    "Obstacle",
    "Recommendation",
    "RecommendationReason",
    "Settings",
    "TunedArm",
    "Unit",
    "Verdict",
]


class Unit(StrEnum):
    """What the clusters are that scores rest on."""

    CROP = "crop"
    DATA_SET = "data_set"

    @property
    def noun(self) -> str:
        """Name one of them."""
        return "crop" if self is Unit.CROP else "data set"

    @property
    def nouns(self) -> str:
        """Name several."""
        return plural(self.noun)


@dataclass(frozen=True)
class Settings:
    """What is decided before the data are seen.

    Parameters
    ----------
    margin : float
        Smallest difference of Dice that matters (eps).
    alpha : float
        Chance of any false claim.
    looks : int
        How often the verdict is asked for while trainings are added.
    min_seeds : int
        Fewest seeds for a verdict.
    min_crops : int
        A class with positives in fewer crops is not scored.
    min_effective : float
        With fewer effective crops the verdict is about these crops only.
    prior_df : float
        Weight of the pooled variance in a pair's own (d0).
    allow_unstable : bool
        Whether an arm may be recommended although a run of it diverged.
    unit : Unit
        What the clusters are.
    thresholds : {"half", "tuned"}
        Whether a voxel counts as present above probability 1/2, or above a tuned threshold.
    select_crops : int
        Crops that tuned thresholds were chosen on, and that are not scored.
    """

    margin: float = 0.01
    alpha: float = 0.05
    looks: int = 1
    min_seeds: int = 3
    min_crops: int = 3
    min_effective: float = 5.0
    prior_df: float = PRIOR_DF
    allow_unstable: bool = False
    unit: Unit = Unit.CROP
    thresholds: Literal["half", "tuned"] = "half"
    select_crops: int = 0


# Arms -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class BaselineComparison:
    """Difference of an arm to the baseline, with an interval that holds for all comparisons together.

    ``seeds`` are those that both finished; there are no numbers, and the label says so, where they are fewer than two.
    """

    difference: float | None
    low: float | None
    high: float | None
    se: float | None
    df: float | None
    seeds: int
    label: Label


@dataclass(frozen=True)
class ClassDifference:
    """One class of one arm: its scores, and difference to the baseline with its own interval (exploratory).

    Parameters
    ----------
    dice, sd, iou : float or None
        Mean over the finished runs, and standard deviation of Dice over them.
    difference, low, high : float or None
        Interval not corrected for the number of classes and arms; None for the baseline and without a verdict.
    plain_difference : float or None
        Mean over common seeds, also without a verdict; None for the baseline.
    scope : Scope
        ``this`` for a class that rests on few crops.
    """

    name: str
    dice: float | None
    sd: float | None
    iou: float | None
    difference: float | None
    low: float | None
    high: float | None
    plain_difference: float | None
    scope: Scope

    @property
    def excludes_zero(self) -> bool:
        """Whether the interval lies on one side of zero; one that touches zero does not."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)

    @property
    def is_about_these_crops(self) -> bool:
        """Whether there is an interval, and it holds for these validation crops only."""
        return self.low is not None and self.scope is Scope.THIS


@dataclass(frozen=True)
class ArmVerdict:
    """One arm.

    Parameters
    ----------
    score, iou, crop_dice : float or None
        Mean over finished runs of Dice and IoU from pooled counts, and of Dice averaged over crops; None without a
        run.
    runs, planned : int
        Finished runs, and seeds.
    diverged : tuple of int
        Seeds whose training diverged: the arm is unstable.
    score_with_failures : float or None
        ``score`` with diverged runs counted as 0.
    sd : float or None
        Its own standard deviation over seeds, seed effects taken out.
    sd_over_seeds : float or None
        The same with seed effects in it: the spread of the scores as they are.
    is_noisy : bool
        Whether ``sd`` is more than 2.5 times the others'.
    control_of : str or None
        The arm whose weights these are: trained on purpose, to measure noise.
    simplicity : float or None
        Smaller is simpler; None for an arm with weights of 0, the least simple.
    comparison, on_these_crops : BaselineComparison or None
        With the baseline, in the scope of the verdict and for these crops only; None for the baseline and without
        a verdict.
    plain_difference : float or None
        Mean difference to the baseline over common seeds, also without a verdict; None for the baseline.
    beats_baseline : float or None
        Probability that one fresh run scores higher than one of the baseline.
    seeds_to_decide : int or None
        For an undecided arm: seeds per arm that would find a difference of the margin; None if more seeds alone
        cannot.
    is_in_best_set : bool
        Whether it cannot be told apart from the best.
    classes : tuple of ClassDifference
        The scored classes.
    """

    name: str
    score: float | None
    iou: float | None
    crop_dice: float | None
    runs: int
    planned: int
    diverged: tuple[int, ...]
    score_with_failures: float | None
    sd: float | None
    sd_over_seeds: float | None
    is_noisy: bool
    control_of: str | None
    simplicity: float | None
    comparison: BaselineComparison | None
    on_these_crops: BaselineComparison | None
    plain_difference: float | None
    beats_baseline: float | None
    seeds_to_decide: int | None
    is_in_best_set: bool
    classes: tuple[ClassDifference, ...]

    @property
    def is_undecided(self) -> bool:
        """Whether its interval holds 0 and more than the margin."""
        return self.comparison is not None and self.comparison.label is Label.UNDECIDED

    def of_class(self, name: str) -> ClassDifference | None:
        """Find one of the scored classes."""
        return next((entry for entry in self.classes if entry.name == name), None)


@dataclass(frozen=True)
class TunedArm:
    """What tuning thresholds changes for one arm: mean Dice over runs, on the half of the crops not tuned on.

    ``thresholds`` are pairs of class and mean threshold over runs. Nothing is claimed about the difference.
    """

    name: str
    dice_at_half: float
    dice_tuned: float
    thresholds: tuple[tuple[str, float], ...]


# What it rests on -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ClassSupport:
    """What the score of a class rests on: crops with positives, and their effective number."""

    name: str
    positive_crops: int
    effective_crops: float | None
    scored: bool


@dataclass(frozen=True)
class NoiseSummary:
    """What training the same arm again does to its score: standard deviation, its interval, degrees of freedom.

    ``seed_share`` is the part of the variance that all arms of a seed have in common: what pairing by seed removes.
    """

    sd: float
    low: float
    high: float
    df: float
    seed_share: float


class Obstacle(StrEnum):
    """Why there is no verdict."""

    NO_RUN = "no finished run"
    NO_CLASS = "no class can be scored"
    ONE_ARM = "one arm"
    NO_BASELINE = "the baseline has no finished run"
    FEW_SEEDS = "too few common seeds"
    NO_NOISE = "no run left to estimate the noise from"
    NO_REPETITION = "other seeds gave the same scores"


class RecommendationReason(StrEnum):
    """Why an arm is recommended, or none."""

    NO_VERDICT = "no verdict"
    BASELINE_MAY_BE_BEST = "the baseline may be the best"
    NONE_ELIGIBLE = "no arm may be recommended"
    HIGHEST = "the highest score of the best set"
    SIMPLEST = "the simplest within the margin of the highest score"


@dataclass(frozen=True)
class Recommendation:
    """The arm to use (None: none can be named), and why.

    Parameters
    ----------
    top : str or None
        The arm with the highest score of those that may be recommended, where a simpler one was chosen.
    baseline_is_uniform : bool
        Whether the baseline weighs all classes alike.
    baseline_is_unstable : bool
        Whether the baseline was left aside because a run of it diverged.
    """

    arm: str | None
    reason: RecommendationReason
    top: str | None = None
    baseline_is_uniform: bool = False
    baseline_is_unstable: bool = False


# The whole ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Verdict:
    """Everything that is known about a run.

    Parameters
    ----------
    obstacle : Obstacle or None
        Why there is no verdict; there may still be scores.
    common_seeds : int
        Most finished seeds that the baseline and another arm have in common.
    arms : tuple of ArmVerdict
        Sorted by score, the highest first; those without one last.
    crops, data_sets : int
        Clusters, and data sets they come from.
    effective_crops : float or None
        Kish's number, averaged over the scored classes; None without any.
    scope : Scope
        What the intervals hold for.
    noise : NoiseSummary or None
        None if it cannot be estimated.
    visible_difference : float or None
        Median half-width of the intervals: smaller true differences are more often missed than found. None without a
        verdict.
    best_set : tuple of str
        Arms that cannot be told apart from the best, in the order of ``arms``.
    incomplete : tuple of RunCell
        Runs without a result.
    copies : tuple of (str, str)
        Arms that were not trained because they are the same experiment as another, and that other.
    tuned : tuple of TunedArm
        What tuning thresholds would change.
    hypotheses : tuple of HypothesisVerdict
        Claims of the configuration, in its order.
    notes : tuple of Note
        What makes scores less than they seem.
    parts : BatchParts
        Trainings that saw their batches in parts.
    """

    obstacle: Obstacle | None
    baseline: str
    settings: Settings
    arms: tuple[ArmVerdict, ...]
    seeds: tuple[int, ...]
    crops: int
    data_sets: int
    tiles_hash: str | None
    effective_crops: float | None
    classes: tuple[ClassSupport, ...]
    scope: Scope
    noise: NoiseSummary | None
    visible_difference: float | None
    best_set: tuple[str, ...]
    recommendation: Recommendation
    incomplete: tuple[RunCell, ...]
    copies: tuple[tuple[str, str], ...]
    common_seeds: int = 0
    tile_count: int | None = None
    tuned: tuple[TunedArm, ...] = ()
    hypotheses: tuple[HypothesisVerdict, ...] = ()
    notes: tuple[Note, ...] = ()
    parts: BatchParts = field(default_factory=BatchParts)

    @property
    def has_verdict(self) -> bool:
        """Whether anything is claimed."""
        return self.obstacle is None

    @property
    def scored(self) -> tuple[str, ...]:
        """Return the classes that the mean is taken over."""
        return tuple(entry.name for entry in self.classes if entry.scored)

    @property
    def unscored(self) -> tuple[ClassSupport, ...]:
        """Return the classes with positives in too few crops."""
        return tuple(entry for entry in self.classes if not entry.scored)

    def arm(self, name: str) -> ArmVerdict:
        """Find an arm by its name.

        Raises
        ------
        KeyError
            If there is none of this name.
        """
        found = [arm for arm in self.arms if arm.name == name]
        if not found:
            raise KeyError(name)
        return found[0]
