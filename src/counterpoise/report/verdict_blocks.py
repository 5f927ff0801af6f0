"""A verdict in words (docs/verdict.md): one sentence, and the paragraphs and tables that a page or a terminal shows."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from counterpoise.statistics.verdict_types import ArmVerdict, Comparison, Verdict
from counterpoise.text import counted

__all__ = ["Block", "Grid", "Paragraph", "align", "verdict_blocks", "verdict_sentence"]

_LABEL_WIDTH = 11
_CONTINUED = 4
"""Columns by which what belongs to a line above it is indented."""


@dataclass(frozen=True)
class Paragraph:
    """Text that may be folded between words; lines after the first are indented by ``hang`` columns."""

    text: str = ""
    hang: int = 0


@dataclass(frozen=True)
class Grid:
    """A table, its heading first; no cell may be folded or cut. What names a row stands in the first column."""

    rows: tuple[tuple[str, ...], ...]


Block = Paragraph | Grid


def align(rows: Sequence[Sequence[str]]) -> list[str]:
    """Write rows as lines whose columns stand below each other, all to the left."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def verdict_sentence(verdict: Verdict) -> str:
    """Say the outcome in one sentence."""
    if not verdict.has_verdict:
        return f"No verdict: {verdict.no_verdict}."
    chosen = verdict.recommendation
    if chosen.arm is None:
        return f"No recommendation: {chosen.reason}."
    if chosen.arm == verdict.baseline:
        text = f"Keep {chosen.arm}: {chosen.reason}"
        others = [arm.comparison.label for arm in verdict.arms if arm.comparison]
        if others and all(label in {"worse", "same within the margin"} for label in others):
            return f"{text}; every other arm is worse, or the same within {verdict.settings.margin:g}."
        return f"{text}. Differences below about {_plain(verdict.visible_difference)} could not have been seen."
    comparison = verdict.arm(chosen.arm).comparison
    against = ""
    if comparison and not math.isnan(comparison.difference):
        against = (
            f" Against {verdict.baseline}: {comparison.difference:+.3f}, {_range(comparison)} ({comparison.label})."
        )
    return f"Use {chosen.arm}: {chosen.reason}.{against}"


def verdict_blocks(verdict: Verdict) -> tuple[Block, ...]:
    """Say everything.

    Returns
    -------
    tuple of Paragraph and Grid
        Question, data, runs, noise; the table; the set, what would decide, what it holds for; the hypotheses; the
        classes; tuned thresholds. An empty paragraph is an empty line.
    """
    blank = Paragraph()
    blocks: list[Block] = [*_describe_question(verdict), blank, *_arms_table(verdict), blank]
    if verdict.has_verdict:
        inside = ", ".join(verdict.best_set) or "none"
        count = f"{len(verdict.best_set)} of {len(verdict.arms)}"
        blocks.append(_line(f"Cannot be told apart from the best: {inside} ({count})."))
        blocks += map(_line, _chances(verdict))
    blocks += map(_line, _flags(verdict))
    blocks += [blank, _line(verdict_sentence(verdict))]
    blocks += [_line(_describe_scope(verdict))] if verdict.has_verdict else []
    blocks += [blank, *_hypotheses(verdict)] if verdict.hypotheses else []
    blocks += [blank, *_classes_table(verdict)]
    blocks += [blank, *_tuning_table(verdict)] if verdict.tuned else []
    return tuple(blocks)


def _line(text: str) -> Paragraph:
    return Paragraph(text, _CONTINUED)


def _entry(head: str, text: str) -> Paragraph:
    return Paragraph(f"{head:<{_LABEL_WIDTH}}{text}", _LABEL_WIDTH)


def _plain(value: float, digits: int = 3) -> str:
    return "-" if math.isnan(value) else f"{value:.{digits}f}"


def _signed(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:+.3f}"


def _range(comparison: Comparison) -> str:
    return "-" if math.isnan(comparison.low) else f"[{comparison.low:+.3f}, {comparison.high:+.3f}]"


# Question, data, runs, noise -------------------------------------------------------------------------------------


def _describe_question(verdict: Verdict) -> Iterator[Paragraph]:
    yield _entry(
        "Question",
        f"which weighting gives the best Dice?  baseline: {verdict.baseline}  "
        f"margin that matters to you: {verdict.settings.margin:.3f}",
    )
    yield _entry("Data", _describe_data(verdict))
    yield _entry("Runs", _describe_runs(verdict))
    for text in _list_incomplete(verdict):
        yield _entry("", text)
    for number, text in enumerate(_describe_noise(verdict)):
        yield _entry("" if number else "Noise", text)


def _describe_data(verdict: Verdict) -> str:
    tiles = f", fixed list {verdict.tiles_hash}" if verdict.tiles_hash else ""
    effective = "" if math.isnan(verdict.effective_crops) else f" (effective {verdict.effective_crops:.1f})"
    unscored = [c for c in verdict.classes if not c.scored]
    if verdict.settings.unit == "crop":
        units, sets = counted(verdict.crops, "validation crop"), f", {counted(verdict.data_sets, 'data set')}"
    else:
        units, sets = f"{counted(verdict.crops, 'data set')} as units", ""
    if verdict.settings.thresholds == "tuned":
        units += f", thresholds tuned on {counted(verdict.settings.select_crops, 'other crop')}"
    scored = counted(len(verdict.classes) - len(unscored), "class")
    text = f"{units}{effective}{sets}{tiles}; {scored} scored, {len(unscored)} not scorable"
    if unscored:
        least = verdict.settings.min_crops
        named = ", ".join(f"{c.name} (positives in {c.positive_crops})" for c in unscored)
        text += f": {named}; a class needs positives in {least} {verdict.settings.clusters}"
    return text


def _describe_runs(verdict: Verdict) -> str:
    finished = sum(arm.runs for arm in verdict.arms)
    planned = sum(arm.planned for arm in verdict.arms)
    states = Counter(cell.state for cell in verdict.incomplete)
    rest = "".join(f", {number} {state}" for state, number in sorted(states.items()))
    design = f"{counted(len(verdict.arms), 'arm')} x {counted(len(verdict.seeds), 'seed')}"
    return f"{design} = {counted(planned, 'training')}, {finished} finished{rest}"


def _list_incomplete(verdict: Verdict) -> list[str]:
    advice = {"diverged": "counts as a result", "failed": "run the same seed again", "unfinished": "not yet counted"}
    return [
        f"{cell.arm}, seed {cell.seed}: {cell.state} ({cell.reason.splitlines()[0] if cell.reason else 'no reason'}); "
        f"{advice[cell.state]}"
        for cell in verdict.incomplete
    ]


def _describe_noise(verdict: Verdict) -> list[str]:
    noise = verdict.noise
    if noise is None:
        return ["unknown: it needs two seeds of two arms"]
    text = (
        f"retraining the same arm moves the score by ±{noise.sd:.4f} (1 sd; "
        f"{noise.low:.4f} to {noise.high:.4f}, {noise.df:.0f} degrees of freedom)."
    )
    if not math.isnan(verdict.visible_difference):
        text += f" Differences below {verdict.visible_difference:.3f} cannot be seen with this many runs."
    return [text, f"arms of one seed share {noise.seed_share:.0%} of that variance, which the comparison removes"]


# The arms, and what is said of them ------------------------------------------------------------------------------


def _arms_table(verdict: Verdict) -> Iterator[Block]:
    level = f"{1 - verdict.settings.alpha:.0%} range (all together)"
    rows = [
        ("arm", "runs", "Dice", "vs baseline", level, "verdict", "IoU", f"Dice by {verdict.settings.cluster}", "sd")
    ]
    for arm in verdict.arms:
        comparison = arm.comparison
        label = "baseline" if arm.name == verdict.baseline else comparison.label if comparison else "no verdict"
        rows.append(
            (
                arm.name,
                f"{arm.runs}/{arm.planned}",
                _plain(arm.score),
                _signed(comparison.difference) if comparison else "-",
                _range(comparison) if comparison else "-",
                f"{label} *" if arm.diverged or arm.is_noisy or arm.control_of else label,
                _plain(arm.iou),
                _plain(arm.crop_dice),
                _plain(arm.sd, 4),
            )
        )
    yield Grid(tuple(rows))
    if not all(math.isnan(arm.sd) for arm in verdict.arms):
        yield _line(
            "sd: over seeds, without what all arms of a seed share; the ± of `counterpoise results` is with it."
        )


def _chances(verdict: Verdict) -> list[str]:
    margin, lines = verdict.settings.margin, []
    top = next((arm for arm in verdict.arms if arm.is_in_best_set and arm.name != verdict.baseline), None)
    if top is not None and not math.isnan(top.beats_baseline):
        lines.append(f"P({top.name} beats {verdict.baseline} in one fresh run): {top.beats_baseline:.2f}")
    undecided = [arm for arm in verdict.arms if arm.comparison and arm.comparison.label == "undecided"]
    lines += [
        f"To decide {arm.name} vs {verdict.baseline} at {margin:.3f} you would need about "
        f"{arm.seeds_to_decide} seeds each."
        for arm in undecided
        if arm.seeds_to_decide is not None
    ]
    if limited := ", ".join(arm.name for arm in undecided if arm.seeds_to_decide is None):
        lines.append(
            f"No number of seeds decides at {margin:.3f}: {limited}. The validation {verdict.settings.clusters} set "
            "the limit; it takes more of them."
        )
    return lines


def _flags(verdict: Verdict) -> list[str]:
    return [
        *(f"* {arm.name}: {text}" for arm in verdict.arms for text in _arm_flags(arm, verdict)),
        *(
            f"{name} has the weights of {other}: not trained, and no arm of this comparison."
            for name, other in verdict.copies
        ),
        *(f"Note: {note}." for note in verdict.notes),
    ]


def _arm_flags(arm: ArmVerdict, verdict: Verdict) -> list[str]:
    flags = []
    if arm.diverged:
        eligible = "eligible all the same, as was asked" if verdict.settings.allow_unstable else "not eligible"
        flags.append(
            f"unstable {len(arm.diverged)} of {arm.planned}; {eligible}. With its diverged runs counted as 0 it "
            f"scores {_plain(arm.score_with_failures)}."
        )
    if arm.is_noisy:
        flags.append("varies more than 2.5 times as much as the others from seed to seed.")
    if arm.control_of:
        flags.append(f"a control: the weights of {arm.control_of} trained again; never recommended.")
    return flags


def _describe_scope(verdict: Verdict) -> str:
    clusters = verdict.settings.clusters
    if verdict.scope == "new":
        return f"Holds for: new {clusters} like these, this split, this model and schedule."
    return (
        f"Holds for: these validation {clusters} only (effective {verdict.effective_crops:.1f}, fewer than "
        f"{verdict.settings.min_effective:g}: too few to speak of others), this model and schedule."
    )


# Hypotheses, classes, thresholds ---------------------------------------------------------------------------------


def _hypotheses(verdict: Verdict) -> Iterator[Paragraph]:
    tested = sum(entry.outcome != "not tested" for entry in verdict.hypotheses)
    risk = f"; their outcomes together err with a chance of {verdict.settings.alpha:.0%} at most" if tested else ""
    yield _line(f"Hypotheses, {tested} of {len(verdict.hypotheses)} tested{risk}.")
    hang = max(len(entry.outcome) for entry in verdict.hypotheses) + 2
    rows = align([(entry.outcome, entry.claim, entry.figures) for entry in verdict.hypotheses])
    for entry, row in zip(verdict.hypotheses, rows, strict=True):
        yield Paragraph(row, hang)
        if entry.because:
            yield Paragraph(f"{'':{_CONTINUED}}because: {' '.join(entry.because.split())}", hang)


def _classes_table(verdict: Verdict) -> Iterator[Block]:
    scored = [c.name for c in verdict.classes if c.scored]
    if not scored:
        return
    rows = [("arm", *scored)]
    for arm in verdict.arms:
        cells = []
        for entry in arm.classes:
            text = _plain(entry.dice)
            if not math.isnan(entry.low):
                text += f" {entry.difference:+.3f} [{entry.low:+.3f}, {entry.high:+.3f}]"
            cells.append(text + ("'" if entry.scope == "this" and not math.isnan(entry.low) else ""))
        rows.append((arm.name, *cells))
    if all(math.isnan(entry.low) for arm in verdict.arms for entry in arm.classes):
        yield _line("Per class: Dice, mean over the finished runs.")
    else:
        yield _line("Per class: Dice, difference to the baseline and its single interval. Exploratory, not corrected.")
    if any(text.endswith("'") for row in rows for text in row[1:]):
        units = verdict.settings.clusters
        yield _line(f"A ' marks a class with too few effective {units}: its interval is about these {units} only.")
    yield Grid(tuple(rows))


def _tuning_table(verdict: Verdict) -> Iterator[Block]:
    """Show what tuned thresholds would change; both scores are about what was not tuned on."""
    names = [name for name, _ in verdict.tuned[0].thresholds]
    rows = [("arm", "Dice at 1/2", "Dice tuned", *(f"{name} above" for name in names))]
    rows += [
        (arm.name, _plain(arm.dice_at_half), _plain(arm.dice_tuned), *(f"{t:.2f}" for _, t in arm.thresholds))
        for arm in sorted(verdict.tuned, key=lambda arm: -arm.dice_tuned)
    ]
    yield _line(
        f"Thresholds tuned on one half of the {verdict.settings.clusters}, scored on the other (mean over runs; no "
        "claim is made):"
    )
    yield Grid(tuple(rows))
    yield _line("The last columns: the probability above which a voxel counts as the class, mean over runs.")
