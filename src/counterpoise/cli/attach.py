"""``attach``: a run in the background, shown here."""

from __future__ import annotations

import time

import typer

from counterpoise.cli.options import RunPlace
from counterpoise.cli.places import find_run
from counterpoise.cli.results import print_outcome
from counterpoise.cli.screen import side
from counterpoise.cli.verdict import look_at
from counterpoise.cli.watch import watch_run
from counterpoise.engines.background import wait_for_end
from counterpoise.runs.layout import RunFolder
from counterpoise.runs.progress import read_progress
from counterpoise.runs.read import read_run
from counterpoise.statistics.results import summarise_run
from counterpoise.text import counted

__all__ = ["attach", "show_until_end"]


def attach(run: RunPlace = None) -> None:
    """Show a run until it ends, then its results. Ctrl-C detaches.

    The exit code is 1 if a trial failed or is not finished.

    Example: counterpoise attach runs/classic
    """
    raise typer.Exit(show_until_end(find_run(run)))


def show_until_end(run: RunFolder) -> int:
    """Show a run until it has ended, then its results; return 1 if a trial has failed or is left, else 0."""
    read_progress(run, now=time.time())  # refuses what is no run folder
    try:
        watch_run(run, every_s=1.0)
        wait_for_end(run)  # it writes its report
    except KeyboardInterrupt:
        side.print(f"Detached. `counterpoise stop {run.path}` stops the run.", soft_wrap=True)
        return 0
    ended = read_run(run)
    unfinished = sum(not trial.is_finished for trial in ended.trials)
    if unfinished < len(ended.trials):
        print_outcome(summarise_run(ended, look_at(ended)), run.report)
    if unfinished:
        side.print(f"{counted(unfinished, 'trial')} not finished; `counterpoise run` continues")
    return 1 if unfinished else 0
