"""The verdict as paragraphs and tables: what a terminal prints, and what stands as text in ``verdict.json``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from counterpoise.report import history_statements, hypothesis_statements, note_statements, statements
from counterpoise.statistics.arm_verdict import ArmVerdict
from counterpoise.statistics.verdict_types import Verdict
from counterpoise.text import fixed, interval, signed, spread

__all__ = ["Block", "Paragraph", "Table", "align", "labelled", "verdict_blocks", "verdict_lines"]

_LABEL_WIDTH = 11
_CONTINUED = 4
"""Columns by which what belongs to a line above it is indented."""


@dataclass(frozen=True)
class Paragraph:
    """Text that may be folded between words; lines after the first are indented by ``hang`` columns."""

    text: str = ""
    hang: int = 0


@dataclass(frozen=True)
class Table:
    """Rows of a table, its heading first; no cell may be folded or cut. What names a row stands in the first column."""

    rows: tuple[tuple[str, ...], ...]


Block = Paragraph | Table


def align(rows: Sequence[Sequence[str]]) -> list[str]:
    """Write rows as lines whose columns stand below each other, all to the left."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def verdict_lines(verdict: Verdict) -> tuple[str, ...]:
    """Write the verdict as lines of plain text, none of them folded: a statement or a row of a table each."""
    lines: list[str] = []
    for block in verdict_blocks(verdict):
        lines += [block.text] if isinstance(block, Paragraph) else align(block.rows)
    return tuple(lines)


def verdict_blocks(verdict: Verdict) -> tuple[Block, ...]:
    """Say everything.

    Returns
    -------
    tuple of Paragraph and Table
        The outcome in one sentence; the table of arms; what follows and what else must be known; question, data, runs,
        noise; the classes; the hypotheses; tuned thresholds. An empty paragraph is an empty line.
    """
    blank = Paragraph()
    blocks: list[Block] = [_line(statements.headline(verdict)), blank, *_arms_table(verdict), blank]
    blocks += [_line(entry.text) for entry in statements.conclusions(verdict)]
    blocks += [_line(f"* {text}") for text in note_statements.notes(verdict)]
    blocks += [blank, *labelled(statements.basis(verdict), _LABEL_WIDTH)]
    blocks += [blank, *_classes_table(verdict)] if verdict.scored else []
    blocks += [blank, *_hypotheses(verdict)] if verdict.hypotheses else []
    blocks += [blank, *_tuning_table(verdict)] if verdict.tuned else []
    return tuple(blocks)


def _line(text: str) -> Paragraph:
    return Paragraph(text, _CONTINUED)


def labelled(entries: Iterable[statements.Entry], width: int) -> Iterator[Paragraph]:
    """Write statements next to their labels, which take ``width`` columns; a label that repeats is left out."""
    before = ""
    for entry in entries:
        shown = "" if entry.label == before else entry.label
        before = entry.label
        yield Paragraph(f"{shown:<{width}}{entry.text}", width)


def _arms_table(verdict: Verdict) -> Iterator[Block]:
    level = f"{history_statements.confidence(verdict)} range (all together)"
    by_unit = f"Dice by {verdict.settings.unit.noun}"
    rows: list[tuple[str, ...]] = [("arm", "runs", "Dice", "vs baseline", level, "verdict", "IoU", by_unit, "noise")]
    rows += [_arm_row(arm, verdict) for arm in verdict.arms]
    yield Table(tuple(rows))
    if any(arm.sd_over_seeds is not None for arm in verdict.arms):
        yield _line(statements.SPREAD)


def _arm_row(arm: ArmVerdict, verdict: Verdict) -> tuple[str, ...]:
    comparison, label = arm.comparison, statements.outcome(arm, verdict)
    return (
        arm.name,
        f"{arm.runs}/{arm.planned}",
        spread(fixed(arm.score), arm.sd_over_seeds),
        signed(comparison.difference if comparison else None),
        interval(comparison.low, comparison.high) if comparison else interval(None, None),
        f"{label} *" if note_statements.arm_flags(arm, verdict) else label,
        fixed(arm.iou),
        fixed(arm.crop_dice),
        fixed(arm.sd, 4),
    )


def _hypotheses(verdict: Verdict) -> Iterator[Paragraph]:
    yield _line(hypothesis_statements.heading(verdict))
    outcomes = [hypothesis_statements.outcome(entry, verdict) for entry in verdict.hypotheses]
    hang = max(map(len, outcomes)) + 2
    figures = [(entry.claim, hypothesis_statements.figures(entry, verdict)) for entry in verdict.hypotheses]
    rows = align([(outcome, *rest) for outcome, rest in zip(outcomes, figures, strict=True)])
    for entry, row in zip(verdict.hypotheses, rows, strict=True):
        yield Paragraph(row, hang)
        if entry.because:
            yield Paragraph(f"{'':{_CONTINUED}}because: {' '.join(entry.because.split())}", hang)


def _classes_table(verdict: Verdict) -> Iterator[Block]:
    entries = [entry for arm in verdict.arms for entry in arm.classes]
    if all(entry.low is None for entry in entries):
        yield _line("Per class: Dice, mean over the finished runs.")
    else:
        yield _line(f"Per class: Dice, difference to the baseline, its single interval. {statements.EXPLORATORY}")
        yield _line(statements.by_chance(verdict))
    rows = [("arm", *verdict.scored)]
    rows += [(arm.name, *map(statements.score_in_words, arm.classes)) for arm in verdict.arms]
    yield Table(tuple(rows))


def _tuning_table(verdict: Verdict) -> Iterator[Block]:
    """Show what tuned thresholds would change; both scores are about what was not tuned on."""
    names = [name for name, _ in verdict.tuned[0].thresholds]
    rows = [("arm", "Dice at 1/2", "Dice tuned", *(f"{name} above" for name in names))]
    rows += [
        (arm.name, fixed(arm.dice_at_half), fixed(arm.dice_tuned), *(f"{t:.2f}" for _, t in arm.thresholds))
        for arm in sorted(verdict.tuned, key=lambda arm: -arm.dice_tuned)
    ]
    yield _line(
        f"Thresholds tuned on one half of the {verdict.settings.unit.nouns}, scored on the other (mean over runs; no "
        "claim is made). Both scores rest on that other half alone, not on what the table of arms rests on:"
    )
    yield Table(tuple(rows))
    yield _line("The last columns: the probability above which a voxel counts as the class, mean over runs.")
