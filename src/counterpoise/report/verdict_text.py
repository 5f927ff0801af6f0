"""A verdict as lines to print (docs/verdict.md) and as plain values for other programs; a run folder's verdict."""

from __future__ import annotations

import math
from dataclasses import asdict, replace
from typing import Any

from counterpoise.files.atomic import write_json
from counterpoise.report.verdict_blocks import Paragraph, align, verdict_blocks, verdict_sentence
from counterpoise.runs.layout import RunFolder
from counterpoise.statistics.hypotheses import judge_hypotheses
from counterpoise.statistics.question import read_question
from counterpoise.statistics.results import load_results
from counterpoise.statistics.verdict import judge
from counterpoise.statistics.verdict_types import Verdict
from counterpoise.volumes.datasplit import LEAK

__all__ = ["judge_run", "read_verdict", "verdict_as_json", "verdict_lines", "verdict_sentence"]


def verdict_lines(verdict: Verdict) -> tuple[str, ...]:
    """Write the verdict as lines of plain text, none of them folded: a statement or a row of a table each."""
    lines: list[str] = []
    for block in verdict_blocks(verdict):
        lines += [block.text] if isinstance(block, Paragraph) else align(block.rows)
    return tuple(lines)


def verdict_as_json(verdict: Verdict) -> dict[str, Any]:
    """Make plain values that JSON can hold; what is not known is null."""
    document = _plain_values(asdict(verdict))
    assert isinstance(document, dict)  # noqa: S101 - asdict returns one
    return {"sentence": verdict_sentence(verdict), "text": list(verdict_lines(verdict)), **document}


def judge_run(run: RunFolder) -> Verdict:
    """Judge a run folder and write ``verdict.json``, which the report shows.

    Raises
    ------
    RunFolderError
        If this is not a run folder, or its counts cannot be used together.
    """
    verdict = read_verdict(run)
    write_json(run.verdict, verdict_as_json(verdict))
    return verdict


def read_verdict(run: RunFolder) -> Verdict:
    """Judge a run folder and write nothing: for folders one may only read.

    Raises
    ------
    RunFolderError
        As :func:`judge_run`.
    """
    question = read_question(run)
    verdict = replace(judge(question.table, question.settings), tuned=question.tuned)
    hypotheses = judge_hypotheses(question.record.hypotheses, question.table, verdict)
    leaks = tuple(note for note in question.record.notes if note.startswith(LEAK))
    return replace(verdict, hypotheses=hypotheses, notes=(*leaks, *load_results(run).notes))


def _plain_values(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain_values(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain_values(entry) for entry in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
