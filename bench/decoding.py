"""The floor that counting and store building are held against: the same chunks decoded, and nothing done with them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numcodecs
from measuring import CLASSES

from counterpoise.store import StoreRequest
from counterpoise.volumes.crops import CropSet
from counterpoise.volumes.geometry import IndexBox
from counterpoise.volumes.levels import ChunkedLevel
from counterpoise.volumes.placement import PatchReach

PATCH_NM = 256 * 8.0
REACH = PatchReach((PATCH_NM, PATCH_NM), stack_nm=0.0, rotation_degrees=180.0, transpose=True)
VOXEL_NM = (8.0, 8.0, 8.0)


@dataclass(frozen=True)
class StoredArray:
    """The chunk files of an array that are on disk, and its compressor as ``.zarray`` describes it."""

    compressor: dict[str, object]
    files: tuple[Path, ...]


def request_for(crop_set: CropSet) -> StoreRequest:
    """Ask for what training at 256 x 256 and 8 nm with any rotation needs."""
    return StoreRequest(crop_set, VOXEL_NM, REACH, max_upsampling=4.0)


def label_arrays(crop_set: CropSet) -> list[StoredArray]:
    """List what counting reads: every class's finest level."""
    return [_stored(levels[0].level, None) for crop in crop_set.crops for levels in crop.labels.values()]


def store_arrays(request: StoreRequest) -> list[StoredArray]:
    """List what building a store reads: the raw blocks and the labels."""
    found = []
    for item in request.fit():
        found.append(_stored(item.raw, item.raw_block))
        found += [_stored(label.level, None) for label in item.labels.values()]
    return found


def decode_alone(arrays: Sequence[StoredArray], workers: int) -> int:
    """Read and decode every chunk once with numcodecs, and return the decoded bytes."""

    def decode(array: StoredArray) -> int:
        codec = numcodecs.get_codec(dict(array.compressor))
        return sum(len(codec.decode(file.read_bytes())) for file in array.files)

    with ThreadPoolExecutor(workers) as pool:
        return sum(pool.map(decode, arrays))


def warm_up(arrays: Iterable[StoredArray]) -> int:
    """Read every file once, so that what is measured is decoding and not the disk; return the stored bytes."""
    return sum(len(file.read_bytes()) for array in arrays for file in array.files)


def _stored(level: ChunkedLevel, block: IndexBox | None) -> StoredArray:
    description = json.loads((level.path / ".zarray").read_text(encoding="utf-8"))
    chunks = (Path(file) for _, file in level.chunk_paths(block or level.whole()))
    return StoredArray(description["compressor"], tuple(file for file in chunks if file.exists()))


__all__ = ["CLASSES", "StoredArray", "decode_alone", "label_arrays", "request_for", "store_arrays", "warm_up"]
