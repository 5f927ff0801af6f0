"""Grey values under a crop from their histogram, and which raw chunks are not stored."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from counterpoise.inspection.facts import RawFacts
from counterpoise.inspection.problems import Problem, ProblemCode
from counterpoise.inspection.reading import Block
from counterpoise.text import percent
from counterpoise.volumes.geometry import IndexBox
from counterpoise.volumes.volume import Level

__all__ = ["Greys", "grey_problems", "share_in_words", "stored_voxels"]

ZERO_SHARE = 0.5
"""Stored raw of which more is 0 was made of nothing: real images have few zeros."""

SATURATED_SHARE = 0.2
"""More at the lowest or highest value means that grey values were cut off."""

LEAST_SD = 2.0
"""Grey values; the noise of a microscope alone has more."""

MISSING_SURROUNDINGS_SHARE = 0.2
"""Share of half a patch around the crop."""


def stored_voxels(level: Level, block: IndexBox) -> int:
    """Count the voxels of a block whose chunk has a file."""
    return sum(
        box.common(block).voxels
        for box, file in level.chunk_paths(block)
        if os.path.exists(file)  # noqa: PTH110 - a volume may have very many
    )


@dataclass
class Greys:
    """A histogram of raw voxels; exact, whatever the number of voxels."""

    dtype: np.dtype[np.integer]
    counts: np.ndarray = field(init=False)
    missing: int = 0

    def __post_init__(self) -> None:
        self.counts = np.zeros(2 ** (8 * self.dtype.itemsize), np.int64)

    @property
    def lowest(self) -> int:
        """Return the lowest value that the type can hold."""
        return int(np.iinfo(self.dtype).min)

    def add(self, raw: Block) -> None:
        """Take a slab."""
        voxels = raw.voxels.reshape(-1) if raw.stored is None else raw.voxels[raw.stored]
        self.missing += raw.voxels.size - voxels.size
        shifted = voxels if self.lowest == 0 else voxels.astype(np.int64) - self.lowest
        self.counts += np.bincount(shifted, minlength=len(self.counts))

    @property
    def stored(self) -> int:
        """Return the number of voxels that have a grey value."""
        return int(self.counts.sum())

    def share_of(self, value: int) -> float:
        """Return the share of a grey value."""
        return float(self.counts[value - self.lowest]) / self.stored

    @property
    def mean(self) -> float:
        """Return the mean."""
        return float(self.counts @ np.arange(len(self.counts)) / self.stored) + self.lowest

    @property
    def sd(self) -> float:
        """Return the standard deviation (of all voxels, not of a sample)."""
        apart = np.arange(len(self.counts)) + self.lowest - self.mean
        return float(np.sqrt(self.counts @ apart**2 / self.stored))

    def percentile(self, share: float) -> float:
        """Return a percentile, between two values in proportion."""
        place = share * (self.stored - 1)
        order = np.searchsorted(self.counts.cumsum(), [np.floor(place), np.ceil(place)], side="right") + self.lowest
        return float(order[0] + (order[1] - order[0]) * (place % 1))


def grey_problems(crop_id: str, raw: RawFacts, greys: Greys | None) -> Iterator[Problem]:
    """Say what is wrong with the raw under a crop."""
    crop = (crop_id,)
    if raw.missing_share:
        text = f"{share_in_words(raw.missing_share)} of the raw under the crop is not stored: fetch its chunks"
        yield Problem(ProblemCode.MISSING_RAW, text, crop, details={"share": raw.missing_share})
    if raw.surround_missing_share is not None and raw.surround_missing_share > MISSING_SURROUNDINGS_SHARE:
        text = (
            f"{share_in_words(raw.surround_missing_share)} of the raw within half a patch around the crop is not stored"
        )
        details = {"share": raw.surround_missing_share}
        yield Problem(ProblemCode.MISSING_SURROUNDINGS, text, crop, details=details)
    if greys is None or not greys.stored or raw.sd is None:
        return
    limits = np.iinfo(greys.dtype)
    ends = {value: greys.share_of(value) for value in (int(limits.min), int(limits.max))}
    end = max(ends, key=ends.__getitem__)
    if greys.share_of(0) > ZERO_SHARE:
        text = f"{share_in_words(greys.share_of(0))} of the stored raw under the crop is 0"
        yield Problem(ProblemCode.ZERO_RAW, text, crop, details={"share": greys.share_of(0)})
    elif ends[end] > SATURATED_SHARE:
        kind = "highest" if end == limits.max else "lowest"
        text = f"{share_in_words(ends[end])} of the raw under the crop is {end}, the {kind} value"
        yield Problem(ProblemCode.SATURATED_RAW, text, crop, details={"share": ends[end], "value": end})
    elif raw.sd < LEAST_SD:
        text = f"the raw under the crop hardly varies: {raw.mean:.1f} with a standard deviation of {raw.sd:.2f}"
        yield Problem(ProblemCode.CONSTANT_RAW, text, crop, details={"sd": raw.sd})


def share_in_words(share: float) -> str:
    """Write a share in percent; what is little is not nothing."""
    return percent(round(share, 3)) if share >= 0.001 else "less than 0.1 %"  # noqa: PLR2004
