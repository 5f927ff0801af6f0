"""Whether a thin class lies where the raw shows it: its contrast as stored, and moved by a few voxels.

Contrast is (mean raw inside - mean raw outside) / standard deviation of the raw. A membrane that is drawn two voxels
beside the dark line loses much of it, so the move that brings the most contrast is where it belongs. Filled shapes keep
their contrast when moved, and say nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from counterpoise.arrays import Vector3
from counterpoise.inspection.reading import Block, Masks

__all__ = ["REACH", "ShiftFit", "agree", "fit_shift"]

REACH = 7
"""Voxels in the plane by which labels are moved, to every side: one more than a move that is believed, because what
fits best at the edge may fit better beyond it, as shapes that are not thin do."""

THIN_SHARE = 0.6
"""A class is thin if its contrast, so many voxels beside its best place, is less than this part of the best."""

CLEAR_CONTRAST = 0.7
"""Contrast below which the raw is too vague to say where a class belongs.

With these three and the two below, membranes that were moved on purpose in the real data sets vnc and fib25 and in the
synthetic volume were found, by one section or two to six voxels, and none that was not moved.
"""

LEAST_MOVE = 2
"""Voxels in the plane: annotators are one off. One thick section is many of them."""

BETTER_BY = 0.1
"""Part by which the best place must fit better than the stored one."""

FAR_MOVE, FAR_BETTER_BY = 4, 0.3
"""From this many voxels on, the stored place of a thin class fits much worse; else the better one is chance."""

QUARTERS = 0.75
"""Of the quarters of the crop that hold enough of the class: what fits better by chance does so in one place."""

OTHER_SIGN = 0.5
"""Labels with more contrast than this part of the best, and of the other sign, lie on another structure rightly."""

LEAST_SIDE = 32
"""Voxels in the plane that must stay inside the crop after any move: in fewer, chance fits well."""

AS_GOOD = 0.9
"""Part of its best contrast that a class must have at the move of another class to be moved by the same."""

_FEW, _MANY = 600, 20_000
"""Voxels inside and outside that are looked at: to find the best place, and to confirm it."""

_CLIMBS = 3
"""Steps by which the best place of many voxels may differ from that of a few."""

_GATHERED = 2**20
"""Voxels that are looked up at a time."""

_LEAST = 300
"""With fewer voxels of a class nothing is said."""


@dataclass(frozen=True)
class ShiftFit:
    """The move in voxels (z, y, x) at which a class fits best, its contrast there and as stored.

    ``quarters`` is the share of the crop's quarters in the plane that fit better, too; ``rough`` has the contrast at
    every move, from few voxels.
    """

    move: tuple[int, int, int]
    best: float
    stored: float
    is_thin: bool
    quarters: float
    rough: Mapping[tuple[int, int, int], float]

    @property
    def is_clear(self) -> bool:
        """Tell whether the class says where it belongs."""
        return self.is_thin and abs(self.best) > CLEAR_CONTRAST

    def is_misplaced(self, voxel_size_nm: Vector3) -> bool:
        """Tell whether the class clearly belongs elsewhere; voxels are of this size."""
        moved_nm = math.hypot(*(step * size for step, size in zip(self.move, voxel_size_nm, strict=True)))
        better_by = BETTER_BY if moved_nm < FAR_MOVE * min(voxel_size_nm) else FAR_BETTER_BY
        return (
            self.is_clear
            and moved_nm >= LEAST_MOVE * min(voxel_size_nm)
            and max(map(abs, self.move[1:])) < REACH
            and abs(self.best) > (1 + better_by) * abs(self.stored)
            and self.quarters >= QUARTERS
            and (self.best * self.stored > 0 or abs(self.stored) < OTHER_SIGN * abs(self.best))
        )


def agree(fits: Mapping[str, ShiftFit]) -> dict[str, ShiftFit]:
    """Find one move for the classes of a crop, where one fits them about as well as their own.

    A membrane that is flat over a whole crop can be moved along itself: it does not say by how much. The others do.
    """
    moves = dict.fromkeys(fit.move for fit in fits.values())
    if len(moves) < 2:  # noqa: PLR2004 - they agree
        return dict(fits)
    common = max(moves, key=lambda move: sum(abs(fit.rough.get(move, 0.0) / fit.best) for fit in fits.values()))
    return {
        name: replace(fit, move=common, best=fit.rough[common])
        if abs(fit.rough.get(common, 0.0)) > AS_GOOD * abs(fit.best)
        else fit
        for name, fit in fits.items()
    }


def fit_shift(raw: Block, masks: Masks, sd: float, reach: tuple[int, int, int]) -> ShiftFit | None:
    """Find the move at which a class has most contrast.

    Only labels that stay inside the block when moved take part, so that every move is judged on the same voxels.

    Parameters
    ----------
    raw : Block
        Raw voxels.
    masks : Masks
        The class on the same voxels.
    sd : float
        Standard deviation of the raw.
    reach : (z, y, x)
        How many voxels to move to every side.

    Returns
    -------
    ShiftFit or None
        None where there is too little of the class, or of its outside, to tell.
    """
    shape = raw.voxels.shape
    inner = tuple(slice(r, n - r) for r, n in zip(reach, shape, strict=True))
    sides = [n - 2 * r for r, n in zip(reach, shape, strict=True)]
    if sd <= 0 or min(sides[1:]) < LEAST_SIDE:
        return None
    usable = np.ones(masks.present[inner].shape, bool) if masks.known is None else masks.known[inner].copy()
    if raw.stored is not None:
        usable &= _stored_around(raw.stored, reach, usable.shape)
    inside = np.flatnonzero(masks.present[inner] & usable)
    outside = np.flatnonzero(~masks.present[inner] & usable)
    if min(len(inside), len(outside)) < _LEAST:
        return None
    field = _Field(np.ascontiguousarray(raw.voxels).reshape(-1), shape, reach, usable.shape, sd)
    moves = np.stack(np.meshgrid(*(np.arange(-r, r + 1) for r in reach), indexing="ij"), axis=-1).reshape(-1, 3)
    rough = field.contrast(inside, outside, moves, _FEW)
    peak = moves[np.abs(rough).argmax()]
    for _ in range(_CLIMBS):
        near = moves[(np.abs(moves - peak) <= 1).all(axis=1) | (moves == 0).all(axis=1)]
        fine = field.contrast(inside, outside, near, _MANY)
        at = int(np.abs(fine).argmax())
        best = near[at]
        if (best == peak).all():
            break
        peak = best
    beside = moves[(moves[:, 0] == best[0]) & (np.abs(moves[:, 1:] - best[1:]).max(axis=1) == min(reach[1:]))]
    away = field.contrast(inside, outside, beside, _FEW)
    stored = float(fine[(near == 0).all(axis=1)][0])
    is_thin = bool(np.abs(away).mean() < THIN_SHARE * abs(fine[at]))
    by_move = {(z, y, x): value for (z, y, x), value in zip(moves.tolist(), rough.tolist(), strict=True)}
    move = (int(best[0]), int(best[1]), int(best[2]))
    quarters = field.quarters(inside, outside, best) if is_thin and any(move) else 0.0
    return ShiftFit(move, float(fine[at]), stored, is_thin, quarters, by_move)


def _stored_around(stored: np.ndarray, reach: tuple[int, int, int], inner: tuple[int, ...]) -> np.ndarray:
    """Mark the voxels whose eight farthest places are stored; chunks are larger than any move."""
    found = np.ones(inner, bool)
    for corner in np.ndindex(2, 2, 2):
        found &= stored[tuple(slice(2 * r * c, 2 * r * c + n) for r, c, n in zip(reach, corner, inner, strict=True))]
    return found


@dataclass(frozen=True)
class _Field:
    """Raw voxels in one row, and where the inner block lies in them."""

    raw: np.ndarray
    shape: tuple[int, ...]
    reach: tuple[int, int, int]
    inner: tuple[int, ...]
    sd: float

    def contrast(self, inside: np.ndarray, outside: np.ndarray, moves: np.ndarray, most: int) -> np.ndarray:
        """Compute the contrast after each move, from at most so many voxels of each side, evenly spread."""
        few = ((some, min(len(some), most)) for some in (inside, outside))
        steps = moves @ np.array([self.shape[1] * self.shape[2], self.shape[2], 1])
        means = [self._means(some[np.arange(n) * len(some) // n], steps) for some, n in few]
        difference: np.ndarray = (means[0] - means[1]) / self.sd
        return difference

    def quarters(self, inside: np.ndarray, outside: np.ndarray, move: np.ndarray) -> float:
        """Return the share of the quarters in the plane in which a move brings more contrast."""
        quarter_of = [self._quarter(some) for some in (inside, outside)]
        better = []
        for number in range(4):
            parts = [some[of == number] for some, of in zip((inside, outside), quarter_of, strict=True)]
            if min(map(len, parts)) >= _LEAST:
                both = self.contrast(parts[0], parts[1], np.stack([0 * move, move]), _MANY)
                stored, moved = np.abs(both)
                better.append(moved > (1 + BETTER_BY) * stored)
        return float(np.mean(better)) if better else 0.0

    def _quarter(self, chosen: np.ndarray) -> np.ndarray:
        _, y, x = np.unravel_index(chosen, self.inner)
        quarter: np.ndarray = 2 * (2 * y >= self.inner[1]) + (2 * x >= self.inner[2])
        return quarter

    def _means(self, chosen: np.ndarray, steps: np.ndarray) -> np.ndarray:
        places = np.unravel_index(chosen, self.inner)
        at = np.ravel_multi_index(tuple(p + r for p, r in zip(places, self.reach, strict=True)), self.shape)
        most = max(_GATHERED // max(len(at), 1), 1)
        parts = [steps[first : first + most, None] for first in range(0, len(steps), most)]
        means: np.ndarray = np.concatenate([self.raw[at + part].mean(axis=1) for part in parts])
        return means
