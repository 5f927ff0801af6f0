"""Stored label values to present, absent and unknown.

| stored value | meaning |
| --- | --- |
| 0 | annotated, class absent |
| any other (1 in semantic arrays, object ids in instance arrays) | class present |
| the encoding's ``unknown`` code, where it applies | not annotated at this voxel |

The trap: instance arrays with more than 255 objects still say ``unknown: 255``, while 255 is just another
object. In an instance array the code therefore counts only where the array's own ``complement_counts`` say that
there are unknown voxels. A semantic array has no other use for the code, so there it always means unknown.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Integer

from counterpoise.arrays import Vector3
from counterpoise.volumes.geometry import voxel_volume_nm3

__all__ = [
    "INSTANCE_CLASSES",
    "ClassCount",
    "VoxelCount",
    "count_voxels",
    "find_unknown_code",
    "is_known",
    "is_present",
]

INSTANCE_CLASSES = frozenset(
    {"nuc", "vim", "ves", "endo", "lyso", "ld", "perox", "mito", "np", "mt", "cell", "instance"}
)
"""Classes that the CellMap challenge annotates as instances (its configuration lists them)."""

_DEFAULT_UNKNOWN = 255


class VoxelCount(NamedTuple):
    """How many voxels of an array are present, absent and unknown."""

    present: int
    absent: int
    unknown: int

    @property
    def known(self) -> int:
        """Return present + absent."""
        return self.present + self.absent

    def __add__(self, other: object) -> VoxelCount:
        if not isinstance(other, VoxelCount):
            return NotImplemented
        return VoxelCount(self.present + other.present, self.absent + other.absent, self.unknown + other.unknown)


class ClassCount(NamedTuple):
    """The count of one class in one crop, and the size of the voxels that were counted (z, y, x)."""

    voxels: VoxelCount
    voxel_size_nm: Vector3

    @property
    def present_nm3(self) -> float:
        """Return the volume where the class is."""
        return self.voxels.present * voxel_volume_nm3(self.voxel_size_nm)

    @property
    def known_nm3(self) -> float:
        """Return the volume where it is known whether the class is there."""
        return self.voxels.known * voxel_volume_nm3(self.voxel_size_nm)


def find_unknown_code(
    class_name: str, group_attributes: Mapping[str, Any], array_attributes: Mapping[str, Any]
) -> int | None:
    """Decide which stored value, if any, means "not annotated here".

    Parameters
    ----------
    class_name : str
        Used only where the metadata does not say whether the array is semantic or instance.
    group_attributes, array_attributes : mapping
        Content of ``.zattrs`` of the class group and of the level.

    Returns
    -------
    int or None
        The code; None where no voxel is unknown.
    """
    kind = _annotation(group_attributes).get("annotation_type") or {}
    default_type = "instance" if class_name in INSTANCE_CLASSES else "semantic"
    is_instance = str(kind.get("type", default_type)).startswith("instance")
    code = (kind.get("encoding") or {}).get("unknown", _DEFAULT_UNKNOWN)
    if code is None:
        return None
    if not is_instance:
        return int(code)
    counts = _annotation(array_attributes).get("complement_counts") or {}
    return int(code) if (counts.get("unknown") or 0) > 0 else None


def is_present(stored: Integer[np.ndarray, "*shape"], unknown_code: int | None) -> Bool[np.ndarray, "*shape"]:
    """Mark the voxels where the class is: neither 0 nor unknown."""
    present: np.ndarray = stored != 0
    if unknown_code is not None:
        present &= stored != unknown_code
    return present


def is_known(stored: Integer[np.ndarray, "*shape"], unknown_code: int | None) -> Bool[np.ndarray, "*shape"]:
    """Mark the voxels where it is known whether the class is there."""
    if unknown_code is None:
        return np.ones(stored.shape, dtype=bool)
    known: np.ndarray = stored != unknown_code
    return known


def count_voxels(
    stored: Integer[np.ndarray, "*shape"], unknown_code: int | None, inside: tuple[int, ...] | None = None
) -> VoxelCount:
    """Count present, absent and unknown voxels of a block exactly.

    Parameters
    ----------
    stored : integer array
        The block.
    unknown_code : int or None
        As :func:`find_unknown_code` finds it.
    inside : tuple of int, optional
        Count this many voxels along each axis, from the first corner on: chunks at the end of an array are stored
        whole, and what lies beyond the array may hold anything.
    """
    block = stored if inside is None or inside == stored.shape else stored[tuple(slice(n) for n in inside)]
    non_zero = int(np.count_nonzero(block))
    if unknown_code == 0:  # what is not present is unknown; nothing says that a class is absent
        return VoxelCount(present=non_zero, absent=0, unknown=block.size - non_zero)
    # The largest value is found faster than a value is looked for, fastest where rows have no gaps (in what is stored),
    # and most blocks hold nothing above 1.
    may_be_unknown = unknown_code is not None and non_zero and stored.max() >= unknown_code
    unknown = int(np.count_nonzero(block == unknown_code)) if may_be_unknown else 0
    return VoxelCount(present=non_zero - unknown, absent=block.size - non_zero, unknown=unknown)


def _annotation(attributes: Mapping[str, Any]) -> Mapping[str, Any]:
    content = (attributes.get("cellmap") or {}).get("annotation") or {}
    return content if isinstance(content, Mapping) else {}
