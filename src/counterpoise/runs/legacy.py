"""What older versions wrote, and did not say as records of today do. New records never come here."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from counterpoise.notes import Note, NoteKind

__all__ = ["OLDER_TILES", "are_older_tiles", "kind_of_note", "was_divergence"]

OLDER_TILES = Note(
    NoteKind.SCORES,
    "these scores partly rest on raw that was not there: the run's validation tiles hung over their crops, as those of "
    "older versions did. They cannot be compared with the scores of newer runs",
)

_DIVERGED = re.compile(r"training of .+ diverged")
_KINDS = (
    ("validation voxels are trained on, as data.allow_overlap says", NoteKind.LEAK),
    ("what is asked of the runs was changed", NoteKind.CHANGED),
    ("what was asked of the finished trainings is not known", NoteKind.CHANGED),
)
"""How notes began that had no kind."""


def kind_of_note(text: str) -> Note:
    """Give a note without a kind its kind."""
    return Note(next((kind for start, kind in _KINDS if text.startswith(start)), NoteKind.DATA), text)


def was_divergence(reason: str) -> bool:
    """Tell from the recorded reason of a failed trial whether its training had diverged."""
    return _DIVERGED.match(reason) is not None


def are_older_tiles(document: Mapping[str, Any]) -> bool:
    """Tell whether a list of validation tiles is one of those that hung over their crops; they had no version."""
    return "version" not in document
