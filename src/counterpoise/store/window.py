"""Raw of 16 bits becomes 8 bits by one linear window per raw volume, so that its crops stay comparable."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from counterpoise.notes import Note, NoteKind
from counterpoise.volumes.fit import FittedCrop
from counterpoise.volumes.identity import data_set_of

__all__ = ["RawWindow", "find_windows", "notes_on_windows"]

_LOWEST, _HIGHEST = -(1 << 15), (1 << 16) - 1
"""Values of 16 bits, with or without a sign."""

_LEFT_OUT = 1000
"""One in so many values may lie below the window, and as many above it: single hot or dead pixels do not decide."""


@dataclass(frozen=True)
class RawWindow:
    """Stored values that become 0 and 255; those between lie on a line, those beyond are cut."""

    lower: int
    upper: int

    def table(self) -> np.ndarray:
        """Return the 8-bit value of every stored one, from -32 768 on."""
        values = np.arange(_LOWEST, _HIGHEST + 1, dtype=np.float64)
        scaled = (values - self.lower) * (255.0 / (self.upper - self.lower))
        table: np.ndarray = np.rint(np.clip(scaled, 0.0, 255.0)).astype(np.uint8)
        return table

    def apply(self, stored: np.ndarray, table: np.ndarray) -> np.ndarray:
        """Turn stored values into 8 bits by :meth:`table`."""
        raw: np.ndarray = table[stored.astype(np.int32) - _LOWEST]
        return raw


def find_windows(fitted: Sequence[FittedCrop], given: tuple[int, int] | None) -> dict[Path, RawWindow]:
    """Find the window of every raw volume with more than 8 bits.

    Parameters
    ----------
    fitted : sequence of FittedCrop
        All crops of the store.
    given : (int, int) or None
        The window to use for all of them; None takes it from the values, 0.1 % of which lie below and above.

    Returns
    -------
    dict
        Path of the raw volume to its window. All raw that is kept around the crops of a volume is read for it once;
        chunks that are not stored do not count.
    """
    wide: dict[Path, list[FittedCrop]] = {}
    for item in fitted:
        if item.raw.dtype != np.uint8:
            wide.setdefault(item.crop.raw.path, []).append(item)
    return {path: RawWindow(*given) if given else _window_of(items) for path, items in wide.items()}


def notes_on_windows(fitted: Sequence[FittedCrop], windows: Mapping[Path, RawWindow]) -> tuple[Note, ...]:
    """Say for every raw volume with a window what became of its values."""
    notes = []
    for path, window in windows.items():
        first = next(item for item in fitted if item.crop.raw.path == path)
        text = (
            f"raw is stored as {first.raw.dtype}; {window.lower} to {window.upper} became 0 to 255, for every crop of "
            "this volume (data.raw_window sets other values)"
        )
        notes.append(Note(NoteKind.DATA, text, data_set_of(first.crop.crop_id)))
    return tuple(notes)


def _window_of(items: Sequence[FittedCrop]) -> RawWindow:
    counts = np.zeros(_HIGHEST - _LOWEST + 1, dtype=np.int64)
    for item in items:
        for box, stored in item.raw.decoded_chunks(item.raw_block):
            if stored is not None:
                values = stored[box.common(item.raw_block).within(box)].astype(np.int32) - _LOWEST
                counts += np.bincount(values.reshape(-1), minlength=len(counts))
    below = np.cumsum(counts)
    left_out = below[-1] // _LEFT_OUT
    lower = int(np.searchsorted(below, left_out, side="right")) + _LOWEST
    upper = int(np.searchsorted(below, below[-1] - left_out)) + _LOWEST
    return RawWindow(lower, max(upper, lower + 1))
