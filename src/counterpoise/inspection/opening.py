"""Open a crop as far as it can be opened: what cannot is a problem of its own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from counterpoise.errors import CounterpoiseError, DataError
from counterpoise.inspection.problems import Problem, ProblemCode
from counterpoise.volumes.crops import Crop
from counterpoise.volumes.datasplit import CropRow, Split
from counterpoise.volumes.encoding import StatedValues
from counterpoise.volumes.formats import is_stored, open_volume
from counterpoise.volumes.geometry import Box, round_nm
from counterpoise.volumes.labels import LabelLevel, open_labels
from counterpoise.volumes.volume import Volume

__all__ = ["UNFORESEEN", "OpenedCrop", "open_row"]

UNFORESEEN = (OSError, ValueError, TypeError, AttributeError, LookupError, OverflowError)
"""What odd metadata may raise that no reader thought of: a problem of one crop, not the end of all."""


@dataclass(frozen=True)
class OpenedCrop:
    """A crop as far as it can be opened."""

    crop_id: str
    usage: str | None
    split: Split
    raw: Volume | None
    labels: Mapping[str, tuple[LabelLevel, ...]]
    damaged: frozenset[str] = frozenset()
    problems: tuple[Problem, ...] = ()

    @property
    def box(self) -> Box | None:
        """Return the block that holds all its labels."""
        boxes = [levels[0].level.grid.box for levels in self.labels.values()]
        if not boxes:
            return None
        lower, upper = (np.array([getattr(box, side) for box in boxes]) for side in ("lower_nm", "upper_nm"))
        return Box(round_nm(lower.min(axis=0)), round_nm(upper.max(axis=0)))

    def as_crop(self) -> Crop | None:
        """Return what comparing places needs: one class per distinct block; None without raw or labels."""
        if self.raw is None or not self.labels:
            return None
        blocks = {levels[0].level.grid: (name, levels[:1]) for name, levels in self.labels.items()}
        return Crop(self.crop_id, self.split, self.raw, dict(blocks.values()))


def open_row(
    row: CropRow,
    crop_id: str,
    classes: Iterable[str],
    *,
    has_splits: bool,
    values: Mapping[str, StatedValues] = MappingProxyType({}),
) -> OpenedCrop:
    """Open raw and labels of a crop, whose values mean what the user says; what cannot be opened is a problem."""
    problems: list[Problem] = []
    labels: dict[str, tuple[LabelLevel, ...]] = {}
    damaged = set()
    raw = None
    try:
        raw = open_volume(row.raw_path)
        problems += [Problem(ProblemCode.METADATA, f"raw: {text}", (crop_id,)) for text in raw.notes]
    except DataError as error:
        problems.append(_damage(error, crop_id, "raw"))
    for name in classes:
        path = row.class_path(name)
        try:
            if name not in row.classes or not is_stored(path):
                continue
            volume, labels[name], remarks = open_labels(path, name, crop_id, values)
            odd = [f"{name}: {text}" for text in volume.notes] + [note.text for note in remarks]
            problems += [Problem(ProblemCode.METADATA, text, (crop_id,), name) for text in odd]
        except DataError as error:
            damaged.add(name)
            problems.append(_damage(error, crop_id, name))
        except UNFORESEEN as error:
            damaged.add(name)
            text = f"{name} cannot be read: {type(error).__name__}: {error}"
            problems.append(Problem(ProblemCode.DAMAGED, text, (crop_id,), name))
    usage = row.split if has_splits else None
    return OpenedCrop(crop_id, usage, row.split, raw, labels, frozenset(damaged), tuple(problems))


def _damage(error: CounterpoiseError, crop_id: str, what: str) -> Problem:
    text = f"{what} cannot be read: {error.problem}; expected {error.expected}, found {error.found}"
    return Problem(ProblemCode.DAMAGED, text, (crop_id,), "" if what == "raw" else what)
