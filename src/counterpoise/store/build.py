"""Decode every crop once, in parallel, into the flat arrays of a store; the counts fall out of the same pass."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from counterpoise.data.annotation import ClassCount, VoxelCount, count_voxels, is_known, is_present
from counterpoise.data.crops import CropSet, FittedCrop, LabelLevel, fit_crop
from counterpoise.data.geometry import Grid, IndexBox
from counterpoise.data.placement import PatchReach
from counterpoise.errors import StoreError
from counterpoise.lock import only_one_process
from counterpoise.store.files import map_array, sync, writing
from counterpoise.store.fingerprint import fingerprint_of
from counterpoise.store.store import (
    ARRAYS,
    STORE_VERSION,
    StoredCrop,
    VoxelStore,
    checksum,
    from_index,
    index_checksum,
    open_store,
    to_index,
    word_dtype,
)
from counterpoise.types import Vector3

__all__ = ["StoreRequest", "build_store", "open_or_build"]

_TIE = 1e-6
"""Nearest-neighbour ties (a position exactly between two voxels) go up, whatever the rounding of the division."""

OnVoxels = Callable[[int], object]


@dataclass(frozen=True)
class StoreRequest:
    """What a store shall hold.

    Parameters
    ----------
    crop_set : CropSet
        Opened crops and classes.
    voxel_size_nm : (z, y, x)
        Voxel size to train at; each crop is kept at the level that serves it.
    reach : PatchReach
        The patches that will be cut; they decide how much raw is kept around a crop.
    max_upsampling : float
        How many times coarser than requested a level may be.
    """

    crop_set: CropSet
    voxel_size_nm: Vector3
    reach: PatchReach
    max_upsampling: float

    def fit(self) -> tuple[FittedCrop, ...]:
        """Choose every crop's levels."""
        return tuple(
            fit_crop(crop, self.voxel_size_nm, self.reach, self.max_upsampling) for crop in self.crop_set.crops
        )


def open_or_build(
    request: StoreRequest, folder: Path, *, workers: int, on_voxels: OnVoxels = lambda _: None
) -> VoxelStore:
    """Open the store that answers a request, or build it.

    Parameters
    ----------
    request : StoreRequest
        What it shall hold.
    folder : Path
        Where stores are kept; each has a sub-folder named after its fingerprint.
    workers : int
        Crops decoded at the same time.
    on_voxels : callable
        Told how many voxels were just decoded (for a progress bar); not called if the store is there.

    Returns
    -------
    VoxelStore
        A verified store: one whose contents differ from their checksums is rebuilt.
    """
    fitted = request.fit()
    fingerprint = fingerprint_of(request.crop_set.classes, request.voxel_size_nm, fitted)
    path = folder / fingerprint[:16]
    with writing(path):
        folder.mkdir(parents=True, exist_ok=True)
    # Two experiments may share a store: the second waits until the first has built it, and finds it there.
    with only_one_process(folder, "builds a voxel store", patience_s=math.inf):
        if path.exists():
            try:
                store = open_store(path)
            except StoreError:
                store = None
            if store is not None and store.fingerprint == fingerprint and not store.damaged_crops():
                return store
            with writing(path):
                shutil.rmtree(path)
        return build_store(request, fitted, path, fingerprint=fingerprint, workers=workers, on_voxels=on_voxels)


def voxels_to_decode(request: StoreRequest) -> int:
    """Add up the voxels that building reads: the full length of its progress bar."""
    return sum(item.raw_block.voxels + _label_voxels(item) for item in request.fit())


def build_store(
    request: StoreRequest,
    fitted: tuple[FittedCrop, ...],
    path: Path,
    *,
    fingerprint: str,
    workers: int,
    on_voxels: OnVoxels = lambda _: None,
) -> VoxelStore:
    """Build a store beside its final place and rename it there when it is complete.

    Crops that an interrupted build has finished are kept. Memory is bounded by a few blocks of voxels per worker,
    whatever the size of a crop.

    Raises
    ------
    StoreError
        If the folder cannot be written.
    DamagedChunkError
        If a stored chunk cannot be decoded.
    """
    building = path.with_name(path.name + ".building")
    classes = request.crop_set.classes
    sizes = {
        "raw": sum(f.raw_block.voxels for f in fitted),
        "present": sum(_size(f.grid) for f in fitted),
        "unknown": sum(_size(f.grid) for f in fitted),
    }
    with writing(path):
        (building / "crops").mkdir(parents=True, exist_ok=True)
        arrays = {
            name: map_array(
                building / f"{name}.npy",
                sizes[name],
                np.dtype("uint8") if name == "raw" else word_dtype(len(classes)),
            )
            for name in ARRAYS
        }
        jobs = []
        raw_offset = label_offset = 0
        for item in fitted:
            jobs.append((item, raw_offset, label_offset))
            raw_offset += item.raw_block.voxels
            label_offset += _size(item.grid)

        def build(number: int) -> tuple[StoredCrop, tuple[str, ...]]:
            return _build_or_reuse(building, number, *jobs[number], classes, arrays, on_voxels)

        with ThreadPoolExecutor(max_workers=max(workers, 1)) as pool:
            futures = [pool.submit(build, number) for number in range(len(jobs))]
            try:
                results = [future.result() for future in futures]
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
        crops = [crop for crop, _ in results]
        if not any(crop.has_unknown for crop in crops):
            sizes["unknown"] = 0
            del arrays["unknown"]
            (building / "unknown.npy").unlink()
        for name, array in arrays.items():
            array.flush()
            sync(building / f"{name}.npy")
        index = {
            "version": STORE_VERSION,
            "fingerprint": fingerprint,
            "classes": list(classes),
            "voxel_size_nm": list(request.voxel_size_nm),
            "sizes": sizes,
            "notes": [*request.crop_set.notes, *(note for _, notes in results for note in notes)],
            "crops": [to_index(crop) for crop in crops],
        }
        index["checksum"] = index_checksum(index)
        (building / "index.json").write_text(json.dumps(index), encoding="utf-8")
        sync(building / "index.json")
        shutil.rmtree(building / "crops")
        building.rename(path)
    return open_store(path)


def _build_or_reuse(
    building: Path,
    number: int,
    item: FittedCrop,
    raw_offset: int,
    label_offset: int,
    classes: tuple[str, ...],
    arrays: Mapping[str, np.memmap],
    on_voxels: OnVoxels,
) -> tuple[StoredCrop, tuple[str, ...]]:
    """Decode one crop, or take it over from an interrupted build if what it wrote is still what it noted down."""
    marker = building / "crops" / f"{number}.json"
    blocks = {
        "raw": arrays["raw"][raw_offset : raw_offset + item.raw_block.voxels].reshape(item.raw_block.shape),
        "present": arrays["present"][label_offset : label_offset + _size(item.grid)].reshape(item.grid.shape),
        "unknown": arrays["unknown"][label_offset : label_offset + _size(item.grid)].reshape(item.grid.shape),
    }
    if marker.exists():
        try:
            content = json.loads(marker.read_text(encoding="utf-8"))
            stored = from_index(content["crop"])
            if all(checksum(blocks[name]) == value for name, value in stored.checksums.items()):
                on_voxels(item.raw_block.voxels + _label_voxels(item))
                return stored, tuple(content["notes"])
        except (ValueError, KeyError, TypeError, AttributeError):
            marker.unlink()  # torn while it was written: decode the crop again
    counts, known_word, has_unknown, notes = _decode(item, classes, blocks, on_voxels)
    stored = StoredCrop(
        crop_id=item.crop.crop_id,
        split=item.crop.split,
        raw_offset=raw_offset,
        raw_grid=item.raw.grid.part(item.raw_block),
        label_offset=label_offset,
        label_grid=item.grid,
        known_word=known_word,
        has_unknown=has_unknown,
        counts=counts,
        checksums={name: checksum(blocks[name]) for name in ARRAYS if name != "unknown" or has_unknown},
    )
    marker.write_text(json.dumps({"crop": to_index(stored), "notes": notes}), encoding="utf-8")
    return stored, tuple(notes)


def _decode(
    item: FittedCrop, classes: tuple[str, ...], blocks: Mapping[str, np.ndarray], on_voxels: OnVoxels
) -> tuple[dict[str, ClassCount], int, bool, list[str]]:
    raw, present, unknown = blocks["raw"], blocks["present"], blocks["unknown"]
    for block in _slabs(item.raw_block, item.raw.chunks[0]):
        place = slice(block.start[0] - item.raw_block.start[0], block.stop[0] - item.raw_block.start[0])
        raw[place] = item.raw.read(block)
        on_voxels(block.voxels)
    for words in (present, unknown):
        if words.any():  # left by an interrupted build
            words[...] = 0
    counts: dict[str, ClassCount] = {}
    for name, label in item.labels.items():
        bit = present.dtype.type(1 << classes.index(name))
        first = item.crop.labels[name][0]
        if label.level.grid == item.grid:
            count = _copy_class(label, bit, present, unknown)
        else:
            count = None
            _resample_class(label, item.grid, bit, present, unknown)
        on_voxels(label.level.whole().voxels)
        if count is None or label is not first:
            counts[name] = first.count()
            on_voxels(first.level.whole().voxels)
        else:
            counts[name] = ClassCount(count, first.level.grid.voxel_size_nm)
    notes = list(item.notes)
    known_word = sum(1 << classes.index(name) for name in item.labels)
    without_raw = _mask_missing_raw(item, present, unknown, present.dtype.type(known_word))
    if without_raw:
        notes.append(
            f"{item.crop.crop_id}: raw level {item.raw.name} is missing under "
            f"{100.0 * without_raw / present.size:.1f} % of the crop; those voxels are treated as unknown"
        )
    return counts, known_word, bool(unknown.any()), notes


def _copy_class(label: LabelLevel, bit: np.generic, present: np.ndarray, unknown: np.ndarray) -> VoxelCount:
    """Set a class's bit where it is present or unknown, block by block, and count the level on the way."""
    nothing = present.dtype.type(0)
    total = VoxelCount(0, 0, 0)
    for block in label.level.blocks():
        stored = label.level.read(block)
        count = count_voxels(stored, label.unknown_code)
        total += count
        if count.present:
            present[block.slices] |= np.where(is_present(stored, label.unknown_code), bit, nothing)
        if count.unknown:
            unknown[block.slices] |= np.where(is_known(stored, label.unknown_code), nothing, bit)
    return total


def _resample_class(label: LabelLevel, grid: Grid, bit: np.generic, present: np.ndarray, unknown: np.ndarray) -> None:
    """Set the bits of a class stored on another grid than its crop's finest: the nearest voxel's value counts."""
    level, nothing = label.level, present.dtype.type(0)
    index = [_nearest(grid, level.grid, axis) for axis in range(3)]
    inside = [(i >= 0) & (i < n) for i, n in zip(index, level.grid.shape, strict=True)]
    z, y, x = (np.clip(i, 0, n - 1) for i, n in zip(index, level.grid.shape, strict=True))
    covered = inside[1][:, None] & inside[2][None, :]
    for slab in _slabs(IndexBox((0, 0, 0), grid.shape), depth=1):
        planes = slice(slab.start[0], slab.stop[0])
        first, last = int(z[planes].min()), int(z[planes].max())
        stored = level.read(IndexBox((first, 0, 0), (last + 1, *level.grid.shape[1:])))
        taken = stored[np.ix_(z[planes] - first, y, x)]
        here = inside[0][planes, None, None] & covered
        present[planes] |= np.where(is_present(taken, label.unknown_code) & here, bit, nothing)
        unknown[planes] |= np.where(is_known(taken, label.unknown_code) & here, nothing, bit)


def _mask_missing_raw(item: FittedCrop, present: np.ndarray, unknown: np.ndarray, known_word: np.generic) -> int:
    """Make label voxels unknown whose raw chunk is not on disk or that lie outside the raw volume; count them."""
    raw = item.raw
    index = [_nearest(item.grid, raw.grid, axis) for axis in range(3)]
    inside = [(i >= 0) & (i < n) for i, n in zip(index, raw.grid.shape, strict=True)]
    chunk_counts = [-(-n // c) for n, c in zip(raw.grid.shape, raw.chunks, strict=True)]
    on_disk = np.zeros(chunk_counts, dtype=bool)
    for chunk, file in raw.chunk_files(raw.grid.covering(item.grid.box)):
        key = tuple(a // c for a, c in zip(chunk.start, raw.chunks, strict=True))
        on_disk[key] = file.exists()
    if on_disk.all() and all(axis.all() for axis in inside):
        return 0
    z, y, x = (np.clip(i, 0, n - 1) // c for i, n, c in zip(index, raw.grid.shape, raw.chunks, strict=True))
    missing_total = 0
    for plane in range(present.shape[0]):
        has_raw = on_disk[z[plane], y[:, None], x[None, :]] & inside[1][:, None] & inside[2][None, :]
        missing = ~has_raw if inside[0][plane] else np.ones_like(has_raw)
        if missing.any():
            unknown[plane][missing] = known_word
            present[plane][missing] = 0
            missing_total += int(np.count_nonzero(missing))
    return missing_total


def _nearest(grid: Grid, other: Grid, axis: int) -> np.ndarray:
    """Find, for every index of one grid's axis, the nearest index of another grid."""
    centres = grid.translation_nm[axis] + np.arange(grid.shape[axis]) * grid.voxel_size_nm[axis]
    index = (centres - other.translation_nm[axis]) / other.voxel_size_nm[axis]
    nearest: np.ndarray = np.floor(index + 0.5 + _TIE).astype(np.int64)
    return nearest


def _slabs(block: IndexBox, depth: int, max_voxels: int = 1 << 25) -> Iterator[IndexBox]:
    """Cut a block along z at chunk borders into pieces of bounded size (at least one chunk deep)."""
    plane = block.shape[1] * block.shape[2]
    layers = max(max_voxels // max(plane * depth, 1), 1) * depth
    start = block.start[0]
    while start < block.stop[0]:
        stop = min((start // depth) * depth + layers, block.stop[0])
        yield IndexBox((start, *block.start[1:]), (stop, *block.stop[1:]))
        start = stop


def _label_voxels(item: FittedCrop) -> int:
    total = 0
    for name, label in item.labels.items():
        first = item.crop.labels[name][0]
        counted_on_the_way = label is first and label.level.grid == item.grid
        total += label.level.whole().voxels + (0 if counted_on_the_way else first.level.whole().voxels)
    return total


def _size(grid: Grid) -> int:
    return grid.shape[0] * grid.shape[1] * grid.shape[2]
