"""Where a patch may lie in a crop so that the two overlap as much as they can, and how far it then reaches.

All lengths in nm, in the plane (y, x). A patch of size P turned by an angle t has the bounding box
``B = (|cos t| P_y + |sin t| P_x, |sin t| P_y + |cos t| P_x)``, holds an upright rectangle ``I = P min(P / B)``, and
is as long across an axis as anywhere over its middle ``M = | |cos t| P - |sin t| P' |``, with P' the other side.
For a crop of the extent E the overlap does not change while the patch moves

- along an axis with ``E >= B`` by up to (E - B) / 2: it stays inside the crop;
- along the other axis then by up to (M - E) / 2: the crop stays within the middle of the patch;
- along both axes, where ``E <= I`` on both, by up to (I - E) / 2: the crop stays inside the patch.

Else the patch is centred, which no other place beats: the overlap of two shapes that are convex and symmetric about
their centres is largest where the centres meet (its square root is a concave, even function of their distance).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Float

from counterpoise.arrays import Vector3

__all__ = ["PatchReach", "half_ranges_nm"]


def half_ranges_nm(
    extent_nm: Float[np.ndarray, "batch 2"],
    patch_nm: Float[np.ndarray, "batch 2"],
    angle: Float[np.ndarray, " batch"],
) -> Float[np.ndarray, "batch 2"]:
    """Compute how far a patch's centre may lie from its crop's centre.

    Parameters
    ----------
    extent_nm : float64 array, shape (batch, 2)
        Size of the crop (y, x).
    patch_nm : float64 array, shape (batch, 2)
        Size of the patch before it is turned (y, x).
    angle : float64 array, shape (batch,)
        Rotation in radians.

    Returns
    -------
    float64 array, shape (batch, 2)
        Largest distance on each axis, 0 or more.
    """
    bounding = _bounding_nm(patch_nm, angle)
    inscribed = _inscribed_nm(patch_nm, bounding)
    fits = extent_nm >= bounding
    is_inside_patch = np.all(extent_nm <= inscribed, axis=1, keepdims=True)
    across = np.maximum(_middle_nm(patch_nm, angle) - extent_nm, 0.0)
    around = np.where(is_inside_patch, inscribed - extent_nm, 0.0)
    ranges: np.ndarray = np.where(fits, extent_nm - bounding, np.where(fits[:, ::-1], across, around)) / 2.0
    return ranges


def _bounding_nm(
    patch_nm: Float[np.ndarray, "batch 2"], angle: Float[np.ndarray, " batch"]
) -> Float[np.ndarray, "batch 2"]:
    cosine, sine = np.abs(np.cos(angle)), np.abs(np.sin(angle))
    y, x = patch_nm[:, 0], patch_nm[:, 1]
    return np.stack([cosine * y + sine * x, sine * y + cosine * x], axis=1)


def _middle_nm(
    patch_nm: Float[np.ndarray, "batch 2"], angle: Float[np.ndarray, " batch"]
) -> Float[np.ndarray, "batch 2"]:
    cosine, sine = np.abs(np.cos(angle)), np.abs(np.sin(angle))
    y, x = patch_nm[:, 0], patch_nm[:, 1]
    middle: np.ndarray = np.abs(np.stack([cosine * y - sine * x, cosine * x - sine * y], axis=1))
    return middle


def _inscribed_nm(
    patch_nm: Float[np.ndarray, "batch 2"], bounding_nm: Float[np.ndarray, "batch 2"]
) -> Float[np.ndarray, "batch 2"]:
    inscribed: np.ndarray = patch_nm * np.min(patch_nm / bounding_nm, axis=1, keepdims=True)
    return inscribed


@dataclass(frozen=True)
class PatchReach:
    """The patches that will be cut: what the store needs to know to keep enough raw around a crop.

    Parameters
    ----------
    patch_nm : (y, x)
        Size of a patch in the plane.
    stack_nm : float
        Distance from the predicted section to the outermost input section (0 for one section).
    rotation_degrees : float
        Largest rotation to either side.
    transpose : bool
        Whether y and x may be swapped.
    """

    patch_nm: tuple[float, float]
    stack_nm: float
    rotation_degrees: float
    transpose: bool

    def margin_nm(self, extent_nm: Vector3) -> Vector3:
        """Compute how far any patch can reach beyond the faces of a crop of this size (z, y, x)."""
        return _margin_nm(self, extent_nm)


@lru_cache(maxsize=1024)
def _margin_nm(reach: PatchReach, extent_nm: Vector3) -> Vector3:
    """Compute a reach's margin; kept, because most crops of a list have one of few sizes."""
    largest = min(reach.rotation_degrees, 90.0)  # beyond a quarter turn the same shapes come again
    angles = np.deg2rad(np.linspace(0.0, largest, num=int(10.0 * largest) + 2))
    shapes = [reach.patch_nm, reach.patch_nm[::-1]] if reach.transpose else [reach.patch_nm]
    beyond_nm = np.zeros(2)
    for shape in shapes:
        patch = np.tile(np.array(shape), (len(angles), 1))
        extent = np.tile(np.array(extent_nm[1:]), (len(angles), 1))
        bounding = _bounding_nm(patch, angles)
        # The ranges jump at some angle between two of these; the longer of two holds on both sides of a jump.
        longest = np.maximum(_inscribed_nm(patch, bounding), _middle_nm(patch, angles))
        ranges = np.maximum(longest - extent, 0.0) / 2.0
        beyond = np.where(extent >= bounding, 0.0, bounding / 2.0 + ranges - extent / 2.0)
        beyond_nm = np.maximum(beyond_nm, beyond.max(axis=0))
    return (reach.stack_nm, float(beyond_nm[0]), float(beyond_nm[1]))
