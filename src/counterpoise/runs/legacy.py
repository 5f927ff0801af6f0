"""What older versions wrote without saying of which kind it was. New records say it, and never come here."""

from __future__ import annotations

import re

from counterpoise.notes import Note, NoteKind

__all__ = ["kind_of_note", "was_divergence"]

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
