"""Crops: annotated blocks opened from a datasplit."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from counterpoise.errors import ClassNameError, CounterpoiseError, DataError, LayoutError, suggest
from counterpoise.files.concurrent import map_concurrently
from counterpoise.notes import Note, NoteKind
from counterpoise.volumes.annotation import ClassCount, VoxelCount, count_voxels
from counterpoise.volumes.datasplit import CropRow, Split, read_datasplit
from counterpoise.volumes.formats import dataset_suffixes, is_stored, open_volume
from counterpoise.volumes.identity import name_crops
from counterpoise.volumes.volume import Level, Volume

__all__ = ["Crop", "CropSet", "LabelLevel", "load_crops", "open_labels"]


@dataclass(frozen=True)
class LabelLevel:
    """One level of one class of a crop, and the stored value that means unknown in it."""

    level: Level
    unknown_code: int | None

    def count(self) -> ClassCount:
        """Count the whole array exactly, chunk by chunk."""
        present = unknown = voxels = 0
        for box, stored in self.level.decoded_chunks(self.level.whole(), as_stored=True):
            if stored is None:
                count = self.count_missing(box.voxels)
            else:
                count = count_voxels(stored, self.unknown_code, box.shape)
            present += count.present
            unknown += count.unknown
            voxels += box.voxels
        return ClassCount(VoxelCount(present, voxels - present - unknown, unknown), self.level.grid.voxel_size_nm)

    def count_missing(self, voxels: int) -> VoxelCount:
        """Count voxels whose chunk is not on disk: each has the fill value."""
        present, absent, unknown = count_voxels(np.array([self.level.fill_value]), self.unknown_code)
        return VoxelCount(present * voxels, absent * voxels, unknown * voxels)


@dataclass(frozen=True)
class Crop:
    """An annotated block: where it is, what it annotates, and the raw volume around it.

    ``labels`` holds the requested classes that are annotated here, each with all its levels (finest first);
    ``looked_for`` are the files and folders that were looked for to learn all this, there or not.
    """

    crop_id: str
    split: Split
    raw: Volume
    labels: Mapping[str, tuple[LabelLevel, ...]]
    looked_for: tuple[str, ...] = ()


@dataclass(frozen=True)
class CropSet:
    """The crops of a datasplit, the classes asked for, and what a reader should know about them.

    ``looked_for`` are the files and folders that all this depends on, there or not, also those of crops that are left
    out; ``opened_ns`` is when the first of them was about to be read (of the system's clock, since 1970).
    """

    source: Path
    classes: tuple[str, ...]
    crops: tuple[Crop, ...]
    notes: tuple[Note, ...]
    looked_for: tuple[str, ...]
    opened_ns: int

    def of(self, split: Split) -> tuple[Crop, ...]:
        """Return the crops of one split, in the order of the file."""
        return tuple(crop for crop in self.crops if crop.split == split)


def load_crops(
    datasplit: Path,
    classes: Sequence[str],
    *,
    allow_overlap: bool = False,
    on_fault: Callable[[CounterpoiseError], object] | None = None,
    root: Path | None = None,
) -> CropSet:
    """Open every crop of a datasplit that annotates at least one of the classes.

    Parameters
    ----------
    datasplit : Path
        The csv file.
    classes : sequence of str
        Class names, in the order in which everything downstream keeps them.
    allow_overlap : bool
        Whether a crop may be in both splits.
    on_fault : callable, optional
        Told of each line, crop and class that cannot be used, which is then left out; without it the first one is
        raised. While lines are left out, nobody knows which classes they annotate, and none is complained about.
    root : Path, optional
        Where the data are on this machine, as for :func:`~counterpoise.volumes.datasplit.read_datasplit`.

    Returns
    -------
    CropSet
        Crops with all metadata read and no voxel decoded.

    Raises
    ------
    DatasplitError, LayoutError
        If the list or a group in it cannot be read.
    ClassNameError
        If a class is asked for twice, or is annotated in no crop of the list.
    """
    opened_ns = time.time_ns()
    faults: list[CounterpoiseError] = []

    def tell(error: CounterpoiseError) -> None:
        if on_fault is None:
            raise error
        faults.append(error)
        on_fault(error)

    told: list[Note] = []
    rows = read_datasplit(
        datasplit,
        root=root,
        allow_overlap=allow_overlap,
        on_fault=tell if on_fault else None,
        on_note=told.append,
    )
    named = list(zip(rows, name_crops(rows, dataset_suffixes()), strict=True))
    usable = tuple(dict.fromkeys(classes))
    if not faults:
        for error in _class_name_faults(classes, rows, datasplit):
            tell(error)
        known = {name for row in rows for name in row.classes}
        usable = tuple(name for name in usable if name in known)
    opened = []
    for crop, notes, fault in map_concurrently(partial(_try_open, classes=usable), named):
        if fault is not None:
            tell(fault)
        elif crop is not None:
            opened.append((crop, notes))
    crops = tuple(crop for crop, _ in opened if crop.labels)
    if not faults:
        annotated = {name for crop in crops for name in crop.labels}
        for name in [name for name in usable if name not in annotated]:
            tell(
                ClassNameError(
                    f"class {name!r} is annotated nowhere",
                    expected=f"a group {name} in at least one crop of {datasplit}",
                    found="it is listed, but its folder is missing in every crop",
                    remedy="fetch the labels of this class, or leave it out of the classes",
                )
            )
    looked_for = dict.fromkeys(
        [
            str(datasplit.absolute()),
            *(str(folder) for row in rows for folder in row.looked_for),
            *(file for crop, _ in opened for file in crop.looked_for),
        ]
    )
    told += [note for _, notes in opened for note in notes]
    return CropSet(datasplit, usable, crops, tuple(dict.fromkeys(told)), tuple(looked_for), opened_ns)


def _class_name_faults(classes: Sequence[str], rows: Sequence[CropRow], datasplit: Path) -> Iterator[ClassNameError]:
    known = sorted({name for row in rows for name in row.classes})
    twice = [name for name, times in Counter(classes).items() if times > 1]
    if not classes or twice:
        yield ClassNameError(
            f"class {twice[0]!r} is asked for twice" if twice else "no class is asked for",
            expected="every class once, at least one",
            found=", ".join(classes) or "an empty list",
            remedy="list each class once; " + suggest("", known),
        )
    for name in dict.fromkeys(classes):
        if name not in known:
            yield ClassNameError(
                f"class {name!r} is annotated nowhere",
                expected=f"a class that {datasplit} lists for at least one crop",
                found="no line with this class",
                remedy=suggest(name, known),
            )


def open_labels(path: Path, name: str) -> tuple[Volume, tuple[LabelLevel, ...]]:
    """Open the labels of one class of a crop, all levels, the finest first.

    Raises
    ------
    LayoutError
        If they cannot be read, or do not hold whole numbers.
    """
    volume = open_volume(path)
    for level in volume.levels:
        if level.dtype.kind not in "ui":
            raise LayoutError(
                f"label level {level.path} does not hold whole numbers",
                expected="an unsigned integer type (uint8, or wider for many instances)",
                found=str(level.dtype),
                remedy="store labels as integers",
            )
    codes = volume.unknown_codes(name)
    return volume, tuple(LabelLevel(level, code) for level, code in zip(volume.levels, codes, strict=True))


_Opened = tuple[Crop | None, list[Note], DataError | None]
"""A crop and what to know about it, or why it cannot be used."""


def _try_open(named: tuple[CropRow, str], *, classes: tuple[str, ...]) -> _Opened:
    try:
        return *_open_crop(*named, classes=classes), None
    except DataError as error:
        return None, [], error


def _open_crop(row: CropRow, crop_id: str, *, classes: tuple[str, ...]) -> tuple[Crop, list[Note]]:
    notes: list[Note] = []
    odd: dict[str, list[str]] = {}
    looked_for: list[str] = []
    labels: dict[str, tuple[LabelLevel, ...]] = {}
    for name in classes:
        if name not in row.classes:
            continue
        path = row.class_path(name)
        if not is_stored(path):
            looked_for.append(str(path))
            notes.append(
                Note(NoteKind.DATA, f"{name} is listed but has no group on disk; it is not annotated there", crop_id)
            )
            continue
        volume, labels[name] = open_labels(path, name)
        looked_for += volume.metadata_files()
        for text in volume.notes:
            odd.setdefault(text, []).append(name)
    notes += [Note(NoteKind.DATA, f"{', '.join(names)}: {text}", crop_id) for text, names in odd.items()]
    if not labels:
        notes.append(Note(NoteKind.DATA, "annotates none of the requested classes and is excluded", crop_id))
    raw = open_volume(row.raw_path)
    notes += [Note(NoteKind.DATA, f"{text} ({raw.path})", "raw") for text in raw.notes]  # once for all its crops
    return Crop(crop_id, row.split, raw, labels, (*looked_for, *raw.metadata_files())), notes
