"""A verdict in words: lines to print (docs/verdict.md), one sentence, and plain values for other programs."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

from counterpoise.analysis.hypotheses import judge_hypotheses
from counterpoise.analysis.question import read_question
from counterpoise.analysis.verdict import judge
from counterpoise.analysis.verdict_types import ArmVerdict, Comparison, Verdict
from counterpoise.records.atomic import write_json
from counterpoise.records.layout import RunFolder

__all__ = ["judge_run", "read_verdict", "verdict_as_json", "verdict_lines", "verdict_sentence"]

_LABEL_WIDTH = 11


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


def verdict_lines(verdict: Verdict) -> tuple[str, ...]:
    """Write the verdict as lines of plain text, for a terminal of any width above 100 columns.

    Returns
    -------
    tuple of str
        Question, data, runs, noise; the table; the set, what would decide, what it holds for; the classes.
    """
    lines = [
        _entry(
            "Question",
            f"which weighting gives the best Dice?  baseline: {verdict.baseline}  "
            f"margin that matters to you: {verdict.settings.margin:.3f}",
        ),
        _entry("Data", _describe_data(verdict)),
        _entry("Runs", _describe_runs(verdict)),
    ]
    lines += [_entry("", text) for text in _list_incomplete(verdict)]
    lines += [_entry("" if number else "Noise", text) for number, text in enumerate(_describe_noise(verdict))]
    lines += ["", *_arms_table(verdict), ""]
    if verdict.has_verdict:
        inside = ", ".join(verdict.best_set) or "none"
        lines.append(f"Cannot be told apart from the best: {inside} ({len(verdict.best_set)} of {len(verdict.arms)}).")
        lines += _chances(verdict)
    lines += _flags(verdict)
    lines += ["", verdict_sentence(verdict)]
    lines += [_describe_scope(verdict)] if verdict.has_verdict else []
    lines += ["", *_hypotheses_table(verdict)] if verdict.hypotheses else []
    lines += ["", *_classes_table(verdict)]
    lines += ["", *_tuning_table(verdict)] if verdict.tuned else []
    return tuple(lines)


def verdict_as_json(verdict: Verdict) -> dict[str, Any]:
    """Make plain values that JSON can hold; what is not known is null."""
    document = _plain_values(asdict(verdict))
    assert isinstance(document, dict)  # noqa: S101 - asdict returns one
    return {"sentence": verdict_sentence(verdict), "text": list(verdict_lines(verdict)), **document}


def judge_run(run: RunFolder) -> Verdict:
    """Judge a run folder and write ``verdict.json``, which the report shows.

    Raises
    ------
    RunFolderError
        If this is not a run folder, or its counts cannot be used together.
    """
    verdict = read_verdict(run)
    write_json(run.verdict, verdict_as_json(verdict))
    return verdict


def read_verdict(run: RunFolder) -> Verdict:
    """Judge a run folder and write nothing: for folders one may only read.

    Raises
    ------
    RunFolderError
        As :func:`judge_run`.
    """
    question = read_question(run)
    verdict = replace(judge(question.table, question.settings), tuned=question.tuned)
    hypotheses = judge_hypotheses(question.record.hypotheses, question.table, verdict)
    return replace(verdict, hypotheses=hypotheses)


def _plain_values(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain_values(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain_values(entry) for entry in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _entry(head: str, text: str) -> str:
    return f"{head:<{_LABEL_WIDTH}}{text}"


def _plain(value: float, digits: int = 3) -> str:
    return "-" if math.isnan(value) else f"{value:.{digits}f}"


def _signed(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:+.3f}"


def _range(comparison: Comparison) -> str:
    return "-" if math.isnan(comparison.low) else f"[{comparison.low:+.3f}, {comparison.high:+.3f}]"


def _describe_data(verdict: Verdict) -> str:
    tiles = f", fixed list {verdict.tiles_hash}" if verdict.tiles_hash else ""
    effective = "" if math.isnan(verdict.effective_crops) else f" (effective {verdict.effective_crops:.1f})"
    unscored = [c for c in verdict.classes if not c.scored]
    units = "validation crops" if verdict.settings.unit == "crop" else "data sets as units"
    sets = f", {verdict.data_sets} data sets" if verdict.settings.unit == "crop" else ""
    if verdict.settings.thresholds == "tuned":
        units += f", thresholds tuned on {verdict.settings.select_crops} other crops"
    text = (
        f"{verdict.crops} {units}{effective}{sets}{tiles}; "
        f"{len(verdict.classes) - len(unscored)} classes scored, {len(unscored)} not scorable"
    )
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
    return f"{len(verdict.arms)} arms x {len(verdict.seeds)} seeds = {planned} trainings, {finished} finished{rest}"


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


def _arms_table(verdict: Verdict) -> list[str]:
    rows = [["arm", "runs", "Dice", "vs baseline", "95% range (all together)", "verdict", "IoU", "Dice by crop", "sd"]]
    rows[0][4] = f"{1 - verdict.settings.alpha:.0%} range (all together)"
    for arm in verdict.arms:
        comparison = arm.comparison
        label = "baseline" if arm.name == verdict.baseline else comparison.label if comparison else "no verdict"
        rows.append(
            [
                arm.name,
                f"{arm.runs}/{arm.planned}",
                _plain(arm.score),
                _signed(comparison.difference) if comparison else "-",
                _range(comparison) if comparison else "-",
                f"{label} *" if arm.diverged or arm.is_noisy or arm.control_of else label,
                _plain(arm.iou),
                _plain(arm.crop_dice),
                _plain(arm.sd, 4),
            ]
        )
    return _align(rows)


def _align(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


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
    return [f"* {arm.name}: {text}" for arm in verdict.arms for text in _arm_flags(arm, verdict)] + [
        f"{name} has the weights of {other}: not trained, and no arm of this comparison."
        for name, other in verdict.copies
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


def _hypotheses_table(verdict: Verdict) -> list[str]:
    tested = sum(entry.outcome != "not tested" for entry in verdict.hypotheses)
    number, chance = len(verdict.hypotheses), f"{verdict.settings.alpha:.0%}"
    lines = [f"Hypotheses, {tested} of {number} tested; their outcomes together err with a chance of {chance} at most."]
    rows = _align([[entry.outcome, entry.claim, entry.figures] for entry in verdict.hypotheses])
    for entry, row in zip(verdict.hypotheses, rows, strict=True):
        lines += [row, *([f"    because: {' '.join(entry.because.split())}"] if entry.because else [])]
    return lines


def _tuning_table(verdict: Verdict) -> list[str]:
    """Show what tuned thresholds would change; both columns are about the crops that were not tuned on."""
    rows = [["arm", "Dice at 1/2", "Dice tuned", *(name for name, _ in verdict.tuned[0].thresholds)]]
    rows += [
        [arm.name, _plain(arm.dice_at_half), _plain(arm.dice_tuned), *(f"{t:.2f}" for _, t in arm.thresholds)]
        for arm in sorted(verdict.tuned, key=lambda arm: -arm.dice_tuned)
    ]
    head = "Thresholds tuned on one half of the crops, scored on the other (mean over runs; no claim is made):"
    return [head, *_align(rows)]


def _classes_table(verdict: Verdict) -> list[str]:
    scored = [c.name for c in verdict.classes if c.scored]
    if not scored:
        return []
    rows = [["arm", *scored]]
    for arm in verdict.arms:
        cells = []
        for entry in arm.classes:
            text = _plain(entry.dice)
            if not math.isnan(entry.low):
                text += f" {entry.difference:+.3f} [{entry.low:+.3f}, {entry.high:+.3f}]"
            cells.append(text + ("'" if entry.scope == "this" and not math.isnan(entry.low) else ""))
        rows.append([arm.name, *cells])
    lines = ["Per class: Dice, difference to the baseline and its single interval. Exploratory, not corrected."]
    if any(text.endswith("'") for row in rows for text in row[1:]):
        units = verdict.settings.clusters
        lines.append(f"A ' marks a class with too few effective {units}: its interval is about these {units} only.")
    return lines + _align(rows)
