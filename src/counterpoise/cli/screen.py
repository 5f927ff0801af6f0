"""The terminal: a console for output, one for messages, and how tables, numbers and notes look."""

from __future__ import annotations

import re
import textwrap
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from threading import Timer
from typing import Any

from rich.cells import cell_len
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from counterpoise.errors import CounterpoiseError
from counterpoise.notes import Note

__all__ = [
    "Column",
    "console",
    "fold",
    "grouped",
    "plain_console",
    "print_error",
    "print_lines",
    "print_notes",
    "print_table",
    "progress_bar",
    "side",
    "table_of",
    "width_of",
    "working",
    "wrapped",
]

Column = Sequence[str]
"""A heading and the cells below it."""

_PLAIN_WIDTH = 160
"""Columns where output goes to a file or a pipe, which has no width of its own."""

_GAP = 2

_NARROWEST = 30
"""Columns of text next to a hanging indent, however narrow the terminal."""

_NO_BREAK = "\N{NO-BREAK SPACE}"

_PATIENCE_S = 1.0
"""Where there is no terminal, what takes longer is announced by a line."""
_TELL_EVERY_S = 10.0
_MOST_ALIKE = 3
"""As many notes with the same words are shown one by one; more are grouped."""


class _Screen(Console):
    """A console without colours of its own choice and without markup: names and paths may have brackets."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(highlight=False, markup=False, **settings)

    def print(self, *objects: Any, soft_wrap: bool | None = None, **settings: Any) -> None:
        """Print; what is to stay one line in a pipe (``soft_wrap``) breaks between words on a terminal."""
        super().print(*objects, soft_wrap=soft_wrap and not self.is_terminal, **settings)

    def on_broken_pipe(self) -> None:
        """Let the command end as one whose reader has gone (``cli/app.py``), not as one that failed."""
        raise BrokenPipeError


def plain_console(*, file: object = None, stderr: bool = False) -> Console:
    """Make a console for a file or a pipe: no colours, wide lines."""
    return _Screen(file=file, stderr=stderr, width=_PLAIN_WIDTH)


def _console(*, stderr: bool) -> Console:
    found = _Screen(stderr=stderr)
    return found if found.is_terminal else plain_console(stderr=stderr)


console = _console(stderr=False)
side = _console(stderr=True)


def fold(columns: Sequence[Column], width: int) -> list[list[Column]]:
    """Divide a table's columns into tables that fit a width, each beginning with the first column.

    No column is ever narrowed: a number that is cut off is another number.
    """
    first, *others = columns
    free = width - width_of(first)
    tables: list[list[Column]] = [[first]]
    left = free
    for column in others:
        if width_of(column) > left and len(tables[-1]) > 1:
            tables.append([first])
            left = free
        tables[-1].append(column)
        left -= width_of(column)
    return tables


def width_of(column: Column) -> int:
    """Return how many characters wide a column is, with the gap after it."""
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
    """Print a table under its title; columns that do not fit go below."""
    if title:
        to.print(title, style="bold", soft_wrap=True)
    for position, part in enumerate(fold(columns, to.width)):
        if position:
            to.print()
        to.print(table_of(part))


def print_error(error: CounterpoiseError) -> None:
    """Print an error's parts on standard error; on a terminal each is wrapped next to its label."""
    if not side.is_terminal:
        side.print(str(error), soft_wrap=True)
        return
    for label, text in error.rows():
        row = Table.grid()
        row.add_row(*map(Text, (label, text) if label else (text,)))
        side.print(row)


def wrapped(text: str, width: int, *, hang: int = 0) -> list[str]:
    """Fold text between words; lines after the first are indented by ``hang`` columns, and intervals stay whole.

    A word that is longer than a line (a path) stays whole and has a line of its own: rich would divide or cut it.
    """
    whole = re.sub(r"\[[^\[\]]*\]", lambda interval: interval[0].replace(" ", _NO_BREAK), text)
    lines = textwrap.wrap(
        whole,
        max(width, hang + _NARROWEST),
        subsequent_indent=" " * hang,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return [line.replace(_NO_BREAK, " ") for line in lines] or [""]


def grouped(notes: Iterable[Note]) -> list[str]:
    """Write notes as lines: what many crops share is said once, as ``text (12 crops: first, second, ...)``."""
    alike: dict[str, list[Note]] = {}
    for note in notes:
        alike.setdefault(note.text, []).append(note)
    lines = []
    for text, same in alike.items():
        if len(same) > _MOST_ALIKE and all(note.subject for note in same):
            first, second = (f"{note.subject}{note.numbers}" for note in same[:2])
            lines.append(f"{text} ({len(same)} crops: {first}, {second}, ...)")
        else:
            lines += dict.fromkeys(map(str, same))
    return lines


def print_notes(notes: Iterable[Note], *, to: Console) -> None:
    """Print notes, those of many crops as one."""
    print_lines(grouped(notes), to=to)


def print_lines(notes: Iterable[str], *, to: Console) -> None:
    """Print sentences as notes."""
    for note in notes:
        to.print(f"note: {note}", soft_wrap=True)


@contextmanager
def progress_bar(title: str, total: int) -> Iterator[Callable[[int], object]]:
    """Show a bar on standard error while something with a known length is done; nothing if it is not a terminal."""
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=side, transient=True, disable=not side.is_terminal) as progress:
        task = progress.add_task(title, total=total)
        yield lambda done: progress.advance(task, done)


@contextmanager
def working(doing: str) -> Iterator[Callable[[str], object]]:
    """Show that something of unknown length is being done: a spinner; without a terminal, a line after a second.

    Yields
    ------
    callable
        Shows how far it is: next to the spinner; without a terminal, on a line of its own every ten seconds.
    """
    if side.is_terminal:
        with side.status(doing) as status:
            yield lambda told: status.update(f"{doing}: {told}")
        return
    told_at = time.monotonic()

    def tell(told: str) -> None:
        nonlocal told_at
        if time.monotonic() - told_at > _TELL_EVERY_S:
            told_at = time.monotonic()
            side.print(f"{doing}: {told} ...", soft_wrap=True)

    line = Timer(_PATIENCE_S, lambda: side.print(f"{doing} ...", soft_wrap=True))
    line.start()
    try:
        yield tell
    finally:
        line.cancel()
        line.join()
