"""The verdict's parts of the page: forest plots, tables and statements."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass

from counterpoise.report import history_statements, hypothesis_statements, note_statements, statements
from counterpoise.report.balance import Balance
from counterpoise.report.blocks import verdict_lines
from counterpoise.report.forest import Forest, ForestRow, difference_scale, whisker
from counterpoise.report.race_table import RaceTable, tabulate_race
from counterpoise.report.statements import Entry
from counterpoise.report.svg import ArmStyle
from counterpoise.report.trade import Trades, trade_off
from counterpoise.statistics.arm_verdict import ClassDifference
from counterpoise.statistics.hypothesis_types import HypothesisVerdict
from counterpoise.statistics.verdict_types import Verdict

__all__ = ["ClassTable", "Evidence", "show_verdict"]


@dataclass(frozen=True)
class ClassTable:
    """Classes in rows, arms in columns: what the small forest plots show.

    ``is_compared`` is whether any class has a difference to the baseline; ``by_chance`` says how often chance alone
    shows one.
    """

    arms: tuple[str, ...]
    rows: tuple[tuple[str, tuple[ClassDifference | None, ...]], ...]
    is_compared: bool
    by_chance: str


@dataclass(frozen=True)
class Evidence:
    """What the page shows of a verdict.

    ``forest`` and ``trades`` are None, and ``class_forests`` empty, where nothing was compared.
    """

    headline: str
    lines: tuple[str, ...]
    basis: tuple[tuple[str, tuple[str, ...]], ...]
    """Label and statements of what the verdict rests on, and what follows from it."""
    forest: Forest | None
    has_inner: bool
    confidence: str
    single_confidence: str
    risk: str
    race: RaceTable | None
    class_forests: tuple[Forest, ...]
    class_table: ClassTable | None
    trades: Trades | None
    hypotheses_heading: str
    hypotheses: tuple[tuple[HypothesisVerdict, str, str], ...]
    """Each with its outcome and its figures in words."""


def show_verdict(verdict: Verdict, balance: Balance, styles: Mapping[str, ArmStyle]) -> Evidence:
    """Make figures and tables of a verdict.

    Parameters
    ----------
    verdict : Verdict
        On the run.
    balance : Balance
        Weights and frequencies of the same run.
    styles : mapping
        Arm to its look; the trained arms of the run.
    """
    compared = any(arm.comparison is not None for arm in verdict.arms)
    has_inner = any(whisker(arm.on_these_crops) not in (None, whisker(arm.comparison)) for arm in verdict.arms)
    notes = (Entry("Notes", text) for text in note_statements.notes(verdict))
    entries = (*statements.conclusions(verdict), *notes, *statements.basis(verdict))
    grouped = itertools.groupby(entries, key=lambda entry: entry.label)
    return Evidence(
        headline=statements.headline(verdict),
        lines=verdict_lines(verdict),
        basis=tuple((label, tuple(entry.text for entry in group)) for label, group in grouped),
        forest=_forest(verdict, styles, has_inner=has_inner) if compared else None,
        has_inner=has_inner,
        confidence=history_statements.confidence(verdict),
        single_confidence=history_statements.single_confidence(verdict.settings),
        risk=history_statements.risk(verdict),
        race=tabulate_race(verdict),
        class_forests=_class_forests(verdict, styles),
        class_table=_class_table(verdict),
        trades=trade_off(verdict, balance, styles),
        hypotheses_heading=hypothesis_statements.heading(verdict) if verdict.hypotheses else "",
        hypotheses=tuple(
            (entry, hypothesis_statements.outcome(entry, verdict), hypothesis_statements.figures(entry, verdict))
            for entry in verdict.hypotheses
        ),
    )


def _forest(verdict: Verdict, styles: Mapping[str, ArmStyle], *, has_inner: bool) -> Forest:
    rows = tuple(
        ForestRow(
            label=arm.name,
            style=styles[arm.name],
            outer=whisker(arm.comparison),
            inner=whisker(arm.on_these_crops) if has_inner else None,
            words=statements.outcome(arm, verdict),
            is_baseline=arm.name == verdict.baseline,
            is_in_best_set=arm.is_in_best_set,
            has_notes=bool(note_statements.arm_flags(arm, verdict)),
        )
        for arm in verdict.arms
    )
    bars = [entry for row in rows for entry in (row.outer, row.inner)]
    margin, nouns = verdict.settings.margin, verdict.settings.unit.nouns
    return Forest("Difference to the baseline", rows, difference_scale(bars, margin, most=6), margin, nouns)


def _class_forests(verdict: Verdict, styles: Mapping[str, ArmStyle]) -> tuple[Forest, ...]:
    margin, nouns = verdict.settings.margin, verdict.settings.unit.nouns
    forests = []
    for name in verdict.scored:
        entries = [(arm, entry) for arm in verdict.arms if (entry := arm.of_class(name)) is not None]
        rows = tuple(ForestRow(arm.name, styles[arm.name], whisker(entry)) for arm, entry in entries if whisker(entry))
        if rows:
            scale = difference_scale((row.outer for row in rows), margin, most=3)
            forests.append(Forest(name, rows, scale, margin, nouns))
    return tuple(forests)


def _class_table(verdict: Verdict) -> ClassTable | None:
    arms = [arm for arm in verdict.arms if arm.classes]
    if not arms:
        return None
    entries = [entry for arm in arms for entry in arm.classes]
    return ClassTable(
        arms=tuple(arm.name for arm in arms),
        rows=tuple((name, tuple(arm.of_class(name) for arm in arms)) for name in verdict.scored),
        is_compared=any(entry.low is not None for entry in entries),
        by_chance=statements.by_chance(verdict),
    )
