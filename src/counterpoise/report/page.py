"""The content of the report: what is said and shown, with every number computed before anything is drawn."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from counterpoise.report import note_statements, results_statements
from counterpoise.report.balance import Balance, make_balance
from counterpoise.report.details import Further, show_details
from counterpoise.report.evidence import Evidence, show_verdict
from counterpoise.report.figures import Bar, BarPanel, Dot, DotRow, Line, LineChart, LinePoint
from counterpoise.report.patches import ExamplePatches, load_patches
from counterpoise.report.recipe import recommended_recipe
from counterpoise.report.statements import Entry
from counterpoise.report.summary import Summary, summarise
from counterpoise.report.svg import ArmStyle
from counterpoise.runs.read import Run, Unreadable
from counterpoise.runs.records import EpochRecord
from counterpoise.statistics.results import ArmResult, Results, Spread, summarise_run
from counterpoise.statistics.support import run_support
from counterpoise.statistics.verdict_types import Verdict

__all__ = [
    "ArmRow",
    "Judged",
    "LegendEntry",
    "Page",
    "Provenance",
    "arm_styles",
    "as_text",
    "build_page",
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
    """The scored classes."""
    not_scored: tuple[Spread | None, ...]


@dataclass(frozen=True)
class Provenance:
    """Where the results come from and what repeats them."""

    environment: tuple[tuple[str, str], ...]
    experiment: str | None
    command: str
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Judged:
    """A run and the verdict on it."""

    run: Run
    verdict: Verdict


@dataclass(frozen=True)
class Page:
    """Everything the report shows."""

    name: str
    scored: tuple[str, ...]
    not_scored: tuple[str, ...]
    about_not_scored: str
    scoring: tuple[str, ...]
    """How the scores were made."""
    score_notes: tuple[str, ...]
    """What makes them less than they seem, without full stops."""
    baseline: str
    summary: Summary
    recipe: tuple[Entry, ...]
    """Weights, loss and network of the recommended arm, in words; empty if there is none."""
    evidence: Evidence
    legend: tuple[LegendEntry, ...]
    rows: tuple[ArmRow, ...]
    dots: tuple[DotRow, ...]
    slots: int
    panels: tuple[BarPanel, ...]
    charts: tuple[LineChart, ...]
    balance: Balance
    patches: ExamplePatches | None
    provenance: Provenance
    further: Further | None
    """More scores from the same counts; None where no class is scored."""

    @property
    def has_scores(self) -> bool:
        """Whether any finished trial has a score."""
        return any(row.dots for row in self.dots)


def build_page(judged: Judged) -> Page:
    """Put the page of a run together."""
    run, verdict = judged.run, judged.verdict
    results = summarise_run(run, verdict)
    trained = results.trained
    styles = arm_styles(results)
    balance = make_balance(run.plan, None if isinstance(run.frequencies, Unreadable) else run.frequencies)
    voxel_size_nm = None if run.experiment is None else run.experiment.data.voxel_size_nm
    return Page(
        name=run.name,
        scored=results.scored,
        not_scored=results.not_scored,
        about_not_scored=results_statements.not_scored(verdict),
        scoring=tuple(results_statements.about(verdict)),
        score_notes=tuple(results_statements.notes(verdict)),
        baseline=results.baseline,
        summary=summarise(results),
        recipe=recommended_recipe(run, verdict),
        evidence=show_verdict(verdict, balance, styles),
        legend=tuple(LegendEntry(arm.name, styles[arm.name], bool(arm.trials)) for arm in trained),
        rows=tuple(_row(arm, results) for arm in results.arms),
        dots=tuple(_dots(arm, styles[arm.name]) for arm in trained),
        slots=len(run.plan.seeds),
        panels=tuple(_panel(name, trained, styles, results) for name in results.classes),
        charts=_charts(trained, styles, _curve_classes(results)),
        balance=balance,
        patches=load_patches(results, voxel_size_nm),
        provenance=_provenance(run, trained),
        further=show_details(run, verdict),
    )


def arm_styles(results: Results) -> dict[str, ArmStyle]:
    """Give every trained arm its look: the baseline the first, the others in the order of the plan."""
    names = [arm.name for arm in results.plan.trained]
    names.sort(key=lambda name: name != results.baseline)
    return {name: ArmStyle.at(position) for position, name in enumerate(names)}


def _provenance(run: Run, trained: Sequence[ArmResult]) -> Provenance:
    damaged = [f for f in (run.frequencies, run.environment) if isinstance(f, Unreadable) and not f.is_missing]
    lost = [
        f"{trial.arm}, seed {trial.seed}: {said}"
        for arm in trained
        for trial in (*arm.trials, *arm.unfinished)
        if (said := note_statements.nonfinite(trial))
    ]
    environment = {} if isinstance(run.environment, Unreadable) else run.environment
    return Provenance(
        environment=tuple((key, as_text(value)) for key, value in environment.items()),
        experiment=None if isinstance(run.experiment_text, Unreadable) else run.experiment_text,
        command=f"counterpoise run {run.folder.config.name}",
        notes=(*map(str, run.notes), *map(str, damaged), *lost),
    )


def as_text(value: object) -> str:
    """Write a value of a JSON document as one line."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _row(arm: ArmResult, results: Results) -> ArmRow:
    record = arm.record
    own = record.runs
    return ArmRow(
        name=record.name,
        summary=record.summary,
        is_baseline=record.name == results.baseline,
        remark=_remark(arm),
        last=arm.last if own else None,
        difference=arm.difference if own else None,
        best=arm.best if own else None,
        best_epoch=arm.best_epoch if own else None,
        by_class=tuple(arm.by_class[name] if own else None for name in results.scored),
        not_scored=tuple(arm.by_class[name] if own else None for name in results.not_scored),
    )


def _remark(arm: ArmResult) -> str:
    if not arm.record.runs:
        twin = arm.record.same_as
        return f"same weights as {twin} after scaling; not trained again" if twin else "not trained"
    return "" if arm.trials else "no finished trial"


def _dots(arm: ArmResult, style: ArmStyle) -> DotRow:
    dots = tuple(Dot(score.seed, score.block, score.dice) for score in arm.scores if score.dice is not None)
    return DotRow(arm.name, style, dots, arm.last.mean if arm.last else None)


def _panel(name: str, trained: Sequence[ArmResult], styles: Mapping[str, ArmStyle], results: Results) -> BarPanel:
    bars = []
    for arm in trained:
        found = ((score, score.of_class(name)) for score in arm.scores)
        dots = tuple(Dot(score.seed, score.block, dice) for score, dice in found if dice is not None)
        spread = arm.by_class[name]
        label = arm.name
        bars.append(Bar(label, styles[label], spread.mean if spread else None, dots))
    title = name if name in results.scored else f"{name} (not scored)"
    return BarPanel(title, tuple(bars))


def _charts(
    trained: Sequence[ArmResult], styles: Mapping[str, ArmStyle], classes: Sequence[str]
) -> tuple[LineChart, ...]:
    def chart(title: str, pick: Quantity, *, after: float = 0) -> LineChart:
        return LineChart(title, tuple(_line(arm, styles[arm.name], pick, after) for arm in trained))

    last = max((t.epochs[-1].epoch for arm in trained for t in arm.trials if t.epochs), default=0)
    charts = [
        chart("Train loss", lambda e: e.train_loss),
        chart("Validation loss", lambda e: e.val_loss),
        chart("Mean Dice", lambda e: e.mean_over(classes)),
    ]
    if last >= MANY_EPOCHS:
        charts.append(chart("Mean Dice, second half", lambda e: e.mean_over(classes), after=last / 2))
    return tuple(charts)


def _curve_classes(results: Results) -> tuple[str, ...]:
    """Return the scored classes, also while no trial has finished; all of them where nobody knows."""
    planned = run_support(results.run)
    return results.scored or (planned.scored if planned else ()) or results.classes


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
    label = arm.name if arm.trials else f"{arm.name} (not finished)"
    return Line(label, style, points)
