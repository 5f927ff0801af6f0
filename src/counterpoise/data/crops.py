"""Crops: annotated blocks opened from a datasplit, and the levels that serve a requested voxel size."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from counterpoise.data.annotation import ClassCount, VoxelCount, count_voxels, find_unknown_code
from counterpoise.data.datasplit import CropRow, Split, read_datasplit
from counterpoise.data.geometry import Box, Grid, IndexBox, LevelChoice, choose_level, voxel_volume_nm3
from counterpoise.data.omezarr import Level, Multiscale, open_multiscale
from counterpoise.data.placement import PatchReach
from counterpoise.errors import ClassNameError, LayoutError, VoxelSizeError, suggest
from counterpoise.types import Vector3

__all__ = ["Crop", "CropSet", "FittedCrop", "LabelLevel", "fit_crop", "load_crops"]


_TRIED, _WAITING = 16, 5.0
"""Crops opened before it is decided whether to open the rest side by side, and how many times longer than computing
they must take for that: reading over a network takes ten times as long, a busy machine twice."""


@dataclass(frozen=True)
class LabelLevel:
    """One level of one class of a crop, and the stored value that means unknown in it."""

    level: Level
    unknown_code: int | None

    def count(self) -> ClassCount:
        """Count the whole array exactly, chunk by chunk."""
        present = unknown = voxels = 0
        for box, stored in self.level.decoded_chunks(self.level.whole()):
            count = self.count_missing(box.voxels) if stored is None else count_voxels(stored, self.unknown_code)
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

    ``labels`` holds the requested classes that are annotated here, each with all its levels (finest first).
    """

    crop_id: str
    split: Split
    raw: Multiscale
    labels: Mapping[str, tuple[LabelLevel, ...]]


@dataclass(frozen=True)
class CropSet:
    """The crops of a datasplit, the classes asked for, and what a reader should know about them."""

    source: Path
    classes: tuple[str, ...]
    crops: tuple[Crop, ...]
    notes: tuple[str, ...]

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
    """

    crop: Crop
    raw: Level
    raw_block: IndexBox
    grid: Grid
    labels: Mapping[str, LabelLevel]
    notes: tuple[str, ...]


def load_crops(datasplit: Path, classes: Sequence[str]) -> CropSet:
    """Open every crop of a datasplit that annotates at least one of the classes.

    Parameters
    ----------
    datasplit : Path
        The csv file.
    classes : sequence of str
        Class names, in the order in which everything downstream keeps them.

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
    rows = read_datasplit(datasplit)
    _check_class_names(classes, rows, datasplit)
    names = _crop_ids(rows)
    opened = _open_crops(rows, names, tuple(classes))
    crops = tuple(crop for crop, _ in opened if crop.labels)
    notes = [note for _, some in opened for note in some]
    annotated = {name for crop in crops for name in crop.labels}
    for name in classes:
        if name not in annotated:
            raise ClassNameError(
                f"class {name!r} is annotated nowhere",
                expected=f"a group {name} in at least one crop of {datasplit}",
                found="it is listed, but its folder is missing in every crop",
                remedy="fetch the labels of this class, or leave it out of the classes",
            )
    return CropSet(datasplit, tuple(classes), crops, tuple(notes))


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
    raw, block, raw_notes = _fit_raw(crop, grid.box, voxel_size_nm, margin_nm, max_upsampling)
    return FittedCrop(crop, raw, block, grid, labels, (*notes, *raw_notes))


def _fit_raw(
    crop: Crop, box: Box, voxel_size_nm: Vector3, margin_nm: Vector3, max_upsampling: float
) -> tuple[Level, IndexBox, list[str]]:
    notes: list[str] = []
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
        elif any(file.exists() for _, file in level.chunk_files(block)):
            fetched.append(level)
        else:
            notes.append(f"{crop.crop_id}: raw level {level.name} has no data under the crop (not fetched)")
    if not fetched:
        raise LayoutError(
            f"no raw data on disk under crop {crop.crop_id}",
            expected=f"chunks of at least one level of {crop.raw.path}",
            found="metadata of " + ", ".join(level.name for level in crop.raw.levels) + ", no chunk",
            remedy="fetch the raw data of this crop, or leave it out of the datasplit",
        )
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
    return raw, raw.grid.covering(box.grow(margin_nm)), notes


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


def _check_class_names(classes: Sequence[str], rows: Sequence[CropRow], datasplit: Path) -> None:
    known = sorted({name for row in rows for name in row.classes})
    twice = [name for name, times in Counter(classes).items() if times > 1]
    if not classes or twice:
        raise ClassNameError(
            f"class {twice[0]!r} is asked for twice" if twice else "no class is asked for",
            expected="every class once, at least one",
            found=", ".join(classes) or "an empty list",
            remedy="list each class once; " + suggest("", known),
        )
    for name in classes:
        if name not in known:
            raise ClassNameError(
                f"class {name!r} is annotated nowhere",
                expected=f"a class that {datasplit} lists for at least one crop",
                found="no line with this class",
                remedy=suggest(name, known),
            )


def _crop_ids(rows: Sequence[CropRow]) -> list[str]:
    """Name crops ``dataset/crop1``, with more of the path where that is not unique."""

    def dataset(row: CropRow) -> str:
        return next((p.stem for p in row.label_path.parents if p.suffix in {".zarr", ".n5"}), "crop")

    short = [f"{dataset(row)}/{row.label_path.name}" for row in rows]
    times = Counter(short)
    return [name if times[name] == 1 else f"{name} (line {row.line})" for name, row in zip(short, rows, strict=True)]


def _open_crops(
    rows: Sequence[CropRow], names: Sequence[str], classes: tuple[str, ...]
) -> list[tuple[Crop, list[str]]]:
    """Open crops one by one, or side by side where the first ones show that most of the time is waiting for files.

    On a disk of this machine threads would only be in each other's way; over a network they wait together.
    """
    began, computed = time.perf_counter(), time.thread_time()
    first = [_open_crop(row, name, classes=classes) for row, name in zip(rows[:_TRIED], names[:_TRIED], strict=True)]
    computed = time.thread_time() - computed
    waits = time.perf_counter() - began > _WAITING * computed
    with ThreadPoolExecutor(max_workers=8 if waits else 1) as pool:
        return first + list(pool.map(partial(_open_crop, classes=classes), rows[_TRIED:], names[_TRIED:]))


def _open_crop(row: CropRow, crop_id: str, *, classes: tuple[str, ...]) -> tuple[Crop, list[str]]:
    notes: list[str] = []
    labels: dict[str, tuple[LabelLevel, ...]] = {}
    for name in classes:
        if name not in row.classes:
            continue
        path = row.class_path(name)
        if not path.is_dir():
            notes.append(f"{crop_id}: {name} is listed but has no group on disk; it is not annotated there")
            continue
        group = open_multiscale(path)
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
    return Crop(crop_id, row.split, open_multiscale(row.raw_path), labels), notes
