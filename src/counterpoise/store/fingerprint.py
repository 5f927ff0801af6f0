"""What a store was made from, as one hash: if any of it changes, the store is another one."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Sequence

from counterpoise.arrays import Vector3
from counterpoise.store.store import STORE_VERSION
from counterpoise.volumes.crops import CropSet
from counterpoise.volumes.fit import FittedCrop
from counterpoise.volumes.geometry import IndexBox
from counterpoise.volumes.volume import Level

__all__ = ["fingerprint_of", "sources_of"]


def fingerprint_of(
    classes: Sequence[str],
    voxel_size_nm: Vector3,
    raw_window: tuple[int, int] | None,
    fitted: Sequence[FittedCrop],
) -> str:
    """Hash everything that decides a store's content.

    Classes and their order, voxel size, the window of raw, splits, the meaning of label values, the levels and blocks
    chosen, the metadata of every array read, and size and modification time of every chunk under the crops: fetching
    more of a volume makes another store.

    Returns
    -------
    str
        64 hexadecimal digits (SHA-256).
    """
    digest = hashlib.sha256()
    digest.update(json.dumps([STORE_VERSION, list(classes), list(voxel_size_nm), raw_window]).encode())
    for item in fitted:
        digest.update(f"{item.crop.crop_id}\0{item.crop.split}\0{item.grid}\0{item.raw_block}".encode())
        _add_level(digest, item.raw, item.raw_block)
        for name, label in item.labels.items():
            first = item.crop.labels[name][0]
            digest.update(f"{name}\0{label.meaning}\0{first.meaning}\0{first.stated_counts}".encode())
            for level in _levels_read(item, name):
                _add_level(digest, level, level.whole())
    return digest.hexdigest()


def sources_of(crop_set: CropSet, fitted: Sequence[FittedCrop]) -> tuple[str, ...]:
    """List every file and folder whose state decides a store's fingerprint, there or not, once each."""
    files = dict.fromkeys(crop_set.looked_for)
    for item in fitted:
        files |= dict.fromkeys(item.looked_for)
        files |= dict.fromkeys(file for _, file in item.raw.chunk_paths(item.raw_block))
        for level in (level for name in item.labels for level in _levels_read(item, name)):
            files |= dict.fromkeys(file for _, file in level.chunk_paths(level.whole()))
    return tuple(files)


def _levels_read(item: FittedCrop, class_name: str) -> Iterable[Level]:
    """Return the level of a class that is stored, and the finest one, which is counted, if that is another."""
    stored, finest = item.labels[class_name].level, item.crop.labels[class_name][0].level
    return {stored.path: stored, finest.path: finest}.values()


def _add_level(digest: hashlib._Hash, level: Level, block: IndexBox) -> None:
    digest.update(f"{level.path}\0{level.grid}\0{level.chunks}\0{level.dtype}".encode())
    digest.update(level.description())
    digest.update("".join(_stamp(file) for _, file in level.chunk_paths(block)).encode())


def _stamp(file: str) -> str:
    try:
        status = os.stat(file)  # noqa: PTH116 - there are as many as there are chunks
    except OSError:
        return "-"
    return f"{status.st_size}:{status.st_mtime_ns};"
