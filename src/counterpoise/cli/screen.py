"""The terminal: one console for output, one for what goes beside it, and how numbers look."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

__all__ = ["console", "new_table", "number", "progress_bar", "side"]

_PLAIN_WIDTH = 160
"""Columns where output goes to a file or a pipe, which has no width of its own."""


def _console(*, stderr: bool) -> Console:
    found = Console(stderr=stderr, highlight=False)
    return found if found.is_terminal else Console(stderr=stderr, highlight=False, width=_PLAIN_WIDTH)


console = _console(stderr=False)
side = _console(stderr=True)


def new_table(*columns: str, title: str | None = None) -> Table:
    """Make a table; the first column is text, the others are numbers on the right."""
    table = Table(title=title, title_justify="left", box=None, padding=(0, 2, 0, 0), title_style="bold")
    for position, name in enumerate(columns):
        table.add_column(name, justify="left" if position == 0 else "right", no_wrap=position == 0)
    return table


def number(value: float | None, form: str = ".4f") -> str:
    """Format a number; a missing one is a dash."""
    return "–" if value is None or value != value else format(value, form)  # noqa: PLR0124 - NaN differs from itself


@contextmanager
def progress_bar(title: str, total: int) -> Iterator[Callable[[int], object]]:
    """Show a bar on standard error while something with a known length is done; nothing if it is not a terminal."""
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=side, transient=True, disable=not side.is_terminal) as progress:
        task = progress.add_task(title, total=total)
        yield lambda done: progress.advance(task, done)
