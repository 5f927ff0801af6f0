"""What a verdict consists of: frozen values without NaN (None is what is not known) that JSON holds as they are.

Made by :func:`counterpoise.statistics.verdict.judge`. Nothing here is a sentence: those are made in one place,
:mod:`counterpoise.report.statements`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from counterpoise.notes import Note
from counterpoise.runs.looks import RaceLook
from counterpoise.statistics.arm_verdict import ArmVerdict, TunedArm
from counterpoise.statistics.counts import RunCell
from counterpoise.statistics.hypothesis_types import HypothesisVerdict
from counterpoise.statistics.micro_batches import BatchParts
from counterpoise.statistics.run_noise import PRIOR_DF
from counterpoise.statistics.run_scores import RunScore
from counterpoise.statistics.training import TrainingState
from counterpoise.text import plural

__all__ = [
    "BestBet",
    "Change",
    "ClassSupport",
    "LooksTaken",
    "NoiseSummary",
    "Obstacle",
    "Recommendation",
    "RecommendationReason",
    "Settings",
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
    min_seeds : int
        Fewest seeds for a verdict.
    min_crops : int
        A class with positives in fewer crops is not scored.
    min_effective : float
        With fewer effective crops an interval rests on so few that it is rough itself, and the verdict says so.
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
    min_seeds: int = 3
    min_crops: int = 3
    min_effective: float = 5.0
    prior_df: float = PRIOR_DF
    allow_unstable: bool = False
    unit: Unit = Unit.CROP
    thresholds: Literal["half", "tuned"] = "half"
    select_crops: int = 0


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

    NO_LOOK = "a race before its first look"
    NO_RUN = "no finished run"
    NO_CLASS = "no class can be scored"
    ONE_ARM = "one arm"
    NO_BASELINE = "the baseline has no finished run"
    FEW_SEEDS = "too few common seeds"
    NO_NOISE = "no run left to estimate the noise from"
    NO_REPETITION = "other seeds gave the same scores"
    UNTRAINED = "the networks are not trained"


class RecommendationReason(StrEnum):
    """Why an arm is recommended, or none."""

    NO_VERDICT = "no verdict"
    BASELINE_MAY_BE_BEST = "the baseline may be the best"
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
        Whether a run of the baseline diverged: no reason to recommend another, but said.
    """

    arm: str | None
    reason: RecommendationReason
    top: str | None = None
    baseline_is_uniform: bool = False
    baseline_is_unstable: bool = False


@dataclass(frozen=True)
class BestBet:
    """The arm with the highest expected score, no claim; and what it is expected to be above the baseline."""

    arm: str
    expected: float


# What was asked, and when -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Change:
    """What was asked differently before the first training had finished; what it touches is exploratory."""

    key: str
    before: str
    now: str


@dataclass(frozen=True)
class LooksTaken:
    """The looks this verdict pays for.

    Parameters
    ----------
    recorded : int
        Looks that were on record, this one included if it saw anything new.
    seeds : tuple of int
        Most seeds of any arm at each, this one last.
    planned : int
        The most seeds per arm.
    error_rate : float
        Chance of any false claim at any look; above the level asked for only where seeds were added after all of it
        was spent.
    lost_runs : tuple of (str, int)
        Runs, by arm and seed, that an earlier look saw and that are gone.
    damage : str
        What is wrong with the record; empty if nothing is.
    """

    recorded: int = 0
    seeds: tuple[int, ...] = ()
    planned: int = 0
    error_rate: float = 0.05
    lost_runs: tuple[tuple[str, int], ...] = ()
    damage: str = ""


# The whole ------------------------------------------------------------------------------------------------------


_NARROW = {"margin", "hypothesis"}
"""Changes that touch only the statements that name them; any other touches all."""


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
    noise : NoiseSummary or None
        None if it cannot be estimated.
    visible_difference : float or None
        Median half-width of the intervals: smaller true differences are more often missed than found. None without a
        verdict.
    baseline_is_noisy : bool
        Whether the baseline varies more from seed to seed than the others, so that its comparisons rest on its own
        noise.
    bet : BestBet or None
        The arm to bet on if one had to; None without a verdict.
    looks : LooksTaken
        What was seen before, and what it cost.
    changes : tuple of Change
        What was asked differently before.
    race : tuple of RaceLook
        What a race decided, look by look; empty for an experiment of fixed size.
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
    run_scores : tuple of RunScore
        The finished runs, arm by arm.
    training : TrainingState
        Whether the networks are trained at all.
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
    noise: NoiseSummary | None
    visible_difference: float | None
    best_set: tuple[str, ...]
    recommendation: Recommendation
    incomplete: tuple[RunCell, ...]
    copies: tuple[tuple[str, str], ...]
    common_seeds: int = 0
    baseline_is_noisy: bool = False
    bet: BestBet | None = None
    looks: LooksTaken = field(default_factory=LooksTaken)
    changes: tuple[Change, ...] = ()
    race: tuple[RaceLook, ...] = ()
    tile_count: int | None = None
    tuned: tuple[TunedArm, ...] = ()
    hypotheses: tuple[HypothesisVerdict, ...] = ()
    notes: tuple[Note, ...] = ()
    parts: BatchParts = field(default_factory=BatchParts)
    run_scores: tuple[RunScore, ...] = ()
    training: TrainingState = field(default_factory=TrainingState)

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

    @property
    def is_exploratory(self) -> bool:
        """Whether no claim of this verdict keeps its error rate: the question or the runs were chosen after looking."""
        deep = any(change.key.removeprefix("verdict.") not in _NARROW for change in self.changes)
        return deep or bool(self.looks.lost_runs or self.looks.damage)

    @property
    def has_new_margin(self) -> bool:
        """Whether the margin was another one before results came."""
        return any(change.key == "verdict.margin" for change in self.changes)

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
