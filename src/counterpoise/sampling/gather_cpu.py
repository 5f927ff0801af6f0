"""Cut patches out of the store in host memory: one compiled loop over pixels, all crops the same code.

Raw is interpolated linearly (in the plane always, along z where a section lies between two), labels take the nearest
voxel. Raw outside its block is 0. A label position outside the crop is unknown.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Self, TypeVar, cast

import numpy as np
from numba import njit

from counterpoise.sampling.patches import Patches
from counterpoise.store import StoredCrop, VoxelStore
from counterpoise.types import Vector3

__all__ = ["CropTable", "PatchArrays", "gather_patches"]

Array = np.ndarray[Any, Any]

_TIE = 1e-6
"""Nearest-neighbour ties (a position exactly between two voxels) go up, whatever the rounding of the division."""

_EDGE = 0.5 + 1e-6
"""A voxel reaches half its size beyond its centre; raw further out than that is outside."""

_ON_SECTION = 1e-3
"""A position this close to a section is on it: blending would change nothing and cost twice."""

_Function = TypeVar("_Function", bound=Callable[..., Any])
_compiled = cast("Callable[[_Function], _Function]", njit(nogil=True, cache=True))


@dataclass(frozen=True)
class CropTable:
    """Place, shape and position of every crop's blocks, as arrays the compiled loop can index.

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
        """Tabulate the crops of one split."""
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


@dataclass(frozen=True)
class _IndexMap:
    """From pixel (r, c) of each patch to a fractional voxel index: ``start + r * by_row + c * by_column`` (y, x)."""

    start: Array
    by_row: Array
    by_column: Array

    @classmethod
    def of(cls, patches: Patches, origin_nm: Array, size_nm: Array, spacing_nm: Array, shape: tuple[int, ...]) -> Self:
        """Compose patch to world and world to grid; ``origin_nm`` and ``size_nm`` are each patch's crop's (y, x)."""
        by_row = patches.orientation[:, :, 0] * spacing_nm[0]
        by_column = patches.orientation[:, :, 1] * spacing_nm[1]
        corner = patches.centre_nm - by_row * (shape[0] - 1) / 2.0 - by_column * (shape[1] - 1) / 2.0
        return cls((corner - origin_nm) / size_nm, by_row / size_nm, by_column / size_nm)


def gather_patches(
    store: VoxelStore,
    table: CropTable,
    patches: Patches,
    voxel_size_nm: Vector3,
    out: PatchArrays,
    *,
    pool: ThreadPoolExecutor | None = None,
    threads: int = 1,
) -> None:
    """Fill ``out`` with the voxels of a batch.

    Parameters
    ----------
    store : VoxelStore
        Raw and label words.
    table : CropTable
        The crops that ``patches.crop`` indexes.
    patches : Patches
        As many as ``out`` has room for.
    voxel_size_nm : (z, y, x)
        Distance between samples: sections of the stack, rows, columns.
    out : PatchArrays
        Written in place.
    pool, threads
        Where to run, and into how many parts to cut the batch; the compiled loops hold no lock.
    """
    crop, spacing, shape = patches.crop, np.array(voxel_size_nm), out.present.shape[1:]
    section_nm = table.label_origin[crop, 0] + patches.section * table.label_size[crop, 0]
    raw_z = (section_nm - table.raw_origin[crop, 0]) / table.raw_size[crop, 0]
    raw_step = spacing[0] / table.raw_size[crop, 0]
    raw = _IndexMap.of(patches, table.raw_origin[crop, 1:], table.raw_size[crop, 1:], spacing[1:], shape)
    label = _IndexMap.of(patches, table.label_origin[crop, 1:], table.label_size[crop, 1:], spacing[1:], shape)

    def part(first: int, last: int) -> None:
        _gather_raw(
            store.raw, table.raw_offset[crop], table.raw_shape[crop], raw_z, raw_step,
            raw.start, raw.by_row, raw.by_column, out.images, first, last,
        )  # fmt: skip
        _gather_labels(
            store.present, store.unknown, table.label_offset[crop], table.label_shape[crop], patches.section,
            table.known_word[crop], table.has_unknown[crop],
            label.start, label.by_row, label.by_column, out.present, out.known, first, last,
        )  # fmt: skip

    if pool is None or threads == 1:
        part(0, len(patches))
        return
    edges = [len(patches) * k // threads for k in range(threads + 1)]
    for done in [pool.submit(part, first, last) for first, last in itertools.pairwise(edges)]:
        done.result()


@_compiled
def _gather_raw(
    raw: Array,
    offset: Array,
    shape: Array,
    z_start: Array,
    z_step: Array,
    start: Array,
    by_row: Array,
    by_column: Array,
    out: Array,
    first: int,
    last: int,
) -> None:
    """Interpolate patches ``first`` to ``last``: linear in the plane, and along z where a section lies between two."""
    for b in range(first, last):
        depth, height, width = shape[b, 0], shape[b, 1], shape[b, 2]
        for s in range(out.shape[1]):
            z = z_start[b] + (s - out.shape[1] // 2) * z_step[b]
            z_inside = -_EDGE <= z <= depth - 1 + _EDGE
            z = min(max(z, 0.0), depth - 1.0)
            below = min(int(z + _ON_SECTION), depth - 1)
            part = z - below
            if part < _ON_SECTION or below + 1 >= depth:
                part = 0.0
            plane = offset[b] + below * height * width
            above = plane + (height * width if part > 0.0 else 0)
            for r in range(out.shape[2]):
                for c in range(out.shape[3]):
                    y = start[b, 0] + r * by_row[b, 0] + c * by_column[b, 0]
                    x = start[b, 1] + r * by_row[b, 1] + c * by_column[b, 1]
                    inside = -_EDGE <= y <= height - 1 + _EDGE and -_EDGE <= x <= width - 1 + _EDGE
                    if not (z_inside and inside):
                        out[b, s, r, c] = 0.0
                        continue
                    value = _bilinear(raw, plane, height, width, y, x)
                    if part > 0.0:
                        value = value * (1.0 - part) + _bilinear(raw, above, height, width, y, x) * part
                    out[b, s, r, c] = value / 255.0


@_compiled
def _bilinear(raw: Array, plane: int, height: int, width: int, y: float, x: float) -> float:
    """Interpolate one position of a section; within half a voxel of the border the border's value holds."""
    y = min(max(y, 0.0), height - 1.0)
    x = min(max(x, 0.0), width - 1.0)
    row, column = int(y), int(x)
    next_column = min(column + 1, width - 1)
    upper = plane + row * width
    lower = plane + min(row + 1, height - 1) * width
    fy, fx = y - row, x - column
    top = raw[upper + column] * (1.0 - fx) + raw[upper + next_column] * fx
    bottom = raw[lower + column] * (1.0 - fx) + raw[lower + next_column] * fx
    value: float = top * (1.0 - fy) + bottom * fy
    return value


@_compiled
def _gather_labels(
    present: Array,
    unknown: Array,
    offset: Array,
    shape: Array,
    section: Array,
    known_word: Array,
    has_unknown: Array,
    start: Array,
    by_row: Array,
    by_column: Array,
    present_out: Array,
    known_out: Array,
    first: int,
    last: int,
) -> None:
    """Take the nearest label voxel for every pixel of patches ``first`` to ``last``."""
    for b in range(first, last):
        height, width = shape[b, 1], shape[b, 2]
        plane = offset[b] + section[b] * height * width
        for r in range(present_out.shape[1]):
            for c in range(present_out.shape[2]):
                y = start[b, 0] + r * by_row[b, 0] + c * by_column[b, 0] + 0.5 + _TIE
                x = start[b, 1] + r * by_row[b, 1] + c * by_column[b, 1] + 0.5 + _TIE
                present_out[b, r, c] = 0
                known_out[b, r, c] = 0
                if 0.0 <= y < height and 0.0 <= x < width:
                    i = plane + int(y) * width + int(x)
                    present_out[b, r, c] = present[i]
                    known_out[b, r, c] = known_word[b] & ~unknown[i] if has_unknown[b] else known_word[b]
