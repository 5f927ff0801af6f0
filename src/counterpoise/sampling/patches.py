r"""Which patch: a crop, a position, an orientation, as an affine map from patch to world. No voxel is touched here.

A patch has rows and columns at the training voxel size v. Its pixel (r, c) lies in the plane of one section at

.. math:: w = m + Q \, ((r - (R-1)/2) v_y, \; (c - (C-1)/2) v_x)

with the centre m (nm) and an orthogonal Q: mirror, then transposition, then rotation. Everything is drawn from a
counter-based generator keyed by (seed, step), so that any step of any trial can be drawn by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from counterpoise.data.geometry import SAME_SIZE_TOLERANCE, Grid
from counterpoise.data.placement import half_ranges_nm
from counterpoise.experiment.config import SamplingConfig
from counterpoise.types import Vector3

__all__ = ["PatchPlan", "Patches", "draw_patches", "snap_nm"]

_HALF = 0.5
_DRAWS = 8
"""Uniform numbers per patch: crop, section, y, x, mirror y, mirror x, transposition, angle."""


@dataclass(frozen=True)
class Patches:
    """Where the patches of a batch lie.

    Parameters
    ----------
    crop : int64 array, shape (batch,)
        Index of the crop.
    section : int64 array, shape (batch,)
        z index of the predicted section on the crop's label grid.
    centre_nm : float64 array, shape (batch, 2)
        Centre in the plane (y, x).
    orientation : float64 array, shape (batch, 2, 2)
        Q: from patch axes (row, column) to world axes (y, x).
    """

    crop: Int[np.ndarray, " batch"]
    section: Int[np.ndarray, " batch"]
    centre_nm: Float[np.ndarray, "batch 2"]
    orientation: Float[np.ndarray, "batch 2 2"]

    def __len__(self) -> int:
        return len(self.crop)

    def __getitem__(self, part: slice) -> Patches:
        return Patches(self.crop[part], self.section[part], self.centre_nm[part], self.orientation[part])


@dataclass(frozen=True)
class PatchPlan:
    """From what and how patches are drawn.

    Parameters
    ----------
    grids : sequence of Grid
        Label grid of each crop.
    voxel_size_nm : (z, y, x)
        Training voxel size.
    config : SamplingConfig
        Patch shape and variation.
    """

    grids: Sequence[Grid]
    voxel_size_nm: Vector3
    config: SamplingConfig

    @property
    def patch_nm(self) -> tuple[float, float]:
        """Return the size of a patch (y, x)."""
        rows, columns = self.config.patch_shape
        return rows * self.voxel_size_nm[1], columns * self.voxel_size_nm[2]

    def crop_weights(self) -> Float[np.ndarray, " crop"]:
        """Return the chance of each crop to be drawn; sums to 1."""
        if self.config.crop_weights == "uniform":
            weights = np.ones(len(self.grids))
        else:
            weights = np.array([np.prod(grid.box.size_nm) for grid in self.grids])
        chances: np.ndarray = weights / weights.sum()
        return chances


def draw_patches(plan: PatchPlan, *, seed: int, step: int, batch_size: int) -> Patches:
    """Draw the patches of one batch: a pure function of the plan, the seed and the step.

    Parameters
    ----------
    plan : PatchPlan
        Crops and variation.
    seed, step : int
        Key of the generator (Philox), so that a step does not depend on the steps before it.
    batch_size : int
        Patches to draw.

    Returns
    -------
    Patches
        Placed so that each overlaps its crop as much as it can.

    References
    ----------
    .. [1] J. K. Salmon, M. A. Moraes, R. O. Dror, D. E. Shaw, "Parallel random numbers: as easy as 1, 2, 3",
       SC 2011 (Philox).
    """
    generator = np.random.Generator(np.random.Philox(key=np.array([seed, step], dtype=np.uint64)))
    u = generator.random((batch_size, _DRAWS))
    config = plan.config
    crop = np.searchsorted(np.cumsum(plan.crop_weights()), u[:, 0], side="right").clip(0, len(plan.grids) - 1)
    shapes = np.array([grid.shape for grid in plan.grids])[crop]
    section = (u[:, 1] * shapes[:, 0]).astype(np.int64)

    angle = np.deg2rad((2.0 * u[:, 7] - 1.0) * config.rotation_degrees)
    transposed = (u[:, 6] < _HALF) & config.transpose
    mirror = np.where((u[:, 4:6] < _HALF) & config.mirror, -1.0, 1.0)
    orientation = _orientation(mirror, transposed, angle)

    patch = np.where(transposed[:, None], np.array(plan.patch_nm[::-1]), np.array(plan.patch_nm))
    lower = np.array([grid.box.lower_nm[1:] for grid in plan.grids])[crop]
    upper = np.array([grid.box.upper_nm[1:] for grid in plan.grids])[crop]
    half_range = half_ranges_nm(upper - lower, patch, angle)
    centre = (lower + upper) / 2.0 + (2.0 * u[:, 2:4] - 1.0) * half_range
    if config.rotation_degrees == 0:
        centre = _snap_centres(plan, crop, (lower + upper) / 2.0, half_range, u[:, 2:4], centre, transposed)
    return Patches(crop.astype(np.int64), section, centre, orientation)


def snap_nm(position_nm: float, grid: Grid, axis: int, samples: int, voxel_size_nm: float) -> float:
    """Move a patch's centre so that its samples fall on voxel centres, where patch and grid have the same voxel size.

    Parameters
    ----------
    position_nm : float
        Centre of the patch along the axis.
    grid : Grid
        The crop's labels.
    axis : int
        1 for y, 2 for x.
    samples : int
        Pixels of the patch along the axis.
    voxel_size_nm : float
        Distance between them.

    Returns
    -------
    float
        The nearest such centre, or the position itself where voxel sizes differ.
    """
    size = grid.voxel_size_nm[axis]
    if abs(size / voxel_size_nm - 1.0) > SAME_SIZE_TOLERANCE:
        return position_nm
    half = (samples - 1) / 2.0 * voxel_size_nm
    first = round((position_nm - half - grid.translation_nm[axis]) / size)
    return grid.translation_nm[axis] + first * size + half


def _snap_centres(
    plan: PatchPlan,
    crop: Int[np.ndarray, " batch"],
    middle: Float[np.ndarray, "batch 2"],
    half_range: Float[np.ndarray, "batch 2"],
    u: Float[np.ndarray, "batch 2"],
    centre: Float[np.ndarray, "batch 2"],
    transposed: np.ndarray,
) -> Float[np.ndarray, "batch 2"]:
    """Draw un-rotated positions on the voxel grid, each with the same chance, so that nothing is interpolated."""
    snapped = centre.copy()
    rows, columns = plan.config.patch_shape
    for b, index in enumerate(crop):
        grid = plan.grids[index]
        samples = (columns, rows) if transposed[b] else (rows, columns)
        for k in (0, 1):
            step = grid.voxel_size_nm[k + 1]
            places = int(np.floor(2.0 * half_range[b, k] / step + 1e-6)) + 1
            start = middle[b, k] - (places - 1) / 2.0 * step
            position = start + min(int(u[b, k] * places), places - 1) * step
            snapped[b, k] = snap_nm(position, grid, k + 1, samples[k], plan.voxel_size_nm[k + 1])
    return snapped


def _orientation(
    mirror: Float[np.ndarray, "batch 2"], transposed: np.ndarray, angle: Float[np.ndarray, " batch"]
) -> Float[np.ndarray, "batch 2 2"]:
    mirrored = mirror[:, :, None] * np.eye(2)
    turned = np.where(transposed[:, None, None], mirrored[:, ::-1, :], mirrored)
    cosine, sine = np.cos(angle), np.sin(angle)
    rotation = np.stack([np.stack([cosine, -sine], axis=1), np.stack([sine, cosine], axis=1)], axis=1)
    product: np.ndarray = rotation @ turned
    return product
