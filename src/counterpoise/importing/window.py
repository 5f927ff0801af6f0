"""Raw that is not 8 bits deep becomes so through one linear window for the whole data set."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from counterpoise.errors import SourceError
from counterpoise.importing.source import Source

__all__ = ["Histogram", "Window", "is_windowed"]

_SHARE = 0.001
"""Share of the voxels that lie below the window, and as many above it."""

_HALF = 16
_SMALL = 2
"""Bytes of a voxel up to which every value has a place of its own in a table."""


@dataclass(frozen=True)
class Window:
    """The values that become 0 and 255; values beyond become these, too.

    Parameters
    ----------
    low, high : float
        Raw values.
    dtype : str
        Type of the raw it is for.
    rule : str
        Where it comes from.
    """

    low: float
    high: float
    dtype: str
    rule: str

    def apply(self, block: np.ndarray) -> tuple[np.ndarray, int]:
        """Return a block as uint8, rounded half up, and how many voxels lie beyond the window."""
        scaled = np.empty(block.shape, np.uint8)
        beyond = 0
        for section, out in zip(block, scaled, strict=True):  # a section at a time: float32 is four times as large
            values = section.astype(np.float64 if section.dtype.itemsize > _SMALL else np.float32)
            beyond += int(np.count_nonzero(values < self.low)) + int(np.count_nonzero(values > self.high))
            values -= self.low
            values *= 255 / (self.high - self.low)
            values += 0.5
            np.clip(values, 0, 255.5, out=values)
            out[...] = values.astype(np.uint8)
        return scaled, beyond


def is_windowed(source: Source) -> bool:
    """Tell whether raw must be scaled to become uint8.

    Raises
    ------
    SourceError
        If its voxels are no numbers of a kind that raw has.
    """
    if source.dtype.kind not in "uif" or source.dtype.itemsize > np.dtype(np.float64).itemsize:
        raise SourceError(
            f"{source.name} is no raw image",
            expected="voxels of whole numbers or floats",
            found=f"voxels of {source.dtype}",
            remedy="name the raw volume with --raw and labels with --mask or --labels",
        )
    return source.dtype != np.uint8


class Histogram:
    """Find the exact values at both ends of the window: counts in two rounds over all raw.

    The first round counts the upper 16 bits of every value (ordered as the numbers are), the second the lower ones of
    the values at the two ends. Types of up to 16 bits need one round. Wider ones are taken as float32.
    """

    def __init__(self, dtype: np.dtype[Any]) -> None:
        self._dtype = dtype
        self._is_small = dtype.kind in "ui" and dtype.itemsize <= _SMALL
        self._upper = np.zeros(1 << _HALF, np.int64)
        self._lower: dict[int, np.ndarray] = {}

    def rounds(self) -> Iterator[int]:
        """Count the rounds; prepare for the second one in between."""
        yield 1
        if not self._is_small:
            self._lower = {place: np.zeros(1 << _HALF, np.int64) for place, _ in map(self._find, self._ranks())}
            yield 2

    def add(self, section: np.ndarray, name: str) -> None:
        """Count the voxels of a section.

        Raises
        ------
        SourceError
            If a value is not finite.
        """
        keys = self._keys(section, name)
        upper = keys >> _HALF if not self._is_small else keys
        if not self._lower:
            self._upper += np.bincount(upper, minlength=1 << _HALF)
        for place in self._lower:
            inside = keys[upper == place] & 0xFFFF
            self._lower[place] += np.bincount(inside, minlength=1 << _HALF)

    def window(self, rule: str = "0.1 % and 99.9 % of all raw") -> Window:
        """Return the window, after all rounds.

        Raises
        ------
        SourceError
            If it would be empty.
        """
        low, high = (self._value(rank) for rank in self._ranks())
        if not low < high:
            raise SourceError(
                "raw has almost no contrast",
                expected="grey values that differ",
                found=f"{low:g} in at least 99.8 % of all voxels",
                remedy="say with --window LOW,HIGH which values are black and white",
            )
        return Window(low, high, str(self._dtype), rule)

    def _ranks(self) -> tuple[int, int]:
        total = int(self._upper.sum())
        return math.floor(_SHARE * (total - 1)), math.ceil((1 - _SHARE) * (total - 1))

    def _find(self, rank: int) -> tuple[int, int]:
        """Find the count that holds a rank, and the rank within it."""
        ends = np.cumsum(self._upper)
        place = int(np.searchsorted(ends, rank, side="right"))
        return place, rank - int(ends[place] - self._upper[place])

    def _value(self, rank: int) -> float:
        place, within = self._find(rank)
        if self._is_small:
            return float(place + (np.iinfo(self._dtype).min if self._dtype.kind == "i" else 0))
        lower = int(np.searchsorted(np.cumsum(self._lower[place]), within, side="right"))
        key = np.array([(place << _HALF) | lower], np.uint32)
        bits = np.where(key >> 31, key & np.uint32(0x7FFFFFFF), ~key).astype(np.uint32)
        return float(bits.view(np.float32)[0])

    def _keys(self, section: np.ndarray, name: str) -> np.ndarray:
        flat = section.ravel()
        if self._is_small:
            return flat if flat.dtype.kind == "u" else flat.astype(np.int64) - np.iinfo(flat.dtype).min
        with np.errstate(over="ignore"):
            values = flat.astype(np.float32) + np.float32(0)  # -0 and 0 are one value
        finite = np.isfinite(values)
        if not finite.all():
            raise SourceError(
                f"{name} has voxels that are no number",
                expected="finite grey values",
                found=f"{flat[~finite][0]} in {int((~finite).sum())} voxels of a section",
                remedy="replace them (by the value of the background, say) and save it again",
            )
        bits = values.view(np.uint32)
        keys: np.ndarray = np.where(bits >> 31, ~bits, bits | np.uint32(0x80000000))
        return keys
