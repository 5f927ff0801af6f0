"""Crops: annotated blocks opened from a datasplit, and the levels that serve a requested voxel size."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from counterpoise.arrays import Vector3
from counterpoise.errors import ClassNameError, CounterpoiseError, DataError, LayoutError, VoxelSizeError, suggest
from counterpoise.files.concurrent import map_waiting
from counterpoise.volumes.annotation import ClassCount, VoxelCount, count_voxels, find_unknown_code
from counterpoise.volumes.datasplit import CropRow, Split, read_datasplit
from counterpoise.volumes.geometry import Box, Grid, IndexBox, LevelChoice, choose_level, voxel_volume_nm3
from counterpoise.volumes.omezarr import Level, Multiscale, open_multiscale
from counterpoise.volumes.placement import PatchReach

__all__ = ["Crop", "CropSet", "FittedCrop", "LabelLevel", "fit_crop", "load_crops"]


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
    raw: Multiscale
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
    notes: tuple[str, ...]
    looked_for: tuple[str, ...]
    opened_ns: int

    def of(self, split: Split) -> tuple[Crop, ...]:
        """Return the crops of one split, in the order of the file."""
        return tuple(crop for crop in self.crops if crop.split == split)


@dataclass(frozen=True)
class FittedCrop:
    """A crop at the levels that serve one voxel size.

    Parameters
    ----------
    crop : Crop
        The crop itself.
    raw : Level
        Raw level to read.
    raw_block : IndexBox
        Raw voxels to keep: the crop and the margin around it, cut to the volume.
    grid : Grid
        Common grid of the crop's labels: the finest of the classes' chosen levels.
    labels : mapping
        Class name to its chosen level.
    notes : tuple of str
        What is unusual about this crop and was dealt with.
    looked_for : tuple of str
        Chunks of raw that were looked for, there or not, to learn which levels were fetched.
    """

    crop: Crop
    raw: Level
    raw_block: IndexBox
    grid: Grid
    labels: Mapping[str, LabelLevel]
    notes: tuple[str, ...]
    looked_for: tuple[str, ...]


def load_crops(
    datasplit: Path,
    classes: Sequence[str],
    *,
    allow_overlap: bool = False,
    on_fault: Callable[[CounterpoiseError], object] | None = None,
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

    rows = read_datasplit(datasplit, allow_overlap=allow_overlap, on_fault=tell if on_fault else None)
    usable = tuple(dict.fromkeys(classes))
    if not faults:
        for error in _class_name_faults(classes, rows, datasplit):
            tell(error)
        known = {name for row in rows for name in row.classes}
        usable = tuple(name for name in usable if name in known)
    opened = []
    for crop, notes, fault in map_waiting(partial(_try_open, classes=usable), _named(rows)):
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
    told = tuple(note for _, notes in opened for note in notes)
    return CropSet(datasplit, usable, crops, told, tuple(looked_for), opened_ns)


def fit_crop(
    crop: Crop, voxel_size_nm: Vector3, reach: PatchReach | None = None, max_upsampling: float = 4.0
) -> FittedCrop:
    """Choose the levels of a crop for a voxel size, and the raw voxels that go with it.

    Parameters
    ----------
    crop : Crop
        The crop.
    voxel_size_nm : (z, y, x)
        Voxel size to train at.
    reach : PatchReach, optional
        The patches that will be cut: raw is kept as far beyond the crop as they reach. None keeps the crop alone.
    max_upsampling : float
        How many times coarser than requested a level may be on any axis.

    Returns
    -------
    FittedCrop
        Levels, raw block and notes. Raw levels without a single chunk on disk under the crop (a partial
        download) are passed over, with a note.

    Raises
    ------
    VoxelSizeError
        If raw or a class is stored more than ``max_upsampling`` times coarser than requested.
    LayoutError
        If the crop lies outside its raw volume, or none of the raw under it is on disk.
    """
    notes: list[str] = []
    labels: dict[str, LabelLevel] = {}
    for name, levels in crop.labels.items():
        sizes = [entry.level.grid.voxel_size_nm for entry in levels]
        choice = _choose(sizes, voxel_size_nm, max_upsampling, f"crop {crop.crop_id}, class {name},")
        labels[name] = levels[choice.index]
        if choice.relation == "coarser":
            notes.append(
                f"{crop.crop_id}: {name} is stored at {_size(sizes[choice.index])} nm only, coarser than requested"
            )
    grids = [entry.level.grid for entry in labels.values()]
    grid = min(grids, key=lambda g: voxel_volume_nm3(g.voxel_size_nm))
    if any(other.box != grid.box for other in grids):
        notes.append(f"{crop.crop_id}: its classes cover different blocks; outside its own block a class is unknown")
    margin_nm = reach.margin_nm(grid.box.size_nm) if reach else (0.0, 0.0, 0.0)
    fetched, looked_for, raw_notes = _fetched_levels(crop, grid.box)
    raw = _choose_raw(crop, fetched, voxel_size_nm, max_upsampling, raw_notes)
    block = raw.grid.covering(grid.box.grow(margin_nm))
    return FittedCrop(crop, raw, block, grid, labels, (*notes, *raw_notes), tuple(looked_for))


def _fetched_levels(crop: Crop, box: Box) -> tuple[list[Level], list[str], list[str]]:
    """Find the raw levels of which something is on disk under the crop; say also where was looked, and what is not."""
    notes: list[str] = []
    looked_for: list[str] = []
    fetched: list[Level] = []
    volume = crop.raw.levels[0].grid
    if volume.covering(box).voxels == 0:
        raise LayoutError(
            f"crop {crop.crop_id} lies outside its raw volume",
            expected=f"a block inside {volume.box.lower_nm} to {volume.box.upper_nm} nm",
            found=f"{box.lower_nm} to {box.upper_nm} nm (z, y, x)",
            remedy="check that the datasplit pairs this crop with the right raw group",
        )
    for level in crop.raw.levels:
        block = level.grid.covering(box)
        if block.voxels == 0:  # down-sampling drops an odd last plane: a thin crop may lie in it
            notes.append(f"{crop.crop_id}: raw level {level.name} does not reach the crop")
            continue
        for _, file in level.chunk_paths(block):
            looked_for.append(file)
            if os.path.exists(file):  # noqa: PTH110 - a level that was not fetched may have very many
                fetched.append(level)
                break
        else:
            notes.append(f"{crop.crop_id}: raw level {level.name} has no data under the crop (not fetched)")
    if not fetched:
        raise LayoutError(
            f"no raw data on disk under crop {crop.crop_id}",
            expected=f"chunks of at least one level of {crop.raw.path}",
            found="metadata of " + ", ".join(level.name for level in crop.raw.levels) + ", no chunk",
            remedy="fetch the raw data of this crop, or leave it out of the datasplit",
        )
    return fetched, looked_for, notes


def _choose_raw(
    crop: Crop, fetched: Sequence[Level], voxel_size_nm: Vector3, max_upsampling: float, notes: list[str]
) -> Level:
    """Choose the raw level to read; add to the notes if it is coarser than requested."""
    sizes = [level.grid.voxel_size_nm for level in fetched]
    choice = _choose(sizes, voxel_size_nm, max_upsampling, f"raw under crop {crop.crop_id}")
    raw = fetched[choice.index]
    if raw.dtype != "uint8":
        raise LayoutError(
            f"raw level {raw.path} is not 8-bit",
            expected="uint8 (CellMap's em/fibsem-uint8)",
            found=str(raw.dtype),
            remedy="point the datasplit at the uint8 group, or convert the volume",
        )
    if choice.relation == "coarser":
        notes.append(
            f"{crop.crop_id}: raw is available at {_size(raw.grid.voxel_size_nm)} nm only, coarser than requested"
        )
    return raw


def _choose(sizes: list[Vector3], requested: Vector3, max_upsampling: float, what: str) -> LevelChoice:
    choice = choose_level(sizes, requested)
    if choice.coarsening > max_upsampling * 1.01:
        raise VoxelSizeError(
            f"{what} has no level near {_size(requested)} nm",
            expected=f"a level at most {max_upsampling:g} times coarser on every axis",
            found=", ".join(_size(s) for s in sizes) + " nm (z, y, x)",
            remedy=f"raise data.max_upsampling above {choice.coarsening:.2f}, ask for a larger voxel size, "
            "or leave the crop out of the datasplit",
        )
    return choice


def _size(size: Vector3) -> str:
    return "(" + ", ".join(f"{s:g}" for s in size) + ")"


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


def _named(rows: Sequence[CropRow]) -> list[tuple[CropRow, str]]:
    """Name crops ``dataset/crop1``, with more of the path where that is not unique."""

    def dataset(row: CropRow) -> str:
        return next((p.stem for p in row.label_path.parents if p.suffix in {".zarr", ".n5"}), "crop")

    short = [f"{dataset(row)}/{row.label_path.name}" for row in rows]
    times = Counter(short)
    return [
        (row, name if times[name] == 1 else f"{name} (line {row.line})") for name, row in zip(short, rows, strict=True)
    ]


_Opened = tuple[Crop | None, list[str], DataError | None]
"""A crop and what to know about it, or why it cannot be used."""


def _try_open(named: tuple[CropRow, str], *, classes: tuple[str, ...]) -> _Opened:
    try:
        return *_open_crop(*named, classes=classes), None
    except DataError as error:
        return None, [], error


def _open_crop(row: CropRow, crop_id: str, *, classes: tuple[str, ...]) -> tuple[Crop, list[str]]:
    notes: list[str] = []
    looked_for: list[str] = []
    labels: dict[str, tuple[LabelLevel, ...]] = {}
    for name in classes:
        if name not in row.classes:
            continue
        path = row.class_path(name)
        if not path.is_dir():
            looked_for.append(str(path))
            notes.append(f"{crop_id}: {name} is listed but has no group on disk; it is not annotated there")
            continue
        group = open_multiscale(path)
        looked_for += group.metadata_files()
        for level in group.levels:
            if level.dtype.kind not in "ui":
                raise LayoutError(
                    f"label level {level.path} does not hold whole numbers",
                    expected="an unsigned integer type (uint8, or wider for many instances)",
                    found=str(level.dtype),
                    remedy="store labels as integers",
                )
        labels[name] = tuple(
            LabelLevel(level, find_unknown_code(name, group.attributes, level.attributes)) for level in group.levels
        )
    if not labels:
        notes.append(f"{crop_id}: annotates none of the requested classes and is left out")
    raw = open_multiscale(row.raw_path)
    return Crop(crop_id, row.split, raw, labels, (*looked_for, *raw.metadata_files())), notes
