"""The levels of a volume: where their voxels lie, and how coarser ones are made.

Axes are z, y, x throughout; a *translation* is the position in nm of the **centre** of voxel 0.
"""

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Labels", "MultiscaleGeometry", "Shape", "downsample_mean", "downsample_mode", "shape_of_level"]

PRESENT = 1

Triple = tuple[float, float, float]
Shape = tuple[int, int, int]
Labels = npt.NDArray[np.unsignedinteger[Any]]

_Volume = npt.NDArray[Any]

_BAR_VOXELS = 1 << 21
"""Voxels that are merged at once."""

_POWERS_OF_2 = frozenset({1, 2, 4, 8, 16, 32, 64})

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
    return _in_bars(_mode, labels, factor)


def _mode(labels: npt.NDArray[Any], factor: Shape) -> npt.NDArray[Any]:
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
    return _in_bars(_mean, image, factor)


def _mean(image: npt.NDArray[Any], factor: Shape) -> npt.NDArray[Any]:
    count = math.prod(factor)
    total = _window_sum(image, factor)
    if count in _POWERS_OF_2 and total.dtype == np.uint16:  # a shift is several times faster than a division
        total += count // 2
        return (total >> (count.bit_length() - 1)).astype(np.uint8)
    return ((2 * total.astype(np.uint32) + count) // (2 * count)).astype(np.uint8)


def _in_bars(merge: Callable[[_Volume, Shape], _Volume], volume: _Volume, factor: Shape) -> _Volume:
    """Merge a few layers at a time: what merging needs in memory does not grow with the volume."""
    _coarse_shape(volume, factor)
    layers = max(_BAR_VOXELS // (math.prod(volume.shape[1:]) * factor[0]), 1) * factor[0]
    depth = volume.shape[0] // factor[0] * factor[0]
    return np.concatenate([merge(volume[z : min(z + layers, depth)], factor) for z in range(0, depth, layers)])


def _coarse_shape(volume: Labels, factor: Shape) -> Shape:
    shape = shape_of_level((volume.shape[0], volume.shape[1], volume.shape[2]), factor, 1)
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


def shape_of_level(shape: Shape, factor: Shape, level: int) -> Shape:
    """Return the voxels of a level (or, of a first voxel, its place there)."""
    z, y, x = (length // step**level for length, step in zip(shape, factor, strict=True))
    return (z, y, x)
