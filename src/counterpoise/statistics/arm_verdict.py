"""What a verdict says about one arm: frozen values without NaN (None is what is not known)."""

from __future__ import annotations

from dataclasses import dataclass

from counterpoise.statistics.inference import Label

__all__ = ["ArmVerdict", "BaselineComparison", "ClassDifference", "SeedsBand", "TunedArm"]


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
    """

    name: str
    dice: float | None
    sd: float | None
    iou: float | None
    difference: float | None
    low: float | None
    high: float | None
    plain_difference: float | None

    @property
    def excludes_zero(self) -> bool:
        """Whether the interval lies on one side of zero; one that touches zero does not."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)


@dataclass(frozen=True)
class SeedsBand:
    """Seeds per arm that would find a difference of the margin: 10 to 90 % range of what the noise may be.

    ``high`` is None where more seeds may not be enough at all.
    """

    low: int
    high: int | None


@dataclass(frozen=True)
class ArmVerdict:
    """One arm.

    Parameters
    ----------
    score : float or None
        Dice from pooled counts: mean over finished runs, or, where seeds are missing, what the arm would have on the
        baseline's seeds; None without a run.
    iou, crop_dice : float or None
        Mean over finished runs of IoU from pooled counts, and of Dice averaged over crops.
    is_adjusted : bool
        Whether ``score`` is not the plain mean.
    runs, planned : int
        Finished runs, and seeds.
    diverged : tuple of int
        Seeds whose training diverged: the arm is unstable.
    stray : tuple of int
        Seeds whose run scores far below the arm's others: a failure that nothing else reports.
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
        With the baseline, for new crops and for these crops only; None for the baseline and without a verdict.
    plain_difference : float or None
        Mean difference to the baseline over common seeds, also without a verdict; None for the baseline.
    seeds_to_decide : SeedsBand or None
        For an undecided arm; None if more seeds alone cannot decide.
    dropped_after : int or None
        Seeds after which a race went on without it.
    is_in_best_set : bool
        Whether it cannot be told apart from the best.
    classes : tuple of ClassDifference
        The scored classes.
    """

    name: str
    score: float | None
    iou: float | None
    crop_dice: float | None
    is_adjusted: bool
    runs: int
    planned: int
    diverged: tuple[int, ...]
    stray: tuple[int, ...]
    score_with_failures: float | None
    sd: float | None
    sd_over_seeds: float | None
    is_noisy: bool
    control_of: str | None
    simplicity: float | None
    comparison: BaselineComparison | None
    on_these_crops: BaselineComparison | None
    plain_difference: float | None
    seeds_to_decide: SeedsBand | None
    dropped_after: int | None
    is_in_best_set: bool
    classes: tuple[ClassDifference, ...]

    @property
    def is_unstable(self) -> bool:
        """Whether a run of it diverged, or failed unseen."""
        return bool(self.diverged or self.stray)

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
