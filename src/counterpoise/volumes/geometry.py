"""Voxel sizes, boxes and grids in nanometres.

One rule governs everything here: the translation of a level is the position of the **centre** of voxel 0, so
voxel ``i`` covers ``[translation + (i - 1/2) size, translation + (i + 1/2) size]`` (OME-NGFF 0.4 as CellMap
writes it). Positions are rounded to 1e-6 nm and indices are rounded, never floored: 47.16 / 5.24 is
8.99999... in binary, and a floor would lose a voxel.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple

from counterpoise.arrays import Vector3

__all__ = ["Box", "Grid", "IndexBox", "LevelChoice", "choose_level", "round_nm", "voxel_volume_nm3"]

_DECIMALS_NM = 6
SAME_SIZE_TOLERANCE = 0.01
"""Voxel sizes within 1 % are the same: 5.24 nm vs 5.2 nm is a rounding of metadata, not another scale."""
_TOUCH = 1e-4
"""Share of a voxel that a box must reach into it to touch it: above what rounding to 1e-6 nm adds up to."""

Shape3 = tuple[int, int, int]


def round_nm(vector: Sequence[float]) -> Vector3:
    """Round a position or size to 1e-6 nm, so that equal places compare equal."""
    z, y, x = (round(float(v), _DECIMALS_NM) for v in vector)
    return (z, y, x)


def voxel_volume_nm3(voxel_size_nm: Vector3) -> float:
    """Multiply the three sides of a voxel."""
    return math.prod(voxel_size_nm)


@dataclass(frozen=True)
class Box:
    """A block of space between two corners, in nm (z, y, x)."""

    lower_nm: Vector3
    upper_nm: Vector3

    @property
    def size_nm(self) -> Vector3:
        """Return the length of the three sides."""
        return round_nm([upper - lower for lower, upper in zip(self.lower_nm, self.upper_nm, strict=True)])

    def grow(self, margin_nm: Vector3) -> Box:
        """Move every face outwards."""
        return Box(
            round_nm([lower - margin for lower, margin in zip(self.lower_nm, margin_nm, strict=True)]),
            round_nm([upper + margin for upper, margin in zip(self.upper_nm, margin_nm, strict=True)]),
        )

    def overlaps(self, other: Box) -> bool:
        """Tell whether the two blocks share some volume (touching faces do not count)."""
        return all(
            max(self.lower_nm[k], other.lower_nm[k]) < min(self.upper_nm[k], other.upper_nm[k]) for k in range(3)
        )


class IndexBox(NamedTuple):
    """Voxels ``start`` (inclusive) to ``stop`` (exclusive) on each axis."""

    start: Shape3
    stop: Shape3

    @property
    def shape(self) -> Shape3:
        """Return the number of voxels on each axis."""
        (z, y, x), (z_end, y_end, x_end) = self
        return (z_end - z, y_end - y, x_end - x)

    @property
    def slices(self) -> tuple[slice, slice, slice]:
        """Return the block as an index for a NumPy-like array."""
        (z, y, x), (z_end, y_end, x_end) = self
        return (slice(z, z_end), slice(y, y_end), slice(x, x_end))

    @property
    def voxels(self) -> int:
        """Return the number of voxels."""
        return math.prod(self.shape)

    def common(self, other: IndexBox) -> IndexBox:
        """Return the voxels that lie in both boxes (no voxel where they do not meet)."""
        start = [max(a, b) for a, b in zip(self.start, other.start, strict=True)]
        stop = [max(min(a, b), s) for a, b, s in zip(self.stop, other.stop, start, strict=True)]
        return IndexBox((start[0], start[1], start[2]), (stop[0], stop[1], stop[2]))

    def relative_to(self, outer: IndexBox) -> IndexBox:
        """Return this block with indices that count from the start of ``outer``."""
        z, y, x = outer.start
        return IndexBox(
            (self.start[0] - z, self.start[1] - y, self.start[2] - x),
            (self.stop[0] - z, self.stop[1] - y, self.stop[2] - x),
        )

    def within(self, outer: IndexBox) -> tuple[slice, slice, slice]:
        """Return this block as an index for an array that holds the voxels of ``outer``."""
        return self.relative_to(outer).slices


@dataclass(frozen=True)
class Grid:
    """A regular lattice of voxels in space.

    Parameters
    ----------
    shape : (z, y, x)
        Voxels on each axis.
    voxel_size_nm : (z, y, x)
        Side lengths of a voxel.
    translation_nm : (z, y, x)
        Centre of voxel (0, 0, 0).
    """

    shape: Shape3
    voxel_size_nm: Vector3
    translation_nm: Vector3

    @cached_property
    def box(self) -> Box:
        """Return the space the voxels cover, from outer face to outer face."""
        triples = list(zip(self.translation_nm, self.voxel_size_nm, self.shape, strict=True))
        return Box(round_nm([t - s / 2 for t, s, _ in triples]), round_nm([t + (n - 0.5) * s for t, s, n in triples]))

    def index_of(self, position_nm: Vector3) -> Vector3:
        """Convert a position to a fractional index: whole numbers are centres of voxels."""
        z, y, x = ((p - t) / s for p, t, s in zip(position_nm, self.translation_nm, self.voxel_size_nm, strict=True))
        return (z, y, x)

    def covering(self, box: Box) -> IndexBox:
        """Find the voxels that a box touches, cut to the grid; a touch below 1e-4 of a voxel does not count."""
        start, stop = [], []
        for k in range(3):
            edge = self.box.lower_nm[k]
            size = self.voxel_size_nm[k]
            first = math.floor((box.lower_nm[k] - edge) / size + _TOUCH)
            last = math.ceil((box.upper_nm[k] - edge) / size - _TOUCH)
            start.append(min(max(first, 0), self.shape[k]))
            stop.append(max(min(last, self.shape[k]), start[k]))
        return IndexBox((start[0], start[1], start[2]), (stop[0], stop[1], stop[2]))

    def part(self, block: IndexBox) -> Grid:
        """Return the grid of a block of this grid's voxels."""
        origin = [t + a * s for t, a, s in zip(self.translation_nm, block.start, self.voxel_size_nm, strict=True)]
        return Grid(block.shape, self.voxel_size_nm, round_nm(origin))


@dataclass(frozen=True)
class LevelChoice:
    """Which level serves a requested voxel size, and how it relates to it.

    ``coarsening`` is the largest ratio of stored to requested voxel size over the axes: 1 for the same size,
    above 1 where the level must be up-sampled.
    """

    index: int
    relation: Literal["same", "finer", "coarser"]
    coarsening: float


def choose_level(voxel_sizes_nm: Sequence[Vector3], requested_nm: Vector3) -> LevelChoice:
    """Choose the stored level to read for a requested voxel size.

    The same size within 1 % if there is one, else the coarsest level that is finer on every axis, else the level
    that must be up-sampled least.

    Parameters
    ----------
    voxel_sizes_nm : sequence of (z, y, x)
        Voxel size of each level, in the order of the metadata. Not empty.
    requested_nm : (z, y, x)
        Voxel size to train at.

    Returns
    -------
    LevelChoice
        Position in ``voxel_sizes_nm``, relation to the request, largest ratio stored / requested.
    """
    ratios = [[s / r for s, r in zip(size, requested_nm, strict=True)] for size in voxel_sizes_nm]
    deviation = [max(abs(r - 1.0) for r in row) for row in ratios]
    best = min(range(len(ratios)), key=deviation.__getitem__)
    if deviation[best] <= SAME_SIZE_TOLERANCE:
        return LevelChoice(best, "same", max(ratios[best]))
    finer = [i for i, row in enumerate(ratios) if max(row) <= 1.0 + SAME_SIZE_TOLERANCE]
    if finer:
        coarsest = max(finer, key=lambda i: math.prod(ratios[i]))
        return LevelChoice(coarsest, "finer", max(ratios[coarsest]))
    upsampled = [math.prod(max(r, 1.0) for r in row) for row in ratios]  # where the worst axes tie, the others decide
    least = min(range(len(ratios)), key=lambda i: (max(ratios[i]), upsampled[i], -math.prod(ratios[i])))
    return LevelChoice(least, "coarser", max(ratios[least]))
