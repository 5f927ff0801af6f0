"""The fixed list of validation tiles: the same for every arm, epoch and seed of a run.

Tiles lie inside their crop wherever it is at least as large as a tile: raw beyond it is often not there, and what a
network makes of its absence is no score. Where a crop is not a multiple of a tile, tiles overlap by equal parts, and a
pixel of an overlap counts in the tile in which it lies further from the edge.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int

from counterpoise.sampling.patches import Patches, PatchPlan, snap_nm
from counterpoise.store import VoxelStore

__all__ = ["TILES_VERSION", "TileList", "list_tiles"]

TILES_VERSION = 2
"""Lists without a version hung over their crops: scores from them are not comparable."""


@dataclass(frozen=True)
class TileList:
    """Tiles over the validation crops: un-augmented patches that together count every known voxel once.

    Of a crop with more tiles than the cap, a fixed sample is kept, so that a few giant crops do not decide.
    """

    crops: tuple[str, ...]
    patch_nm: tuple[float, float]
    patches: Patches
    cap: int
    available: tuple[int, ...]

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
    crops = tuple(crop.crop_id for crop in store.of("validate"))
    rows: list[tuple[int, int, _Span, _Span]] = []
    available = []
    for index, crop_id in enumerate(crops):
        along_y, along_x = (_spans(plan, index, axis) for axis in (1, 2))
        tiles = [(index, z, y, x) for z in _sections(plan, index) for y in along_y for x in along_x]
        available.append(len(tiles))
        if len(tiles) > cap:
            key = int.from_bytes(hashlib.sha256(crop_id.encode()).digest()[:8], "little")
            chosen = np.random.Generator(np.random.Philox(key=key)).choice(len(tiles), cap, replace=False)
            tiles = [tiles[i] for i in np.sort(chosen)]
        rows.extend(tiles)
    patches = Patches(
        crop=np.array([crop for crop, _, _, _ in rows], dtype=np.int64),
        section=np.array([section for _, section, _, _ in rows], dtype=np.int64),
        centre_nm=np.array([(y.centre_nm, x.centre_nm) for _, _, y, x in rows]).reshape(-1, 2),
        orientation=np.tile(np.eye(2), (len(rows), 1, 1)),
        counted=np.array([(y.first, y.end, x.first, x.end) for _, _, y, x in rows], dtype=np.int64).reshape(-1, 4),
    )
    return TileList(crops, plan.patch_nm, patches, cap, tuple(available))


class _Span(NamedTuple):
    """A tile along one axis: its centre, the first pixel that counts and the one after the last."""

    centre_nm: float
    first: int
    end: int


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
