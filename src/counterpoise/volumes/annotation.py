"""Stored label values to present, absent and unknown.

A :class:`LabelMeaning` says which values of an array are absent, present and unknown, and what all others are. It is
made from what the metadata and the user say (:mod:`counterpoise.volumes.encoding`). Values that nobody declared are in
doubt: whether 255 means unknown in an array of object ids, say, only all of its values together can tell
(:mod:`counterpoise.volumes.undeclared`). To notice such a value takes no more than the largest value of a block, as
long as a block holds 0 and 1 alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Shaped

from counterpoise.arrays import Vector3
from counterpoise.volumes.geometry import voxel_volume_nm3

__all__ = ["ClassCount", "LabelMeaning", "Meaning", "VoxelCount", "largest_of"]

_ABOVE_ALL = 1 << 64


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


class Meaning(StrEnum):
    """What a stored value says about its voxel."""

    PRESENT = "present"
    ABSENT = "absent"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class LabelMeaning:
    """What the stored values of one label array mean.

    Parameters
    ----------
    absent, present, unknown : tuple of int
        Values that have this meaning; no value is in two of them.
    others : Meaning
        What every other value means.
    has_ids : bool
        Whether other values are expected, as the ids of objects are.
    doubtful : tuple of int
        Values that have the meaning above until the array was looked at as a whole.
    assumed : tuple of int
        Those of them that are no more than a convention: neither metadata nor user say anything about them.
    is_settled : bool
        Whether every value is accounted for, so that none is in doubt.
    is_soft : bool
        Whether values are probabilities: present from 1/2 on, absent below.
    """

    absent: tuple[int, ...] = (0,)
    present: tuple[int, ...] = (1,)
    unknown: tuple[int, ...] = ()
    others: Meaning = Meaning.PRESENT
    has_ids: bool = False
    doubtful: tuple[int, ...] = ()
    assumed: tuple[int, ...] = ()
    is_settled: bool = False
    is_soft: bool = False

    @cached_property
    def _is_plain(self) -> bool:
        """Return whether 0 is absent and all others are present, but for one value at most."""
        is_one_code = len(self.unknown) <= 1 and self.absent == (0,)
        return is_one_code and self.others is Meaning.PRESENT and not self.is_soft

    @cached_property
    def _calm(self) -> int:
        """Return the largest value up to which none is in doubt; -1 if 0 is."""
        if self.is_settled:
            return _ABOVE_ALL
        if self.has_ids:
            return min(self.doubtful, default=_ABOVE_ALL) - 1
        beyond = 0
        while beyond in self.named:
            beyond += 1
        return beyond - 1

    @cached_property
    def named(self) -> frozenset[int]:
        """Return the values whose meaning is certain."""
        return frozenset((*self.absent, *self.present, *self.unknown)) - set(self.doubtful)

    @cached_property
    def zero_is_absent(self) -> bool:
        """Return whether a block of zeros says that the class is absent, and nothing else."""
        return self.of(0) is Meaning.ABSENT and self._calm >= 0

    @cached_property
    def one_is_present(self) -> bool:
        """Return whether a block of zeros and ones is a mask of the class as it stands."""
        return self._is_plain and 1 not in self.unknown and 1 not in self.absent

    def of(self, value: int) -> Meaning:
        """Return what one value means."""
        present, unknown = self.masks(np.array([value]))
        if unknown is not None and unknown[0]:
            return Meaning.UNKNOWN
        return Meaning.PRESENT if present[0] else Meaning.ABSENT

    def is_in_doubt(self, stored: Shaped[np.ndarray, "*shape"], largest: int | None) -> bool:
        """Tell whether a block holds a value that nobody declared.

        Parameters
        ----------
        stored : array
            The block.
        largest : int or None
            As :func:`largest_of` finds it.
        """
        if self.is_settled or (largest is not None and largest <= self._calm):
            return False
        if stored.dtype.kind == "f" and not np.array_equal(np.floor(stored), stored):  # NaN is not equal to itself
            return True
        if not self.has_ids:
            is_beyond = stored > self._calm if largest is not None else np.ones(stored.shape, bool)
            named = [value for value in self.named if largest is None or self._calm < value <= largest]
            return sum(int(np.count_nonzero(stored == value)) for value in named) < int(np.count_nonzero(is_beyond))
        if largest is None:
            negative = sum(int(np.count_nonzero(stored == value)) for value in self.named if value < 0)
            if int(np.count_nonzero(stored < 0)) > negative:
                return True
        return any(bool(np.any(stored == value)) for value in self.doubtful)

    def masks(
        self, stored: Shaped[np.ndarray, "*shape"], largest: int | None = None
    ) -> tuple[Bool[np.ndarray, "*shape"], Bool[np.ndarray, "*shape"] | None]:
        """Mark the voxels where the class is, and those where that is not known (None if there can be none).

        Parameters
        ----------
        stored : array
            The block.
        largest : int, optional
            As :func:`largest_of` finds it; spares looking for larger values.
        """
        codes = tuple(value for value in self.unknown if largest is None or value <= largest)
        unknown = _any_of(stored, codes) if codes else None
        if stored.dtype.kind == "f":  # neither NaN nor infinity is a value
            nowhere = ~np.isfinite(stored)
            unknown = nowhere if unknown is None else unknown | nowhere
        if self.is_soft:
            present: np.ndarray = stored >= 0.5  # noqa: PLR2004
        elif self.others is Meaning.PRESENT:
            present = stored != self.absent[0] if len(self.absent) == 1 else ~_any_of(stored, self.absent)
        else:
            present = _any_of(stored, self.present)
            if self.others is Meaning.UNKNOWN:
                unknown = ~(present | _any_of(stored, self.absent))
        if unknown is not None:
            present &= ~unknown
        return present, unknown

    def count(
        self, stored: Shaped[np.ndarray, "*shape"], largest: int | None = None, inside: tuple[int, ...] | None = None
    ) -> VoxelCount:
        """Count present, absent and unknown voxels of a block exactly.

        Parameters
        ----------
        stored : array
            The block.
        largest : int, optional
            As :func:`largest_of` finds it.
        inside : tuple of int, optional
            Count this many voxels along each axis, from the first corner on: chunks at the end of an array are stored
            whole, and what lies beyond the array may hold anything.
        """
        block = stored if inside is None or inside == stored.shape else stored[tuple(slice(n) for n in inside)]
        if self._is_plain and block.dtype.kind != "f":
            # The largest value is found faster than a value is looked for, fastest where rows have no gaps (in what is
            # stored), and most blocks hold nothing above 1.
            if largest == 0:
                return VoxelCount(present=0, absent=block.size, unknown=0)
            non_zero = int(np.count_nonzero(block))
            has_unknown = non_zero and self.unknown and (largest is None or self.unknown[0] <= largest)
            unknown = int(np.count_nonzero(block == self.unknown[0])) if has_unknown else 0
            return VoxelCount(present=non_zero - unknown, absent=block.size - non_zero, unknown=unknown)
        is_present, is_unknown = self.masks(block, largest)
        present = int(np.count_nonzero(is_present))
        unknown = 0 if is_unknown is None else int(np.count_nonzero(is_unknown))
        return VoxelCount(present, block.size - present - unknown, unknown)


def largest_of(stored: Shaped[np.ndarray, "*shape"]) -> int | None:
    """Find the largest value of a block that has neither negative values nor fractions by its type; else None."""
    return int(stored.max(initial=0)) if stored.dtype.kind in "ub" else None


def _any_of(stored: np.ndarray, values: tuple[int, ...]) -> np.ndarray:
    """Mark the voxels that hold one of a few values."""
    if not values:
        return np.zeros(stored.shape, dtype=bool)
    found: np.ndarray = stored == values[0]
    for value in values[1:]:
        found |= stored == value
    return found
