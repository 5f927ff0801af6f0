"""``results``: what a run has shown so far."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from counterpoise.cli.options import Json, RunPlace
from counterpoise.cli.places import find_run
from counterpoise.cli.screen import console, plain_console, print_table, side
from counterpoise.cli.verdict import look_at, print_verdict
from counterpoise.errors import RunFolderError
from counterpoise.files.atomic import write_text
from counterpoise.files.disk import refuse_unwritable
from counterpoise.report import detail_statements, results_statements, statements
from counterpoise.report.details import as_csv as details_as_csv
from counterpoise.report.details import as_json, show_details
from counterpoise.report.formats import results_as_json, results_as_trials, write_reference
from counterpoise.report.latex import as_latex
from counterpoise.report.paper import as_csv, as_markdown
from counterpoise.runs.read import read_run
from counterpoise.statistics.counts import RunState
from counterpoise.statistics.details import describe_run
from counterpoise.statistics.results import ArmResult, Results, Spread, summarise_run
from counterpoise.statistics.run_verdict import judge_run
from counterpoise.statistics.verdict_types import Verdict
from counterpoise.text import DASH, counted, fixed, signed, spread

__all__ = ["ResultsFormat", "print_outcome", "print_results", "results"]


class ResultsFormat(StrEnum):
    """What ``results`` prints or writes.

    ``latex``, ``markdown`` and ``csv`` are the tables of a paper, with intervals (``csv`` is the run folder's
    ``results.csv``); ``trials`` is one line of csv per finished trial; ``reference`` is a folder of files as the
    reference experiment has them.
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
        if not results.verdict.has_verdict:
            side.print(f"no intervals: {statements.obstacle(results.verdict)}", soft_wrap=True)
        return _PAPER[output](results.verdict)
    if output is ResultsFormat.trials:
        return results_as_trials(results)
    if output is ResultsFormat.json:
        found = describe_run(results.run, results.verdict)
        return json.dumps({**results_as_json(results), "details": as_json(found)}, indent=1) + "\n"
    if output is ResultsFormat.details_csv:
        return details_as_csv(describe_run(results.run, results.verdict))
    page = io.StringIO()
    show = print_details if output is ResultsFormat.details else print_results
    show(results, to=plain_console(file=page))
    return page.getvalue()


def print_outcome(results: Results, report: Path) -> None:
    """Print the verdict on a run that has ended, its table, and where its report is."""
    console.print()
    print_verdict(results.verdict)
    console.print()
    print_results(results, with_verdict=False)
    if report.exists():
        console.print(f"\nreport: {report}", soft_wrap=True)


def print_results(results: Results, *, with_verdict: bool = True, to: Console = console) -> None:
    """Print the table, one line per strategy, sorted by last Dice; before it why there is no verdict, if there is none.

    Classes that are not scored have a table of their own; what is missing stands below.
    """
    verdict = results.verdict
    if with_verdict and not verdict.has_verdict:
        to.print(statements.headline(verdict), style="bold yellow", soft_wrap=True)
        to.print()
    _print_tables(results, to)
    for line in results_statements.about(verdict):
        to.print(line, style="dim", soft_wrap=True)
    for note in results_statements.notes(verdict):
        to.print(f"note: {note}", soft_wrap=True)
    if any(arm.record.same_as and not arm.record.runs for arm in results.arms):
        to.print("= the same weights after scaling: not trained a second time", style="dim")
    _print_missing(verdict, to)


def print_details(results: Results, *, to: Console = console) -> None:
    """Print the further scores, one table below the other."""
    further = show_details(results.run, results.verdict)
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


def _print_tables(results: Results, to: Console) -> None:
    versus = f"vs {results.baseline.removeprefix('weight_')}"
    heading = ["strategy", "seeds", "last Dice", versus, "best Dice", "at epoch", *results.scored]
    rows = [heading, *(_row(arm, results) for arm in results.arms)]
    print_table(list(zip(*rows, strict=True)), title=results_statements.TITLE, to=to)
    if results.not_scored and any(arm.scores for arm in results.arms):
        rows = [["strategy", *results.not_scored], *(_not_scored(arm, results) for arm in results.trained)]
        print_table(list(zip(*rows, strict=True)), title=results_statements.not_scored(results.verdict), to=to)


def _print_missing(verdict: Verdict, to: Console) -> None:
    for cell in verdict.incomplete:
        if cell.state is not RunState.UNFINISHED:
            to.print(statements.incomplete(cell), style="red", soft_wrap=True)
    open_ones = sum(cell.state is RunState.UNFINISHED for cell in verdict.incomplete)
    if open_ones:
        to.print(f"{counted(open_ones, 'training')} not finished: not yet counted", style="bold")


def _row(arm: ArmResult, results: Results) -> list[str]:
    if arm.record.same_as and not arm.record.runs:
        return [arm.name, "", f"= {arm.record.same_as}", *[""] * (3 + len(results.scored))]
    epoch = arm.best_epoch
    return [
        arm.name,
        f"{len(arm.scores)}/{len(results.plan.seeds)}",
        _pm(arm.last),
        "baseline" if arm.name == results.baseline else _pm(arm.difference, signed),
        _pm(arm.best),
        fixed(epoch.mean if epoch else None, 0),
        *(_mean(arm.by_class[name]) for name in results.scored),
    ]


def _not_scored(arm: ArmResult, results: Results) -> list[str]:
    return [arm.name, *(_mean(arm.by_class[name]) for name in results.not_scored)]


def _mean(value: Spread | None) -> str:
    return fixed(value.mean if value else None)


def _pm(value: Spread | None, write: Callable[[float], str] = fixed) -> str:
    return DASH if value is None else spread(write(value.mean), value.sd)


def results(
    run: RunPlace = None,
    output: Annotated[
        ResultsFormat,
        typer.Option(
            "--format",
            help="How to print or write them: text, json, latex, markdown, csv (tables of a paper), trials (csv, a "
            "line per trial), details or details-csv (further scores), reference (a folder of files).",
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
    opened = read_run(find_run(run))
    # Tables with intervals are a look at the verdict; the others show scores.
    found = summarise_run(opened, look_at(opened) if chosen in _PAPER else judge_run(opened))
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
