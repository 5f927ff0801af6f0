"""Compiled loops that count boundaries and skeletons of one tile, class by class, on planes with a margin."""

from __future__ import annotations

from typing import Any

import numpy as np

from counterpoise.compiled import compiled
from counterpoise.metrics.thinning import thin_in_place

__all__ = ["count_parts"]

Array = np.ndarray[Any, Any]


@compiled()
def count_parts(
    predicted: Array, present: Array, known: Array, counted: Array, offsets: Array, table: Array, counts: Array
) -> None:
    """Add to ``counts`` what :func:`counterpoise.metrics.boundary.count_boundaries` says."""
    rows, columns = known.shape
    masks = np.zeros((2, rows + 2, columns + 2), np.uint8)
    lines = np.zeros((2, rows + 2, columns + 2), np.uint8)
    seen = np.zeros((rows + 2, columns + 2), np.uint8)
    waits = np.zeros(seen.size, np.uint8)
    places = np.empty((3, seen.size), np.int64)
    for c in range(counts.shape[0]):
        if not _unpack(predicted, present, known, c, masks, seen):
            continue
        for side in range(2):
            _outline(masks[side], seen, lines[side])
        for side in range(2):
            _count_near(lines[side], lines[1 - side], counted, offsets, counts[c, 0, 2 * side : 2 * side + 2])
        for side in range(2):
            lines[side] = masks[side]
            thin_in_place(lines[side], table, waits, places)
            _count_inside(lines[side], masks[1 - side], counted, counts[c, 1, 2 * side : 2 * side + 2])


@compiled()
def _unpack(predicted: Array, present: Array, known: Array, c: int, masks: Array, seen: Array) -> bool:
    """Write one class of label words as planes with a margin; tell whether any voxel of either mask is set."""
    found = False
    for r in range(known.shape[0]):
        for x in range(known.shape[1]):
            is_known = (known[r, x] >> c) & 1
            seen[r + 1, x + 1] = is_known
            masks[0, r + 1, x + 1] = is_known & (predicted[r, x] >> c)
            masks[1, r + 1, x + 1] = is_known & (present[r, x] >> c)
            found |= masks[0, r + 1, x + 1] + masks[1, r + 1, x + 1] > 0
    return found


@compiled()
def _outline(mask: Array, seen: Array, edge: Array) -> None:
    """Mark the voxels of a mask that have a known voxel outside of it above, below, left or right."""
    for r in range(1, mask.shape[0] - 1):
        for x in range(1, mask.shape[1] - 1):
            edge[r, x] = mask[r, x] and (
                seen[r - 1, x] > mask[r - 1, x]
                or seen[r + 1, x] > mask[r + 1, x]
                or seen[r, x - 1] > mask[r, x - 1]
                or seen[r, x + 1] > mask[r, x + 1]
            )


@compiled()
def _count_near(edge: Array, other: Array, counted: Array, offsets: Array, found: Array) -> None:
    """Count the voxels of an edge, and those of them with one of another edge near."""
    for r in range(counted[0] + 1, counted[1] + 1):
        for x in range(counted[2] + 1, counted[3] + 1):
            if edge[r, x]:
                found[1] += 1
                for k in range(offsets.shape[0]):
                    y, z = r + offsets[k, 0], x + offsets[k, 1]
                    if 0 < y < edge.shape[0] - 1 and 0 < z < edge.shape[1] - 1 and other[y, z]:
                        found[0] += 1
                        break


@compiled()
def _count_inside(line: Array, mask: Array, counted: Array, found: Array) -> None:
    """Count the voxels of a line, and those of them inside a mask."""
    for r in range(counted[0] + 1, counted[1] + 1):
        for x in range(counted[2] + 1, counted[3] + 1):
            if line[r, x]:
                found[1] += 1
                found[0] += mask[r, x]
