"""Thin masks to lines of one voxel, by Guo and Hall's parallel algorithm, in one section.

References
----------
.. [1] Z. Guo, R. W. Hall, "Parallel thinning with two-subiteration algorithms", Communications of the ACM 32(3), 1989,
   pp. 359-373 (algorithm A1).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Bool

from counterpoise.compiled import compiled

__all__ = ["REMOVABLE", "thin", "thin_in_place"]

Array = np.ndarray[Any, Any]


def _tabulate_removable() -> Array:
    """Tabulate which voxels may go, by their eight neighbours: bit 0 in the first half of a round, bit 1 in the second.

    A voxel goes if its neighbours are one run around it (it is no bridge), and enough of them that it ends no line;
    the first half of a round takes voxels from the north and east side, the second from the other two [1]_.
    """
    table = np.zeros(256, np.uint8)
    for code in range(256):
        n, ne, e, se, s, sw, w, nw = (bool((code >> k) & 1) for k in range(8))
        runs = sum((not n and (ne or e), not e and (se or s), not s and (sw or w), not w and (nw or n)))
        pairs = min(sum((nw or n, ne or e, se or s, sw or w)), sum((n or ne, e or se, s or sw, w or nw)))
        if runs == 1 and pairs in {2, 3}:
            table[code] = (not ((n or ne or not se) and e)) + 2 * (not ((s or sw or not nw) and w))
    return table


REMOVABLE = _tabulate_removable()
"""By the bits of the neighbours, clockwise from above."""

_ALL = 255


def thin(mask: Bool[np.ndarray, "row column"]) -> Bool[np.ndarray, "row column"]:
    """Thin a mask; what lies beyond the edge is absent.

    Examples
    --------
    >>> import numpy as np
    >>> thin(np.ones((3, 6), bool)).astype(int)
    array([[0, 0, 0, 0, 0, 0],
           [0, 1, 1, 1, 1, 0],
           [0, 0, 0, 0, 0, 0]])
    """
    padded = np.pad(mask, 1).astype(np.uint8)
    thin_in_place(padded, REMOVABLE, np.zeros(padded.size, np.uint8), np.empty((3, padded.size), np.int64))
    return padded[1:-1, 1:-1].astype(bool)


@compiled()
def thin_in_place(mask: Array, table: Array, waits: Array, places: Array) -> None:
    """Thin a mask with an empty margin.

    A voxel is looked at again only when a neighbour has gone: else the answer would be the same.

    Parameters
    ----------
    mask : uint8 array, shape (rows, columns)
        0 or 1; contiguous.
    table : uint8 array, shape (256,)
        :data:`REMOVABLE`.
    waits : uint8 array, shape (rows * columns,)
        Zeros, before and after: bits for the halves of a round in which a voxel is to be looked at.
    places : int64 array, shape (3, rows * columns)
        Room for the lists of both halves and of what goes.
    """
    width = mask.shape[1]
    flat = mask.ravel()
    steps = np.array([-width, 1 - width, 1, 1 + width, width, width - 1, -1, -1 - width])
    lengths = np.zeros(2, np.int64)
    for place in range(flat.size):
        if flat[place] and _neighbours(flat, place, steps) != _ALL:
            _look_again(place, waits, places, lengths)
    half = 0
    while lengths[0] + lengths[1] > 0:
        gone = 0
        for k in range(lengths[half]):
            place = places[half, k]
            waits[place] &= ~(1 << half)
            if flat[place] and (table[_neighbours(flat, place, steps)] >> half) & 1:
                places[2, gone] = place
                gone += 1
        lengths[half] = 0
        for k in range(gone):
            flat[places[2, k]] = 0
        for k in range(gone):
            for step in steps:
                if flat[places[2, k] + step]:
                    _look_again(places[2, k] + step, waits, places, lengths)
        half = 1 - half


@compiled()
def _neighbours(flat: Array, place: int, steps: Array) -> int:
    code = 0
    for bit in range(8):
        code |= flat[place + steps[bit]] << bit
    return code


@compiled()
def _look_again(place: int, waits: Array, places: Array, lengths: Array) -> None:
    for half in range(2):
        if not (waits[place] >> half) & 1:
            waits[place] |= 1 << half
            places[half, lengths[half]] = place
            lengths[half] += 1
