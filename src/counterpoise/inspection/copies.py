"""Copies of the same raw: crops of different volumes under which the same voxels lie, wholly or in part.

Windows of eight bytes are hashed at every place, and those with the smallest hashes are kept: the content decides
which, not the place, so that a copy has the same ones wherever it lies. Two crops that share such windows, all with the
same distance between their places, show the same voxels.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

__all__ = ["Copy", "Windows", "find_copies"]

MOST_WINDOWS = 1024
"""Kept per crop: 30 kB, and a share is known within a few percent."""

LEAST_COMMON = 8
"""Common windows with one distance that make a copy: noise of a microscope does not repeat even one."""

_MOST_OWNERS = 64
"""A window that more crops have is a pattern of the file (a scale bar), not of the tissue."""

_FACTOR = np.uint64(0x9E3779B97F4A7C15)
_KEPT = np.uint64(2**64 // 256)
_WINDOW, _SPAN = 8, 24


@dataclass(frozen=True)
class Windows:
    """The windows kept of a crop: keys (sorted by hash), their places in voxels (windows, 3), and the largest hash."""

    hashes: np.ndarray
    keys: np.ndarray
    places: np.ndarray

    @classmethod
    def none(cls) -> Self:
        """Return those of a crop without raw."""
        return cls(np.zeros(0, np.uint64), np.zeros(0, np.uint64), np.zeros((0, 3), np.int32))

    def adding(self, raw: np.ndarray, origin: Sequence[int]) -> Windows:
        """Return the smallest of these and those of a slab that begins at a voxel."""
        others = _windows_of(raw, origin)
        hashes = np.concatenate([self.hashes, others.hashes])
        order = np.argsort(hashes, kind="stable")[:MOST_WINDOWS]
        keys = np.concatenate([self.keys, others.keys])[order]
        return Windows(hashes[order], keys, np.concatenate([self.places, others.places])[order])

    def below(self, limit: np.uint64) -> int:
        """Count the windows up to a hash."""
        return int(np.searchsorted(self.hashes, limit, side="right"))


def _windows_of(raw: np.ndarray, origin: Sequence[int]) -> Windows:
    raw = np.ascontiguousarray(raw)
    depth, height, width = raw.shape
    item = raw.dtype.itemsize
    columns = width - -(-_SPAN // item) + 1
    if columns < 1 or height < 2:  # noqa: PLR2004 - a window has its row and the next
        return Windows.none()
    steps = (height * width * item, width * item, item)

    def words(row: int, offset: int) -> np.ndarray:
        shape = (depth, height - 1, columns)
        return np.ndarray(shape, "<u8", raw.view(np.uint8).data, row * width * item + offset, steps)

    first = words(0, 0)
    hashes = first * _FACTOR
    places = np.nonzero(hashes < _KEPT)
    picked, word = hashes[places], first[places]
    varies = word != (word << np.uint64(8)) | (word >> np.uint64(56))  # eight equal bytes: nothing is there
    places, picked = tuple(axis[varies] for axis in places), picked[varies]
    keys = picked.copy()
    for row, offset in ((0, _WINDOW), (0, 2 * _WINDOW), (1, 0), (1, _WINDOW)):
        keys = (keys ^ (keys >> np.uint64(29))) * _FACTOR + words(row, offset)[places]
    return Windows(picked, keys, (np.stack(places, axis=1) + np.asarray(origin)).astype(np.int32))


@dataclass(frozen=True)
class Copy:
    """Two crops with the same raw voxels, and the share of the second one that lies in the first."""

    first: int
    second: int
    share: float


def find_copies(windows: Sequence[Windows], groups: Sequence[object]) -> list[Copy]:
    """Find crops of different groups (volumes) that show the same voxels.

    Parameters
    ----------
    windows : sequence of Windows
        Of each crop.
    groups : sequence
        The volume of each crop; crops of one volume are compared by their place instead.
    """
    owner = np.repeat(np.arange(len(windows)), [len(found.keys) for found in windows])
    keys = np.concatenate([np.zeros(0, np.uint64), *(found.keys for found in windows)])
    places = np.concatenate([np.zeros((0, 3), np.int32), *(found.places for found in windows)])
    order = np.argsort(keys, kind="stable")
    starts = np.flatnonzero(np.diff(keys[order], prepend=~keys[order[:1]]))
    lengths = np.diff(starts, append=len(order))
    distances: dict[tuple[int, int], Counter[tuple[int, ...]]] = defaultdict(Counter)
    for start, length in zip(starts[lengths > 1].tolist(), lengths[lengths > 1].tolist(), strict=True):
        group = order[start : start + length]
        if length > _MOST_OWNERS or len(set(owner[group].tolist())) < length:
            continue
        for i, one in enumerate(group):
            for two in group[i + 1 :]:
                if groups[owner[one]] != groups[owner[two]]:
                    distances[int(owner[one]), int(owner[two])][tuple((places[two] - places[one]).tolist())] += 1
    copies = []
    for (first, second), counts in sorted(distances.items()):
        common = counts.most_common(1)[0][1]
        limit = min(windows[first].hashes[-1], windows[second].hashes[-1])
        if common >= LEAST_COMMON:
            copies.append(Copy(first, second, common / windows[second].below(limit)))
    return copies
