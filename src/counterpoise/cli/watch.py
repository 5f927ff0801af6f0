"""``watch``: the status of a run, again and again."""

from __future__ import annotations

import time
from typing import Annotated

import typer
from rich.console import Group
from rich.live import Live
from rich.text import Text

from counterpoise.cli.options import RunPlace
from counterpoise.cli.places import find_run
from counterpoise.cli.progress import draw_trials, headline, health_lines, look, race_lines, score_warnings
from counterpoise.cli.screen import console, working
from counterpoise.machine.health import Health
from counterpoise.runs.layout import RunFolder
from counterpoise.runs.progress import RunProgress
from counterpoise.statistics.following import Following

__all__ = ["watch", "watch_run"]


def watch(
    run: RunPlace = None,
    every: Annotated[
        float, typer.Option(min=0.2, max=3600, help="Read the run again every so many seconds.", metavar="SECONDS")
    ] = 2.0,
) -> None:
    """Show the status of a run until it ends. Ctrl-C detaches.

    It ends too if nothing runs the experiment. Without a terminal it prints plain lines.

    Example: counterpoise watch runs/classic
    """
    watch_run(find_run(run), every_s=every)


def watch_run(run: RunFolder, *, every_s: float) -> None:
    """Show the status of a run until it has ended or nothing runs it; without a terminal, in lines."""
    if not console.is_terminal:
        _watch_in_lines(run, every_s)
        return
    with working("Reading the run"):
        progress, following, health = look(run)
    with Live(_draw(progress, following, health), console=console, auto_refresh=False) as live:
        while not (progress.has_ended or progress.is_idle):
            time.sleep(every_s)
            progress, following, health = look(run)
            live.update(_draw(progress, following, health), refresh=True)


def _draw(progress: RunProgress, following: Following, health: Health) -> Group:
    warnings = (*progress.warnings, *score_warnings(following), *health.warnings)
    below = [*race_lines(progress), *health_lines(health), *(f"warning: {text}" for text in warnings)]
    height = max(console.height - len(below), 1)
    table = draw_trials(headline(progress), progress.trials, following, width=console.width, height=height)
    return Group(table, *(Text(line, no_wrap=True, overflow="ellipsis") for line in below))


def _watch_in_lines(run: RunFolder, every_s: float) -> None:
    shown = ""
    while True:
        progress, following, health = look(run)
        line = headline(progress)
        if line != shown:
            shown = line
            console.print(time.strftime("%H:%M:%S ") + line, soft_wrap=True)
            for text in (*progress.warnings, *score_warnings(following), *health.warnings):
                console.print(f"  warning: {text}", soft_wrap=True)
        if progress.has_ended or progress.is_idle:
            return
        time.sleep(every_s)
