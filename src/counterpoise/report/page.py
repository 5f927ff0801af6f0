"""The content of the report: what is said and shown, with every number computed before anything is drawn."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from counterpoise.report.balance import Balance
from counterpoise.report.evidence import Evidence, show_judgement
from counterpoise.report.figures import Bar, BarPanel, Dot, DotRow, Line, LineChart, LinePoint
from counterpoise.report.judgement import Hypothesis, Judgement
from counterpoise.report.patches import ExamplePatches
from counterpoise.report.summary import Summary, summarise
from counterpoise.report.svg import ArmStyle
from counterpoise.runs.records import EpochRecord
from counterpoise.statistics.results import ArmResult, Results, Spread
from counterpoise.text import counted

__all__ = [
    "ArmRow",
    "Judged",
    "LegendEntry",
    "Page",
    "Provenance",
    "arm_styles",
    "build_page",
    "cannot_show",
]
Quantity = Callable[[EpochRecord], float | None]

MANY_EPOCHS = 6
"""From here on the late epochs, where arms lie close together, get a chart of their own."""


@dataclass(frozen=True)
class LegendEntry:
    """An arm that is drawn, and how."""

    name: str
    style: ArmStyle
    is_finished: bool


@dataclass(frozen=True)
class ArmRow:
    """One line of the results table; ``remark`` replaces the scores of an arm that has none of its own."""

    name: str
    summary: str
    is_baseline: bool
    remark: str
    last: Spread | None
    difference: Spread | None
    best: Spread | None
    best_epoch: Spread | None
    by_class: tuple[Spread | None, ...]


@dataclass(frozen=True)
class Provenance:
    """Where the results come from and what repeats them."""

    environment: tuple[tuple[str, str], ...]
    experiment: str | None
    command: str
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Judged:
    """What ``verdict.json`` says; ``problem`` is why it, or a part of it, cannot be shown."""

    judgement: Judgement | None = None
    hypotheses: tuple[Hypothesis, ...] = ()
    problem: str = ""


@dataclass(frozen=True)
class Page:
    """Everything the report shows."""

    name: str
    classes: tuple[str, ...]
    baseline: str
    summary: Summary
    evidence: Evidence | None
    verdict_problem: str
    hypotheses: tuple[Hypothesis, ...]
    legend: tuple[LegendEntry, ...]
    rows: tuple[ArmRow, ...]
    dots: tuple[DotRow, ...]
    slots: int
    panels: tuple[BarPanel, ...]
    charts: tuple[LineChart, ...]
    balance: Balance
    patches: ExamplePatches | None
    provenance: Provenance
    comparability: tuple[str, ...]
    """What makes trainings less than exactly comparable: a sentence each, without its full stop."""

    @property
    def has_scores(self) -> bool:
        """Whether any finished trial has a score."""
        return any(row.dots for row in self.dots)


def build_page(
    results: Results,
    balance: Balance,
    patches: ExamplePatches | None,
    provenance: Provenance,
    judged: Judged = Judged(),
) -> Page:
    """Put the page together from what was read.

    Parameters
    ----------
    results : Results
        The arms and their scores.
    balance : Balance
        Frequencies and weights.
    patches : ExamplePatches or None
        Example patches, None if no trial left any.
    provenance : Provenance
        Environment, configuration, notes found when reading.
    judged : Judged, optional
        What the run was judged to tell.
    """
    trained = [arm for arm in results.arms if arm.record.runs]
    styles = arm_styles(results)
    evidence, problem = _evidence(judged, balance, styles)
    notes = (*results.record.notes, *provenance.notes, *_irregularities(trained))
    return Page(
        name=results.run.name,
        classes=results.classes,
        baseline=results.baseline,
        summary=summarise(results, evidence.sentence if evidence else problem),
        evidence=evidence,
        verdict_problem=problem,
        hypotheses=judged.hypotheses if evidence else (),
        legend=tuple(LegendEntry(a.record.name, styles[a.record.name], bool(a.trials)) for a in trained),
        rows=tuple(_row(arm, results) for arm in results.arms),
        dots=tuple(_dots(arm, styles[arm.record.name], results) for arm in trained),
        slots=len(results.record.seeds),
        panels=tuple(_panel(name, trained, styles, results) for name in results.classes),
        charts=_charts(trained, styles),
        balance=balance,
        patches=patches,
        provenance=Provenance(provenance.environment, provenance.experiment, provenance.command, notes),
        comparability=results.notes,
    )


def arm_styles(results: Results) -> dict[str, ArmStyle]:
    """Give every trained arm its look: the baseline the first, the others in the order of the plan."""
    names = [arm.name for arm in results.record.arms if arm.runs]
    names.sort(key=lambda name: name != results.baseline)
    return {name: ArmStyle.at(position) for position, name in enumerate(names)}


def _evidence(judged: Judged, balance: Balance, styles: Mapping[str, ArmStyle]) -> tuple[Evidence | None, str]:
    """Show a verdict, or say why it cannot be shown: one of another run would be a wrong picture of this one."""
    if judged.judgement is None:
        return None, judged.problem
    try:
        return show_judgement(judged.judgement, balance, styles), judged.problem
    except ValueError as error:
        return None, cannot_show(str(error))


def cannot_show(reason: str) -> str:
    """Say that a verdict cannot be shown, why, and what to do."""
    return f"The verdict cannot be shown ({reason}); `counterpoise verdict` judges the run again."


def _row(arm: ArmResult, results: Results) -> ArmRow:
    record = arm.record
    own = record.runs
    return ArmRow(
        name=record.name,
        summary=record.summary,
        is_baseline=record.name == results.baseline,
        remark=_remark(arm),
        last=arm.last_dice if own else None,
        difference=arm.difference if own else None,
        best=arm.best_dice if own else None,
        best_epoch=arm.best_epoch if own else None,
        by_class=tuple(arm.last_dice_by_class[name] if own else None for name in results.classes),
    )


def _remark(arm: ArmResult) -> str:
    if not arm.record.runs:
        twin = arm.record.same_as
        return f"same weights as {twin} after scaling; not trained again" if twin else "not trained"
    return "" if arm.trials else "no finished trial"


def _finished(arm: ArmResult) -> list[tuple[int, EpochRecord]]:
    return [(t.seed, t.last) for t in arm.trials if t.last]


def _dots(arm: ArmResult, style: ArmStyle, results: Results) -> DotRow:
    values = {seed: epoch.dice_mean for seed, epoch in _finished(arm)}
    return DotRow(arm.record.name, style, _seeds(values, results), arm.last_dice.mean if arm.last_dice else None)


def _seeds(values: Mapping[int, float | None], results: Results) -> tuple[Dot, ...]:
    slots = {seed: slot for slot, seed in enumerate(results.record.seeds)}
    return tuple(Dot(seed, slots[seed], value) for seed, value in values.items() if value is not None)


def _panel(name: str, trained: Sequence[ArmResult], styles: Mapping[str, ArmStyle], results: Results) -> BarPanel:
    bars = []
    for arm in trained:
        values = {seed: epoch.dice.get(name) for seed, epoch in _finished(arm)}
        spread = arm.last_dice_by_class[name]
        label = arm.record.name
        bars.append(Bar(label, styles[label], spread.mean if spread else None, _seeds(values, results)))
    return BarPanel(name, tuple(bars))


def _charts(trained: Sequence[ArmResult], styles: Mapping[str, ArmStyle]) -> tuple[LineChart, ...]:
    def chart(title: str, pick: Quantity, *, after: float = 0) -> LineChart:
        return LineChart(title, tuple(_line(arm, styles[arm.record.name], pick, after) for arm in trained))

    last = max((t.epochs[-1].epoch for arm in trained for t in arm.trials if t.epochs), default=0)
    charts = [
        chart("Train loss", lambda e: e.train_loss),
        chart("Validation loss", lambda e: e.val_loss),
        chart("Mean Dice", lambda e: e.dice_mean),
    ]
    if last >= MANY_EPOCHS:
        charts.append(chart("Mean Dice, second half", lambda e: e.dice_mean, after=last / 2))
    return tuple(charts)


def _line(arm: ArmResult, style: ArmStyle, pick: Quantity, after: float) -> Line:
    """Average an arm over its seeds, epoch by epoch; trials that have not finished count only if none has."""
    trials = arm.trials or arm.unfinished
    values: dict[int, list[float]] = {}
    for trial in trials:
        for epoch in trial.epochs:
            value = pick(epoch)
            if value is not None and epoch.epoch > after:
                values.setdefault(epoch.epoch, []).append(value)
    points = tuple(LinePoint(e, statistics.fmean(v), min(v), max(v)) for e, v in sorted(values.items()))
    label = arm.record.name if arm.trials else f"{arm.record.name} (not finished)"
    return Line(label, style, points)


def _irregularities(trained: Sequence[ArmResult]) -> list[str]:
    """Name the trials in which steps were lost to a loss that is not a finite number."""
    return [
        f"{trial.arm}, seed {trial.seed}: the loss was not finite in {counted(lost, 'step')}"
        for arm in trained
        for trial in (*arm.trials, *arm.unfinished)
        if (lost := sum(epoch.nonfinite_steps for epoch in trial.epochs))
    ]
