"""The tables of a paper: every arm, every class of every arm, with intervals and captions that say what they are."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence

from counterpoise.report import history_statements, note_statements, statements
from counterpoise.statistics.arm_verdict import ArmVerdict, ClassDifference
from counterpoise.statistics.inference import Label
from counterpoise.statistics.verdict_types import Verdict
from counterpoise.text import DASH, counted, fixed, interval, shortest, signed, spread

__all__ = [
    "arm_cells",
    "arms_caption",
    "arms_heading",
    "as_csv",
    "as_markdown",
    "class_cells",
    "classes_caption",
    "classes_heading",
]


# Captions -------------------------------------------------------------------------------------------------------


def arms_caption(verdict: Verdict) -> str:
    """Say what the table of arms shows, how it was made, and what it holds for."""
    return " ".join(filter(None, _describe_arms(verdict)))


def classes_caption(verdict: Verdict) -> str:
    """Say what the table of classes shows."""
    return " ".join(filter(None, _describe_classes(verdict)))


def _describe_arms(verdict: Verdict) -> Iterator[str]:
    settings = verdict.settings
    arms, seeds = counted(len(verdict.arms), "weighting"), counted(len(verdict.seeds), "seed")
    yield f"Dice of {arms} over {seeds} (n: those finished): mean ± standard deviation."
    yield statements.scoring(verdict)
    if verdict.has_verdict:
        yield (
            f"Δ: difference to {verdict.baseline} over the seeds both have, with the "
            f"{history_statements.confidence(verdict)} interval that holds for all {_comparisons(verdict)} "
            f"together (jackknife over validation {settings.unit.nouns}, additive model of arm and seed, moderated "
            "pair variance, Satterthwaite's degrees of freedom, Bonferroni)."
        )
        yield f"The verdict's margin is {shortest(settings.margin)}."
        yield "Best: whether the arm is in the set that cannot be told apart from the best."
        yield f"Holds {statements.scope(verdict)}, this split, this model and schedule."
        yield statements.few_effective(verdict)
    else:
        yield f"No intervals and no verdict: {statements.obstacle(verdict)}."
        yield f"Δ: mean difference to {verdict.baseline} over the seeds both have."
    yield from note_statements.notes(verdict)


def _comparisons(verdict: Verdict) -> str:
    controls = sum(arm.control_of is not None for arm in verdict.arms)
    text = counted(max(len(verdict.arms) - controls - 1, 1), "comparison")
    looks = len(set(verdict.looks.seeds))
    return text if looks <= 1 else f"{text} at {looks} looks"


def _describe_classes(verdict: Verdict) -> Iterator[str]:
    yield "Dice by class: mean ± standard deviation over seeds."
    nouns = verdict.settings.unit.nouns
    if verdict.unscored:
        named = ", ".join(f"{c.name} (positives in {c.positive_crops} {nouns})" for c in verdict.unscored)
        yield f"Not scored: {named}."
    if not verdict.has_verdict:
        yield f"Δ: mean difference to {verdict.baseline}; no intervals: {statements.obstacle(verdict)}."
        return
    level = history_statements.single_confidence(verdict.settings)
    yield f"Δ: difference to {verdict.baseline} with its single {level} interval."
    yield statements.EXPLORATORY
    yield statements.by_chance(verdict)


# Cells ----------------------------------------------------------------------------------------------------------


def arms_heading(verdict: Verdict) -> list[str]:
    """Return the headings of the table of arms."""
    return ["arm", "n", "Dice", "Δ", f"{history_statements.confidence(verdict)} interval", "verdict", "IoU", "best"]


def arm_cells(arm: ArmVerdict, verdict: Verdict) -> list[str]:
    """Write one line of the table of arms."""
    comparison = arm.comparison
    label = str(statements.label(arm, verdict)) if verdict.has_verdict or arm.name == verdict.baseline else DASH
    return [
        arm.name,
        f"{arm.runs}" if arm.runs == arm.planned else f"{arm.runs}/{arm.planned}",
        spread(fixed(arm.score), arm.sd_over_seeds),
        signed(comparison.difference if comparison else arm.plain_difference),
        interval(comparison.low, comparison.high) if comparison else DASH,
        label,
        fixed(arm.iou),
        ("yes" if arm.is_in_best_set else "no") if verdict.has_verdict else DASH,
    ]


def classes_heading(verdict: Verdict) -> list[str]:
    """Return the headings of the table of classes."""
    return ["class", "arm", "Dice", "Δ", f"{history_statements.single_confidence(verdict.settings)} interval"]


def class_cells(arm: ArmVerdict, entry: ClassDifference) -> list[str]:
    """Write one line of the table of classes."""
    return [
        entry.name,
        arm.name,
        spread(fixed(entry.dice), entry.sd),
        signed(_difference(entry)),
        interval(entry.low, entry.high),
    ]


def _difference(entry: ClassDifference) -> float | None:
    return entry.plain_difference if entry.difference is None else entry.difference


def _by_class(verdict: Verdict) -> Iterator[tuple[ArmVerdict, ClassDifference]]:
    """Go through the scored classes in their order, each with the arms in theirs."""
    for name in verdict.scored:
        yield from ((arm, entry) for arm in verdict.arms if (entry := arm.of_class(name)) is not None)


# Markdown and csv -----------------------------------------------------------------------------------------------


def as_markdown(verdict: Verdict) -> str:
    """Write both tables for a Markdown page; columns are aligned, so that the text can be read as it is."""
    arms = [arms_heading(verdict), *(_escape_names(arm_cells(arm, verdict), 0) for arm in verdict.arms)]
    lines = [f"**Weightings.** {_markdown(arms_caption(verdict))}", *_markdown_table(arms, text={0, 5, 7})]
    classes = [_escape_names(class_cells(*pair), 0, 1) for pair in _by_class(verdict)]
    if classes:
        rows = [classes_heading(verdict), *classes]
        lines += ["", f"**Classes.** {_markdown(classes_caption(verdict))}", *_markdown_table(rows, text={0, 1})]
    return "\n".join(lines) + "\n"


def _escape_names(cells: list[str], *columns: int) -> list[str]:
    return [_markdown(cell) if column in columns else cell for column, cell in enumerate(cells)]


def _markdown(text: str) -> str:
    """Escape what Markdown would read as markup; an underscore inside a word is not."""
    line = " ".join(text.split())
    return re.sub(r"[\\|<*`]|(?<!\w)_|_(?!\w)", r"\\\g<0>", line)


def _markdown_table(rows: Sequence[Sequence[str]], *, text: set[int]) -> list[str]:
    """Align a table: text to the left, numbers to the right."""
    widths = [max(3, *(len(row[column]) for row in rows)) for column in range(len(rows[0]))]

    def line(cells: Sequence[str]) -> str:
        padded = (
            cell.ljust(width) if column in text else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
        )
        return f"| {' | '.join(padded)} |"

    rule = [("-" * width if column in text else "-" * (width - 1) + ":") for column, width in enumerate(widths)]
    return ["", line(rows[0]), line(rule), *(line(row) for row in rows[1:])]


def as_csv(verdict: Verdict) -> str:
    """Write one line per arm, then one per class and arm, with differences and intervals.

    ``class`` is ``(mean)`` for an arm's mean over the scored classes. Numbers are not rounded; what there is none of
    is an empty field. ``interval`` says what the bounds hold for: ``all arms together``, or ``exploratory``: this
    class of this arm alone, not corrected.
    """
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    numbers = ("dice", "dice_sd", "iou", "difference", "low", "high")
    about = ("interval", "confidence", "verdict", "in_best_set")
    writer.writerow(["strategy", "class", "seeds", "planned_seeds", *numbers, *about])
    for arm in verdict.arms:
        writer.writerow(_arm_fields(arm, verdict))
    for arm, entry in _by_class(verdict):
        writer.writerow(_class_fields(arm, entry, verdict))
    return stream.getvalue()


def _arm_fields(arm: ArmVerdict, verdict: Verdict) -> list[object]:
    found = arm.comparison
    bounds = (found.low, found.high) if found else (None, None)
    has_bounds = bounds[0] is not None
    label = found.label if found else Label.BASELINE if arm.name == verdict.baseline else None
    return [
        arm.name,
        "(mean)",
        arm.runs,
        arm.planned,
        *(arm.score, arm.sd_over_seeds, arm.iou),
        found.difference if found else arm.plain_difference,
        *bounds,
        "all arms together" if has_bounds else None,
        shortest(round(1 - verdict.looks.error_rate, 3)) if has_bounds else None,
        label,
        ("yes" if arm.is_in_best_set else "no") if verdict.has_verdict else None,
    ]


def _class_fields(arm: ArmVerdict, entry: ClassDifference, verdict: Verdict) -> list[object]:
    has_bounds = entry.low is not None
    return [
        arm.name,
        entry.name,
        arm.runs,
        arm.planned,
        *(entry.dice, entry.sd, entry.iou, _difference(entry), entry.low, entry.high),
        "exploratory" if has_bounds else None,
        shortest(1 - verdict.settings.alpha) if has_bounds else None,
        Label.BASELINE if arm.name == verdict.baseline else None,
        None,
    ]
