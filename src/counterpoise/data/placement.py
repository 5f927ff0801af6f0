"""Where a patch may lie in a crop so that the two overlap as much as they can, and how far it then reaches.

All lengths in nm, in the plane (y, x). A patch of size P turned by an angle t has the bounding box
``B = (|cos t| P_y + |sin t| P_x, |sin t| P_y + |cos t| P_x)`` and holds an upright rectangle ``I = P min(P / B)``.
On an axis where the crop's extent E is at least B the patch stays inside the crop; where E is at most I the crop
stays inside the patch; in between the patch is centred.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from counterpoise.types import Vector3

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
    inscribed = patch_nm * np.min(patch_nm / bounding, axis=1, keepdims=True)
    inside_crop = extent_nm - bounding
    around_crop = np.maximum(inscribed - extent_nm, 0.0)
    ranges: np.ndarray = np.where(inside_crop >= 0.0, inside_crop, around_crop) / 2.0
    return ranges


def _bounding_nm(
    patch_nm: Float[np.ndarray, "batch 2"], angle: Float[np.ndarray, " batch"]
) -> Float[np.ndarray, "batch 2"]:
    cosine, sine = np.abs(np.cos(angle)), np.abs(np.sin(angle))
    y, x = patch_nm[:, 0], patch_nm[:, 1]
    return np.stack([cosine * y + sine * x, sine * y + cosine * x], axis=1)


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
        largest = min(self.rotation_degrees, 90.0)  # beyond a quarter turn the same shapes come again
        angles = np.deg2rad(np.linspace(0.0, largest, num=int(10.0 * largest) + 2))
        shapes = [self.patch_nm, self.patch_nm[::-1]] if self.transpose else [self.patch_nm]
        reach = np.zeros(2)
        for shape in shapes:
            patch = np.tile(np.array(shape), (len(angles), 1))
            extent = np.tile(np.array(extent_nm[1:]), (len(angles), 1))
            beyond = _bounding_nm(patch, angles) / 2.0 + half_ranges_nm(extent, patch, angles) - extent / 2.0
            reach = np.maximum(reach, beyond.max(axis=0))
        return (self.stack_nm, float(reach[0]), float(reach[1]))
