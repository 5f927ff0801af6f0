"""Decode every crop once, in parallel, into the flat arrays of a store; the counts fall out of the same pass."""

from __future__ import annotations

import json
import math
import os
import shutil
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np

from counterpoise.arrays import Vector3
from counterpoise.errors import StoreError
from counterpoise.files.lock import Purpose, only_one_process
from counterpoise.notes import Note
from counterpoise.store.decode import CropBlocks, OnVoxels, decode_crop, voxels_of
from counterpoise.store.files import ArrayFile, BlockFile, open_array, sync, writing
from counterpoise.store.fingerprint import fingerprint_of
from counterpoise.store.store import (
    ARRAYS,
    STORE_VERSION,
    StoredCrop,
    VoxelStore,
    from_index,
    open_store,
    to_index,
    word_dtype,
    write_index,
)
from counterpoise.store.verification import find_damage, was_verified
from counterpoise.store.window import RawWindow, find_windows, notes_on_windows
from counterpoise.store.workspace import Workspace
from counterpoise.volumes.crops import CropSet
from counterpoise.volumes.fit import FittedCrop, fit_crop
from counterpoise.volumes.geometry import Grid
from counterpoise.volumes.placement import PatchReach

__all__ = ["BUILDING", "StoreRequest", "build_store", "open_if_same", "open_or_build", "voxels_to_decode"]

BUILDING = ".building"
"""Ending of the folder in which a store is built."""


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
    raw_window : (int, int), optional
        Stored values that become 0 and 255 where raw has more than 8 bits; None takes them from each raw volume.
    """

    crop_set: CropSet
    voxel_size_nm: Vector3
    reach: PatchReach
    max_upsampling: float
    raw_window: tuple[int, int] | None = None

    def fit(self) -> tuple[FittedCrop, ...]:
        """Choose every crop's levels; done once."""
        return self._fitted

    @cached_property
    def _fitted(self) -> tuple[FittedCrop, ...]:
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
        A verified store: one whose contents differ from their checksums is rebuilt. Contents are read in full the
        first time, and again whenever a file has changed since.
    """
    fitted = request.fit()
    fingerprint = fingerprint_of(request.crop_set.classes, request.voxel_size_nm, request.raw_window, fitted)
    path = folder / fingerprint[:16]
    store = open_if_same(path, fingerprint)
    if store is not None and was_verified(store):
        return store
    with writing(path):
        folder.mkdir(parents=True, exist_ok=True)
    # Two experiments may share a store: the second waits until the first has built it, and finds it there. Where
    # nothing can be written, nobody builds.
    can_write = os.access(folder, os.W_OK)
    with only_one_process(folder, Purpose.BUILD_STORE, patience_s=math.inf) if can_write else nullcontext():
        store = open_if_same(path, fingerprint)
        if store is not None and (was_verified(store) or not find_damage(store, workers=workers)):
            return store
        with writing(path):
            if path.exists():
                shutil.rmtree(path)
        return build_store(request, fitted, path, fingerprint=fingerprint, workers=workers, on_voxels=on_voxels)


def open_if_same(path: Path, fingerprint: str) -> VoxelStore | None:
    """Open the store at a path; None if there is none that can be opened, or one with another fingerprint."""
    try:
        store = open_store(path)
    except StoreError:
        return None
    return store if store.fingerprint == fingerprint else None


def voxels_to_decode(request: StoreRequest) -> int:
    """Add up the voxels that building reads: the full length of its progress bar."""
    return sum(voxels_of(item) for item in request.fit())


def build_store(
    request: StoreRequest,
    fitted: tuple[FittedCrop, ...],
    path: Path,
    *,
    fingerprint: str,
    workers: int,
    on_voxels: OnVoxels = lambda _: None,
) -> VoxelStore:
    """Build a store next to its final place and rename it when it is complete.

    Crops that an interrupted build has finished are kept. Memory is bounded by a few chunks per worker, whatever the
    size of a crop: what is written goes to the files, and its pages are given back.

    Raises
    ------
    StoreError
        If the folder cannot be written.
    DamagedChunkError
        If a stored chunk cannot be decoded.
    """
    building = path.with_name(path.name + BUILDING)
    classes = request.crop_set.classes
    sizes = {
        "raw": sum(f.raw_block.voxels for f in fitted),
        "present": sum(_size(f.grid) for f in fitted),
        "unknown": sum(_size(f.grid) for f in fitted),
    }
    word = word_dtype(len(classes))
    with writing(path, sum(size * (1 if name == "raw" else word.itemsize) for name, size in sizes.items())):
        (building / "crops").mkdir(parents=True, exist_ok=True)
        arrays = {
            name: open_array(building / f"{name}.npy", sizes[name], np.dtype("uint8") if name == "raw" else word)
            for name in ARRAYS
        }
        windows = find_windows(fitted, request.raw_window)
        places = []
        raw_offset = label_offset = 0
        for number, item in enumerate(fitted):
            marker, window = building / "crops" / f"{number}.json", windows.get(item.crop.raw.path)
            places.append(_Place(marker, item, raw_offset, label_offset, arrays, window))
            raw_offset += item.raw_block.voxels
            label_offset += _size(item.grid)
        results = _build_crops(places, classes, workers, on_voxels)
        stored_voxels = sum(built.raw_voxels for built in results)
        mean = round(sum(built.raw_total for built in results) / stored_voxels) if stored_voxels else 0
        crops = [_fill_missing(place, built.crop, mean) for place, built in zip(places, results, strict=True)]
        notes = (
            *request.crop_set.notes,
            *notes_on_windows(fitted, windows),
            *(note for built in results for note in built.notes),
        )
        if not any(crop.has_unknown for crop in crops):
            sizes["unknown"] = 0
            arrays["unknown"].path.unlink()
        index = {
            "version": STORE_VERSION,
            "fingerprint": fingerprint,
            "source": str(request.crop_set.source),
            "classes": list(classes),
            "voxel_size_nm": list(request.voxel_size_nm),
            "sizes": sizes,
            "raw_mean": mean,
            "raw_windows": {str(path): [window.lower, window.upper] for path, window in windows.items()},
            "notes": [note.plain() for note in notes],
            "crops": [to_index(crop) for crop in crops],
        }
        (building / "index.json").write_text(write_index(index), encoding="utf-8")
        sync(building / "index.json")
        shutil.rmtree(building / "crops")
        building.rename(path)
    return open_store(path)


class _Built(NamedTuple):
    """A crop that is in its place, but for raw that is not stored; sum and number of the raw voxels that are."""

    crop: StoredCrop
    notes: tuple[Note, ...]
    raw_total: int
    raw_voxels: int


@dataclass(frozen=True)
class _Place:
    """Where one crop goes in the arrays, and the file that notes down that it is complete."""

    marker: Path
    item: FittedCrop
    raw_offset: int
    label_offset: int
    arrays: Mapping[str, ArrayFile]
    window: RawWindow | None

    def block(self, name: str) -> BlockFile:
        """Return this crop's block in one of the arrays."""
        if name == "raw":
            return self.arrays[name].block(self.raw_offset, self.item.raw_block.shape)
        return self.arrays[name].block(self.label_offset, self.item.grid.shape)

    def finished(self) -> _Built | None:
        """Return what an interrupted build noted down, if the arrays still hold what it wrote."""
        if not self.marker.exists():
            return None
        try:
            content = json.loads(self.marker.read_text(encoding="utf-8"))
            stored, notes = from_index(content["crop"]), tuple(map(Note.of_plain, content["notes"]))
            if all(self.block(name).checksum() == value for name, value in stored.checksums.items()):
                return _Built(stored, notes, content["raw_total"], content["raw_voxels"])
        except (ValueError, KeyError, TypeError, AttributeError):
            pass  # torn while it was written: the crop is decoded again
        self.marker.unlink()
        return None


def _build_crops(places: list[_Place], classes: tuple[str, ...], workers: int, on_voxels: OnVoxels) -> list[_Built]:
    """Decode crops at the same time, the largest first, so that none is left over to run alone at the end."""
    local = threading.local()

    def build(place: _Place) -> _Built:
        if not hasattr(local, "workspace"):
            local.workspace = Workspace()
        return _build_or_reuse(place, classes, local.workspace, on_voxels)

    order = sorted(range(len(places)), key=lambda k: -voxels_of(places[k].item))
    with ThreadPoolExecutor(max_workers=max(workers, 1)) as pool:
        futures = {k: pool.submit(build, places[k]) for k in order}
        try:
            return [futures[k].result() for k in range(len(places))]
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _build_or_reuse(place: _Place, classes: tuple[str, ...], workspace: Workspace, on_voxels: OnVoxels) -> _Built:
    """Decode one crop, or take it over from an interrupted build."""
    before = place.finished()
    if before is not None:
        on_voxels(voxels_of(place.item))
        return before
    item, blocks = place.item, {name: place.block(name) for name in ARRAYS}
    decoded = decode_crop(item, classes, CropBlocks(**blocks), workspace, on_voxels, window=place.window)
    stored = StoredCrop(
        crop_id=item.crop.crop_id,
        split=item.crop.split,
        raw_offset=place.raw_offset,
        raw_grid=item.raw.grid.part(item.raw_block),
        raw_missing=tuple(box.common(item.raw_block).relative_to(item.raw_block) for box in decoded.raw.missing),
        label_offset=place.label_offset,
        label_grid=item.grid,
        known_word=decoded.known_word,
        has_unknown=decoded.has_unknown,
        counts=decoded.counts,
        checksums={
            name: block.checksum() for name, block in blocks.items() if name != "unknown" or decoded.has_unknown
        },
    )
    built = _Built(stored, decoded.notes, decoded.raw.total, decoded.raw.voxels)
    noted = built._asdict() | {"crop": to_index(stored), "notes": [note.plain() for note in built.notes]}
    place.marker.write_text(json.dumps(noted), encoding="utf-8")
    return built


def _fill_missing(place: _Place, crop: StoredCrop, mean: int) -> StoredCrop:
    """Give raw that is not stored the mean of all that is: black would be something to look at."""
    if not crop.raw_missing:
        return crop
    block = place.block("raw")
    for box in crop.raw_missing:
        block.fill(box, mean)
    return replace(crop, checksums={**crop.checksums, "raw": block.checksum()})


def _size(grid: Grid) -> int:
    return grid.shape[0] * grid.shape[1] * grid.shape[2]
