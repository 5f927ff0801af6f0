"""Cut patches out of the store in host memory: one compiled loop over pixels, all crops the same code.

Raw is interpolated linearly (in the plane always, along z where a section lies between two), labels take the nearest
voxel. Raw outside its block is 0. A label position outside the crop is unknown.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numba import njit

from counterpoise.sampling.patches import Patches
from counterpoise.store import StoredCrop, VoxelStore
from counterpoise.types import Vector3

__all__ = ["CropTable", "PatchArrays", "gather_patches"]

_TIE = 1e-6
"""Nearest-neighbour ties (a position exactly between two voxels) go up, whatever the rounding of the division."""


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
    def empty(
        cls, batch: int, slices: int, shape: tuple[int, int], word: np.dtype[np.generic]
    ) -> PatchArrays:
        """Allocate for a batch."""
        return cls(
            np.empty((batch, slices, *shape), dtype=np.float32),
            np.empty((batch, *shape), dtype=word),
            np.empty((batch, *shape), dtype=word),
        )


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
        Where to run, and into how many parts to cut the batch; the compiled loop holds no lock.
    """
    z_nm = (
        table.label_origin[patches.crop, 0] + patches.section * table.label_size[patches.crop, 0]
    )
    centre = np.concatenate([z_nm[:, None], patches.centre_nm], axis=1)
    size = np.array(voxel_size_nm)
    arguments = (
        store.raw, store.present, store.unknown,
        table.raw_offset, table.raw_shape, table.raw_origin, table.raw_size,
        table.label_offset, table.label_shape, table.label_origin, table.label_size,
        table.known_word, table.has_unknown,
        patches.crop, patches.section, centre, patches.orientation, size,
        out.images, out.present, out.known,
    )  # fmt: skip
    count = len(patches)
    if pool is None or threads == 1:
        _gather(*arguments, 0, count)
        return
    edges = [count * k // threads for k in range(threads + 1)]
    for done in [pool.submit(_gather, *arguments, a, b) for a, b in zip(edges, edges[1:], strict=False)]:
        done.result()


@njit(nogil=True, cache=True)  # type: ignore[untyped-decorator]
def _gather(
    raw, present, unknown,
    raw_offset, raw_shape, raw_origin, raw_size,
    label_offset, label_shape, label_origin, label_size,
    known_word, has_unknown,
    crop, section, centre, orientation, size,
    images, present_out, known_out,
    first, last,
):  # type: ignore[no-untyped-def] # fmt: skip # noqa: ANN001, ANN202
    slices, rows, columns = images.shape[1], images.shape[2], images.shape[3]
    for b in range(first, last):
        k = crop[b]
        # Index of pixel (r, c): start + r * by_row + c * by_column, on the raw and on the label grid.
        row_y, row_x = orientation[b, 0, 0] * size[1], orientation[b, 1, 0] * size[1]
        col_y, col_x = orientation[b, 0, 1] * size[2], orientation[b, 1, 1] * size[2]
        start_y = centre[b, 1] - row_y * (rows - 1) / 2.0 - col_y * (columns - 1) / 2.0
        start_x = centre[b, 2] - row_x * (rows - 1) / 2.0 - col_x * (columns - 1) / 2.0

        depth, height, width = raw_shape[k, 0], raw_shape[k, 1], raw_shape[k, 2]
        y0, x0 = (start_y - raw_origin[k, 1]) / raw_size[k, 1], (start_x - raw_origin[k, 2]) / raw_size[k, 2]
        y_row, y_col = row_y / raw_size[k, 1], col_y / raw_size[k, 1]
        x_row, x_col = row_x / raw_size[k, 2], col_x / raw_size[k, 2]
        for s in range(slices):
            z = (centre[b, 0] + (s - slices // 2) * size[0] - raw_origin[k, 0]) / raw_size[k, 0]
            inside = -0.5 - 1e-6 <= z <= depth - 0.5 + 1e-6
            z = min(max(z, 0.0), depth - 1.0)
            below = min(int(z + 1e-3), depth - 1)
            part = z - below
            blend = part > 1e-3 and below + 1 < depth
            plane = raw_offset[k] + below * height * width
            for r in range(rows):
                for c in range(columns):
                    y = y0 + r * y_row + c * y_col
                    x = x0 + r * x_row + c * x_col
                    value = 0.0
                    if inside and -0.5 - 1e-6 <= y <= height - 0.5 + 1e-6 and -0.5 - 1e-6 <= x <= width - 0.5 + 1e-6:
                        y = min(max(y, 0.0), height - 1.0)
                        x = min(max(x, 0.0), width - 1.0)
                        iy, ix = int(y), int(x)
                        ny, nx = min(iy + 1, height - 1), min(ix + 1, width - 1)
                        fy, fx = y - iy, x - ix
                        a = plane + iy * width
                        d = plane + ny * width
                        upper = raw[a + ix] * (1.0 - fx) + raw[a + nx] * fx
                        lower = raw[d + ix] * (1.0 - fx) + raw[d + nx] * fx
                        value = upper * (1.0 - fy) + lower * fy
                        if blend:
                            a += height * width
                            d += height * width
                            upper = raw[a + ix] * (1.0 - fx) + raw[a + nx] * fx
                            lower = raw[d + ix] * (1.0 - fx) + raw[d + nx] * fx
                            value = value * (1.0 - part) + (upper * (1.0 - fy) + lower * fy) * part
                    images[b, s, r, c] = value / 255.0

        height, width = label_shape[k, 1], label_shape[k, 2]
        y0 = (start_y - label_origin[k, 1]) / label_size[k, 1] + 0.5 + _TIE
        x0 = (start_x - label_origin[k, 2]) / label_size[k, 2] + 0.5 + _TIE
        y_row, y_col = row_y / label_size[k, 1], col_y / label_size[k, 1]
        x_row, x_col = row_x / label_size[k, 2], col_x / label_size[k, 2]
        plane = label_offset[k] + section[b] * height * width
        for r in range(rows):
            for c in range(columns):
                y = y0 + r * y_row + c * y_col
                x = x0 + r * x_row + c * x_col
                if 0.0 <= y < height and 0.0 <= x < width:
                    i = plane + int(y) * width + int(x)
                    present_out[b, r, c] = present[i]
                    if has_unknown[k]:
                        known_out[b, r, c] = known_word[k] & ~unknown[i]
                    else:
                        known_out[b, r, c] = known_word[k]
                else:
                    present_out[b, r, c] = 0
                    known_out[b, r, c] = 0
