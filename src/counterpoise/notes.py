"""What a reader must know about data or runs: a sentence, and of which kind it is.

Whoever makes a note names its kind; whoever shows or counts notes goes by the kind, never by the words.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

__all__ = ["Note", "NoteKind", "of_kind"]


class NoteKind(StrEnum):
    """What a note is about."""

    DATA = "data"
    """Crops, their annotation, classes without positive voxels."""
    LEAK = "leak"
    """Train and validation crops share voxels: scores are too high."""
    WEIGHTS = "weights"
    """Strategies that were left out, clamped weights, arms that are the same experiment."""
    CHANGED = "changed"
    """What is asked of the runs was changed, or its record lost, after trainings had finished."""
    TRAINING = "training"
    """How trainings went: batches in parts, steps whose loss was not finite."""


@dataclass(frozen=True)
class Note:
    """One sentence without its full stop, and its kind."""

    kind: NoteKind
    text: str

    def __str__(self) -> str:
        return self.text


def of_kind(notes: Iterable[Note], *kinds: NoteKind) -> tuple[Note, ...]:
    """Choose the notes of some kinds, in their order."""
    return tuple(note for note in notes if note.kind in kinds)
