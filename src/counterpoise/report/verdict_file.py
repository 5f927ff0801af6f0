"""``verdict.json``: a verdict as a document that other programs may rely on (docs/verdict-file.md)."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from counterpoise.errors import RunFolderError
from counterpoise.files.atomic import read_json, write_json
from counterpoise.report import hypothesis_statements, statements
from counterpoise.report.blocks import verdict_lines
from counterpoise.statistics.verdict_types import Verdict

__all__ = ["VERDICT_VERSION", "keep_verdict", "read_verdict", "verdict_document"]

VERDICT_VERSION = 2
"""Raised when a key changes its meaning or goes. Version 1 had NaN as null and reasons as text only."""

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
