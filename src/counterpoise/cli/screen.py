"""The terminal: one console for output, one for what goes beside it, and how tables, numbers and notes look."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

from rich.cells import cell_len
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table

from counterpoise.text import counted

__all__ = [
    "Column",
    "console",
    "counted",
    "fold",
    "grouped",
    "number",
    "plain_console",
    "print_notes",
    "print_table",
    "progress_bar",
    "side",
    "table_of",
]

Column = Sequence[str]
"""A heading and the cells below it."""

_PLAIN_WIDTH = 160
"""Columns where output goes to a file or a pipe, which has no width of its own."""

_GAP = 2
_MOST_ALIKE = 3
"""As many notes with the same words are shown one by one; more are grouped."""


class _Screen(Console):
    def on_broken_pipe(self) -> None:
        """Let the command end as one whose reader has gone (``cli/app.py``), not as one that failed."""
        raise BrokenPipeError


def plain_console(*, file: object = None, stderr: bool = False) -> Console:
    """Make a console for a file or a pipe: no colours, wide lines."""
    return _Screen(file=file, stderr=stderr, highlight=False, width=_PLAIN_WIDTH)  # type: ignore[arg-type]


def _console(*, stderr: bool) -> Console:
    found = _Screen(stderr=stderr, highlight=False)
    return found if found.is_terminal else plain_console(stderr=stderr)


console = _console(stderr=False)
side = _console(stderr=True)


def fold(columns: Sequence[Column], width: int) -> list[list[Column]]:
    """Divide a table's columns into tables that fit a width, each beginning with the first column.

    No column is ever narrowed: a number that is cut off is another number.
    """
    first, *others = columns
    room = width - _width(first)
    tables: list[list[Column]] = [[first]]
    left = room
    for column in others:
        if _width(column) > left and len(tables[-1]) > 1:
            tables.append([first])
            left = room
        tables[-1].append(column)
        left -= _width(column)
    return tables


def _width(column: Column) -> int:
    return max(map(cell_len, column)) + _GAP


def table_of(columns: Sequence[Column], *, styles: Sequence[str] = ()) -> Table:
    """Make a table; the first column is text, the others are numbers on the right; ``styles`` has one per row."""
    table = Table(box=None, padding=(0, _GAP, 0, 0))
    for position, column in enumerate(columns):
        table.add_column(column[0], justify="left" if position == 0 else "right", no_wrap=True)
    for row, cells in enumerate(zip(*(column[1:] for column in columns), strict=True)):
        table.add_row(*cells, style=styles[row] if styles else None)
    return table


def print_table(columns: Sequence[Column], *, title: str = "", to: Console = console) -> None:
    """Print a table under its title; what does not fit beside the rest goes below it."""
    if title:
        to.print(title, style="bold", markup=False, soft_wrap=True)
    for position, part in enumerate(fold(columns, to.width)):
        if position:
            to.print()
        to.print(table_of(part))


def number(value: float | None, form: str = ".4f") -> str:
    """Format a number; a missing one is a dash."""
    return "–" if value is None or value != value else format(value, form)  # noqa: PLR0124 - NaN differs from itself


def grouped(notes: Iterable[str]) -> list[str]:
    """Say once what many crops share: ``dataset/crop1: text`` and its like become ``text (12 crops: ...)``."""
    crops: dict[str, list[str]] = {}
    parsed = [(note, re.match(r"([^:]+/[^:]+): (.+)", note)) for note in notes]
    for _, found in parsed:
        if found:
            crops.setdefault(found[2], []).append(found[1])
    lines: dict[str, None] = {}  # in the order of their first appearance
    for note, found in parsed:
        alike = crops[found[2]] if found else []
        many = found is not None and len(alike) > _MOST_ALIKE
        lines[f"{found[2]} ({len(alike)} crops: {alike[0]}, {alike[1]}, ...)" if found and many else note] = None
    return list(lines)


def print_notes(notes: Iterable[str], *, to: Console) -> None:
    """Print notes, those of many crops as one."""
    for note in grouped(notes):
        to.print(f"note: {note}", markup=False, soft_wrap=True)


@contextmanager
def progress_bar(title: str, total: int) -> Iterator[Callable[[int], object]]:
    """Show a bar on standard error while something with a known length is done; nothing if it is not a terminal."""
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=side, transient=True, disable=not side.is_terminal) as progress:
        task = progress.add_task(title, total=total)
        yield lambda done: progress.advance(task, done)
