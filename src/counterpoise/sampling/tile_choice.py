r"""Which tiles a crop keeps if it has more than the cap: a random sample in which no class loses all its positives.

The score pools the voxels of all kept tiles, so tiles must not be chosen by how much of a class they hold. The tiles of
a crop are put into one random order, and the first :math:`k` are the sample. Only if a class of the crop is in none of
them, the first tile of the order that holds it, which is a random one of those that do, takes the place of the last of
the sample that no class needs. The chance of a tile to be kept then depends on whether it holds a class that would have
been lost, and on nothing else.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Int

__all__ = ["choose_tiles", "random_order"]


def random_order(crop_id: str, tiles: int, cap: int) -> Int[np.ndarray, " tile"]:
    """Put the tiles of a crop into an order that depends on its id alone: first the sample, then the others.

    Parameters
    ----------
    crop_id : str
        Key of the generator: another crop in the list changes nothing.
    tiles, cap : int
        How many tiles there are, and how many of them the sample has; fewer than there are.
    """
    key = int.from_bytes(hashlib.sha256(crop_id.encode()).digest()[:8], "little")
    generator = np.random.Generator(np.random.Philox(key=key))
    sample = generator.choice(tiles, cap, replace=False)
    others = np.setdiff1d(np.arange(tiles), sample)
    return np.concatenate([sample, generator.permutation(others)])


def choose_tiles(
    holds: Bool[np.ndarray, "tile class_"],
    order: Int[np.ndarray, " tile"],
    cap: int,
    rarest_first: Sequence[int],
) -> Int[np.ndarray, " kept"]:
    """Keep one tile of each class, the first of the order, and fill up with the first of the order.

    Parameters
    ----------
    holds : bool array, shape (tiles, classes)
        Whether a tile has a positive voxel of a class.
    order : int64 array, shape (tiles,)
        A random order of the tiles.
    cap : int
        How many to keep.
    rarest_first : sequence of int
        The classes, in the order in which they are served while the cap lasts.

    Returns
    -------
    int64 array, shape (cap,)
        Kept tiles, sorted: the first of the order, if every class is in one of these.

    Examples
    --------
    The second class is in the fourth and fifth tile, and a sample of two holds neither:

    >>> holds = np.array([[1, 0], [1, 0], [1, 0], [0, 1], [1, 1]], bool)
    >>> choose_tiles(holds, np.array([2, 0, 4, 1, 3]), 2, [1, 0])
    array([2, 4])
    """
    ordered = holds[order]
    needed: list[int] = []  # positions in the order
    for c in rarest_first:
        is_held = ordered[needed, c].any()
        if len(needed) < cap and not is_held and ordered[:, c].any():
            needed.append(int(ordered[:, c].argmax()))
    others = np.setdiff1d(np.arange(len(order)), needed)[: cap - len(needed)]
    return np.sort(order[np.concatenate([np.array(needed, dtype=np.int64), others])])
