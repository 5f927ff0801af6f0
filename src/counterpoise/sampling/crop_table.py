"""From a pixel of a patch to a place in the store: the crops as arrays, and affine maps to voxel indices.

Everything here is float64 NumPy over the patches of a batch; no voxel is touched. Both gathers, in host memory and in
device memory, start from these numbers, so that they read the same voxels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from counterpoise.arrays import Vector3
from counterpoise.errors import StoreError
from counterpoise.sampling.patches import Patches
from counterpoise.store import StoredCrop, VoxelStore

__all__ = ["EDGE", "NEAREST", "CropTable", "IndexMap", "PatchArrays", "PatchGeometry", "Sections"]

Array = np.ndarray[Any, Any]

_TIE = 1e-6
"""Nearest-neighbour ties (a position exactly between two voxels) go up, whatever the rounding of the division."""

NEAREST = 0.5 + _TIE
"""Added to a label position, after which the integer part is the nearest voxel."""

EDGE = 0.5 + _TIE
"""A voxel reaches half its size beyond its centre; raw further out than that is outside.

Compiled loops keep the values they were compiled with: who changes one of these must touch ``gather_cpu.py``, too.
"""

_ON_SECTION = 1e-3
"""A position this close to a section is on it: blending would change nothing and cost twice."""

_ON_GRID = 1e-7
"""A patch whose samples lie this close to voxel centres (in voxels) is copied, not interpolated."""

_STEP = 1e-9
"""How far the step from pixel to pixel may then be from one voxel: 256 of them stay far below a tie."""

_MOST_PLANE_VOXELS = 2**31 - 1
"""Places within a section are 32-bit numbers: half the memory traffic of 64-bit ones."""


@dataclass(frozen=True)
class CropTable:
    """Place, shape and position of every crop's blocks, as arrays that compiled loops can index.

    ``raw_origin``, ``raw_size``, ``label_origin``, ``label_size`` are float64 (crops, 3): centre of voxel 0 and voxel
    size in nm.
    """

    raw_offset: np.ndarray
    raw_shape: np.ndarray
    raw_origin: np.ndarray
    raw_size: np.ndarray
    label_offset: np.ndarray
    label_shape: np.ndarray
    label_origin: np.ndarray
    label_size: np.ndarray
    known_word: np.ndarray
    has_unknown: np.ndarray

    @classmethod
    def of(cls, crops: tuple[StoredCrop, ...], store: VoxelStore) -> CropTable:
        """Tabulate the crops of one split.

        Raises
        ------
        StoreError
            If a section of a crop has 2^31 voxels or more.
        """
        for crop in crops:
            for kind, grid in (("raw", crop.raw_grid), ("label", crop.label_grid)):
                if grid.shape[1] * grid.shape[2] > _MOST_PLANE_VOXELS:
                    raise StoreError(
                        f"a {kind} section of crop {crop.crop_id} is too large to sample from",
                        expected=f"at most {_MOST_PLANE_VOXELS} voxels in a section",
                        found=f"{grid.shape[1]} x {grid.shape[2]} voxels",
                        remedy="annotate smaller crops, or train at a larger voxel size",
                    )
        return cls(
            raw_offset=np.array([c.raw_offset for c in crops], dtype=np.int64),
            raw_shape=np.array([c.raw_grid.shape for c in crops], dtype=np.int64),
            raw_origin=np.array([c.raw_grid.translation_nm for c in crops], dtype=np.float64),
            raw_size=np.array([c.raw_grid.voxel_size_nm for c in crops], dtype=np.float64),
            label_offset=np.array([c.label_offset for c in crops], dtype=np.int64),
            label_shape=np.array([c.label_grid.shape for c in crops], dtype=np.int64),
            label_origin=np.array([c.label_grid.translation_nm for c in crops], dtype=np.float64),
            label_size=np.array([c.label_grid.voxel_size_nm for c in crops], dtype=np.float64),
            known_word=np.array([c.known_word for c in crops], dtype=store.present.dtype),
            has_unknown=np.array([c.has_unknown for c in crops], dtype=np.bool_),
        )


@dataclass(frozen=True)
class IndexMap:
    """From pixel (r, c) of each patch to a fractional voxel index: ``start + r * by_row + c * by_column`` (y, x).

    Parameters
    ----------
    start, by_row, by_column : float64 array, shape (batch, 2)
        In voxels of the patch's crop.
    on_grid : bool array, shape (batch,)
        Whether all samples are voxel centres, so that rows of voxels can be copied.
    """

    start: Array
    by_row: Array
    by_column: Array
    on_grid: Array

    @classmethod
    def of(
        cls, patches: Patches, origin_nm: Array, size_nm: Array, spacing_nm: Array, shape: tuple[int, ...]
    ) -> IndexMap:
        """Compose patch to world and world to grid; ``origin_nm`` and ``size_nm`` are each patch's crop's (y, x)."""
        by_row = patches.orientation[:, :, 0] * spacing_nm[0]
        by_column = patches.orientation[:, :, 1] * spacing_nm[1]
        corner = patches.centre_nm - by_row * (shape[0] - 1) / 2.0 - by_column * (shape[1] - 1) / 2.0
        start, by_row, by_column = (corner - origin_nm) / size_nm, by_row / size_nm, by_column / size_nm
        steps = np.stack([by_row, by_column], axis=1)
        whole = np.abs(np.abs(steps) - np.round(np.abs(steps))) < _STEP
        single = np.round(np.abs(steps)).sum(axis=2) == 1.0
        at_centres = np.abs(start - np.round(start)) < _ON_GRID
        return cls(start, by_row, by_column, (whole.all(axis=2) & single).all(axis=1) & at_centres.all(axis=1))


@dataclass(frozen=True)
class Sections:
    """The raw sections that each input section of each patch is made of.

    Parameters
    ----------
    below : int64 array, shape (batch, slices)
        Index of the section at or below the position; -1 where the position is outside the block.
    part : float64 array, shape (batch, slices)
        Share of the section above it; 0 where the position is on a section.
    """

    below: Array
    part: Array

    @classmethod
    def of(cls, middle: Array, step: Array, depth: Array, slices: int) -> Sections:
        """Place ``slices`` sections around ``middle``, ``step`` apart (both in voxels of the raw block)."""
        z = middle[:, None] + (np.arange(slices) - slices // 2) * step[:, None]
        top = depth[:, None] - 1
        inside = (z >= -EDGE) & (z <= top + EDGE)
        held = np.clip(z, 0.0, top)
        below = np.minimum((held + _ON_SECTION).astype(np.int64), top)
        part = held - below
        part[(part < _ON_SECTION) | (below >= top)] = 0.0
        return cls(np.where(inside, below, -1), part)


@dataclass(frozen=True)
class PatchGeometry:
    """Where the samples of a batch lie in its crops' raw and label blocks."""

    raw: IndexMap
    label: IndexMap
    sections: Sections

    @classmethod
    def of(
        cls, table: CropTable, patches: Patches, voxel_size_nm: Vector3, shape: tuple[int, ...], slices: int
    ) -> PatchGeometry:
        """Compute it for patches of ``shape`` (rows, columns) and ``slices`` sections, ``voxel_size_nm`` apart."""
        crop, spacing = patches.crop, np.array(voxel_size_nm)
        section_nm = table.label_origin[crop, 0] + patches.section * table.label_size[crop, 0]
        raw_z = (section_nm - table.raw_origin[crop, 0]) / table.raw_size[crop, 0]
        raw = IndexMap.of(patches, table.raw_origin[crop, 1:], table.raw_size[crop, 1:], spacing[1:], shape)
        label = IndexMap.of(patches, table.label_origin[crop, 1:], table.label_size[crop, 1:], spacing[1:], shape)
        sections = Sections.of(raw_z, spacing[0] / table.raw_size[crop, 0], table.raw_shape[crop, 0], slices)
        return cls(raw, label, sections)


@dataclass(frozen=True)
class PatchArrays:
    """Where gathered patches are written; reused from batch to batch.

    Parameters
    ----------
    images : float32 array, shape (batch, slices, rows, columns)
        Raw in [0, 1].
    present, known : unsigned array, shape (batch, rows, columns)
        Label words: bit c belongs to class c.
    """

    images: np.ndarray
    present: np.ndarray
    known: np.ndarray

    @classmethod
    def empty(cls, batch: int, slices: int, shape: tuple[int, int], word: np.dtype[np.generic]) -> PatchArrays:
        """Allocate for a batch."""
        return cls(
            np.empty((batch, slices, *shape), dtype=np.float32),
            np.empty((batch, *shape), dtype=word),
            np.empty((batch, *shape), dtype=word),
        )
