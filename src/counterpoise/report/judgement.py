"""A run's verdict as it was written down (``verdict.json``), parsed once into values that can be relied on."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

__all__ = [
    "ArmJudgement",
    "ClassJudgement",
    "Hypothesis",
    "Interval",
    "Judgement",
    "Noise",
    "Outcome",
    "UnscoredClass",
    "parse_hypotheses",
    "parse_judgement",
]

Outcome = Literal["supported", "refuted", "undecided", "not tested"]


@dataclass(frozen=True)
class Interval:
    """A difference of Dice and what its interval reaches from and to."""

    middle: float
    low: float
    high: float

    def __post_init__(self) -> None:
        if not self.low <= self.middle <= self.high:
            raise ValueError(f"{self.middle} is not between {self.low} and {self.high}")

    @property
    def excludes_zero(self) -> bool:
        """Whether the interval lies on one side of zero; one that touches zero does not."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True)
class ClassJudgement:
    """One class of one arm; ``difference`` has a single interval, None where nothing was compared.

    ``few_crops`` says that the interval holds for these validation crops only.
    """

    name: str
    dice: float | None
    difference: Interval | None
    few_crops: bool


@dataclass(frozen=True)
class ArmJudgement:
    """One arm.

    Parameters
    ----------
    score : float or None
        Mean over finished runs of the mean Dice over the scored classes; None without a run.
    runs, planned : int
        Finished runs, and seeds.
    label : str
        What its interval says, in words.
    difference, on_these_crops : Interval or None
        To the baseline, simultaneous over all arms; the second for these validation crops only. None for the
        baseline and where nothing was compared.
    seeds_to_decide : int or None
        For an undecided arm: seeds that would decide; None if no number does.
    is_in_best_set : bool
        Whether it cannot be told apart from the best.
    flags : tuple of str
        What else must be known of it: diverged runs, much noise, a control.
    classes : tuple of ClassJudgement
        The scored classes.
    """

    name: str
    score: float | None
    runs: int
    planned: int
    label: str
    difference: Interval | None
    on_these_crops: Interval | None
    seeds_to_decide: int | None
    is_in_best_set: bool
    flags: tuple[str, ...]
    classes: tuple[ClassJudgement, ...]


@dataclass(frozen=True)
class Noise:
    """What training the same arm again does to its score: standard deviation, its interval, degrees of freedom."""

    sd: float
    low: float
    high: float
    df: float
    seed_share: float


@dataclass(frozen=True)
class UnscoredClass:
    """A class that has positives in too few crops to be scored."""

    name: str
    positive_crops: int


@dataclass(frozen=True)
class Hypothesis:
    """What was expected before the run, and what became of it."""

    claim: str
    because: str
    outcome: Outcome
    figures: str


@dataclass(frozen=True)
class Judgement:
    """Everything that was said about a run; ``arms`` by falling score, those without one last.

    ``scope`` is ``new`` if the intervals hold for new crops, ``this`` if for these validation crops only.
    ``no_verdict`` is the reason why nothing is claimed, or empty.
    """

    sentence: str
    lines: tuple[str, ...]
    no_verdict: str
    baseline: str
    margin: float
    alpha: float
    unit: Literal["crop", "data_set"]
    seeds: int
    crops: int
    data_sets: int
    min_crops: int
    effective_crops: float | None
    scope: Literal["new", "this"]
    noise: Noise | None
    visible_difference: float | None
    arms: tuple[ArmJudgement, ...]
    scored: tuple[str, ...]
    unscored: tuple[UnscoredClass, ...]
    tiles_hash: str | None

    @property
    def clusters(self) -> str:
        """Name what the scores rest on."""
        return "data sets" if self.unit == "data_set" else "crops"


def parse_judgement(document: Mapping[str, Any]) -> Judgement:
    """Parse the content of ``verdict.json``.

    Raises
    ------
    ValueError
        If something is missing or is not what it should be; the text says what.
    """
    try:
        return _parse(document)
    except KeyError as error:
        raise ValueError(f"{error.args[0]!r} is missing") from None
    except (TypeError, AttributeError, OverflowError) as error:
        raise ValueError(str(error)) from None


def parse_hypotheses(document: Mapping[str, Any]) -> tuple[Hypothesis, ...]:
    """Parse the hypotheses in ``verdict.json``; there are none where the experiment stated none.

    Raises
    ------
    ValueError
        If the list is not one of hypotheses with a known outcome.
    """
    try:
        return tuple(
            Hypothesis(
                _text(entry["claim"]),
                _text(entry["because"]),
                _one_of(entry["outcome"], get_args(Outcome)),
                _text(entry["figures"]),
            )
            for entry in document.get("hypotheses") or ()
        )
    except KeyError as error:
        raise ValueError(f"{error.args[0]!r} is missing") from None
    except (TypeError, AttributeError) as error:
        raise ValueError(str(error)) from None


def _parse(document: Mapping[str, Any]) -> Judgement:
    settings, support = document["settings"], document["classes"]
    arms = tuple(_arm(entry, _text(document["baseline"])) for entry in document["arms"])
    if len({arm.name for arm in arms}) < len(arms):
        raise ValueError("an arm is listed twice")
    noise, tiles = document["noise"], document["tiles_hash"]
    return Judgement(
        sentence=_text(document["sentence"]),
        lines=tuple(_text(line) for line in document["text"]),
        no_verdict=_text(document["no_verdict"]),
        baseline=_text(document["baseline"]),
        margin=_known(settings["margin"]),
        alpha=_known(settings["alpha"]),
        unit=_one_of(settings.get("unit", "crop"), ("crop", "data_set")),  # verdicts before 0.2 know crops only
        seeds=len(document["seeds"]),
        crops=_whole(document["crops"]),
        data_sets=_whole(document["data_sets"]),
        min_crops=_whole(settings["min_crops"]),
        effective_crops=_number(document["effective_crops"]),
        scope=_one_of(document["scope"], ("new", "this")),
        noise=None
        if noise is None
        else Noise(*(_known(noise[key]) for key in ("sd", "low", "high", "df", "seed_share"))),
        visible_difference=_number(document["visible_difference"]),
        arms=arms,
        scored=tuple(_text(entry["name"]) for entry in support if entry["scored"]),
        unscored=tuple(
            UnscoredClass(_text(entry["name"]), _whole(entry["positive_crops"]))
            for entry in support
            if not entry["scored"]
        ),
        tiles_hash=None if tiles is None else _text(tiles),
    )


def _arm(entry: Mapping[str, Any], baseline: str) -> ArmJudgement:
    name, comparison, seeds = _text(entry["name"]), entry["comparison"], entry["seeds_to_decide"]
    label = "baseline" if name == baseline else "no verdict" if comparison is None else _text(comparison["label"])
    return ArmJudgement(
        name=name,
        score=_number(entry["score"]),
        runs=_whole(entry["runs"]),
        planned=_whole(entry["planned"]),
        label=label,
        difference=_interval(comparison),
        on_these_crops=_interval(entry["on_these_crops"]),
        seeds_to_decide=None if seeds is None else _whole(seeds),
        is_in_best_set=bool(entry["is_in_best_set"]),
        flags=tuple(_flags(entry)),
        classes=tuple(
            ClassJudgement(_text(c["name"]), _number(c["dice"]), _interval(c), c["scope"] == "this")
            for c in entry["classes"]
        ),
    )


def _flags(entry: Mapping[str, Any]) -> list[str]:
    flags = []
    if entry["diverged"]:
        flags.append(f"unstable: {len(entry['diverged'])} of {_whole(entry['planned'])} trainings diverged")
    if entry["is_noisy"]:
        flags.append("varies much more than the others from seed to seed")
    if entry["control_of"] is not None:
        flags.append(f"a control: the weights of {_text(entry['control_of'])} trained again")
    return flags


def _interval(entry: Mapping[str, Any] | None) -> Interval | None:
    """Return the interval of a comparison; None if there is none or it is not known."""
    if entry is None:
        return None
    middle, low, high = (_number(entry[key]) for key in ("difference", "low", "high"))
    return None if middle is None or low is None or high is None else Interval(middle, low, high)


def _number(value: object) -> float | None:
    """Return a number; null is what JSON has for one that is not known."""
    return None if value is None else _known(value)


def _known(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise TypeError(f"{value!r} is no number")
    return float(value)


def _whole(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{value!r} is no whole number")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value


def _one_of(value: object, known: Sequence[str]) -> Any:
    if value not in known:
        raise TypeError(f"{value!r} is none of {', '.join(known)}")
    return value
