"""Which classes have no positive voxel in the train crops: nothing can be learnt of these."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from counterpoise.errors import LayoutError
from counterpoise.volumes.crops import CropSet
from counterpoise.volumes.labels import LabelLevel

__all__ = ["EmptyClasses", "find_empty_classes"]


@dataclass(frozen=True)
class EmptyClasses:
    """Classes without a positive voxel in any train crop, and those that there was no time to look at."""

    empty: tuple[str, ...]
    unknown: tuple[str, ...]


def find_empty_classes(crop_set: CropSet, *, patience_s: float = 20.0) -> EmptyClasses:
    """Look for a positive voxel of every class, until one is found.

    Coarse levels are looked at first: what is present there is present at the finest level. A class that is empty there
    is counted at the finest, most of whose chunks do not exist then.

    Parameters
    ----------
    crop_set : CropSet
        Opened crops.
    patience_s : float
        When to stop looking.

    Raises
    ------
    DamagedChunkError
        If a stored chunk cannot be decoded.
    """
    deadline = time.monotonic() + patience_s
    empty, unknown = [], []
    for name in crop_set.classes:
        levels = [crop.labels[name] for crop in crop_set.of("train") if name in crop.labels]
        found = _any_positive(levels, deadline)
        if found is None:
            unknown.append(name)
        elif not found:
            empty.append(name)
    return EmptyClasses(tuple(empty), tuple(unknown))


def _any_positive(crops: Sequence[Sequence[LabelLevel]], deadline: float) -> bool | None:
    for position in (-1, 0):
        for levels in crops:
            if time.monotonic() > deadline:
                return None
            try:
                if levels[position].count().count.voxels.present:
                    return True
            except LayoutError:  # it holds something, and what that means is for the user to say
                return True
    return False
