"""The levels of a crop that serve a requested voxel size, and the raw voxels that go with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from counterpoise.arrays import Vector3
from counterpoise.errors import LayoutError, VoxelSizeError
from counterpoise.notes import Note, NoteKind
from counterpoise.volumes.crops import Crop
from counterpoise.volumes.geometry import Box, Grid, IndexBox, LevelChoice, choose_level, voxel_volume_nm3
from counterpoise.volumes.labels import LabelLevel
from counterpoise.volumes.placement import PatchReach
from counterpoise.volumes.places import is_there
from counterpoise.volumes.volume import Level

__all__ = ["FittedCrop", "fit_crop"]

_MOST_BYTES = 2
"""Of a raw voxel. A window is found by counting every value there can be."""


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
    notes : tuple of Note
        What is unusual about this crop and was dealt with.
    looked_for : tuple of str
        Chunks of raw that were looked for, there or not, to learn which levels were fetched.
    """

    crop: Crop
    raw: Level
    raw_block: IndexBox
    grid: Grid
    labels: Mapping[str, LabelLevel]
    notes: tuple[Note, ...]
    looked_for: tuple[str, ...]


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
        download) are skipped, with a note.

    Raises
    ------
    VoxelSizeError
        If raw or a class is stored more than ``max_upsampling`` times coarser than requested.
    LayoutError
        If the crop lies outside its raw volume, or none of the raw under it is on disk.
    """
    notes: list[Note] = []
    labels: dict[str, LabelLevel] = {}
    for name, levels in crop.labels.items():
        sizes = [entry.level.grid.voxel_size_nm for entry in levels]
        choice = _choose(sizes, voxel_size_nm, max_upsampling, f"crop {crop.crop_id}, class {name},")
        labels[name] = levels[choice.index]
        if choice.relation == "coarser":
            notes.append(
                Note(
                    NoteKind.DATA,
                    f"{name} is stored at {_size(sizes[choice.index])} nm only, coarser than requested",
                    crop.crop_id,
                )
            )
    grids = [entry.level.grid for entry in labels.values()]
    grid = min(grids, key=lambda g: voxel_volume_nm3(g.voxel_size_nm))
    if any(other.box != grid.box for other in grids):
        notes.append(
            Note(
                NoteKind.DATA,
                "its classes cover different blocks; outside its own block a class is unknown",
                crop.crop_id,
            )
        )
    margin_nm = reach.margin_nm(grid.box.size_nm) if reach else (0.0, 0.0, 0.0)
    fetched, looked_for, raw_notes = _fetched_levels(crop, grid.box)
    raw = _choose_raw(crop, fetched, voxel_size_nm, max_upsampling, raw_notes)
    block = raw.grid.covering(grid.box.grow(margin_nm))
    return FittedCrop(crop, raw, block, grid, labels, (*notes, *raw_notes), tuple(looked_for))


def _fetched_levels(crop: Crop, box: Box) -> tuple[list[Level], list[str], list[Note]]:
    """Find the raw levels of which something is on disk under the crop; say also where was looked, and what is not."""
    notes: list[Note] = []
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
            notes.append(Note(NoteKind.DATA, f"raw level {level.name} does not reach the crop", crop.crop_id))
            continue
        for _, file in level.chunk_paths(block):
            looked_for.append(file)
            if is_there(file):
                fetched.append(level)
                break
        else:
            notes.append(
                Note(NoteKind.DATA, f"raw level {level.name} has no data under the crop (not fetched)", crop.crop_id)
            )
    if not fetched:
        raise LayoutError(
            f"no raw data on disk under crop {crop.crop_id}",
            expected=f"chunks of at least one level of {crop.raw.path}",
            found="metadata of " + ", ".join(level.name for level in crop.raw.levels) + ", no chunk",
            remedy="fetch the raw data of this crop, or leave it out of the datasplit",
        )
    return fetched, looked_for, notes


def _choose_raw(
    crop: Crop, fetched: Sequence[Level], voxel_size_nm: Vector3, max_upsampling: float, notes: list[Note]
) -> Level:
    """Choose the raw level to read; add to the notes if it is coarser than requested."""
    sizes = [level.grid.voxel_size_nm for level in fetched]
    choice = _choose(sizes, voxel_size_nm, max_upsampling, f"raw under crop {crop.crop_id}")
    raw = fetched[choice.index]
    if raw.dtype.kind not in "ui" or raw.dtype.itemsize > _MOST_BYTES:
        raise LayoutError(
            f"raw level {raw.path} has values that cannot be used",
            expected="whole numbers of 8 or 16 bits (CellMap's em/fibsem-uint8)",
            found=str(raw.dtype),
            remedy="convert the volume to 8 or 16 bits",
        )
    if choice.relation == "coarser":
        notes.append(
            Note(
                NoteKind.DATA,
                f"raw is available at {_size(raw.grid.voxel_size_nm)} nm only, coarser than requested",
                crop.crop_id,
            )
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
