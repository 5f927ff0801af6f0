"""``verdict``: what the runs can tell about the weightings, and no more."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterable, Iterator
from pathlib import Path

from counterpoise.cli.screen import console, fold
from counterpoise.report.verdict_blocks import Block, Grid, Paragraph, align, verdict_blocks
from counterpoise.report.verdict_text import judge_run, verdict_as_json, verdict_lines
from counterpoise.runs.layout import RunFolder
from counterpoise.statistics.verdict_types import Verdict

__all__ = ["fold_blocks", "print_verdict", "show_verdict"]

_NARROWEST = 30
"""Columns of text beside a hanging indent, however narrow the terminal."""

_NO_BREAK = "\N{NO-BREAK SPACE}"


def show_verdict(path: Path, *, as_json: bool) -> None:
    """Judge a run folder, keep the verdict in it, and print it."""
    verdict = judge_run(RunFolder(path))
    if as_json:
        print(json.dumps(verdict_as_json(verdict), indent=1))
    else:
        print_verdict(verdict)


def print_verdict(verdict: Verdict) -> None:
    """Print the verdict: folded on a terminal; elsewhere in whole lines, as it stands in ``verdict.json``."""
    folded = console.is_terminal
    for line in fold_blocks(verdict_blocks(verdict), console.width) if folded else verdict_lines(verdict):
        console.print(line, markup=False, soft_wrap=True)


def fold_blocks(blocks: Iterable[Block], width: int) -> Iterator[str]:
    """Write paragraphs and tables as lines that fit a width.

    A paragraph goes on below its own text, not below its label; an interval stays in one line. What does not fit of a
    table goes below it, beside the first column again; a cell that is wider than the terminal stays whole.

    Parameters
    ----------
    blocks : iterable of Paragraph and Grid
        In their order.
    width : int
        Columns of the terminal.
    """
    for block in blocks:
        yield from _fold_text(block, width) if isinstance(block, Paragraph) else _fold_table(block, width)


def _fold_text(paragraph: Paragraph, width: int) -> list[str]:
    text = re.sub(r"\[[^\[\]]*\]", lambda interval: interval[0].replace(" ", _NO_BREAK), paragraph.text)
    lines = textwrap.wrap(
        text,
        max(width, paragraph.hang + _NARROWEST),
        subsequent_indent=" " * paragraph.hang,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return [line.replace(_NO_BREAK, " ") for line in lines] or [""]


def _fold_table(grid: Grid, width: int) -> Iterator[str]:
    for position, part in enumerate(fold(list(zip(*grid.rows, strict=True)), width)):
        if position:
            yield ""
        yield from align(list(zip(*part, strict=True)))
