"""The verdict's parts of the page: forest plots, tables and sentences, made from what was judged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from counterpoise.report.balance import Balance
from counterpoise.report.forest import Forest, ForestRow, difference_scale
from counterpoise.report.judgement import ArmJudgement, ClassJudgement, Judgement
from counterpoise.report.svg import ArmStyle
from counterpoise.report.trade import Trades, trade_off
from counterpoise.report.wording import fixed, listed
from counterpoise.text import counted

__all__ = ["ClassTable", "Evidence", "Fact", "show_judgement"]


@dataclass(frozen=True)
class Fact:
    """One thing the intervals rest on, and what it means."""

    name: str
    value: str
    meaning: str


@dataclass(frozen=True)
class ClassTable:
    """Classes in rows, arms in columns: what the small forest plots show; None where the verdict has nothing.

    ``is_compared`` is whether any class has a difference to the baseline; ``clusters`` is what its interval rests on.
    """

    arms: tuple[str, ...]
    rows: tuple[tuple[str, tuple[ClassJudgement | None, ...]], ...]
    any_few_crops: bool
    is_compared: bool
    clusters: str


@dataclass(frozen=True)
class Evidence:
    """What the page shows of a verdict.

    ``forest`` and ``trades`` are None, and ``class_forests`` empty, where nothing was compared.
    """

    sentence: str
    lines: tuple[str, ...]
    forest: Forest | None
    has_inner: bool
    level: str
    """Of the intervals, as 95 %."""
    risk: str
    """That any claim is false, as 5 %."""
    facts: tuple[Fact, ...]
    class_forests: tuple[Forest, ...]
    class_table: ClassTable | None
    trades: Trades | None


def show_judgement(judgement: Judgement, balance: Balance, styles: Mapping[str, ArmStyle]) -> Evidence:
    """Make figures and tables of a verdict.

    Parameters
    ----------
    judgement : Judgement
        What was said.
    balance : Balance
        Weights and frequencies of the same run.
    styles : mapping
        Arm to its look; the trained arms of the run.

    Raises
    ------
    ValueError
        If the verdict is about arms or classes that the run does not have.
    """
    strangers = [arm.name for arm in judgement.arms if arm.name not in styles]
    strangers += [c.name for arm in judgement.arms for c in arm.classes if c.name not in balance.classes]
    if strangers:
        raise ValueError(f"it is about {strangers[0]!r}, which this run does not have")
    compared = any(arm.difference for arm in judgement.arms)
    has_inner = any(arm.on_these_crops not in (None, arm.difference) for arm in judgement.arms)
    return Evidence(
        sentence=judgement.sentence,
        lines=judgement.lines,
        forest=_forest(judgement, styles, has_inner=has_inner) if compared else None,
        has_inner=has_inner,
        level=f"{100 * (1 - judgement.alpha):g} %",
        risk=f"{100 * judgement.alpha:g} %",
        facts=_facts(judgement),
        class_forests=_class_forests(judgement, styles),
        class_table=_class_table(judgement),
        trades=trade_off(judgement, balance, styles),
    )


def _forest(judgement: Judgement, styles: Mapping[str, ArmStyle], *, has_inner: bool) -> Forest:
    intervals = [i for arm in judgement.arms for i in (arm.difference, arm.on_these_crops)]
    return Forest(
        "Difference to the baseline",
        tuple(
            ForestRow(
                arm.name,
                styles[arm.name],
                arm.difference,
                arm.on_these_crops if has_inner else None,
                arm.label,
                arm.name == judgement.baseline,
                arm.is_in_best_set,
                arm.flags,
            )
            for arm in judgement.arms
        ),
        difference_scale(intervals, judgement.margin, most=6),
        judgement.margin,
        clusters=judgement.clusters,
    )


def _facts(judgement: Judgement) -> tuple[Fact, ...]:
    return (
        *_describe_noise(judgement),
        Fact("Margin", f"{judgement.margin:g}", "the smallest difference that matters, set before the runs"),
        Fact("Seeds", _describe_seeds(judgement.arms, judgement.seeds), "finished trainings per arm"),
        *_describe_crops(judgement),
        Fact("Classes", _describe_classes(judgement), "the mean Dice is over the scored classes"),
        *_describe_claims(judgement),
    )


def _describe_noise(judgement: Judgement) -> list[Fact]:
    noise = judgement.noise
    if noise is None:
        return [Fact("Noise", "unknown", "it needs two seeds of two arms")]
    value = f"±{fixed(noise.sd, 4)} (1 sd; {fixed(noise.low, 4)} to {fixed(noise.high, 4)})"
    meaning = (
        f"how far training the same arm again moves its score; {noise.df:.0f} degrees of freedom; all arms of a seed "
        f"share {100 * noise.seed_share:.0f} % of the variance, which drops out of the comparison"
    )
    facts = [Fact("Noise", value, meaning)]
    if judgement.visible_difference is not None:
        meaning = "half the width of a typical interval; smaller differences cannot be seen with these runs"
        facts.append(Fact("Smallest visible difference", fixed(judgement.visible_difference), meaning))
    return facts


def _describe_seeds(arms: Sequence[ArmJudgement], planned: int) -> str:
    short = [f"{arm.name} {arm.runs}" for arm in arms if arm.runs < planned]
    return f"{planned} per arm" + (f"; finished fewer: {', '.join(short)}" if short else "")


def _describe_crops(judgement: Judgement) -> list[Fact]:
    effective = judgement.effective_crops
    value = f"{judgement.crops}, worth " + ("unknown" if effective is None else f"{effective:.1f}")
    units, sets = judgement.clusters, counted(judgement.data_sets, "data set")
    from_sets = f" of {sets}" if judgement.unit == "crop" else ""
    number = Fact(units.capitalize(), value, f"validation {units}{from_sets}, and how many equal ones they are worth")
    if judgement.no_verdict:
        return [number]
    if judgement.scope == "new":
        return [number, Fact("Holds for", f"new {units} like these", "this model and training schedule")]
    few = "they are worth too few to speak of others; this model and training schedule"
    return [number, Fact("Holds for", f"these validation {units} only", few)]


def _describe_classes(judgement: Judgement) -> str:
    text = f"{len(judgement.scored)} scored"
    if not judgement.unscored:
        return text
    named = ", ".join(f"{c.name} (in {c.positive_crops})" for c in judgement.unscored)
    return f"{text}; not scored for want of positives in {judgement.min_crops} {judgement.clusters}: {named}"


def _describe_claims(judgement: Judgement) -> list[Fact]:
    if judgement.no_verdict:
        return []
    best = [arm.name for arm in judgement.arms if arm.is_in_best_set]
    sure = (
        f"{len(best)} of {counted(len(judgement.arms), 'arm')}; the true best is among them with a probability of "
        f"{100 * (1 - judgement.alpha):g} % or more"
    )
    facts = [Fact("Cannot be told apart from the best", listed(best) if best else "none", sure)]
    undecided = [arm for arm in judgement.arms if arm.label == "undecided"]
    seeds = [f"{arm.name} {arm.seeds_to_decide}" for arm in undecided if arm.seeds_to_decide is not None]
    if seeds:
        meaning = f"per arm, to find a difference of {judgement.margin:g} to {judgement.baseline}"
        facts.append(Fact("Seeds to decide", ", ".join(seeds), meaning))
    if limited := [arm.name for arm in undecided if arm.seeds_to_decide is None]:
        meaning = f"the validation {judgement.clusters} set the limit"
        facts.append(Fact("More seeds do not decide", listed(limited), meaning))
    return facts


def _class_forests(judgement: Judgement, styles: Mapping[str, ArmStyle]) -> tuple[Forest, ...]:
    by_class = {
        name: [
            (arm, entry) for arm in judgement.arms for entry in arm.classes if entry.name == name and entry.difference
        ]
        for name in judgement.scored
    }
    return tuple(
        Forest(
            name,
            tuple(
                ForestRow(
                    arm.name, styles[arm.name], entry.difference, None, "", is_baseline=False, is_in_best_set=False
                )
                for arm, entry in entries
            ),
            difference_scale((entry.difference for _, entry in entries), judgement.margin, most=4),
            judgement.margin,
            f"these {judgement.clusters} only" if any(entry.few_crops for _, entry in entries) else "",
        )
        for name, entries in by_class.items()
        if entries
    )


def _class_table(judgement: Judgement) -> ClassTable | None:
    arms = [arm for arm in judgement.arms if arm.classes]
    if not arms:
        return None
    by_name = [{entry.name: entry for entry in arm.classes} for arm in arms]
    return ClassTable(
        tuple(arm.name for arm in arms),
        tuple((name, tuple(entries.get(name) for entries in by_name)) for name in judgement.scored),
        any(entry.few_crops and entry.difference for entries in by_name for entry in entries.values()),
        any(entry.difference for entries in by_name for entry in entries.values()),
        judgement.clusters,
    )
