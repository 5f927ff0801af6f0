"""Write volumes in the CellMap layout: OME-NGFF 0.4 multiscale groups in zarr format 2.

Axes are z, y, x throughout; a *translation* is the position in nm of the **centre** of voxel 0.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from counterpoise.writing.levels import (
    Labels,
    MultiscaleGeometry,
    Shape,
    downsample_mean,
    downsample_mode,
    shape_of_level,
)
from counterpoise.writing.zarr_v2 import create_array, write_block, write_metadata

__all__ = [
    "ABSENT",
    "PRESENT",
    "UNKNOWN",
    "LabelVolume",
    "LabelWriter",
    "create_crop",
    "create_group",
    "create_raw",
    "write_crop",
    "write_raw_block",
]

ABSENT, PRESENT, UNKNOWN = 0, 1, 255  # the encoding of every CellMap label array

ALL = "all"  # the pseudo class that holds every label in one array


@dataclass(frozen=True)
class LabelVolume:
    """The annotation of one class in one crop, at the finest level.

    Parameters
    ----------
    values : uint8 or uint16 array, shape (z, y, x)
        Semantic: 0 absent, 1 present, 255 unknown, always uint8. Instance: 0 absent, else the object's id;
        255 is unknown in a uint8 array, an ordinary id in a uint16 array (which can't hold unknown voxels).
    is_instance : bool
        Whether values are ids of objects.
    """

    values: Labels
    is_instance: bool = False

    def __post_init__(self) -> None:
        if self.values.ndim != len("zyx") or self.values.size == 0:
            raise ValueError(f"labels need three non-empty axes (z, y, x), found shape {self.values.shape}")
        allowed = (np.uint8, np.uint16) if self.is_instance else (np.uint8,)
        if self.values.dtype.type not in allowed:
            kind = "instance" if self.is_instance else "semantic"
            names = " or ".join(np.dtype(dtype).name for dtype in allowed)
            raise ValueError(f"{kind} labels must be {names}, found {self.values.dtype}")


def create_group(store: Path, path: str = "", attributes: Mapping[str, Any] | None = None) -> Path:
    """Make a group and every group above it, up to the root of the store.

    Parameters
    ----------
    store : Path
        Root of the zarr store.
    path : str
        Group inside the store, separated by `/`; empty for the root.
    attributes : mapping, optional
        Written as the group's `.zattrs`.

    Returns
    -------
    Path
        Folder of the group.
    """
    folder = store
    for part in ("", *filter(None, path.split("/"))):
        folder = folder / part
        if not (folder / ".zgroup").exists():
            folder.mkdir(parents=True, exist_ok=True)
            write_metadata(folder / ".zgroup", {"zarr_format": 2})
    if attributes is not None:
        write_metadata(folder / ".zattrs", attributes)
    return folder


def create_raw(
    store: Path, path: str, shape: Shape, geometry: MultiscaleGeometry, *, chunk: Shape = (64, 64, 64)
) -> Path:
    """Declare a raw pyramid (uint8) of which no chunk exists yet.

    Parameters
    ----------
    store, path
        Store and group, for instance `recon-1/em/fibsem-uint8`.
    shape : tuple of int
        Voxels of the finest level (z, y, x).
    geometry : MultiscaleGeometry
        Voxel size, position and number of levels.
    chunk : tuple of int
        Voxels per chunk, the same at every level.

    Returns
    -------
    Path
        Folder of the group.
    """
    folder = create_group(store, path, geometry.attributes())
    _create_levels(folder, shape, np.dtype(np.uint8), chunk, geometry)
    return folder


def write_raw_block(
    folder: Path,
    start: Shape,
    block: npt.NDArray[np.uint8],
    geometry: MultiscaleGeometry,
    *,
    keep_zeros: bool = False,
) -> None:
    """Write part of a raw volume and the same part of all coarser levels, which are means rounded half up.

    Parameters
    ----------
    folder : Path
        What `create_raw` returned.
    start : tuple of int
        First voxel of the block at the finest level.
    block : uint8 array, shape (z, y, x)
    geometry : MultiscaleGeometry
        As given to `create_raw`.
    keep_zeros : bool
        Whether chunks that are all zero are stored, too: what is not stored counts as not fetched.

    Raises
    ------
    ValueError
        If the block does not start on an edge of a voxel of the coarsest level, ends neither on one nor at the
        volume's end, or leaves the volume.
    """
    _write_levels(folder, start, block, geometry, downsample_mean, keep_zeros=keep_zeros)


@dataclass
class LabelWriter:
    """Write the annotation of one class in one crop, block by block.

    Coarser levels hold the most frequent value of each window. When all is written, :meth:`finish` states how many
    voxels of every array are absent and unknown (and present, where the class is semantic).

    Parameters
    ----------
    crop : Path
        What `create_crop` returned.
    class_name : str
        The class, or `all`, whose group says nothing about annotation.
    shape : tuple of int
        Voxels of the finest level (z, y, x).
    dtype : dtype
        uint8, or uint16 for ids of objects.
    geometry : MultiscaleGeometry
        Voxel size, position and number of levels.
    is_instance : bool
        Whether values are ids of objects.
    holds_unknown : bool, optional
        Whether 255 is unknown; in a uint8 array it always is. In a wider one of ids it is an ordinary id unless said.
    chunk : tuple of int
        Voxels per chunk; where the array is smaller, the array is one chunk along that axis.
    """

    crop: Path
    class_name: str
    shape: Shape
    dtype: npt.DTypeLike
    geometry: MultiscaleGeometry
    is_instance: bool = False
    holds_unknown: bool = False
    chunk: Shape = (128, 128, 128)
    _absent: list[int] = field(init=False)
    _unknown: list[int] = field(init=False)

    def __post_init__(self) -> None:
        dtype = np.dtype(self.dtype)
        self.holds_unknown |= dtype == np.uint8
        self._absent, self._unknown = ([0] * self.geometry.levels for _ in range(2))
        attributes = {} if self.class_name == ALL else {"cellmap": {"annotation": self._head()}}
        folder = self.crop / self.class_name
        folder.mkdir()
        write_metadata(folder / ".zgroup", {"zarr_format": 2})
        write_metadata(folder / ".zattrs", attributes | self.geometry.attributes())
        _create_levels(folder, self.shape, dtype, self.chunk, self.geometry, fit=True)

    def write(self, start: Shape, block: Labels) -> None:
        """Write a block and the same part of all coarser levels.

        Raises
        ------
        ValueError
            As `write_raw_block`.
        """
        written = _write_levels(self.crop / self.class_name, start, block, self.geometry, downsample_mode)
        for level, values in enumerate(written):
            self._absent[level] += values.size - int(np.count_nonzero(values))
            if self.holds_unknown:
                self._unknown[level] += int(np.count_nonzero(values == UNKNOWN))

    def finish(self) -> None:
        """State the counts: every voxel was written once."""
        for level, (absent, unknown) in enumerate(zip(self._absent, self._unknown, strict=True)):
            counts = {"absent": absent, "unknown": unknown}
            if not self.is_instance:
                voxels = int(np.prod(shape_of_level(self.shape, self.geometry.factor, level)))
                counts["present"] = voxels - absent - unknown
            annotation = self._head() | {"complement_counts": counts}
            write_metadata(
                self.crop / self.class_name / f"s{level}" / ".zattrs", {"cellmap": {"annotation": annotation}}
            )

    def _head(self) -> dict[str, Any]:
        return {"class_name": self.class_name, "annotation_type": _annotation_type(self.is_instance)}


def create_crop(store: Path, path: str, class_names: Sequence[str]) -> Path:
    """Make the group of an annotated crop, which names its classes."""
    annotation = _CROP_ANNOTATION | {"name": path.rsplit("/", 1)[-1], "class_names": list(class_names)}
    return create_group(store, path, {"cellmap": {"annotation": annotation}})


def write_crop(
    store: Path,
    path: str,
    labels: Mapping[str, LabelVolume],
    geometry: MultiscaleGeometry,
    *,
    chunk: Shape = (128, 128, 128),
    all_ids: Labels | None = None,
) -> Path:
    """Write an annotated crop: one multiscale group per class.

    Coarser levels hold the most frequent value of each window. Every array states how many of its voxels are
    absent and unknown (and present, where the class is semantic).

    Parameters
    ----------
    store, path
        Store and group of the crop, for instance `recon-1/labels/groundtruth/crop7`.
    labels : mapping of str to LabelVolume
        The annotated classes; all volumes have the same shape.
    geometry : MultiscaleGeometry
        Voxel size, position and number of levels.
    chunk : tuple of int
        Voxels per chunk; where the array is smaller, the array is one chunk along that axis.
    all_ids : uint8 or uint16 array, shape (z, y, x), optional
        Most granular class id of each voxel, written as the pseudo class `all`.

    Returns
    -------
    Path
        Folder of the crop.

    Raises
    ------
    ValueError
        If there are no labels, shapes differ, or a class is called `all`.
    """
    shapes = {volume.values.shape for volume in labels.values()}
    if all_ids is not None:
        shapes.add(all_ids.shape)
    if len(shapes) != 1 or ALL in labels:
        raise ValueError(f"crop {path} needs classes of one shape, none called 'all'; found {sorted(labels)}, {shapes}")
    folder = create_crop(store, path, list(labels))
    for name, volume in labels.items():
        values = volume.values
        shape = (values.shape[0], values.shape[1], values.shape[2])
        writer = LabelWriter(folder, name, shape, values.dtype, geometry, volume.is_instance, chunk=chunk)
        writer.write((0, 0, 0), values)
        writer.finish()
    if all_ids is not None:
        shape = (all_ids.shape[0], all_ids.shape[1], all_ids.shape[2])
        LabelWriter(folder, ALL, shape, all_ids.dtype, geometry, chunk=chunk).write((0, 0, 0), all_ids)
    return folder


_CROP_ANNOTATION: dict[str, Any] = {
    "version": "0.1.1",
    "description": None,
    "created_by": [],
    "created_with": [],
    "start_date": None,
    "end_date": None,
    "duration_days": None,
    "protocol_uri": None,
}


def _annotation_type(is_instance: bool) -> dict[str, Any]:
    if is_instance:
        return {"type": "instance_segmentation", "encoding": {"absent": ABSENT, "unknown": UNKNOWN}}
    encoding = {"absent": ABSENT, "present": PRESENT, "unknown": UNKNOWN}
    return {"type": "semantic_segmentation", "encoding": encoding}


def _create_levels(
    folder: Path, shape: Shape, dtype: np.dtype[Any], chunk: Shape, geometry: MultiscaleGeometry, *, fit: bool = False
) -> None:
    """Declare the arrays of all levels; ``fit`` cuts chunks to arrays that are smaller."""
    for level in range(geometry.levels):
        level_shape = shape_of_level(shape, geometry.factor, level)
        if min(level_shape) < 1:
            raise ValueError(f"a volume of shape {shape} is too small for {geometry.levels} levels")
        z, y, x = map(min, chunk, level_shape) if fit else chunk
        create_array(folder / f"s{level}", level_shape, dtype, (z, y, x))


def _write_levels(
    folder: Path,
    start: Shape,
    block: Labels,
    geometry: MultiscaleGeometry,
    downsample: Callable[[Any, Shape], Any],
    *,
    keep_zeros: bool = False,
) -> list[Labels]:
    """Write part of a volume and the same part of all coarser levels; return what was written, level by level."""
    whole = json.loads((folder / "s0" / ".zarray").read_text(encoding="utf-8"))["shape"]
    for first, length, factor, end in zip(start, block.shape, geometry.factor, whole, strict=True):
        step = factor ** (geometry.levels - 1)
        if first % step or (length % step and first + length != end):
            raise ValueError(f"a block of {block.shape} at {start} does not lie on the coarsest grid (step {step})")
    written = []
    for level in range(geometry.levels):
        if level:
            if any(length < factor for length, factor in zip(block.shape, geometry.factor, strict=True)):
                break  # the rest at the volume's end fills no window
            block = downsample(block, geometry.factor)
        write_block(folder / f"s{level}", shape_of_level(start, geometry.factor, level), block, keep_zeros=keep_zeros)
        written.append(block)
    return written
