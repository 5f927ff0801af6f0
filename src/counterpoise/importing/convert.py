"""Import volumes into the CellMap layout: look at everything, write under a temporary name, rename."""

from __future__ import annotations

import math
import os
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from counterpoise.errors import DiskFullError, SourceError
from counterpoise.files.atomic import temporary_name, write_json, write_text
from counterpoise.files.disk import describe_shortage, is_disk_full
from counterpoise.files.lock import is_alive
from counterpoise.importing.plan import Advance, CropPlan, ImportPlan, make_plan, open_crop, sections_of
from counterpoise.importing.record import RECORD, Record, read_record
from counterpoise.importing.request import CropRequest, ImportRequest
from counterpoise.importing.source import Source
from counterpoise.importing.sources import Hashing, source_entry
from counterpoise.importing.window import Window
from counterpoise.notes import Note, NoteKind
from counterpoise.text import percent, size
from counterpoise.volumes.cellmap import LABEL_GROUP, RAW_GROUP
from counterpoise.volumes.datasplit import Split, write_datasplit
from counterpoise.volumes.geometry import Shape3
from counterpoise.writing.cellmap import LabelWriter, create_crop, create_raw, write_raw_block
from counterpoise.writing.levels import MultiscaleGeometry

__all__ = ["Imported", "Progress", "import_data"]

Progress = Callable[[str, int], AbstractContextManager[Advance]]
"""Takes a title and a number of bytes, and yields what is told how many of them were dealt with."""

_ALIGNMENT = "recon-1"
_DATASPLIT = "datasplit.csv"
_LEVELS = 3
_FACTOR = 2
_ALIKE = 1.5
"""An axis is down-sampled with the finest one if its voxels are at most so many times longer."""

_BLOCK_BYTES = 1 << 25
"""Of the sections that are dealt with at once."""

_LAYERS = 64
_SIDES = ((32, 64), (8, 128), (0, 256))
"""Layers of a chunk from which on its other sides are so long: chunks of about 2^18 voxels."""

_CLIPPED = 0.01
"""Share of raw beyond a window from which on it is told."""


@dataclass(frozen=True)
class Imported:
    """What was written: the list of crops, their names, the classes, and what a user should know."""

    datasplit: Path
    crops: tuple[str, ...]
    classes: tuple[str, ...]
    window: Window | None
    notes: tuple[Note, ...]


def import_data(request: ImportRequest, progress: Progress) -> Imported:
    """Import crops into a new folder, or add them to one that an import has made.

    Parameters
    ----------
    request : ImportRequest
        What to import, and where to.
    progress : callable
        Shows how far it is.

    Returns
    -------
    Imported
        All is complete.

    Raises
    ------
    SourceError, LayoutError
        If a source cannot be imported as it is; nothing was written.
    DiskFullError
        If the disk is full; nothing is left of what was written.
    """
    root = request.out
    before = read_record(root)
    request = replace(request, crops=_named(request.crops, before, root))
    with ExitStack() as stack:
        hashing = Hashing()
        stack.callback(hashing.end)
        _refuse_other_raw(request, before, hashing)
        with progress("Looking at the sources", _bytes_of(request)) as advance:
            plan = make_plan(request, None if before is None else before.known_window(), advance)
        _refuse_other_size(plan, before)
        stage = stack.enter_context(_stage(root, before, plan))
        record = Record(window=None if plan.window is None else vars(plan.window))
        notes = list(plan.notes)
        with progress("Writing", sum(_written_bytes(one, before) for one in plan.crops)) as advance:
            for crop in plan.crops:
                notes += _write_crop(crop, plan.window, request, before, stage, record, hashing, advance)
        _commit(root, stage, before, record, plan)
    return Imported(
        root / _DATASPLIT,
        tuple(f"{crop.request.dataset}/{crop.request.crop}" for crop in plan.crops),
        tuple(record.classes),
        plan.window,
        tuple(Note(NoteKind.DATA, note) for note in dict.fromkeys(notes)),
    )


# What is there already ------------------------------------------------------------------------------------------


def _named(crops: Sequence[CropRequest], before: Record | None, root: Path) -> tuple[CropRequest, ...]:
    """Give crops without a name the first one; refuse those that are there.

    Raises
    ------
    SourceError
        If a crop is there already, or its folder without being known.
    """
    named = []
    for crop in crops:
        name = crop.crop or "crop1"
        taken = set() if before is None else {place for place in before.values if place.startswith(f"{crop.dataset}/")}
        is_known = before is not None and before.raw_of(crop.dataset) is not None
        if f"{crop.dataset}/{name}" in taken or (not is_known and (root / crop.dataset).exists()):
            raise SourceError(
                f"{root} exists and has {crop.dataset}/{name}" if taken else f"{root / crop.dataset} exists",
                expected="a new --out; or, to add to this folder, a --dataset or --crop that it does not have",
                found=", ".join(sorted(taken)) or f"a folder that {RECORD} does not name",
                remedy="name another --out, --dataset or --crop",
            )
        named.append(replace(crop, crop=name))
    return tuple(named)


def _refuse_other_raw(request: ImportRequest, before: Record | None, hashing: Hashing) -> None:
    """Refuse a second crop of a data set whose raw volume is another one."""
    for crop in request.crops:
        known = None if before is None else before.raw_of(crop.dataset)
        if known is None:
            continue
        with ExitStack() as stack:
            raw, _ = open_crop(replace(crop, labels=()), request.options, stack)
            hashing.begin(raw)
            if hashing.result(raw.path) != known["sha256"]:
                raise SourceError(
                    f"data set {crop.dataset} of {request.out} has another raw volume",
                    expected=f"the raw volume it was made from: {known['name']} (sha256 {known['sha256'][:12]}...)",
                    found=f"{crop.raw}, which differs",
                    remedy="name another --dataset",
                )


def _refuse_other_size(plan: ImportPlan, before: Record | None) -> None:
    for crop in plan.crops:
        known = None if before is None else before.voxel_size_nm.get(crop.request.dataset)
        if known is not None and list(crop.voxel_size_nm) != known:
            raise SourceError(
                f"data set {crop.request.dataset} has another voxel size",
                expected=f"{known} nm, as it was imported",
                found=f"{list(crop.voxel_size_nm)} nm",
                remedy="name another --dataset, or give the same --voxel-size-nm",
            )


# Writing --------------------------------------------------------------------------------------------------------


@contextmanager
def _stage(root: Path, before: Record | None, plan: ImportPlan) -> Iterator[Path]:
    """Make a folder next to where the result goes; whatever happens, nothing of it stays."""
    made = []
    if before is None:
        for parent in reversed([parent for parent in root.absolute().parents if not parent.exists()]):
            parent.mkdir()
            made.append(parent)
    stage = temporary_name(root.absolute() if before is None else root / "data")
    _remove_dead(stage)
    try:
        stage.mkdir()
        yield stage
        made.clear()
    except OSError as error:
        if not is_disk_full(error) or isinstance(error, DiskFullError):
            raise
        needed = sum(_written_bytes(crop, before) for crop in plan.crops)
        shortage = describe_shortage(stage.parent, needed, error)
        raise DiskFullError(
            f"no space for {root}: the disk at {shortage.disk} is full",
            expected=f"at most {size(needed * 1.3)} free (less, as far as the data can be compressed)",
            found=shortage.found,
            remedy="free some space or name a folder on another disk; nothing was left behind",
        ) from error
    finally:
        shutil.rmtree(stage, ignore_errors=True)
        for parent in reversed(made):
            with suppress(OSError):
                parent.rmdir()


def _remove_dead(stage: Path) -> None:
    """Remove what an import into the same place left that was killed."""
    pattern = re.escape(stage.name).replace(str(os.getpid()), r"(\d+)")
    for other in stage.parent.iterdir():
        found = re.fullmatch(pattern, other.name)
        if found is not None and other.is_dir() and (int(found[1]) == os.getpid() or not is_alive(int(found[1]))):
            shutil.rmtree(other, ignore_errors=True)


def _bytes_of(request: ImportRequest) -> int:
    """Estimate what will be looked at: labels once, raw that needs a window once or twice."""
    total = 0
    for crop in request.crops:
        with ExitStack() as stack:
            raw, labels = open_crop(crop, request.options, stack)
            rounds = 0 if raw.dtype.itemsize == 1 or request.options.window else 1 if raw.dtype.itemsize == 2 else 2  # noqa: PLR2004
            total += math.prod(raw.shape) * raw.dtype.itemsize * rounds
            total += sum(math.prod(source.shape) * source.dtype.itemsize for source in labels)
    return total


def _written_bytes(crop: CropPlan, before: Record | None) -> int:
    """Return the voxels that will be written, in bytes, before compression and without coarser levels."""
    has_raw = before is not None and before.raw_of(crop.request.dataset) is not None
    labels = [coding.codes.dtype.itemsize for codings in crop.codings for coding in codings]
    return (0 if has_raw else math.prod(crop.raw_shape)) + sum(labels) * math.prod(crop.label_shape)


def _write_crop(
    plan: CropPlan,
    window: Window | None,
    request: ImportRequest,
    before: Record | None,
    stage: Path,
    record: Record,
    hashing: Hashing,
    advance: Advance,
) -> list[str]:
    """Write raw, unless it is there, and all labels of a crop; return notes."""
    crop, notes = plan.request, []
    store = stage / crop.dataset / f"{crop.dataset}.zarr"
    with ExitStack() as stack:
        raw, labels = open_crop(crop, request.options, stack)
        for source in (raw, *labels):
            hashing.begin(source)
        if before is None or before.raw_of(crop.dataset) is None:
            beyond = _write_raw(store, raw, plan, window, advance)
            if window is not None and beyond > _CLIPPED * math.prod(raw.shape):
                share = percent(beyond / math.prod(raw.shape))
                notes.append(f"{raw.name}: {share} of it lies beyond the window {window.low:g} to {window.high:g}")
            record.sources.append(source_entry(crop, raw, hashing, crop_name=None, classes=[]))
        _write_labels(store, labels, plan, advance)
        for file, source in zip(crop.labels, labels, strict=True):
            names = [rule.name for rule in file.rules]
            record.sources.append(source_entry(crop, source, hashing, crop_name=crop.crop, classes=names))
            record.classes += [name for name in names if name not in record.classes]
    record.voxel_size_nm[crop.dataset] = list(plan.voxel_size_nm)
    record.values[f"{crop.dataset}/{crop.crop}"] = _values_entry(plan)
    return notes


def _write_raw(store: Path, raw: Source, plan: CropPlan, window: Window | None, advance: Advance) -> int:
    geometry = _geometry(plan, raw.shape, (0, 0, 0))
    depth = _layers(raw, geometry)
    folder = create_raw(store, f"{_ALIGNMENT}/{RAW_GROUP}", raw.shape, geometry, chunk=_chunk(raw.shape, depth))
    beyond = 0
    for start, block in sections_of(raw, depth):
        scaled, outside = (block, 0) if window is None else window.apply(block)
        beyond += outside
        write_raw_block(folder, (start, 0, 0), scaled, geometry, keep_zeros=True)
        advance(scaled.nbytes)
    return beyond


def _write_labels(store: Path, labels: Sequence[Source], plan: CropPlan, advance: Advance) -> None:
    crop = plan.request
    names = [rule.name for file in crop.labels for rule in file.rules]
    folder = create_crop(store, f"{_ALIGNMENT}/{LABEL_GROUP}/{crop.crop}", names)
    geometry = _geometry(plan, plan.label_shape, plan.offset)
    for file, source, codings in zip(crop.labels, labels, plan.codings, strict=True):
        depth = _layers(source, geometry)
        writers = [
            LabelWriter(
                folder,
                rule.name,
                source.shape,
                coding.codes.dtype,
                geometry,
                coding.is_instance,
                coding.holds_unknown,
                _chunk(source.shape, depth),
            )
            for rule, coding in zip(file.rules, codings, strict=True)
        ]
        for start, block in sections_of(source, depth):
            for writer, coding in zip(writers, codings, strict=True):
                coded = coding.apply(block)
                writer.write((start, 0, 0), coded)
                advance(coded.nbytes)
        for writer in writers:
            writer.finish()


def _geometry(plan: CropPlan, shape: Shape3, offset: Shape3) -> MultiscaleGeometry:
    """Lay three levels; axes with much longer voxels, or with fewer than four, keep theirs."""
    size_nm = plan.voxel_size_nm
    finest = min(size_nm)
    z, y, x = (
        _FACTOR if size <= _ALIKE * finest and length >= _FACTOR ** (_LEVELS - 1) else 1
        for size, length in zip(size_nm, shape, strict=True)
    )
    at = (offset[0] * size_nm[0], offset[1] * size_nm[1], offset[2] * size_nm[2])
    return MultiscaleGeometry(size_nm, at, _LEVELS if max(z, y, x) > 1 else 1, (z, y, x))


def _layers(source: Source, geometry: MultiscaleGeometry) -> int:
    """Choose how many sections are dealt with at once: a power of 2 that ends on the coarsest grid."""
    section = math.prod(source.shape[1:]) * source.dtype.itemsize
    fitting = max(_BLOCK_BYTES // section, 1)
    return int(max(min(1 << (fitting.bit_length() - 1), _LAYERS), geometry.factor[0] ** (geometry.levels - 1)))


def _chunk(shape: Shape3, depth: int) -> Shape3:
    side = next(side for layers, side in _SIDES if depth >= layers)
    return (min(depth, shape[0]), min(side, shape[1]), min(side, shape[2]))


# The record -----------------------------------------------------------------------------------------------------


def _values_entry(plan: CropPlan) -> dict[str, Any]:
    found: dict[str, Any] = {"offset_voxels": list(plan.offset), "classes": {}}
    for file, codings in zip(plan.request.labels, plan.codings, strict=True):
        for rule, coding in zip(file.rules, codings, strict=True):
            entry: dict[str, Any] = {"unknown": coding.unknown.tolist()}
            if rule.is_instance:
                entry["renumbered"] = {str(old): new for old, new in coding.renumbered.items()}
            else:
                entry["present"] = coding.present.tolist()
            found["classes"][rule.name] = {"instance": rule.is_instance} | entry
    return found


def _commit(root: Path, stage: Path, before: Record | None, record: Record, plan: ImportPlan) -> None:
    """Bring what was written to its place; the list of crops is changed last."""
    rows: list[tuple[Split, str, str, str, str, list[str]]] = [
        (
            "train",
            f"{crop.request.dataset}/{crop.request.dataset}.zarr",
            f"{_ALIGNMENT}/{RAW_GROUP}",
            f"{crop.request.dataset}/{crop.request.dataset}.zarr",
            f"{_ALIGNMENT}/{LABEL_GROUP}/{crop.request.crop}",
            [rule.name for file in crop.request.labels for rule in file.rules],
        )
        for crop in plan.crops
    ]
    write_datasplit(stage / _DATASPLIT, rows)
    if before is None:
        write_json(stage / RECORD, record.to_json())
        if root.exists() or root.is_symlink():
            read_record(root)
            raise SourceError(
                f"{root} exists",
                expected="a folder that does not exist",
                found="one that another import made meanwhile",
                remedy="run the command again with another --dataset or --out",
            )
        stage.rename(root)
        return
    for crop in plan.crops:
        dataset = crop.request.dataset
        place = Path(dataset)
        if before.raw_of(dataset) is not None:
            place = place / f"{dataset}.zarr" / _ALIGNMENT / LABEL_GROUP / crop.request.crop
        (stage / place).rename(root / place)
    now = read_record(root) or before
    now.add(record)
    write_json(root / RECORD, now.to_json())
    listed = (root / _DATASPLIT).read_text(encoding="utf-8")
    added = (stage / _DATASPLIT).read_text(encoding="utf-8")
    write_text(root / _DATASPLIT, listed + ("" if not listed or listed.endswith("\n") else "\n") + added)
