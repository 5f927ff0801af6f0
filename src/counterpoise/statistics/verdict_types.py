"""What a verdict consists of: frozen values, made by :func:`counterpoise.statistics.verdict.judge`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from counterpoise.statistics.counts import RunCell
from counterpoise.statistics.inference import PRIOR_DF, Label, Scope

__all__ = [
    "ArmVerdict",
    "ClassDifference",
    "ClassSupport",
    "Comparison",
    "HypothesisVerdict",
    "Noise",
    "Outcome",
    "Recommendation",
    "Settings",
    "TunedArm",
    "Unit",
    "Verdict",
]


Unit = Literal["crop", "data_set"]


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
    unit : {"crop", "data_set"}
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
    unit: Unit = "crop"
    thresholds: Literal["half", "tuned"] = "half"
    select_crops: int = 0

    @property
    def cluster(self) -> str:
        """Name one cluster: what a score rests on, and what a verdict may hold for."""
        return "crop" if self.unit == "crop" else "data set"

    @property
    def clusters(self) -> str:
        """Name several."""
        return f"{self.cluster}s"


@dataclass(frozen=True)
class TunedArm:
    """What tuning thresholds changes for one arm: mean Dice over runs, on the half of the crops not tuned on.

    ``thresholds`` are pairs of class and mean threshold over runs. Nothing is claimed about the difference.
    """

    name: str
    dice_at_half: float
    dice_tuned: float
    thresholds: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class Comparison:
    """Difference of an arm to the baseline, with an interval that holds for all comparisons together.

    ``seeds`` are those that both finished; the bounds are NaN and the label says so where there are fewer than two.
    """

    difference: float
    low: float
    high: float
    se: float
    df: float
    seeds: int
    label: Label


@dataclass(frozen=True)
class ClassDifference:
    """One class of one arm: Dice, and difference to the baseline with its own interval (exploratory, not corrected).

    ``difference``, ``low`` and ``high`` are NaN for the baseline and where arms are not compared. ``scope`` is
    ``this`` for a class that rests on few crops.
    """

    name: str
    dice: float
    difference: float
    low: float
    high: float
    scope: Scope


@dataclass(frozen=True)
class ClassSupport:
    """What the score of a class rests on: crops with positives, and their effective number (NaN if unknown)."""

    name: str
    positive_crops: int
    effective_crops: float
    scored: bool


@dataclass(frozen=True)
class Noise:
    """What training the same arm again does to its score: standard deviation, its interval, degrees of freedom.

    ``seed_share`` is the part of the variance that all arms of a seed have in common: what pairing by seed removes.
    """

    sd: float
    low: float
    high: float
    df: float
    seed_share: float


@dataclass(frozen=True)
class ArmVerdict:
    """One arm.

    Parameters
    ----------
    score, iou, crop_dice : float
        Mean over finished runs of Dice and IoU from pooled counts, and of Dice averaged over crops; NaN without a
        run.
    runs, planned : int
        Finished runs, and seeds.
    diverged : tuple of int
        Seeds whose training diverged: the arm is unstable.
    score_with_failures : float
        ``score`` with diverged runs counted as 0.
    sd : float
        Its own standard deviation over seeds, seed effects taken out; NaN if unknown.
    is_noisy : bool
        Whether that is more than 2.5 times the others'.
    control_of : str or None
        The arm whose weights these are: trained on purpose, to measure noise.
    simplicity : float
        Smaller is simpler.
    comparison, on_these_crops : Comparison or None
        With the baseline, in the scope of the verdict and for these crops only; None for the baseline and without
        a verdict.
    beats_baseline : float
        Probability that one fresh run scores higher than one of the baseline; NaN if unknown.
    seeds_to_decide : int or None
        For an undecided arm: seeds per arm that would find a difference of the margin; None if more seeds alone
        cannot.
    is_in_best_set : bool
        Whether it cannot be told apart from the best.
    classes : tuple of ClassDifference
        The scored classes.
    """

    name: str
    score: float
    iou: float
    crop_dice: float
    runs: int
    planned: int
    diverged: tuple[int, ...]
    score_with_failures: float
    sd: float
    is_noisy: bool
    control_of: str | None
    simplicity: float
    comparison: Comparison | None
    on_these_crops: Comparison | None
    beats_baseline: float
    seeds_to_decide: int | None
    is_in_best_set: bool
    classes: tuple[ClassDifference, ...]


@dataclass(frozen=True)
class Recommendation:
    """The arm to use (None: none can be named), and why."""

    arm: str | None
    reason: str


Outcome = Literal["supported", "refuted", "undecided", "not tested"]


@dataclass(frozen=True)
class HypothesisVerdict:
    """What the runs say about one claim of the configuration.

    Parameters
    ----------
    claim, because : str
        As they were written down before; ``because`` may be empty.
    outcome : {"supported", "refuted", "undecided", "not tested"}
        All outcomes of a run together are wrong with a chance of at most alpha.
    figures : str
        What the outcome rests on, or why there was no test: one sentence.
    difference, low, high : float
        Left side minus right side, and its interval at the level that all hypotheses together need; for the best of
        several, against the one that decides. NaN without a test.
    """

    claim: str
    because: str
    outcome: Outcome
    figures: str
    difference: float
    low: float
    high: float


@dataclass(frozen=True)
class Verdict:
    """Everything that is said about a run.

    Parameters
    ----------
    no_verdict : str
        Why there is none; empty if there is one. Scores are there all the same.
    arms : tuple of ArmVerdict
        By falling score; those without one last.
    crops, data_sets : int
        Clusters, and data sets they come from.
    effective_crops : float
        Kish's number, averaged over the scored classes; NaN without any.
    scope : {"new", "this"}
        What the intervals hold for.
    noise : Noise or None
        None if it cannot be estimated.
    visible_difference : float
        Median half-width of the intervals: smaller differences cannot be seen. NaN without a verdict.
    best_set : tuple of str
        Arms that cannot be told apart from the best, by falling score.
    incomplete : tuple of RunCell
        Runs without a result.
    tuned : tuple of TunedArm
        What tuning thresholds would change.
    hypotheses : tuple of HypothesisVerdict
        Claims of the configuration, in its order.
    notes : tuple of str
        What else must be known of the runs, or makes them less than exactly comparable: one sentence each, without its
        full stop.
    """

    no_verdict: str
    baseline: str
    settings: Settings
    arms: tuple[ArmVerdict, ...]
    seeds: tuple[int, ...]
    crops: int
    data_sets: int
    tiles_hash: str | None
    effective_crops: float
    classes: tuple[ClassSupport, ...]
    scope: Scope
    noise: Noise | None
    visible_difference: float
    best_set: tuple[str, ...]
    recommendation: Recommendation
    incomplete: tuple[RunCell, ...]
    copies: tuple[tuple[str, str], ...]
    tuned: tuple[TunedArm, ...] = ()
    hypotheses: tuple[HypothesisVerdict, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def has_verdict(self) -> bool:
        """Whether anything is claimed."""
        return not self.no_verdict

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
