r"""Which patch: a crop, a position, an orientation, as an affine map from patch to world. No voxel is touched here.

A patch has rows and columns at the training voxel size v. Its pixel (r, c) lies in the plane of one section at

.. math:: w = m + Q \, ((r - (R-1)/2) v_y, \; (c - (C-1)/2) v_x)

with the centre m (nm) and an orthogonal Q: mirror, then transposition, then rotation. Everything is drawn from a
counter-based generator keyed by (seed, step), so that any step of any trial can be drawn by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Int

from counterpoise.arrays import Vector3
from counterpoise.errors import ClassNameError
from counterpoise.experiment.config import SamplingConfig
from counterpoise.notes import Note, NoteKind
from counterpoise.store import VoxelStore
from counterpoise.volumes.datasplit import Split
from counterpoise.volumes.geometry import SAME_SIZE_TOLERANCE, Grid
from counterpoise.volumes.placement import half_ranges_nm

__all__ = ["PatchPlan", "Patches", "class_balanced_weights", "crops_never_drawn", "draw_patches", "snap_nm"]

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
    counted : int64 array, shape (batch, 4), optional
        First row, row after the last, first column, column after the last of the pixels that count: all others are
        unknown. None counts every pixel.
    """

    crop: Int[np.ndarray, " batch"]
    section: Int[np.ndarray, " batch"]
    centre_nm: Float[np.ndarray, "batch 2"]
    orientation: Float[np.ndarray, "batch 2 2"]
    counted: Int[np.ndarray, "batch 4"] | None = None

    def __len__(self) -> int:
        return len(self.crop)

    def __getitem__(self, part: slice) -> Patches:
        counted = None if self.counted is None else self.counted[part]
        return Patches(self.crop[part], self.section[part], self.centre_nm[part], self.orientation[part], counted)


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
        Patch shape, crop weights and variation.
    positives : int64 array, shape (crops, classes), optional
        Positive voxels of each class in each crop; only class-balanced crop weights need them.
    """

    grids: Sequence[Grid]
    voxel_size_nm: Vector3
    config: SamplingConfig
    positives: Int[np.ndarray, "crop class_"] | None = None

    @classmethod
    def of(cls, store: VoxelStore, split: Split, config: SamplingConfig) -> PatchPlan:
        """Plan patches of one split of a store, with the exact counts the store was built with."""
        crops = store.of(split)
        positives = np.array(
            [[c.counts[name].voxels.present if name in c.counts else 0 for name in store.classes] for c in crops],
            dtype=np.int64,
        )
        grids = [crop.label_grid for crop in crops]
        return cls(grids, store.voxel_size_nm, config, positives.reshape(len(crops), len(store.classes)))

    @property
    def patch_nm(self) -> tuple[float, float]:
        """Return the size of a patch (y, x)."""
        rows, columns = self.config.patch_shape
        return rows * self.voxel_size_nm[1], columns * self.voxel_size_nm[2]

    def crop_weights(self) -> Float[np.ndarray, " crop"]:
        """Return the chance of each crop to be drawn; sums to 1.

        Raises
        ------
        ClassNameError
            If the weights are to be class-balanced and no crop holds a positive voxel.
        """
        if self.config.crop_weights == "class_balanced":
            if self.positives is None:
                raise ValueError("class-balanced crop weights need the positive voxels of every crop")
            return class_balanced_weights(self.positives)
        if self.config.crop_weights == "volume":
            weights = np.array([np.prod(grid.box.size_nm) for grid in self.grids], dtype=np.float64)
        else:
            weights = np.ones(len(self.grids))
        chances: np.ndarray = weights / weights.sum()
        return chances

    @cached_property
    def tables(self) -> PlanTables:
        """Tabulate what every batch looks up: made once."""
        cumulative = np.cumsum(self.crop_weights())
        return PlanTables(
            cumulative=cumulative / cumulative[-1],  # ends at exactly 1: a last crop without a chance is not drawn
            sections=np.array([grid.shape[0] for grid in self.grids], dtype=np.int64),
            lower_nm=np.array([grid.box.lower_nm[1:] for grid in self.grids]),
            upper_nm=np.array([grid.box.upper_nm[1:] for grid in self.grids]),
            origin_nm=np.array([grid.translation_nm[1:] for grid in self.grids]),
            voxel_nm=np.array([grid.voxel_size_nm[1:] for grid in self.grids]),
        )


@dataclass(frozen=True)
class PlanTables:
    """A plan as arrays over crops: summed chances, sections, and the label grids in the plane, (crops, 2) each."""

    cumulative: np.ndarray
    sections: np.ndarray
    lower_nm: np.ndarray
    upper_nm: np.ndarray
    origin_nm: np.ndarray
    voxel_nm: np.ndarray


def class_balanced_weights(positives: Int[np.ndarray, "crop class_"]) -> Float[np.ndarray, " crop"]:
    r"""Compute the chance of each crop: a class at random, then a crop that holds it.

    As one chance per crop for these two draws: a class uniformly among those with a positive voxel in some crop, then a
    crop uniformly among those that hold one of it. With :math:`n_{gc}` the positive voxels,

    .. math:: w_g = \frac{1}{|C|} \sum_{c \in C} \frac{[n_{gc} > 0]}{\sum_h [n_{hc} > 0]},
              \qquad C = \{c : \textstyle\sum_h n_{hc} > 0\}.

    Only whether a crop holds positives counts, not how many. A crop without any is never drawn.

    Parameters
    ----------
    positives : int64 array, shape (crops, classes)
        Positive voxels.

    Returns
    -------
    float64 array, shape (crops,)
        In [0, 1]; sums to 1.

    Raises
    ------
    ClassNameError
        If there is no positive voxel at all.

    Examples
    --------
    Of the two classes, one is in both crops and the other in the second only:

    >>> class_balanced_weights(np.array([[10, 0], [3, 500]]))
    array([0.25, 0.75])
    """
    holds = positives > 0
    crops_with = holds.sum(axis=0)
    found = crops_with > 0
    if not found.any():
        raise ClassNameError(
            "no crop can be drawn by the classes it holds",
            expected="a positive voxel of at least one class in some crop",
            found=f"none in {len(positives)} crops",
            remedy="set sampling.crop_weights to uniform or volume, or train on crops that hold the classes",
        )
    chances: np.ndarray = (holds[:, found] / crops_with[found]).mean(axis=1)
    return chances


def crops_never_drawn(store: VoxelStore, config: SamplingConfig) -> tuple[Note, ...]:
    """Note which train crops the crop weights exclude."""
    chances = PatchPlan.of(store, "train", config).crop_weights()
    return tuple(
        Note(
            NoteKind.DATA, "no positive voxel of any class, so class-balanced crop weights never draw it", crop.crop_id
        )
        for crop, chance in zip(store.of("train"), chances, strict=True)
        if chance == 0
    )


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
    config, tables = plan.config, plan.tables
    crop = np.searchsorted(tables.cumulative, u[:, 0], side="right")
    section = (u[:, 1] * tables.sections[crop]).astype(np.int64)

    angle = np.deg2rad((2.0 * u[:, 7] - 1.0) * config.rotation_degrees)
    transposed = (u[:, 6] < _HALF) & config.transpose
    mirror = np.where((u[:, 4:6] < _HALF) & config.mirror, -1.0, 1.0)
    orientation = _orientation(mirror, transposed, angle)

    patch = np.where(transposed[:, None], np.array(plan.patch_nm[::-1]), np.array(plan.patch_nm))
    lower, upper = tables.lower_nm[crop], tables.upper_nm[crop]
    half_range = half_ranges_nm(upper - lower, patch, angle)
    middle = (lower + upper) / 2.0
    if config.rotation_degrees == 0:
        centre = _on_voxel_grid(plan, crop, middle, half_range, u[:, 2:4], transposed)
    else:
        centre = middle + (2.0 * u[:, 2:4] - 1.0) * half_range
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
    origin, size = np.array([grid.translation_nm[axis]]), np.array([grid.voxel_size_nm[axis]])
    (snapped,) = _snapped(np.array([position_nm]), origin, size, np.array([samples]), np.array([voxel_size_nm]))
    return float(snapped)


def _snapped(
    position: Float[np.ndarray, "*shape"],
    origin: Float[np.ndarray, "*shape"],
    size: Float[np.ndarray, "*shape"],
    samples: Int[np.ndarray, "*shape"],
    voxel: np.ndarray,
) -> Float[np.ndarray, "*shape"]:
    half = (samples - 1) / 2.0 * voxel
    first = np.rint((position - half - origin) / size)
    is_same = np.abs(size / voxel - 1.0) <= SAME_SIZE_TOLERANCE
    return np.where(is_same, origin + first * size + half, position)


def _on_voxel_grid(
    plan: PatchPlan,
    crop: Int[np.ndarray, " batch"],
    middle: Float[np.ndarray, "batch 2"],
    half_range: Float[np.ndarray, "batch 2"],
    u: Float[np.ndarray, "batch 2"],
    transposed: Bool[np.ndarray, " batch"],
) -> Float[np.ndarray, "batch 2"]:
    """Draw un-rotated positions on the voxel grid, each with the same chance, so that nothing is interpolated."""
    shape, step = np.array(plan.config.patch_shape), plan.tables.voxel_nm[crop]
    samples = np.where(transposed[:, None], shape[::-1], shape)
    places = np.floor(2.0 * half_range / step + 1e-6) + 1.0
    start = middle - (places - 1.0) / 2.0 * step
    position = start + np.minimum(np.floor(u * places), places - 1.0) * step
    return _snapped(position, plan.tables.origin_nm[crop], step, samples, np.array(plan.voxel_size_nm[1:]))


def _orientation(
    mirror: Float[np.ndarray, "batch 2"], transposed: np.ndarray, angle: Float[np.ndarray, " batch"]
) -> Float[np.ndarray, "batch 2 2"]:
    mirrored = mirror[:, :, None] * np.eye(2)
    turned = np.where(transposed[:, None, None], mirrored[:, ::-1, :], mirrored)
    cosine, sine = np.cos(angle), np.sin(angle)
    rotation = np.stack([np.stack([cosine, -sine], axis=1), np.stack([sine, cosine], axis=1)], axis=1)
    product: np.ndarray = rotation @ turned
    return product
