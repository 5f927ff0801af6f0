"""Objects of a class, counted from runs of voxels along x: exact, and several times faster than voxel by voxel."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

__all__ = ["ObjectCounter"]

MOST_RUNS = 20_000_000
"""With more, objects are not counted: noise, or an array of a size that nobody annotates by hand."""


@dataclass
class ObjectCounter:
    """Takes the slabs of an array one after the other; remembers runs, not voxels.

    Parameters
    ----------
    shape : (z, y, x)
        Of the whole array.
    by_id : bool
        Whether an object is all voxels of one value (instances), or else what hangs together by faces of voxels.
    """

    shape: tuple[int, int, int]
    by_id: bool
    _starts: list[np.ndarray] = field(default_factory=list)
    _lengths: list[np.ndarray] = field(default_factory=list)
    _ids: list[np.ndarray] = field(default_factory=list)
    _runs: int = 0

    def add(self, first_section: int, stored: np.ndarray, present: np.ndarray) -> None:
        """Take a slab: its stored values, and where they mean that the class is present."""
        if self._runs > MOST_RUNS:
            return
        height, width = self.shape[1:]
        flat = np.ascontiguousarray(present).reshape(-1)
        values = np.ascontiguousarray(stored).reshape(-1)
        edge = (values if self.by_id else flat)[1:] != (values if self.by_id else flat)[:-1]
        edge[width - 1 :: width] = True  # a run ends with its row
        starts = np.concatenate([[0], np.flatnonzero(edge) + 1])
        lengths = np.diff(starts, append=flat.size)
        is_there = flat[starts]
        starts, lengths = starts[is_there], lengths[is_there]
        self._runs += len(starts)
        self._lengths.append(lengths)
        if self.by_id:
            self._ids.append(values[starts])
        else:
            self._starts.append(starts + first_section * height * width)

    def sizes(self) -> np.ndarray | None:
        """Return the voxels of every object; None if there were too many runs to tell."""
        if self._runs > MOST_RUNS:
            return None
        lengths = np.concatenate([np.zeros(0, np.int64), *self._lengths])
        if self.by_id:
            _, owner = np.unique(np.concatenate([np.zeros(0, np.uint8), *self._ids]), return_inverse=True)
        else:
            owner = self._components(np.concatenate([np.zeros(0, np.int64), *self._starts]), lengths)
        return np.bincount(owner, weights=lengths).astype(np.int64) if len(lengths) else np.zeros(0, np.int64)

    def _components(self, starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """Return the component of every run: those that lie side by side in neighbouring rows or sections are one."""
        height, width = self.shape[1:]
        stops = starts + lengths
        has_row_before = starts // width % height > 0
        pairs = [_touching(starts, stops, width, has_row_before), _touching(starts, stops, width * height, None)]
        one, two = (np.concatenate(ends) for ends in zip(*pairs, strict=True))
        graph = coo_matrix((np.ones(len(one), np.uint8), (one, two)), shape=(len(starts), len(starts)))
        owner: np.ndarray = connected_components(graph, directed=False)[1]
        return owner


def _touching(
    starts: np.ndarray, stops: np.ndarray, distance: int, only: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Pair every run with those that lie beside it, ``distance`` voxels before in the order of the array."""
    asking = np.arange(len(starts)) if only is None else np.flatnonzero(only)
    first = np.searchsorted(stops, starts[asking] - distance, side="right")
    last = np.searchsorted(starts, stops[asking] - distance, side="left")
    count = np.maximum(last - first, 0)
    offset = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    return np.repeat(asking, count), np.repeat(first, count) + offset
