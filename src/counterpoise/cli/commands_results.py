"""Commands that show what a run has found. Nothing heavy is imported before one runs."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from counterpoise.cli.options import RunPath

__all__ = ["commands"]


commands = typer.Typer()
_PANEL = "Its results"


class ResultsFormat(StrEnum):
    """What ``results`` prints or writes.

    ``latex``, ``markdown`` and ``csv`` are the tables of a paper, with intervals; ``trials`` is one line of csv per
    finished trial, as in ``results.csv``.
    """

    table = "table"
    latex = "latex"
    markdown = "markdown"
    csv = "csv"
    trials = "trials"
    json = "json"
    reference = "reference"


@commands.command(rich_help_panel=_PANEL)
def results(
    run: RunPath,
    output: Annotated[ResultsFormat, typer.Option("--format", help="How to show or write them.")] = ResultsFormat.table,
    out: Annotated[
        Path | None,
        typer.Option(help="Where to write; standard output if left out (RUN/reference for reference)."),
    ] = None,
) -> None:
    """Show a run's results, finished or not."""
    from counterpoise.cli.results import show_results

    show_results(run, output.value, out)


@commands.command(rich_help_panel=_PANEL)
def verdict(
    run: RunPath,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead.")] = False,
) -> None:
    """Say what the runs can tell about the weightings: differences with error bars, and what is undecided."""
    from counterpoise.cli.verdict import show_verdict

    show_verdict(run, as_json=as_json)


@commands.command(rich_help_panel=_PANEL)
def report(
    run: RunPath,
    other: Annotated[
        Path | None,
        typer.Argument(help="A second run, to set beside the first.", metavar="OTHER", show_default=False),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Where to write; RUN/report.html, or RUN/report-vs-OTHER.html, if left out."),
    ] = None,
) -> None:
    """Write RUN/report.html: one file that opens offline. Or, of two runs, one page with both side by side."""
    from counterpoise.cli.results import make_report

    make_report(run, other, out)


@commands.command(rich_help_panel=_PANEL)
def best(
    run: RunPath,
    out: Annotated[Path | None, typer.Option(help="Folder to write to; RUN if left out.", metavar="FOLDER")] = None,
    arm: Annotated[
        str | None, typer.Option(help="Choose an arm by hand, whatever the verdict says.", metavar="NAME")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite best.toml and class_weights.json.")] = False,
) -> None:
    """Write the recommended configuration: best.toml, the next experiment, and class_weights.json."""
    from counterpoise.cli.best import write_best

    write_best(run, out=out, arm=arm, force=force)
