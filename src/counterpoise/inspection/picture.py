"""The section of a crop with most classes, thinned to what a page can show: raw, and where each class is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from counterpoise.inspection.reading import Block, label_masks, read_block
from counterpoise.report.images import LONGEST_SIDE
from counterpoise.volumes.crops import LabelLevel
from counterpoise.volumes.geometry import IndexBox
from counterpoise.volumes.volume import Level

__all__ = ["Picture", "draw_crop"]

_DARKEST, _BRIGHTEST = 0.5, 99.5
"""Percentiles of the section that become black and white."""


@dataclass(frozen=True)
class Picture:
    """One section; every ``step``-th pixel of it is shown.

    Parameters
    ----------
    section, sections : int
        Which one of the crop, the first is 1, and how many there are.
    raw : uint8 array, shape (rows, columns)
        Stretched from black to white; 0 where it is not stored.
    masks : mapping
        Class name to packed bits of where it is present, classes that are present only.
    unknown : bytes array or None
        Packed bits of where no class is known; None where one is known everywhere.
    pixel_nm : float
        Width of a shown pixel.
    step : int
        1 if every pixel is shown.
    """

    section: int
    sections: int
    raw: np.ndarray
    masks: Mapping[str, np.ndarray]
    unknown: np.ndarray | None
    pixel_nm: float
    step: int

    @property
    def shape(self) -> tuple[int, int]:
        """Return rows and columns."""
        rows, columns = self.raw.shape
        return rows, columns

    def mask(self, packed: np.ndarray) -> np.ndarray:
        """Unpack the bits of a mask."""
        found: np.ndarray = np.unpackbits(packed, count=self.raw.size).reshape(self.shape).view(bool)
        return found


def draw_crop(
    level: Level,
    labels: Mapping[str, LabelLevel],
    block: IndexBox,
    sections: Mapping[str, np.ndarray],
) -> Picture:
    """Take the section with most classes, and of several the one with most of them.

    Parameters
    ----------
    level, block : Level, IndexBox
        Raw, and the voxels under the crop.
    labels : mapping
        The level of each class that goes with the raw.
    sections : mapping
        Of each class, its voxels in every section of the block.
    """
    at = _richest(sections, block.shape[0])
    z = block.start[0] + at
    section = IndexBox((z, *block.start[1:]), (z + 1, *block.stop[1:]))
    step = max(1, -(-max(block.shape[1:]) // LONGEST_SIDE))
    present, unknown = {}, None
    some_known = False
    for name, label in labels.items():
        is_there = name in sections and sections[name][at] > 0
        if not is_there and some_known:
            continue
        masks = label_masks(label, level.grid, section)
        if is_there:
            present[name] = np.packbits(np.ascontiguousarray(masks.present[0, ::step, ::step]))
        if masks.known is None:
            some_known = True
        else:
            dark = ~masks.known[0, ::step, ::step]
            unknown = dark if unknown is None else unknown & dark
    has_unknown = unknown is not None and not some_known and bool(unknown.any())
    return Picture(
        section=at + 1,
        sections=block.shape[0],
        raw=_stretched(read_block(level, section))[::step, ::step],
        masks=present,
        unknown=np.packbits(unknown) if has_unknown and unknown is not None else None,
        pixel_nm=level.grid.voxel_size_nm[2] * step,
        step=step,
    )


def _richest(sections: Mapping[str, np.ndarray], depth: int) -> int:
    if not sections:
        return depth // 2
    counts = np.stack(list(sections.values()))
    classes = (counts > 0).sum(axis=0)
    share = (counts / np.maximum(counts.max(axis=1, keepdims=True), 1)).sum(axis=0)
    return int(np.lexsort((share, classes))[-1])


def _stretched(raw: Block) -> np.ndarray:
    """Spread grey values from black to white; what is not stored stays black."""
    stored = raw.voxels[raw.stored] if raw.stored is not None else raw.voxels
    image = raw.voxels[0].astype(np.float32)
    if stored.size:
        low, high = np.percentile(stored, (_DARKEST, _BRIGHTEST))
        if high > low:
            image = (image - low) / (high - low) * 255
    grey: np.ndarray = np.clip(image, 0, 255).astype(np.uint8)
    if raw.stored is not None:
        grey[~raw.stored[0]] = 0
    return grey
