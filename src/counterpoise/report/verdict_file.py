"""``verdict.json``: a verdict as a document that other programs may rely on (docs/verdict-file.md)."""

from __future__ import annotations

import errno
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from counterpoise.errors import RunFolderError
from counterpoise.files.atomic import read_json, write_json
from counterpoise.report import hypothesis_statements, statements
from counterpoise.report.blocks import verdict_lines
from counterpoise.runs.looks import add_look
from counterpoise.runs.read import Run
from counterpoise.statistics.counts import tabulate_counts
from counterpoise.statistics.run_verdict import judge_run, look_now
from counterpoise.statistics.verdict_types import Verdict

__all__ = ["VERDICT_VERSION", "Look", "keep_verdict", "read_verdict", "take_look", "verdict_document"]

VERDICT_VERSION = 3
"""Raised when a key changes its meaning or goes. Version 1 had NaN as null and reasons as text only; version 2 a scope
per verdict, one number of seeds to decide, and no looks."""

_READ_ONLY = {errno.EACCES, errno.EPERM, errno.EROFS}


def verdict_document(verdict: Verdict) -> dict[str, Any]:
    """Make plain values that JSON can hold: the verdict itself, and what is said of it in words.

    ``sentence``, ``text``, ``no_verdict``, ``recommendation.text`` and the hypotheses' ``figures`` are words for
    people; everything else reads back as the same :class:`Verdict`.
    """
    document: dict[str, Any] = _adapter().dump_python(verdict, mode="json")
    document["recommendation"]["text"] = statements.reason(verdict)
    for entry, written in zip(verdict.hypotheses, document["hypotheses"], strict=True):
        written["figures"] = hypothesis_statements.figures(entry, verdict)
    return {
        "version": VERDICT_VERSION,
        "sentence": statements.headline(verdict),
        "text": list(verdict_lines(verdict)),
        "no_verdict": statements.obstacle(verdict),
        **document,
    }


@dataclass(frozen=True)
class Look:
    """A verdict that is about to be shown; ``unrecorded`` says why this look is not on record, empty if it is."""

    verdict: Verdict
    unrecorded: str = ""


def take_look(run: Run) -> Look:
    """Judge a run to show the verdict: the look goes on record before anybody sees it, and ``verdict.json`` is written.

    Looking again at the same runs is the same look. The looks of a race are recorded by the race alone.

    Raises
    ------
    RunFolderError
        If the run's counts cannot be used together.
    """
    verdict = judge_run(run)
    try:
        if not run.looks.race and verdict.looks.recorded > len(run.looks.records) + run.looks.missing:
            add_look(run.folder.looks, look_now(tabulate_counts(run), run.looks))
    except OSError as error:
        if error.errno not in _READ_ONLY:
            raise
        return Look(verdict, f"{run.folder.path} may only be read: this look is not on record, and no verdict is kept")
    if not keep_verdict(run.folder.verdict, verdict):
        return Look(verdict, f"{run.folder.verdict} was not written: read-only folder")
    return Look(verdict)


def keep_verdict(file: Path, verdict: Verdict) -> bool:
    """Write ``verdict.json``, except into a folder that may only be read; return whether it was written."""
    try:
        write_json(file, verdict_document(verdict))
    except OSError as error:
        if error.errno in _READ_ONLY:
            return False
        raise
    return True


def read_verdict(file: Path) -> Verdict:
    """Read ``verdict.json``.

    Raises
    ------
    RunFolderError
        If it is not there, damaged, or of another version.
    """
    try:
        document = read_json(file)
        found = document.get("version", 1)
        if found == VERDICT_VERSION:
            verdict: Verdict = _adapter().validate_python(document)
            return verdict
        problem = f"version {found}"
    except FileNotFoundError:
        problem = "no such file"
    except ValidationError as error:
        first = error.errors()[0]
        problem = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    except (OSError, ValueError, TypeError) as error:
        problem = f"{type(error).__name__}: {error}"
    raise RunFolderError(
        f"{file} cannot be read",
        expected=f"a verdict of version {VERDICT_VERSION}, as `counterpoise verdict` writes it",
        found=problem,
        remedy="`counterpoise verdict RUN` judges the run again",
    )


def _adapter() -> TypeAdapter[Verdict]:
    return TypeAdapter(Verdict)
