"""Crops of one raw volume that share space: what was trained on must not be scored.

Only annotated blocks count. Raw around a crop is input without labels: a train patch that reaches into a validation
crop is shown its grey values and none of its labels, and the loss leaves these pixels out.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from counterpoise.errors import DatasplitError
from counterpoise.notes import Note, NoteKind
from counterpoise.text import percent
from counterpoise.volumes.crops import Crop
from counterpoise.volumes.geometry import Box, round_nm

__all__ = ["NEAR_NM", "CropPair", "describe_leaks", "describe_repeats", "find_pairs", "leak_errors"]

NEAR_NM = 200.0
"""Train and validation crops that are nearer than this are told: the distance that ``init`` keeps."""

_TOUCH = 0.5 * (1 + 1e-4)
"""Share of a voxel up to which two blocks only touch: rounding, or a corner that was taken for a centre."""

_MOST_NAMED = 3


@dataclass(frozen=True)
class CropPair:
    """Two crops of one raw volume that overlap, or lie near each other.

    Parameters
    ----------
    first, second : Crop
        A train and a validation crop in this order, or two of one split in the order of the datasplit.
    gap_nm : float
        Distance on the axis on which they are farthest apart; 0 where they overlap or touch.
    shared : Box or None
        The block that lies in both; None where they do not overlap.
    share : float
        Its part of the second crop's block, in [0, 1].
    """

    first: Crop
    second: Crop
    gap_nm: float
    shared: Box | None
    share: float

    @property
    def is_leak(self) -> bool:
        """Whether voxels of a train crop lie in a validation crop."""
        return self.shared is not None and self.first.split != self.second.split

    @property
    def is_repeat(self) -> bool:
        """Whether two crops of one split overlap."""
        return self.shared is not None and self.first.split == self.second.split


def find_pairs(crops: Sequence[Crop], *, gap_nm: float = 0.0) -> tuple[CropPair, ...]:
    """Find crops that overlap, and those of different splits that lie near each other.

    Crops are compared if their raw group is the same folder (symbolic links resolved). Each annotated class of a crop
    has a block; they are nearly always one and the same. Two crops overlap if blocks of theirs have more than half a
    voxel in common on every axis, of the larger voxels: then the centre of a voxel can lie in both.

    Parameters
    ----------
    crops : sequence of Crop
        Opened crops.
    gap_nm : float
        Crops of different splits that are nearer than this on every axis are listed too.

    Returns
    -------
    tuple of CropPair
        Every pair once, with its largest common block.
    """
    volumes: dict[Path, list[Crop]] = {}
    for crop in crops:
        volumes.setdefault(crop.raw.path, []).append(crop)
    return tuple(pair for members in volumes.values() for pair in _pairs_of(members, gap_nm))


def _pairs_of(crops: Sequence[Crop], gap_nm: float) -> Iterable[CropPair]:
    blocks = _Blocks.of(crops)
    found: dict[tuple[int, int], CropPair] = {}
    for number in range(1, len(blocks.owner)):
        # Positive: how much two blocks have in common on an axis. Negative: how far they are apart.
        common = np.minimum(blocks.upper[:number], blocks.upper[number])
        common -= np.maximum(blocks.lower[:number], blocks.lower[number])
        touch = _TOUCH * np.maximum(blocks.voxel[:number], blocks.voxel[number])
        for other in np.flatnonzero((common > np.minimum(touch, -gap_nm)).all(axis=1)):
            one, two = int(blocks.owner[other]), int(blocks.owner[number])
            if one == two:
                continue
            overlaps = bool((common[other] > touch[other]).all())
            if not overlaps and (crops[one].split == crops[two].split or not gap_nm):
                continue
            second = int(other) if crops[two].split == "train" and crops[one].split == "validate" else number
            first = number if second == other else int(other)
            pair = blocks.pair(crops, first, second, common[other] if overlaps else None, -float(common[other].min()))
            key = (min(one, two), max(one, two))
            before = found.get(key)
            if before is None or (pair.share, -pair.gap_nm) > (before.share, -before.gap_nm):
                found[key] = pair
    return found.values()


@dataclass(frozen=True)
class _Blocks:
    """The distinct blocks of some crops: owner (blocks), corners and voxel sizes in nm (blocks, 3)."""

    owner: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    voxel: np.ndarray

    @classmethod
    def of(cls, crops: Sequence[Crop]) -> _Blocks:
        rows = {
            (k, grid.box): grid.voxel_size_nm
            for k, crop in enumerate(crops)
            for grid in (levels[0].level.grid for levels in crop.labels.values())
        }
        return cls(
            np.array([k for k, _ in rows], dtype=np.int64),
            np.array([box.lower_nm for _, box in rows]).reshape(-1, 3),
            np.array([box.upper_nm for _, box in rows]).reshape(-1, 3),
            np.array(list(rows.values())).reshape(-1, 3),
        )

    def pair(
        self, crops: Sequence[Crop], first: int, second: int, common: np.ndarray | None, gap_nm: float
    ) -> CropPair:
        """Describe two blocks; ``common`` is the size of what lies in both, None if nothing does."""
        one, two = crops[int(self.owner[first])], crops[int(self.owner[second])]
        if common is None:
            return CropPair(one, two, max(gap_nm, 0.0), None, 0.0)
        lower = np.maximum(self.lower[first], self.lower[second])
        share = float(np.prod(common) / np.prod(self.upper[second] - self.lower[second]))
        return CropPair(one, two, 0.0, Box(round_nm(lower), round_nm(lower + common)), min(share, 1.0))


# In words -------------------------------------------------------------------------------------------------------


def leak_errors(pairs: Iterable[CropPair], datasplit: Path) -> tuple[DatasplitError, ...]:
    """Make an error of every validation crop that shares voxels with train crops."""
    errors = []
    for crop_id, leaks in _leaks_by_crop(pairs).items():
        more = f" (and {len(leaks) - 1} more)" if leaks[1:] else ""
        errors.append(
            DatasplitError(
                f"validation crop {crop_id} shares voxels with train crop {leaks[0].first.crop_id}{more}",
                expected="validation on voxels that no training sees",
                found="; ".join(f"with {pair.first.crop_id} {_amount(pair)}" for pair in leaks[:_MOST_NAMED])
                + ("; ..." if leaks[_MOST_NAMED:] else ""),
                remedy=f"put them into one split in {datasplit.name}, or leave one out (`counterpoise init --data` "
                "keeps neighbours together); if it is on purpose, set allow_overlap = true under [data]",
            )
        )
    return tuple(errors)


def describe_leaks(pairs: Iterable[CropPair]) -> tuple[Note, ...]:
    """Name in one note the validation crops that share voxels with train crops; no note if none does."""
    crops = _leaks_by_crop(pairs)
    if not crops:
        return ()
    named = [
        f"{crop_id} ({percent(round(leaks[0].share, 3))} of it in {leaks[0].first.crop_id})"
        for crop_id, leaks in crops.items()
    ]
    more = f", and {len(named) - _MOST_NAMED} more" if named[_MOST_NAMED:] else ""
    text = (
        f"validation voxels are trained on, as data.allow_overlap says: {', '.join(named[:_MOST_NAMED])}{more}; scores "
        "there are too high"
    )
    return (Note(NoteKind.LEAK, text),)


def describe_repeats(pairs: Iterable[CropPair]) -> tuple[Note, ...]:
    """Note crops of one split that overlap: allowed, but their common voxels count twice."""
    return tuple(
        Note(
            NoteKind.DATA,
            f"overlaps {pair.first.crop_id} of the same split ({pair.first.split}; "
            f"{_amount(pair)}): these voxels count twice",
            pair.second.crop_id,
        )
        for pair in pairs
        if pair.is_repeat
    )


def _leaks_by_crop(pairs: Iterable[CropPair]) -> dict[str, list[CropPair]]:
    """Collect leaks by validation crop, those with the largest share first."""
    crops: dict[str, list[CropPair]] = {}
    for pair in sorted((pair for pair in pairs if pair.is_leak), key=lambda pair: -pair.share):
        crops.setdefault(pair.second.crop_id, []).append(pair)
    return crops


def _amount(pair: CropPair) -> str:
    assert pair.shared is not None  # noqa: S101 - asked of overlapping crops only
    z, y, x = pair.shared.size_nm
    return f"{z:g} x {y:g} x {x:g} nm (z, y, x), {percent(round(pair.share, 3))} of {pair.second.crop_id}"
