"""Write volumes in the CellMap layout: OME-NGFF 0.4 multiscale groups in zarr format 2.

Axes are z, y, x throughout; a *translation* is the position in nm of the **centre** of voxel 0.
"""

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from counterpoise.phantom.zarr_v2_writer import create_array, write_array, write_block, write_metadata

__all__ = [
    "ABSENT",
    "PRESENT",
    "UNKNOWN",
    "LabelVolume",
    "MultiscaleGeometry",
    "create_group",
    "create_raw",
    "downsample_mean",
    "downsample_mode",
    "write_crop",
    "write_raw_block",
]

ABSENT, PRESENT, UNKNOWN = 0, 1, 255  # the encoding of every CellMap label array

Triple = tuple[float, float, float]
Shape = tuple[int, int, int]
Labels = npt.NDArray[np.unsignedinteger[Any]]

_DECIMALS = 6  # nm; keeps sums of binary fractions such as 2.62 + 1.31 readable


@dataclass(frozen=True)
class MultiscaleGeometry:
    """Where the voxels of a pyramid lie in the world.

    Parameters
    ----------
    voxel_size_nm : tuple of float
        Edges of a voxel of the finest level.
    translation_nm : tuple of float
        Centre of voxel 0 of the finest level.
    levels : int
        How many levels, at least 1; each is coarser than the one before by `factor`.
    factor : tuple of int
        Voxels merged along each axis from one level to the next.
    """

    voxel_size_nm: Triple
    translation_nm: Triple = (0.0, 0.0, 0.0)
    levels: int = 3
    factor: Shape = (2, 2, 2)

    def __post_init__(self) -> None:
        if not all(math.isfinite(size) and size > 0 for size in self.voxel_size_nm):
            raise ValueError(f"voxel sizes must be positive numbers of nm, found {self.voxel_size_nm}")
        if self.levels < 1:
            raise ValueError(f"a multiscale group needs at least 1 level, found {self.levels}")
        if min(self.factor) < 1:
            raise ValueError(f"down-sampling factors must be at least 1, found {self.factor}")

    def scale_nm(self, level: int) -> list[float]:
        """Return the voxel size of a level, rounded for writing."""
        sizes = zip(self.voxel_size_nm, self.factor, strict=True)
        return [round(size * factor**level, _DECIMALS) for size, factor in sizes]

    def offset_nm(self, level: int) -> list[float]:
        """Return the centre of voxel 0 of a level: `translation + (scale - finest scale) / 2`."""
        triples = zip(self.translation_nm, self.voxel_size_nm, self.factor, strict=True)
        return [round(start + size * (factor**level - 1) / 2, _DECIMALS) for start, size, factor in triples]

    def coarser(self) -> "MultiscaleGeometry":
        """Return the pyramid that begins one level later and has one level fewer."""
        (z, y, x), (z0, y0, x0) = self.scale_nm(1), self.offset_nm(1)
        return MultiscaleGeometry((z, y, x), (z0, y0, x0), self.levels - 1, self.factor)

    def attributes(self) -> dict[str, Any]:
        """Return the `multiscales` entry of `.zattrs`."""
        axes = [{"name": name, "type": "space", "unit": "nanometer"} for name in "zyx"]
        datasets = [
            {
                "path": f"s{level}",
                "coordinateTransformations": [
                    {"type": "scale", "scale": self.scale_nm(level)},
                    {"type": "translation", "translation": self.offset_nm(level)},
                ],
            }
            for level in range(self.levels)
        ]
        identity = [{"type": "scale", "scale": [1.0, 1.0, 1.0]}]
        image = {"version": "0.4", "name": "", "axes": axes, "coordinateTransformations": identity}
        return {"multiscales": [image | {"datasets": datasets}]}


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


def downsample_mode(labels: Labels, factor: Shape = (2, 2, 2)) -> Labels:
    """Merge voxels into the value most of them have; of equally frequent values the larger.

    Voxels that do not fill a whole window at the far end of an axis are left out.

    Parameters
    ----------
    labels : uint8 or uint16 array, shape (z, y, x)
    factor : tuple of int
        Window along each axis.

    Returns
    -------
    array of the same dtype, shape `labels.shape // factor`
    """
    dtype: np.dtype[np.unsignedinteger[Any]] = labels.dtype
    if not labels.any():
        return np.zeros(_coarse_shape(labels, factor), dtype)
    if labels.max() == PRESENT:
        return (2 * _window_sum(labels, factor) >= math.prod(factor)).astype(dtype)
    corners = list(_window_corners(labels, factor))
    # A vote beats another by its count, then by its value: one integer holds both.
    votes = [np.zeros(corners[0].shape, np.uint32) for _ in corners]
    for first, second in itertools.combinations(range(len(corners)), 2):
        same = corners[first] == corners[second]
        votes[first] += same
        votes[second] += same
    winner = np.zeros(corners[0].shape, np.uint32)
    for corner, count in zip(corners, votes, strict=True):
        np.maximum(winner, (count << 16) + corner, out=winner)
    return (winner & 0xFFFF).astype(dtype)


def downsample_mean(image: npt.NDArray[np.uint8], factor: Shape = (2, 2, 2)) -> npt.NDArray[np.uint8]:
    """Merge voxels into their mean, rounded half up; incomplete windows at the far end are left out.

    Parameters
    ----------
    image : uint8 array, shape (z, y, x)
    factor : tuple of int
        Window along each axis.

    Returns
    -------
    uint8 array, shape `image.shape // factor`
    """
    count = math.prod(factor)
    total = _window_sum(image, factor).astype(np.uint32)
    return ((2 * total + count) // (2 * count)).astype(np.uint8)


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
    for level in range(geometry.levels):
        level_shape = _shape_of_level(shape, geometry.factor, level)
        create_array(folder / f"s{level}", level_shape, np.dtype(np.uint8), chunk)
    return folder


def write_raw_block(folder: Path, start: Shape, block: npt.NDArray[np.uint8], geometry: MultiscaleGeometry) -> None:
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

    Raises
    ------
    ValueError
        If the block does not start and end on an edge of a voxel of the coarsest level, or leaves the volume.
    """
    for first, length, factor in zip(start, block.shape, geometry.factor, strict=True):
        step = factor ** (geometry.levels - 1)
        if first % step or length % step:
            raise ValueError(f"a block of {block.shape} at {start} does not lie on the coarsest grid (step {step})")
    for level in range(geometry.levels):
        if level:
            block = downsample_mean(block, geometry.factor)
        write_block(folder / f"s{level}", _shape_of_level(start, geometry.factor, level), block)


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
    if len(shapes) != 1 or "all" in labels:
        raise ValueError(f"crop {path} needs classes of one shape, none called 'all'; found {sorted(labels)}, {shapes}")
    annotation = _CROP_ANNOTATION | {"name": path.rsplit("/", 1)[-1], "class_names": list(labels)}
    folder = create_group(store, path, {"cellmap": {"annotation": annotation}})
    for name, volume in labels.items():
        head = {"class_name": name, "annotation_type": _annotation_type(volume.is_instance)}
        attributes = {"cellmap": {"annotation": head}} | geometry.attributes()
        create_group(store, f"{path}/{name}", attributes)
        for level_folder, values in _label_pyramid(folder / name, volume.values, geometry):
            counts = {"complement_counts": _complement_counts(values, is_instance=volume.is_instance)}
            write_array(level_folder, values, chunk, {"cellmap": {"annotation": head | counts}})
    if all_ids is not None:
        create_group(store, f"{path}/all", geometry.attributes())
        for level_folder, values in _label_pyramid(folder / "all", all_ids, geometry):
            write_array(level_folder, values, chunk)
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


def _complement_counts(values: Labels, *, is_instance: bool) -> dict[str, int]:
    """Count the voxels of one array that are absent, unknown and (semantic only) present."""
    absent = values.size - int(np.count_nonzero(values))
    can_be_unknown = values.dtype == np.uint8  # a wider array uses 255 as an ordinary id
    unknown = int(np.count_nonzero(values == UNKNOWN)) if can_be_unknown else 0
    counts = {"absent": absent, "unknown": unknown}
    return counts if is_instance else counts | {"present": values.size - absent - unknown}


def _label_pyramid(folder: Path, values: Labels, geometry: MultiscaleGeometry) -> Iterator[tuple[Path, Labels]]:
    for level in range(geometry.levels):
        if level:
            values = downsample_mode(values, geometry.factor)
        yield folder / f"s{level}", values


def _coarse_shape(volume: Labels, factor: Shape) -> Shape:
    shape = _shape_of_level((volume.shape[0], volume.shape[1], volume.shape[2]), factor, 1)
    if min(shape) < 1:
        raise ValueError(f"a volume of shape {volume.shape} is too small to be down-sampled by {factor}")
    return shape


def _window_corners(volume: Labels, factor: Shape) -> Iterator[Labels]:
    """Yield one strided view per place in the down-sampling window."""
    depth, height, width = _coarse_shape(volume, factor)
    for z, y, x in np.ndindex(factor):
        yield volume[z :: factor[0], y :: factor[1], x :: factor[2]][:depth, :height, :width]


def _window_sum(volume: Labels, factor: Shape) -> npt.NDArray[Any]:
    """Add up the voxels of each window, axis by axis."""
    fits_uint16 = volume.dtype == np.uint8 and math.prod(factor) <= np.iinfo(np.uint8).max
    total: npt.NDArray[Any] = volume.astype(np.uint16 if fits_uint16 else np.uint32)
    for axis, count in enumerate(_coarse_shape(volume, factor)):
        before, step = (slice(None),) * axis, factor[axis]
        parts = [total[*before, first::step][*before, :count] for first in range(step)]
        total = sum(parts[1:], start=parts[0])
    return total


def _shape_of_level(shape: Shape, factor: Shape, level: int) -> Shape:
    z, y, x = (length // step**level for length, step in zip(shape, factor, strict=True))
    return (z, y, x)
