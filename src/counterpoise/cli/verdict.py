"""``verdict``: what the runs can tell about the weightings, and no more."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

from counterpoise.cli.options import Format, Json, RunPlace, TextOrJson, is_json
from counterpoise.cli.places import find_run
from counterpoise.cli.screen import console, fold, side, wrapped
from counterpoise.report.blocks import Block, Paragraph, Table, align, verdict_blocks, verdict_lines
from counterpoise.report.verdict_file import take_look, verdict_document
from counterpoise.runs.read import Run, read_run
from counterpoise.statistics.verdict_types import Verdict

__all__ = ["fold_blocks", "look_at", "print_verdict", "verdict"]


def look_at(run: Run) -> Verdict:
    """Judge a run to show the verdict, and say so if the look cannot go on record."""
    look = take_look(run)
    if look.unrecorded:
        side.print(f"note: {look.unrecorded}", soft_wrap=True)
    return look.verdict


def print_verdict(verdict: Verdict) -> None:
    """Print the verdict: folded on a terminal; elsewhere in whole lines, as it stands in ``verdict.json``."""
    folded = console.is_terminal
    for line in fold_blocks(verdict_blocks(verdict), console.width) if folded else verdict_lines(verdict):
        console.print(line, soft_wrap=True)


def fold_blocks(blocks: Iterable[Block], width: int) -> Iterator[str]:
    """Write paragraphs and tables as lines that fit a width.

    A paragraph goes on below its own text, not below its label; an interval stays in one line. What does not fit of a
    table goes below it, with the first column repeated; a cell that is wider than the terminal stays whole.

    Parameters
    ----------
    blocks : iterable of Paragraph and Table
        In their order.
    width : int
        Columns of the terminal.
    """
    for block in blocks:
        if isinstance(block, Paragraph):
            yield from wrapped(block.text, width, hang=block.hang)
        else:
            yield from _fold_table(block, width)


def _fold_table(grid: Table, width: int) -> Iterator[str]:
    for position, part in enumerate(fold(list(zip(*grid.rows, strict=True)), width)):
        if position:
            yield ""
        yield from align(list(zip(*part, strict=True)))


def verdict(run: RunPlace = None, output: TextOrJson = Format.text, as_json: Json = False) -> None:
    """Say what the runs can tell about the weightings, with error bars.

    It judges the trainings that are finished, and keeps the verdict in the run folder. Every look at new results is
    on record there, and the verdict pays for it.

    Example: counterpoise verdict runs/classic
    """
    found = look_at(read_run(find_run(run)))
    if is_json(output, as_json):
        print(json.dumps(verdict_document(found), indent=1))
    else:
        print_verdict(found)
