"""Notes on data or runs: a sentence and its kind.

Code that selects or counts notes uses the kind, never the words.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Self

__all__ = ["Note", "NoteKind", "of_kind"]


class NoteKind(StrEnum):
    """What a note is about."""

    DATA = "data"
    """Crops, their annotation, classes without positive voxels."""
    COUNTS = "counts"
    """Voxels that were counted, and what the metadata say was there."""
    RAW = "raw"
    """Crops whose raw shows nothing, or is mostly black."""
    LEAK = "leak"
    """Train and validation crops share voxels: scores are too high."""
    WEIGHTS = "weights"
    """Strategies that were left out, clamped weights, arms that are the same experiment."""
    TRAINING = "training"
    """Settings with which scores say little about the trained network."""
    SCORES = "scores"
    """What the scores of a run rest on, where that is not what today's would."""
    CHANGED = "changed"
    """What is asked of the runs was changed, or its record lost, after trainings had finished."""


@dataclass(frozen=True)
class Note:
    """One sentence without its full stop, its kind, and the crop it is about, if it is about one.

    ``numbers`` are those of this crop: they follow the sentence, which many crops may share.
    """

    kind: NoteKind
    text: str
    subject: str = ""
    numbers: str = ""

    def __str__(self) -> str:
        return f"{self.subject}: {self.text}{self.numbers}" if self.subject else f"{self.text}{self.numbers}"

    def plain(self) -> dict[str, str]:
        """Return the values that JSON holds."""
        numbers = {"numbers": self.numbers} if self.numbers else {}
        return {"kind": self.kind.value, "text": self.text, "subject": self.subject, **numbers}

    @classmethod
    def of_plain(cls, entry: Mapping[str, str] | str) -> Self:
        """Rebuild what :meth:`plain` made; a text alone is what older versions wrote about data.

        Raises
        ------
        KeyError, ValueError
            If something is missing, or the kind is unknown.
        """
        if isinstance(entry, str):
            return cls(NoteKind.DATA, entry)
        return cls(NoteKind(entry["kind"]), entry["text"], entry.get("subject", ""), entry.get("numbers", ""))


def of_kind(notes: Iterable[Note], *kinds: NoteKind) -> tuple[Note, ...]:
    """Choose the notes of some kinds, in their order."""
    return tuple(note for note in notes if note.kind in kinds)
