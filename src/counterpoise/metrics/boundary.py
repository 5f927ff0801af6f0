r"""Boundaries and skeletons of masks in one section, counted so that crops can be added up (docs/scores.md).

Surface: the boundary voxels of the prediction, those of the annotation, and of each how many have one of the other
within a tolerance [1]_. Skeleton: the voxels of the prediction's centre lines, those of the annotation's, and of each
how many lie inside the other mask [2]_. Eight integers a class; scores are made from their sums.

Sections are looked at one by one, as the networks here are 2-D. A voxel that is not known belongs to neither mask, and
a mask has no boundary against it, nor against what lies beyond the tile.

References
----------
.. [1] S. Nikolov et al., "Deep learning to achieve clinically applicable segmentation of head and neck anatomy for
   radiotherapy", arXiv:1809.04430, 2018 (surface Dice at a tolerance).
.. [2] S. Shit et al., "clDice: a novel topology-preserving loss function for tubular structure segmentation", CVPR
   2021, pp. 16560-16569 (arXiv:2003.07311).
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int, Integer

from counterpoise.metrics.boundary_cpu import count_parts
from counterpoise.metrics.thinning import REMOVABLE

__all__ = ["PARTS", "cl_dice", "count_boundaries", "default_tolerance_nm", "reach", "surface_dice"]

PARTS = 4
"""Integers of either kind: hits and voxels of the prediction, hits and voxels of the annotation."""

_ROUNDING = 1e-9
"""Relative; so that a distance of one voxel is within a tolerance of one voxel."""

Parts = Float[np.ndarray, "*batch 4"]


# Scores from sums of counts ------------------------------------------------------------------------------------------


def surface_dice(surface: Parts) -> Float[np.ndarray, "*batch"]:
    r"""Score how much of both boundaries lies within the tolerance of the other (normalised surface Dice).

    .. math:: NSD = (n_P + n_T) / (|B_P| + |B_T|)

    Parameters
    ----------
    surface : float array, shape (..., 4)
        Near and all boundary voxels of the prediction, near and all of the annotation.

    Returns
    -------
    float64 array, shape (...)
        In [0, 1], higher is better; NaN without any boundary.

    Examples
    --------
    >>> import numpy as np
    >>> surface_dice(np.array([[3.0, 4, 5, 6], [0, 0, 0, 0]]))
    array([0.8, nan])
    """
    near = surface[..., 0] + surface[..., 2]
    return _ratio(near, surface[..., 1] + surface[..., 3])


def cl_dice(skeleton: Parts) -> Float[np.ndarray, "*batch"]:
    r"""Score how much of both centre lines lies inside the other mask (clDice).

    .. math:: clDice = 2 \frac{T_P T_S}{T_P + T_S}, \qquad T_P = |S_P \cap T| / |S_P|, \quad T_S = |S_T \cap P| / |S_T|

    Parameters
    ----------
    skeleton : float array, shape (..., 4)
        Hits and all skeleton voxels of the prediction, hits and all of the annotation.

    Returns
    -------
    float64 array, shape (...)
        In [0, 1], higher is better; 0 where one of the two is empty or nothing is hit, NaN where both are empty.

    Examples
    --------
    >>> import numpy as np
    >>> cl_dice(np.array([[3.0, 4, 1, 2], [0, 0, 0, 7], [0, 0, 0, 0]]))
    array([0.6, 0. , nan])
    """
    hits_p, all_p, hits_t, all_t = np.moveaxis(skeleton, -1, 0)
    crossed = hits_p * all_t + hits_t * all_p  # the harmonic mean of two ratios, without dividing by an empty one
    return np.where((all_p + all_t > 0) & (crossed == 0), 0.0, _ratio(2 * hits_p * hits_t, crossed))


def _ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    ratio = np.full(np.shape(numerator), np.nan)
    np.divide(numerator, denominator, out=ratio, where=np.asarray(denominator > 0))
    return ratio


# What is near --------------------------------------------------------------------------------------------------------


def default_tolerance_nm(voxel_size_nm: tuple[float, float]) -> float:
    """Return the size of one voxel in the section, along its longer side (rows, columns; nm)."""
    return max(voxel_size_nm)


def reach(tolerance_nm: float, voxel_size_nm: tuple[float, float]) -> Int[np.ndarray, "offset 2"]:
    """List the steps (rows, columns) to all voxels of a section within a distance, the nearest first.

    Examples
    --------
    >>> sorted(reach(8.0, (8.0, 8.0)).tolist())
    [[-1, 0], [0, -1], [0, 0], [0, 1], [1, 0]]
    """
    rows, columns = (int(tolerance_nm / size * (1 + _ROUNDING)) for size in voxel_size_nm)
    steps = np.mgrid[-rows : rows + 1, -columns : columns + 1].reshape(2, -1).T
    distance = np.hypot(*(steps * voxel_size_nm).T)
    order = np.argsort(distance, kind="stable")
    return np.ascontiguousarray(steps[order][distance[order] <= tolerance_nm * (1 + _ROUNDING)], np.int64)


# Counting ------------------------------------------------------------------------------------------------------------


def count_boundaries(
    predicted: Integer[np.ndarray, "row column"],
    present: Integer[np.ndarray, "row column"],
    known: Integer[np.ndarray, "row column"],
    counted: Int[np.ndarray, " 4"],
    offsets: Int[np.ndarray, "offset 2"],
    classes: int,
) -> Int[np.ndarray, "class_ 2 4"]:
    """Count boundary and skeleton voxels of one tile, class by class.

    Parameters
    ----------
    predicted, present, known : integer array, shape (rows, columns)
        Label words of the whole tile: bit c is set where class c is predicted / present / known.
    counted : int64 array, shape (4,)
        The voxels that count: first row, row after the last, and the same of columns. The others are only seen.
    offsets : int64 array, shape (offsets, 2)
        What is near: from :func:`reach`.
    classes : int
        Number of classes.

    Returns
    -------
    int64 array, shape (classes, 2, 4)
        Surface, then skeleton: hits and voxels of the prediction, hits and voxels of the annotation.
    """
    counts = np.zeros((classes, 2, PARTS), np.int64)
    count_parts(
        predicted.astype(np.int64),
        present.astype(np.int64),
        known.astype(np.int64),
        counted,
        offsets,
        REMOVABLE,
        counts,
    )
    return counts
