"""``report``: the page on a run, or on two."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from counterpoise.cli.options import RunPlace
from counterpoise.cli.places import find_run
from counterpoise.cli.screen import console
from counterpoise.cli.verdict import look_at
from counterpoise.report.page import Judged
from counterpoise.report.render import write_comparison, write_report
from counterpoise.runs.read import read_run

__all__ = ["report"]


def report(
    run: RunPlace = None,
    other: Annotated[
        Path | None,
        typer.Argument(
            help="A second run, to compare with the first: one page on both.", metavar="OTHER", show_default=False
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Where to write. Default: report.html, or report-vs-OTHER.html, in the run folder.", metavar="FILE"
        ),
    ] = None,
) -> None:
    """Write a run's report, or one page on two runs: one file that opens offline.

    Example: counterpoise report runs/classic
    """
    runs = [read_run(find_run(place)) for place in (run, other)[: 1 if other is None else 2]]
    judged = [Judged(each, look_at(each)) for each in runs]
    file = write_report(judged[0], out) if other is None else write_comparison(judged[0], judged[1], out)
    console.print(str(file), soft_wrap=True)
