"""What the validation tiles of a run hold: known and positive voxels, the same for every run of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from jaxtyping import Int

from counterpoise.files.atomic import read_json

__all__ = ["TILE_VOXELS", "TileVoxels"]

TILE_VOXELS = "voxels"
"""Key of ``validation_tiles.json``; older runs have none."""


@dataclass(frozen=True, eq=False)
class TileVoxels:
    """Voxels of the validation tiles by crop and class, counted before any training.

    Parameters
    ----------
    crops, classes : tuple of str
        Names along the two axes.
    known : int array, shape (crops, classes)
        Where it is known whether the class is present: all that counts for a score.
    present : int array, shape (crops, classes)
        Of them, those where it is: TP + FN of every run.
    """

    crops: tuple[str, ...]
    classes: tuple[str, ...]
    known: Int[np.ndarray, "crop class_"]
    present: Int[np.ndarray, "crop class_"]

    def plain(self) -> dict[str, Any]:
        """Return what JSON holds; the crops are those of the document it stands in."""
        return {"classes": list(self.classes), "known": self.known.tolist(), "present": self.present.tolist()}

    @classmethod
    def read(cls, file: Path) -> Self | None:
        """Read them from ``validation_tiles.json``.

        Raises
        ------
        OSError, ValueError, TypeError
            If it is not there, or is damaged.
        """
        return cls.of_document(read_json(file))

    @classmethod
    def of_document(cls, document: Mapping[str, Any]) -> Self | None:
        """Read them from a list of validation tiles; None where it does not have them, or not in this shape."""
        try:
            content = document[TILE_VOXELS]
            crops, classes = tuple(map(str, document["crops"])), tuple(map(str, content["classes"]))
            known, present = (np.array(content[key], dtype=np.int64) for key in ("known", "present"))
        except (KeyError, TypeError, ValueError):
            return None
        shape = (len(crops), len(classes))
        return cls(crops, classes, known, present) if known.shape == present.shape == shape else None
