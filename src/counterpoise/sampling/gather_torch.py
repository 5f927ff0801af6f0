"""Cut patches out of a split that lies in device memory: the gather of `gather_cpu`, in torch, so that no voxel moves.

The batch is that of the compiled loops bit for bit, so that it makes no difference to a trial where its voxels lie: the
same operations in the same order, positions in float64 and blending in float32, each operation a kernel of its own,
in which no multiplication is fused with an addition (and the compiled loops ask for no such thing either).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from counterpoise.arrays import Vector3
from counterpoise.sampling.crop_table import EDGE, NEAREST, CropTable, IndexMap, PatchGeometry
from counterpoise.sampling.patches import Patches
from counterpoise.store import StoredCrop, VoxelStore

__all__ = ["MAX_SHARE", "DeviceStore", "Room", "signed_words"]

MAX_SHARE = 0.5
"""Voxels may take this share of the free device memory: network, activations and the other split need the rest."""

_PIXELS = 1 << 21
"""Pixels gathered at a time: about 100 bytes of temporary memory each."""

_TO_UNIT = float(np.float32(1.0 / 255.0))

_STAGE_BYTES = 1 << 26
"""Bytes copied to the device at a time, so that loading a store takes little host memory."""

_SIGNED = {"uint8": np.uint8, "uint16": np.int16, "uint32": np.int32, "uint64": np.int64}
"""torch cannot shift unsigned words wider than 8 bits; the same bits read as signed ones can be shifted."""


def signed_words(words: np.ndarray) -> np.ndarray:
    """View label words as a type that torch computes with: the same bits."""
    view: np.ndarray = words.view(_SIGNED[words.dtype.name])
    return view


@dataclass(frozen=True)
class Room:
    """Whether the voxels of a split may lie in the memory of a device.

    Parameters
    ----------
    needed_bytes : int
        Raw and label words of the split.
    free_bytes : int
        Free on the device now.
    """

    needed_bytes: int
    free_bytes: int

    @classmethod
    def on(cls, device: torch.device, crops: tuple[StoredCrop, ...], store: VoxelStore) -> Room:
        """Compare what the crops take with what a CUDA device has."""
        free, _ = torch.cuda.mem_get_info(device)
        return cls(split_bytes(crops, store), free)

    @property
    def is_enough(self) -> bool:
        """Whether the voxels take at most the allowed share of what is free."""
        return self.needed_bytes <= MAX_SHARE * self.free_bytes

    def __str__(self) -> str:
        needed, free = self.needed_bytes / 1e9, self.free_bytes / 1e9
        limit = f"at most {MAX_SHARE:.0%} of the {free:.2f} GB free there"
        if self.is_enough:
            return f"{needed:.2f} GB of voxels in device memory ({limit})"
        return f"{needed:.2f} GB of voxels stay in host memory (on the device: {limit})"


def split_bytes(crops: tuple[StoredCrop, ...], store: VoxelStore) -> int:
    """Count the bytes of the crops' raw and label words."""
    word = store.present.dtype.itemsize * (2 if any(crop.has_unknown for crop in crops) else 1)
    return sum(int(np.prod(c.raw_grid.shape)) + int(np.prod(c.label_grid.shape)) * word for c in crops)


@dataclass(frozen=True)
class _Lines:
    """The rows of some patches in one grid, along y or x: where each begins, and how far each of its pixels is on.

    Parameters
    ----------
    begin : float64 tensor, shape (patches, rows, 1)
    offset : float64 tensor, shape (patches, 1, columns)
    """

    begin: Tensor
    offset: Tensor

    @classmethod
    def of(cls, index: IndexMap, shape: tuple[int, int], device: torch.device) -> tuple[_Lines, _Lines]:
        """Lay the rows along y and along x."""
        rows = torch.arange(shape[0], dtype=torch.float64, device=device).view(1, -1, 1)
        columns = torch.arange(shape[1], dtype=torch.float64, device=device).view(1, 1, -1)
        start, by_row, by_column = (
            torch.from_numpy(array).to(device).view(-1, 2, 1, 1)
            for array in (index.start, index.by_row, index.by_column)
        )
        y, x = (cls(start[:, k] + rows * by_row[:, k], columns * by_column[:, k]) for k in (0, 1))
        return y, x

    def at(self, shift: float = 0.0) -> Tensor:
        """Return the positions of all pixels; a row is shifted before its pixels are counted, as in the loops."""
        return (self.begin + shift) + self.offset


@dataclass(frozen=True)
class DeviceStore:
    """The crops of one split on a device.

    Parameters
    ----------
    raw : uint8 tensor, flat
    present, unknown : integer tensors, flat
        Label words, signed where they are wider than 8 bits; ``unknown`` is empty if no crop needs it.
    table : CropTable
        Offsets count from the beginning of these tensors.
    outside : float
        What images show where there is no raw: the store's mean, in [0, 1].
    """

    raw: Tensor
    present: Tensor
    unknown: Tensor
    table: CropTable
    outside: float

    @classmethod
    def load(cls, store: VoxelStore, crops: tuple[StoredCrop, ...], device: torch.device) -> DeviceStore:
        """Copy the crops' blocks to the device, piece by piece."""
        raw_voxels = [int(np.prod(crop.raw_grid.shape)) for crop in crops]
        label_voxels = [int(np.prod(crop.label_grid.shape)) for crop in crops]
        table = replace(
            CropTable.of(crops, store), raw_offset=_offsets(raw_voxels), label_offset=_offsets(label_voxels)
        )
        raw_blocks = [(crop.raw_offset, count) for crop, count in zip(crops, raw_voxels, strict=True)]
        label_blocks = [(crop.label_offset, count) for crop, count in zip(crops, label_voxels, strict=True)]
        return cls(
            _copied(store.raw, raw_blocks, device),
            _copied(store.present, label_blocks, device),
            _copied(store.unknown, label_blocks if any(crop.has_unknown for crop in crops) else [], device),
            table,
            float(np.float32(store.raw_mean) * np.float32(_TO_UNIT)),
        )

    def gather(
        self, patches: Patches, voxel_size_nm: Vector3, shape: tuple[int, int], slices: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Cut patches out.

        Parameters
        ----------
        patches : Patches
            Of this split.
        voxel_size_nm : (z, y, x)
            Distance between samples: sections of the stack, rows, columns.
        shape : (rows, columns)
            Of a patch.
        slices : int
            Input sections.

        Returns
        -------
        images : float32 tensor, shape (batch, slices, rows, columns)
            Raw in [0, 1].
        present, known : integer tensor, shape (batch, rows, columns)
            Label words.
        """
        device, batch = self.raw.device, len(patches)
        geometry = PatchGeometry.of(self.table, patches, voxel_size_nm, shape, slices)
        images = torch.empty((batch, slices, *shape), dtype=torch.float32, device=device)
        present = torch.empty((batch, *shape), dtype=self.present.dtype, device=device)
        known = torch.empty_like(present)
        together = max(_PIXELS // (shape[0] * shape[1]), 1)
        for first in range(0, batch, together):
            part = slice(first, first + together)
            self._gather_raw(geometry, patches.crop[part], part, images[part])
            self._gather_labels(geometry.label, patches, part, present[part], known[part])
        if patches.counted is not None:
            known.masked_fill_(~_is_counted(patches.counted, shape, device), 0)
        return images, present, known

    def _gather_raw(self, geometry: PatchGeometry, crop: np.ndarray, part: slice, out: Tensor) -> None:
        """Interpolate: linear in the plane, and along z where a section lies between two."""
        device, (slices, rows, columns) = self.raw.device, out.shape[1:]
        shape = self.table.raw_shape[crop]
        below, weight = geometry.sections.below[part], geometry.sections.part[part]
        is_copied = geometry.raw.on_grid[part] & ~(weight > 0.0).any(axis=1)
        along_y, along_x = _Lines.of(_rounded(geometry.raw, part, is_copied), (rows, columns), device)
        height, width = (_column(shape[:, k], device) for k in (1, 2))
        # A whole number less a fraction would be float32 in torch, which cannot represent a tie of 1e-6.
        last_row, last_column = height.double() - 1.0, width.double() - 1.0
        inside = _is_inside(along_y.at(EDGE), last_row + 2.0 * EDGE)
        inside &= _is_inside(along_x.at(EDGE), last_column + 2.0 * EDGE)
        y, row, down = _between(along_y.at(), height)
        x, column, right = _between(along_x.at(), width)
        share_y, share_x = (y - row).float(), (x - column).float()
        place = row * width + column
        for s in range(slices):
            section = _column(
                self.table.raw_offset[crop] + np.maximum(below[:, s], 0) * shape[:, 1] * shape[:, 2], device
            )
            image = self._bilinear(section + place, down * width, right, share_y, share_x)
            if weight[:, s].any():
                up = _column(np.where(weight[:, s] > 0.0, shape[:, 1] * shape[:, 2], 0), device)
                upper = self._bilinear(section + up + place, down * width, right, share_y, share_x)
                image += _column(weight[:, s].astype(np.float32), device) * (upper - image)
            out[:, s] = torch.where(inside & _column(below[:, s] >= 0, device), image, self.outside)

    def _bilinear(self, place: Tensor, down: Tensor, right: Tensor, share_y: Tensor, share_x: Tensor) -> Tensor:
        """Interpolate between four voxels, and scale to [0, 1]."""
        upper_left, upper_right = self.raw[place].float(), self.raw[place + right].float()
        top = upper_left + share_x * (upper_right - upper_left)
        lower_left, lower_right = self.raw[place + down].float(), self.raw[place + down + right].float()
        bottom = lower_left + share_x * (lower_right - lower_left)
        image: Tensor = (top + share_y * (bottom - top)) * _TO_UNIT
        return image

    def _gather_labels(self, index: IndexMap, patches: Patches, part: slice, present: Tensor, known: Tensor) -> None:
        """Take the nearest words; outside the crop nothing is present and nothing known."""
        device, crop = self.raw.device, patches.crop[part]
        shape = self.table.label_shape[crop]
        is_copied = index.on_grid[part]
        along = _Lines.of(_rounded(index, part, is_copied), (present.shape[1], present.shape[2]), device)
        y, x = (lines.at(NEAREST) for lines in along)
        height, width = (_column(shape[:, k], device) for k in (1, 2))
        inside = _is_inside(y, height) & _is_inside(x, width)
        begin = _column(self.table.label_offset[crop] + patches.section[part] * shape[:, 1] * shape[:, 2], device)
        place = begin + torch.where(inside, y.long() * width + x.long(), 0)
        present.copy_(torch.where(inside, self.present[place], 0))
        word = _column(signed_words(self.table.known_word[crop]), device)
        if self.table.has_unknown[crop].any():
            hidden = self.unknown[place].masked_fill_(~_column(self.table.has_unknown[crop], device), 0)
            word = word & ~hidden
        known.copy_(torch.where(inside, word, 0))


def _rounded(index: IndexMap, part: slice, is_copied: np.ndarray) -> IndexMap:
    """Move those patches of a part that the compiled loops copy onto the voxel centres, from which they copy."""
    start, by_row, by_column = (
        np.where(is_copied[:, None], np.rint(numbers[part]), numbers[part])
        for numbers in (index.start, index.by_row, index.by_column)
    )
    return IndexMap(start, by_row, by_column, index.on_grid[part])


def _offsets(voxels: list[int]) -> np.ndarray:
    return np.cumsum([0, *voxels[:-1]], dtype=np.int64)


def _copied(array: np.ndarray, blocks: list[tuple[int, int]], device: torch.device) -> Tensor:
    """Copy blocks (first element, elements) of a flat array, one behind the other."""
    words = signed_words(array)
    step = max(_STAGE_BYTES // words.itemsize, 1)
    out = torch.empty(sum(count for _, count in blocks), dtype=torch.from_numpy(words[:0].copy()).dtype, device=device)
    filled = 0
    for offset, count in blocks:
        for start in range(offset, offset + count, step):
            piece = torch.from_numpy(np.array(words[start : min(start + step, offset + count)]))
            out[filled : filled + len(piece)] = piece.to(device)
            filled += len(piece)
    return out


def _column(values: np.ndarray, device: torch.device) -> Tensor:
    """Broadcast one number per patch over its pixels."""
    return torch.from_numpy(np.ascontiguousarray(values)).to(device).view(-1, 1, 1)


def _is_counted(counted: np.ndarray, shape: tuple[int, int], device: torch.device) -> Tensor:
    top, bottom, left, right = (_column(counted[:, k], device) for k in range(4))
    rows, columns = torch.arange(shape[0], device=device).view(1, -1, 1), torch.arange(shape[1], device=device)
    inside: Tensor = (rows >= top) & (rows < bottom) & (columns >= left) & (columns < right)
    return inside


def _is_inside(position: Tensor, length: Tensor) -> Tensor:
    inside: Tensor = (position >= 0.0) & (position < length)
    return inside


def _between(position: Tensor, length: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Hold positions inside the block; return them, the voxel before them, and the step to the one after."""
    held = torch.minimum(position.clamp(min=0.0), (length - 1).double())
    before = torch.minimum(held.long(), (length - 2).clamp(min=0))
    return held, before, (length > 1).long()
