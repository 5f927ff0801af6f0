"""The fixed list of validation tiles: the same for every arm, epoch and seed of a run.

Tiles lie inside their crop wherever it is at least as large as a tile: raw beyond it is often not there, and what a
network makes of its absence is no score. Where a crop is not a multiple of a tile, tiles overlap by equal parts, and a
pixel of an overlap counts in the tile in which it lies further from the edge.

Of a crop with more tiles than the cap a fixed sample is kept, in which no class loses all its positives
(:mod:`counterpoise.sampling.tile_choice`).
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Int

from counterpoise.sampling.patches import Patches, PatchPlan, snap_nm
from counterpoise.sampling.tile_choice import choose_tiles, random_order
from counterpoise.sampling.tile_words import tile_words
from counterpoise.store import StoredCrop, VoxelStore

__all__ = ["TILES_VERSION", "TileList", "list_tiles"]

TILES_VERSION = 3
"""Lists without a version hung over their crops: scores from them are not comparable. Those of version 2 could lose a
class of a crop to the cap; all others are the same lists in version 3."""


@dataclass(frozen=True)
class TileList:
    """Tiles over the validation crops: un-augmented patches that together count every known voxel once.

    Of a crop with more tiles than the cap, a fixed sample is kept, so that a few giant crops do not decide. ``lost``
    names the crops whose classes are more than the cap can serve, and those that no kept tile shows.
    """

    crops: tuple[str, ...]
    patch_nm: tuple[float, float]
    patches: Patches
    cap: int
    available: tuple[int, ...]
    lost: tuple[tuple[str, tuple[str, ...]], ...] = ()

    def document(self) -> dict[str, Any]:
        """Make the document that is saved with a run."""
        return {
            "version": TILES_VERSION,
            "hash": self.hash(),
            "cap_per_crop": self.cap,
            "patch_nm": list(self.patch_nm),
            "crops": list(self.crops),
            "tiles_available": list(self.available),
            "tiles": [
                [int(c), int(z), float(y), float(x), *part.tolist()]
                for c, z, (y, x), part in zip(
                    self.patches.crop, self.patches.section, self.patches.centre_nm, self.counted, strict=True
                )
            ],
            "columns": [
                *("crop (index into crops)", "section (label grid)", "centre y nm", "centre x nm"),
                *("first counted row", "row after the last", "first counted column", "column after the last"),
            ],
        }

    @property
    def counted(self) -> Int[np.ndarray, "tile 4"]:
        """Return the pixels of every tile that count: first row, row after the last, and the same of columns."""
        if self.patches.counted is None:
            raise ValueError("tiles say which of their pixels count")
        return self.patches.counted

    def hash(self) -> str:
        """Hash crops, positions and size of the tiles (SHA-256, first 16 digits); equal lists have equal hashes."""
        return self._hash

    @cached_property
    def _hash(self) -> str:
        content = [
            list(self.crops),
            list(self.patch_nm),
            self.patches.crop.tolist(),
            self.patches.section.tolist(),
            np.round(self.patches.centre_nm, 6).tolist(),
            self.counted.tolist(),
        ]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:16]


def list_tiles(plan: PatchPlan, store: VoxelStore, *, cap: int) -> TileList:
    """Lay tiles over the validation crops of a store.

    Parameters
    ----------
    plan : PatchPlan
        Label grids of the validation crops, voxel size and patch shape; its variation is not used.
    store : VoxelStore
        Names the crops.
    cap : int
        Most tiles per crop.

    Returns
    -------
    TileList
        Tiles in the order of crops, sections, rows, columns.
    """
    crops = store.of("validate")
    rows: list[_Row] = []
    available, lost = [], []
    for index, crop in enumerate(crops):
        along_y, along_x = (_spans(plan, index, axis) for axis in (1, 2))
        tiles = [_Row(index, z, y, x) for z in _sections(plan, index) for y in along_y for x in along_x]
        available.append(len(tiles))
        if len(tiles) > cap:
            kept, missed = _sample(plan, store, crop, tiles, cap)
            tiles = [tiles[i] for i in kept]
            if missed:
                lost.append((crop.crop_id, missed))
        rows.extend(tiles)
    names = tuple(crop.crop_id for crop in crops)
    return TileList(names, plan.patch_nm, _as_patches(rows), cap, tuple(available), tuple(lost))


class _Span(NamedTuple):
    """A tile along one axis: its centre, the first pixel that counts and the one after the last."""

    centre_nm: float
    first: int
    end: int


class _Row(NamedTuple):
    """A tile: its crop, its section, and its place along rows and columns."""

    crop: int
    section: int
    y: _Span
    x: _Span


def _as_patches(rows: Sequence[_Row]) -> Patches:
    return Patches(
        crop=np.array([row.crop for row in rows], dtype=np.int64),
        section=np.array([row.section for row in rows], dtype=np.int64),
        centre_nm=np.array([(row.y.centre_nm, row.x.centre_nm) for row in rows]).reshape(-1, 2),
        orientation=np.tile(np.eye(2), (len(rows), 1, 1)),
        counted=np.array([(r.y.first, r.y.end, r.x.first, r.x.end) for r in rows], dtype=np.int64).reshape(-1, 4),
    )


def _sample(
    plan: PatchPlan, store: VoxelStore, crop: StoredCrop, tiles: Sequence[_Row], cap: int
) -> tuple[Int[np.ndarray, " kept"], tuple[str, ...]]:
    """Choose the tiles of a crop to keep, and name the classes that none of them shows.

    All tiles are looked at only where the sample lacks a class that the crop was counted to hold.
    """
    order = random_order(crop.crop_id, len(tiles), cap)
    voxels = np.array([crop.counts[name].voxels.present if name in crop.counts else 0 for name in store.classes])
    if _shows_all(plan, store, [tiles[i] for i in order[:cap]], np.flatnonzero(voxels)):
        return np.sort(order[:cap]), ()
    holds = _holds(plan, store, tiles)
    rarest_first = sorted(np.flatnonzero(voxels).tolist(), key=lambda c: (voxels[c], store.classes[c]))
    kept = choose_tiles(holds, order, cap, rarest_first)
    missed = holds.any(0) & ~holds[kept].any(0)
    return kept, tuple(store.classes[c] for c in np.flatnonzero(missed))


def _shows_all(plan: PatchPlan, store: VoxelStore, tiles: Sequence[_Row], classes: Int[np.ndarray, " class_"]) -> bool:
    """Tell whether each of some classes is in one of the tiles; reads no more of them than that takes."""
    wanted, shown = sum(1 << int(c) for c in classes), 0
    for _, _, words in tile_words(store, _as_patches(tiles), plan.config):
        shown |= int(np.bitwise_or.reduce(words, axis=None))
        if shown & wanted == wanted:
            return True
    return not wanted


def _holds(plan: PatchPlan, store: VoxelStore, tiles: Sequence[_Row]) -> Bool[np.ndarray, "tile class_"]:
    """Tell of each tile and class whether a voxel that counts is known to be present."""
    held = np.zeros(len(tiles), store.present.dtype)
    for part, _, words in tile_words(store, _as_patches(tiles), plan.config):
        held[part] = np.bitwise_or.reduce(words.reshape(len(words), -1), axis=1)
    holds: np.ndarray = (held[:, None] >> np.arange(len(store.classes), dtype=held.dtype)) & 1 > 0
    return holds


def _spans(plan: PatchPlan, index: int, axis: int) -> list[_Span]:
    """Place tiles over a crop along an axis: as few as cover it, evenly; one in the middle if it is no larger than one.

    All tiles of a crop have their samples on one grid, so that every sample inside the crop counts once.
    """
    grid, voxel = plan.grids[index], plan.voxel_size_nm[axis]
    size, lower, extent = plan.config.patch_shape[axis - 1], grid.box.lower_nm[axis], grid.box.size_nm[axis]
    samples = math.ceil(extent / voxel - 0.5 - 1e-6)  # those whose centre lies in the crop
    if samples <= size:
        return [_Span(snap_nm(lower + extent / 2.0, grid, axis, size, voxel), 0, size)]
    first_nm = snap_nm(lower + size * voxel / 2.0, grid, axis, size, voxel)
    count = math.ceil(samples / size)
    starts = [round(k * (samples - size) / (count - 1)) for k in range(count)]
    borders = [0, *((a + size + b) // 2 for a, b in pairwise(starts)), samples]
    return [
        _Span(first_nm + start * voxel, first - start, end - start)
        for start, (first, end) in zip(starts, pairwise(borders), strict=True)
    ]


def _sections(plan: PatchPlan, index: int) -> list[int]:
    """Choose the sections a training voxel apart: every one, unless labels are stored finer along z."""
    grid = plan.grids[index]
    count = max(round(grid.box.size_nm[0] / plan.voxel_size_nm[0]), 1)
    if count >= grid.shape[0]:
        return list(range(grid.shape[0]))
    return sorted({min(int((k + 0.5) * grid.shape[0] / count), grid.shape[0] - 1) for k in range(count)})
