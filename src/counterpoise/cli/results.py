"""``results``: what a run has shown so far."""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Callable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from counterpoise.cli.options import Json, RunPlace
from counterpoise.cli.places import find_run
from counterpoise.cli.screen import console, plain_console, print_table, side
from counterpoise.cli.verdict import print_verdict
from counterpoise.errors import RunFolderError
from counterpoise.files.atomic import write_text
from counterpoise.files.disk import refuse_unwritable
from counterpoise.notes import NoteKind, of_kind
from counterpoise.report import detail_statements, statements
from counterpoise.report.details import as_csv as details_as_csv
from counterpoise.report.details import as_json, show_details
from counterpoise.report.formats import results_as_csv, results_as_json, write_reference
from counterpoise.report.latex import as_latex
from counterpoise.report.paper import as_csv, as_markdown
from counterpoise.report.verdict_file import take_look
from counterpoise.runs.read import read_run
from counterpoise.statistics.details import describe_run
from counterpoise.statistics.results import ArmResult, Results, Spread, summarise_run
from counterpoise.statistics.run_verdict import judge_run
from counterpoise.statistics.verdict_types import Verdict
from counterpoise.text import DASH, counted, fixed, signed

__all__ = ["ResultsFormat", "print_outcome", "print_results", "results"]


class ResultsFormat(StrEnum):
    """What ``results`` prints or writes.

    ``latex``, ``markdown`` and ``csv`` are the tables of a paper, with intervals; ``trials`` is one line of csv per
    finished trial, as in ``results.csv``; ``reference`` is a folder of files as the reference experiment has them.
    ``details`` and ``details-csv`` are further scores (docs/scores.md), as text and with every figure on a line.
    """

    text = "text"
    json = "json"
    latex = "latex"
    markdown = "markdown"
    csv = "csv"
    trials = "trials"
    reference = "reference"
    details = "details"
    details_csv = "details-csv"


_PAPER: Mapping[ResultsFormat, Callable[[Verdict], str]] = {
    ResultsFormat.csv: as_csv,
    ResultsFormat.latex: as_latex,
    ResultsFormat.markdown: as_markdown,
}
"""The formats that show the verdict's tables."""


def _as_text(results: Results, output: ResultsFormat) -> str:
    if output in _PAPER:
        verdict = take_look(results.run).verdict
        if not verdict.has_verdict:
            side.print(f"no intervals: {statements.obstacle(verdict)}", soft_wrap=True)
        return _PAPER[output](verdict)
    if output is ResultsFormat.trials:
        return results_as_csv(results)
    if output is ResultsFormat.json:
        found = describe_run(results.run, judge_run(results.run))
        return json.dumps({**results_as_json(results), "details": as_json(found)}, indent=1) + "\n"
    if output is ResultsFormat.details_csv:
        return details_as_csv(describe_run(results.run, judge_run(results.run)))
    page = io.StringIO()
    show = print_details if output is ResultsFormat.details else print_results
    show(results, to=plain_console(file=page))
    return page.getvalue()


def print_outcome(results: Results, verdict: Verdict, report: Path) -> None:
    """Print the table of a run that has ended, the verdict on it, and where its report is."""
    console.print()
    print_results(results)
    console.print()
    print_verdict(verdict)
    if report.exists():
        console.print(f"\nreport: {report}", soft_wrap=True)


def print_results(results: Results, *, to: Console = console) -> None:
    """Print the table, one line per strategy, sorted by last Dice; then what is missing from it."""
    rows = [_heading(results), *(_row(arm, results) for arm in results.arms)]
    print_table(
        list(zip(*rows, strict=True)), title="Dice on the validation crops: mean ± sd over the finished seeds", to=to
    )
    if any(arm.record.same_as and not arm.record.runs for arm in results.arms):
        to.print("= the same weights after scaling: not trained a second time", style="dim")
    to.print(
        "last Dice: averaged weights of the last epoch. best Dice: the best epoch's, chosen on the same tiles "
        "it is scored on, so optimistic.",
        style="dim",
    )
    if any(arm.last_dice and arm.last_dice.sd is not None for arm in results.arms):
        to.print(
            "±: over seeds as they are; the sd of the verdict leaves out what all arms of a seed share.", style="dim"
        )
    for note in (*of_kind(results.run.notes, NoteKind.SCORES), *statements.parts(results.parts)):
        to.print(f"note: {note}", soft_wrap=True)
    for trial in results.failed:
        line = f"failed: {trial.arm} seed {trial.seed}: {trial.status.reason or 'no reason recorded'}"
        to.print(line, style="red", soft_wrap=True)
    states = Counter(trial.status.state for trial in results.unfinished)
    open_ones = [f"{count} {state}" for state, count in sorted(states.items()) if state != "failed"]
    if open_ones:
        to.print(f"unfinished trials: {', '.join(open_ones)}", style="bold")


def print_details(results: Results, *, to: Console = console) -> None:
    """Print the further scores, one table below the other."""
    verdict = judge_run(results.run)
    further = show_details(results.run, verdict)
    if further is None:
        to.print(detail_statements.NOTHING, soft_wrap=True)
        return
    to.print(further.introduction, soft_wrap=True)
    for remark in further.remarks:
        to.print(f"note: {remark}", soft_wrap=True)
    for table in further.tables:
        to.print()
        print_table(list(zip(*table.as_rows(), strict=True)), title=table.title, to=to)
        to.print(table.caption, style="dim", soft_wrap=True)


def _heading(results: Results) -> list[str]:
    versus = f"vs {results.baseline.removeprefix('weight_')}"
    return ["strategy", "seeds", "last Dice", versus, "best Dice", "at epoch", *results.classes]


def _row(arm: ArmResult, results: Results) -> list[str]:
    planned = len(results.plan.seeds)
    if arm.record.same_as and not arm.record.runs:
        return [arm.record.name, "", f"= {arm.record.same_as}", *[""] * (3 + len(results.classes))]
    baseline = arm.record.name == results.baseline
    epoch = arm.best_epoch
    return [
        arm.record.name,
        f"{len(arm.trials)}/{planned}",
        _pm(arm.last_dice),
        "baseline" if baseline else _pm(arm.difference, signed),
        _pm(arm.best_dice),
        fixed(epoch.mean if epoch else None, 0),
        *(fixed(score.mean if score else None) for score in arm.last_dice_by_class.values()),
    ]


def _pm(value: Spread | None, write: Callable[[float, int], str] = fixed) -> str:
    if value is None:
        return DASH
    return write(value.mean, 4) + ("" if value.sd is None else f" ± {value.sd:.4f}")


def results(
    run: RunPlace = None,
    output: Annotated[
        ResultsFormat,
        typer.Option(
            "--format",
            help="How to print or write them: text, json, latex, markdown, csv (tables of a paper), trials (csv, a "
            "line per trial), reference (a folder of files).",
            metavar="NAME",
        ),
    ] = ResultsFormat.text,
    as_json: Json = False,
    out: Annotated[
        Path | None,
        typer.Option(help="Where to write instead of printing; reference: RUN/reference.", metavar="FILE"),
    ] = None,
) -> None:
    """Show or write a run's results, finished or not.

    Example: counterpoise results runs/classic --format latex --out table.tex
    """
    chosen = ResultsFormat.json if as_json else output
    found = summarise_run(read_run(find_run(run)))
    if chosen is ResultsFormat.reference:
        out = out or found.run.folder.path / "reference"
    if out is not None:
        _write(found, chosen, out)
    elif chosen is ResultsFormat.text:
        print_results(found)
    elif chosen is ResultsFormat.details:
        print_details(found)
    else:
        print(_as_text(found, chosen), end="")


def _write(results: Results, output: ResultsFormat, out: Path) -> None:
    with refuse_unwritable(
        RunFolderError,
        f"the results cannot be written to {out}",
        expected="a place where you may write, in an existing folder",
        remedy="create the folder, or name another place with --out",
    ):
        if output is ResultsFormat.reference:
            side.print(f"{counted(len(write_reference(results, out)), 'file')} in {out}", soft_wrap=True)
        else:
            write_text(out, _as_text(results, output))
