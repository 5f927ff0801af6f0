"""Which crops have positive voxels of which classes: without any, nothing is learnt of a class, or it has no score."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from counterpoise.errors import DataError, LayoutError
from counterpoise.files.concurrent import map_concurrently
from counterpoise.volumes.crops import CropSet
from counterpoise.volumes.labels import LabelLevel, open_labels
from counterpoise.volumes.volume import FoundCrop

__all__ = ["EmptyClasses", "Positives", "find_empty_classes", "find_positives", "narrow_to_positives"]

Labels = Mapping[str, Sequence[LabelLevel]]
"""The levels of each class of a crop."""


@dataclass(frozen=True)
class EmptyClasses:
    """Classes without a positive voxel in any train crop, and those that there was no time to look at."""

    empty: tuple[str, ...]
    unknown: tuple[str, ...]


@dataclass(frozen=True)
class Positives:
    """Which classes each crop has a positive voxel of.

    ``is_complete`` is false if there was no time to look into every crop: an annotated class counts as present there.
    """

    classes: tuple[frozenset[str], ...]
    is_complete: bool


def find_positives(crops: Iterable[Labels], *, patience_s: float = 20.0) -> Positives:
    """Tell which annotated classes crops hold, by the counts in their metadata, else by looking.

    Good for choosing crops: what scores rest on is counted from the voxels themselves. What cannot be read counts as
    present, and is for those to report who read it.

    Parameters
    ----------
    crops : iterable of mapping
        Levels of every annotated class of a crop, the finest first.
    patience_s : float
        When to stop looking.
    """
    deadline, unknown, found = time.monotonic() + patience_s, 0, []
    for labels in crops:
        held = {}
        for name, levels in labels.items():
            stated = _stated_positive(levels)
            held[name] = _looked_for(levels, deadline) if stated is None else stated
        unknown += sum(is_held is None for is_held in held.values())
        found.append(frozenset(name for name, is_held in held.items() if is_held is not False))
    return Positives(tuple(found), not unknown)


def narrow_to_positives(
    crops: Sequence[FoundCrop], classes: Sequence[str], *, patience_s: float = 20.0
) -> tuple[tuple[FoundCrop, ...], bool]:
    """Leave each crop those of its classes that it has a positive voxel of, so that a split deals these out.

    Parameters
    ----------
    crops : sequence of FoundCrop
        On disk. A class that cannot be opened stays: what is wrong is for those to say who read it.
    classes : sequence of str
        Others are left out.
    patience_s : float
        When to stop looking.

    Returns
    -------
    crops : tuple of FoundCrop
        In the same order.
    is_complete : bool
        Whether there was time to look into all of them.
    """
    found = find_positives(map_concurrently(partial(_open_found, classes=tuple(classes)), crops), patience_s=patience_s)
    narrowed = tuple(
        replace(crop, classes=tuple(name for name in crop.classes if name in held))
        for crop, held in zip(crops, found.classes, strict=True)
    )
    return narrowed, found.is_complete


def _open_found(crop: FoundCrop, *, classes: tuple[str, ...]) -> Labels:
    group = (crop.label_store or crop.store) / crop.labels
    opened: dict[str, Sequence[LabelLevel]] = {}
    for name in classes:
        if name in crop.classes:
            try:
                opened[name] = open_labels(group / name, name)[1]
            except DataError:
                opened[name] = ()
    return opened


def _looked_for(levels: Sequence[LabelLevel], deadline: float) -> bool | None:
    try:
        return _any_positive([levels], deadline)
    except DataError:
        return True


def _stated_positive(levels: Sequence[LabelLevel]) -> bool | None:
    """Tell what the metadata of the finest level say; None if they say nothing."""
    if not levels:
        return True
    stated = levels[0].stated_counts
    if "present" in stated:
        return stated["present"] > 0
    if "absent" in stated:
        return stated["absent"] + stated.get("unknown", 0) < levels[0].level.whole().voxels
    return None


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
