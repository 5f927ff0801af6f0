"""Open, verify and memory-map a voxel store.

A store is a folder of plain files::

    index.json    what it was made from, and where each crop lies in the arrays
    verified.json in which state of the files their contents were last found whole
    raw.npy       uint8, all crops' raw blocks one after the other, each in z, y, x order; where a chunk of raw is not
                  stored, the mean of all that is
    present.npy   one word per label voxel: bit c is set where class c is present
    unknown.npy   one word per label voxel: bit c is set where class c is not known although the crop annotates it;
                  absent if no crop has such voxels

Which classes a crop annotates is one word in the index: known = annotated and not unknown. Bit c belongs to the
c-th requested class; words are 8, 16, 32 or 64 bits wide.
"""

from __future__ import annotations

import hashlib
import json
import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np

from counterpoise.arrays import Vector3
from counterpoise.errors import StoreError
from counterpoise.frequencies.table import CropCount, FrequencyTable
from counterpoise.notes import Note
from counterpoise.store.files import file_checksum
from counterpoise.volumes.annotation import ClassCount, VoxelCount
from counterpoise.volumes.datasplit import Split
from counterpoise.volumes.geometry import Grid, IndexBox, Shape3

__all__ = [
    "ARRAYS",
    "STORE_VERSION",
    "StoredCrop",
    "VoxelStore",
    "open_store",
    "word_dtype",
    "write_index",
]

STORE_VERSION = 3
ARRAYS = ("raw", "present", "unknown")
_DAMAGE = (OSError, EOFError, ValueError, KeyError, TypeError, SyntaxError, TokenError)
"""What JSON and NumPy raise on files that are missing, torn or changed (EOFError: an empty array file)."""


@dataclass(frozen=True)
class StoredCrop:
    """Where one crop lies in the store, and in space.

    Parameters
    ----------
    crop_id, split
        Identity.
    raw_offset, label_offset : int
        First element of this crop's block in ``raw`` and in ``present`` / ``unknown``.
    raw_grid, label_grid : Grid
        Shape, voxel size and position of the two blocks.
    raw_missing : tuple of IndexBox
        Parts of the raw block whose chunks are not stored: there it holds the store's mean, and labels are unknown.
    known_word : int
        Bits of the classes annotated in this crop.
    has_unknown : bool
        Whether some voxel of an annotated class is unknown; if not, ``known_word`` holds everywhere.
    counts : mapping
        Exact counts of each annotated class at its finest listed level.
    checksums : mapping
        CRC-32 of this crop's block in each array that holds it.
    """

    crop_id: str
    split: Split
    raw_offset: int
    raw_grid: Grid
    label_offset: int
    label_grid: Grid
    raw_missing: tuple[IndexBox, ...]
    known_word: int
    has_unknown: bool
    counts: Mapping[str, ClassCount]
    checksums: Mapping[str, int]


@dataclass(frozen=True)
class VoxelStore:
    """A store on disk, memory-mapped: every process that opens it shares one copy in the page cache.

    ``unknown`` is empty if no crop needs it. ``raw_mean`` is the mean grey of all raw that is stored, shown where none
    is; ``raw_windows`` holds for each raw volume of more than 8 bits the stored values that became 0 and 255.
    ``source`` is the datasplit it was made from, empty in stores that did not note it down.
    """

    path: Path
    fingerprint: str
    classes: tuple[str, ...]
    voxel_size_nm: Vector3
    crops: tuple[StoredCrop, ...]
    notes: tuple[Note, ...]
    raw: np.ndarray
    present: np.ndarray
    unknown: np.ndarray
    raw_mean: int = 0
    raw_windows: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    source: str = ""

    def of(self, split: Split) -> tuple[StoredCrop, ...]:
        """Return the crops of one split, in the order of the datasplit."""
        return tuple(crop for crop in self.crops if crop.split == split)

    def frequencies(self) -> FrequencyTable:
        """Return the exact counts that fell out of the building pass."""
        return FrequencyTable(self.classes, tuple(CropCount(c.crop_id, c.split, c.counts) for c in self.crops))

    def raw_of(self, crop: StoredCrop) -> np.ndarray:
        """Return a crop's raw block, uint8 (z, y, x)."""
        return _view(self.raw, crop.raw_offset, crop.raw_grid.shape)

    def present_of(self, crop: StoredCrop) -> np.ndarray:
        """Return a crop's presence words (z, y, x)."""
        return _view(self.present, crop.label_offset, crop.label_grid.shape)

    def known_of(self, crop: StoredCrop) -> np.ndarray:
        """Return a crop's known words (z, y, x)."""
        annotated = self.present.dtype.type(crop.known_word)
        if crop.has_unknown:
            known: np.ndarray = annotated & ~_view(self.unknown, crop.label_offset, crop.label_grid.shape)
            return known
        return np.full(crop.label_grid.shape, annotated)

    def content_hash(self) -> str:
        """Hash what can change a training: classes, grids and voxels of every crop, wherever they came from.

        Moving the data or copying it keeps this hash; the store's name (its fingerprint) changes with both.
        """
        return self._content_hash

    @cached_property
    def _content_hash(self) -> str:
        crops = [
            {
                "crop_id": crop.crop_id,
                "split": crop.split,
                "raw_grid": _plain(crop.raw_grid),
                "label_grid": _plain(crop.label_grid),
                "known_word": crop.known_word,
                "has_unknown": crop.has_unknown,
                "checksums": dict(crop.checksums),
            }
            for crop in self.crops
        ]
        content = json.dumps([STORE_VERSION, self.classes, self.voxel_size_nm, self.raw_mean, crops], sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()

    def is_damaged(self, crop: StoredCrop) -> bool:
        """Tell whether a crop's block in any array differs from its checksum or cannot be read."""
        for name, expected in crop.checksums.items():
            array: np.memmap = getattr(self, name)
            offset, grid = (crop.raw_offset, crop.raw_grid) if name == "raw" else (crop.label_offset, crop.label_grid)
            width = array.dtype.itemsize
            size = math.prod(grid.shape) * width
            try:
                # Through the file, not the map: a block that was read does not stay in this process's memory.
                found = file_checksum(self.path / f"{name}.npy", array.offset + offset * width, size)
            except OSError:
                return True
            if found != expected:
                return True
        return False


def word_dtype(classes: int) -> np.dtype[Any]:
    """Choose the narrowest word with a bit for every class.

    Raises
    ------
    StoreError
        If there are more than 64 classes.
    """
    for bits in (8, 16, 32, 64):
        if classes <= bits:
            return np.dtype(f"uint{bits}")
    raise StoreError(
        f"{classes} classes do not fit into a label word",
        expected="at most 64 classes",
        found=str(classes),
        remedy="train fewer classes at a time",
    )


_CHECKSUM = ', "checksum": '


def write_index(index: Mapping[str, Any]) -> str:
    """Write the text of ``index.json``, with its CRC-32 as the last entry: in it, too, a changed bit is damage."""
    text = json.dumps(index)
    return f"{text[:-1]}{_CHECKSUM}{zlib.crc32(text.encode())}}}"


def _read_index(text: str) -> dict[str, Any]:
    """Read the text of ``index.json``; raises a ValueError (or what JSON raises) if it is not what was written."""
    index: dict[str, Any] = json.loads(text)
    if index["version"] != STORE_VERSION:
        raise ValueError("a store of another version")
    without_checksum = text.rpartition(_CHECKSUM)[0] + "}"
    if index["checksum"] != zlib.crc32(without_checksum.encode()):
        raise ValueError("a damaged index")
    return index


def open_store(path: Path) -> VoxelStore:
    """Map a finished store.

    Parameters
    ----------
    path : Path
        The store's folder.

    Returns
    -------
    VoxelStore
        The index is verified, sizes and types are checked against it; voxels only by
        :func:`counterpoise.store.verification.find_damage`.

    Raises
    ------
    StoreError
        If a file is missing, unreadable, of the wrong size or type, or the index has changed since it was written.
    """
    try:
        index = _read_index((path / "index.json").read_text(encoding="utf-8"))
        arrays = {
            name: np.load(path / f"{name}.npy", mmap_mode="r")
            for name in ARRAYS
            if name != "unknown" or index["sizes"]["unknown"]
        }
        store = _from_index(path, index, arrays)
        word = word_dtype(len(store.classes))
        wrong = [
            name
            for name, array in arrays.items()
            if array.shape != (index["sizes"][name],) or array.dtype != (np.uint8 if name == "raw" else word)
        ]
    except _DAMAGE as error:
        raise _unusable(path, f"{type(error).__name__}: {error}") from error
    if wrong:
        raise _unusable(path, f"wrong size or type of {', '.join(wrong)}")
    return store


def to_index(crop: StoredCrop) -> dict[str, Any]:
    """Turn a crop's entry into plain values for ``index.json``."""
    return crop.__dict__ | {
        "raw_grid": _plain(crop.raw_grid),
        "label_grid": _plain(crop.label_grid),
        "raw_missing": [[box.start, box.stop] for box in crop.raw_missing],
        "counts": {
            name: {"voxels": list(count.voxels), "voxel_size_nm": list(count.voxel_size_nm)}
            for name, count in crop.counts.items()
        },
        "checksums": dict(crop.checksums),
    }


def _plain(grid: Grid) -> dict[str, Any]:
    return {"shape": grid.shape, "voxel_size_nm": grid.voxel_size_nm, "translation_nm": grid.translation_nm}


def from_index(entry: Mapping[str, Any]) -> StoredCrop:
    """Rebuild a crop's entry from ``index.json``."""
    counts = {
        name: ClassCount(VoxelCount(*count["voxels"]), tuple(count["voxel_size_nm"]))
        for name, count in entry["counts"].items()
    }
    grids = {key: _grid(entry[key]) for key in ("raw_grid", "label_grid")}
    missing = tuple(IndexBox(tuple(start), tuple(stop)) for start, stop in entry["raw_missing"])
    return StoredCrop(**{**entry, **grids, "raw_missing": missing, "counts": counts})


def _grid(entry: Mapping[str, Any]) -> Grid:
    return Grid(tuple(entry["shape"]), tuple(entry["voxel_size_nm"]), tuple(entry["translation_nm"]))


def _from_index(path: Path, index: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> VoxelStore:
    return VoxelStore(
        path=path,
        fingerprint=index["fingerprint"],
        source=index.get("source", ""),
        raw_mean=int(index["raw_mean"]),
        raw_windows={path: (window[0], window[1]) for path, window in index["raw_windows"].items()},
        classes=tuple(index["classes"]),
        voxel_size_nm=tuple(index["voxel_size_nm"]),
        crops=tuple(from_index(entry) for entry in index["crops"]),
        notes=tuple(map(Note.of_plain, index["notes"])),
        raw=arrays["raw"],
        present=arrays["present"],
        unknown=arrays.get("unknown", np.zeros(0, dtype=arrays["present"].dtype)),
    )


def _view(array: np.ndarray, offset: int, shape: Shape3) -> np.ndarray:
    return array[offset : offset + shape[0] * shape[1] * shape[2]].reshape(shape)


def _unusable(path: Path, found: str) -> StoreError:
    return StoreError(
        f"the voxel store at {path} cannot be used",
        expected=f"index.json and its arrays, version {STORE_VERSION}",
        found=found,
        remedy="delete the folder; it is rebuilt from the crops on the next run",
    )
