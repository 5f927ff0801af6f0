"""The fixed list of validation tiles: the same for every arm, epoch and seed of a run."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from counterpoise.sampling.patches import Patches, PatchPlan, snap_nm
from counterpoise.store import VoxelStore

__all__ = ["TileList", "list_tiles"]


@dataclass(frozen=True)
class TileList:
    """Tiles over the validation crops: un-augmented patches that together cover every known voxel once.

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
            "hash": self.hash(),
            "cap_per_crop": self.cap,
            "patch_nm": list(self.patch_nm),
            "crops": list(self.crops),
            "tiles_available": list(self.available),
            "tiles": [
                [int(c), int(z), float(y), float(x)]
                for c, z, (y, x) in zip(self.patches.crop, self.patches.section, self.patches.centre_nm, strict=True)
            ],
            "columns": ["crop (index into crops)", "section (label grid)", "centre y nm", "centre x nm"],
        }

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
    rows: list[tuple[int, int, float, float]] = []
    available = []
    for index, crop_id in enumerate(crops):
        centres = [_centres(plan, index, axis) for axis in (1, 2)]
        sections = _sections(plan, index)
        tiles = [(index, z, y, x) for z in sections for y in centres[0] for x in centres[1]]
        available.append(len(tiles))
        if len(tiles) > cap:
            key = int.from_bytes(hashlib.sha256(crop_id.encode()).digest()[:8], "little")
            chosen = np.random.Generator(np.random.Philox(key=key)).choice(len(tiles), cap, replace=False)
            tiles = [tiles[i] for i in np.sort(chosen)]
        rows.extend(tiles)
    table = np.array(rows, dtype=np.float64).reshape(-1, 4)
    patches = Patches(
        crop=table[:, 0].astype(np.int64),
        section=table[:, 1].astype(np.int64),
        centre_nm=table[:, 2:],
        orientation=np.tile(np.eye(2), (len(rows), 1, 1)),
    )
    return TileList(crops, plan.patch_nm, patches, cap, tuple(available))


def _centres(plan: PatchPlan, index: int, axis: int) -> list[float]:
    """Place adjacent tiles from the crop's lower face; one in the middle if the crop is no larger than a tile."""
    grid, voxel = plan.grids[index], plan.voxel_size_nm[axis]
    samples = plan.config.patch_shape[axis - 1]
    lower, extent, length = grid.box.lower_nm[axis], grid.box.size_nm[axis], samples * voxel
    count = max(math.ceil(extent / length - 1e-6), 1)
    if count == 1:
        return [snap_nm(lower + extent / 2.0, grid, axis, samples, voxel)]
    return [snap_nm(lower + (k + 0.5) * length, grid, axis, samples, voxel) for k in range(count)]


def _sections(plan: PatchPlan, index: int) -> list[int]:
    """Choose the sections a training voxel apart: every one, unless labels are stored finer along z."""
    grid = plan.grids[index]
    count = max(round(grid.box.size_nm[0] / plan.voxel_size_nm[0]), 1)
    if count >= grid.shape[0]:
        return list(range(grid.shape[0]))
    return sorted({min(int((k + 0.5) * grid.shape[0] / count), grid.shape[0] - 1) for k in range(count)})
