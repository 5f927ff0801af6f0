"""Arrays of HDF5 files, zarr stores and N5 containers."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from counterpoise.errors import DataError, SourceError
from counterpoise.importing.source import (
    Reading,
    SizeClaim,
    Source,
    axes_of,
    native,
    need,
    place_axes,
    sizes_of,
    unreadable,
)
from counterpoise.volumes.formats import open_volume
from counterpoise.volumes.geometry import IndexBox
from counterpoise.volumes.volume import Level

__all__ = ["HDF5_SUFFIXES", "is_store", "open_hdf5", "open_store"]

HDF5_SUFFIXES = (".h5", ".hdf5", ".hdf", ".he5")

_ZARR_FILES = (".zarray", ".zgroup", ".zattrs", "zarr.json", ".zmetadata")
_N5_FILE = "attributes.json"
_MOST_NAMED = 8
_ERRORS = (OSError, ValueError, KeyError, TypeError, RuntimeError, EOFError, NotImplementedError)


def open_hdf5(path: Path, inner: str, name: str, reading: Reading, stack: ExitStack) -> Source:
    """Open a dataset of an HDF5 file; the only one if none is named.

    Raises
    ------
    SourceError
        If the file or the dataset is not there or not a volume.
    """
    h5py = need("h5py")
    try:
        file = stack.enter_context(h5py.File(path, "r"))
        node = file.get(inner or "/")
        if not isinstance(node, h5py.Dataset):
            node = _only_dataset(h5py, file, path, inner, name)
        attributes = dict(node.attrs)
        shape, dtype = node.shape, node.dtype
    except _ERRORS as error:
        raise unreadable(name, error) from error
    return _array(node, name, path, (path,), shape, dtype, attributes, reading)


def _only_dataset(h5py: Any, file: Any, path: Path, inner: str, name: str) -> Any:
    """Return the only dataset below a group; the user has to choose where there are several."""
    found: dict[str, Any] = {}
    group = file.get(inner or "/")
    if group is not None:
        group.visititems(lambda key, node: found.update({key: node}) if isinstance(node, h5py.Dataset) else None)
        if len(found) == 1:
            return next(iter(found.values()))
    within = f"{inner.strip('/')}/" if group is not None and inner.strip("/") else ""
    if group is None:
        file.visititems(lambda key, node: found.update({key: node}) if isinstance(node, h5py.Dataset) else None)
    listed = [f"{within}{key} ({' x '.join(map(str, node.shape))}, {node.dtype})" for key, node in found.items()]
    more = f" and {len(listed) - _MOST_NAMED} more" if listed[_MOST_NAMED:] else ""
    raise SourceError(
        f"{name} does not name a dataset",
        expected=f"{path}:DATASET",
        found=", ".join(listed[:_MOST_NAMED]) + more or "no dataset in the file",
        remedy="name one of the datasets after the colon" if listed else "name another file",
    )


def is_store(folder: Path) -> bool:
    """Tell whether a folder is, or lies in, a zarr store or an N5 container rather than being a folder of images."""
    return any((folder / file).exists() for file in (*_ZARR_FILES, _N5_FILE)) or any(
        part.suffix.lower() in {".zarr", ".n5"} for part in (folder, *folder.parents)
    )


def open_store(path: Path, name: str, reading: Reading, class_name: str = "") -> Source:
    """Open an array or a multiscale group of a zarr store or an N5 container.

    Parameters
    ----------
    path, name
        Its folder, and how the user called it.
    reading : Reading
        Axes, where the user says them.
    class_name : str
        The class that a group of labels is of: its metadata may say which value is unknown.

    Raises
    ------
    SourceError, LayoutError
        If it is neither, or not a volume.
    """
    if (path / _N5_FILE).exists() and not any((path / file).exists() for file in _ZARR_FILES):
        try:
            return _volume(path, "", name, class_name)
        except DataError as error:
            raise SourceError(
                f"{name} is stored as N5",
                expected="a multiscale group or an array whose metadata say where its voxels are",
                found=error.problem,
                remedy=f"{error.remedy}; or convert it to zarr or HDF5",
            ) from error
    if not _is_array(path):
        return _volume(path, "", name, class_name)
    if "multiscales" in _attributes(path.parent):
        return _volume(path.parent, path.name, name, class_name)
    import zarr  # rarely needed, and slow to import

    try:
        array = zarr.open_array(str(path), mode="r")
        return _array(array, name, path, _files_below(path), array.shape, array.dtype, dict(array.attrs), reading)
    except _ERRORS as error:
        raise unreadable(name, error) from error


def _is_array(path: Path) -> bool:
    if (path / ".zarray").exists():
        return True
    return _json(path / "zarr.json").get("node_type") == "array"


def _attributes(group: Path) -> dict[str, Any]:
    inside = _json(group / "zarr.json").get("attributes")
    content = inside if isinstance(inside, dict) else {}
    ome = content.get("ome")
    return _json(group / ".zattrs") | content | (ome if isinstance(ome, dict) else {})


def _json(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _volume(group: Path, level_name: str, name: str, class_name: str) -> Source:
    """Take a level of a volume that counterpoise reads anyway; the first unless one is named."""
    volume = open_volume(group)
    places = {level.name: place for place, level in enumerate(volume.levels)}
    place = places.get(level_name, 0)
    level = volume.levels[place]
    is_annotated = "cellmap" in _attributes(group) and bool(class_name)
    codes = volume.unknown_codes(class_name) if is_annotated else (None,) * len(places)

    def read(start: int, stop: int) -> np.ndarray:
        _, rows, columns = level.grid.shape
        wanted = IndexBox((start, 0, 0), (stop, rows, columns))
        block = np.full(wanted.shape, level.fill_value, level.dtype.newbyteorder("="))
        for box, voxels in level.decoded_chunks(wanted):
            if voxels is not None:
                common = box.common(wanted)
                block[common.within(wanted)] = voxels[common.within(box)]
        return block

    z, y, x = level.grid.voxel_size_nm
    return Source(
        name,
        group,
        _files_below(group),
        level.grid.shape,
        level.dtype.newbyteorder("="),
        read,
        claim=SizeClaim((z, y, x), "its multiscale metadata"),
        origin_nm=level.grid.translation_nm,
        unknown_code=codes[place],
        notes=_missing(level, name),
    )


def _missing(level: Level, name: str) -> tuple[str, ...]:
    """Say how many chunks are not stored: they read as the fill value, whether or not that is what was recorded."""
    there = [Path(file).exists() for _, file in level.chunk_paths(level.whole())]
    if all(there):
        return ()
    return (f"{name}: {there.count(False)} of {len(there)} chunks are not stored and read as {level.fill_value}",)


def _files_below(folder: Path) -> tuple[Path, ...]:
    return tuple(sorted(file for file in folder.rglob("*") if file.is_file()))


def _array(
    node: Any,
    name: str,
    path: Path,
    files: tuple[Path, ...],
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    attributes: dict[str, Any],
    reading: Reading,
) -> Source:
    """Take the three axes of an array; those of length 1 are left out."""
    z, y, x = place_axes(name, shape, axes_of(attributes, len(shape)), reading.axes)
    claim, origin = sizes_of(attributes, (z, y, x), len(shape))
    kept = [axis for axis in (z, y, x) if axis is not None]
    order = [sorted(kept).index(axis) for axis in kept]
    depth = 1 if z is None else shape[z]

    def read(start: int, stop: int) -> np.ndarray:
        index = tuple(
            slice(start, stop) if axis == z else slice(None) if axis in kept else 0 for axis in range(len(shape))
        )
        try:
            block = native(np.asarray(node[index]))
        except _ERRORS as error:
            raise unreadable(name, error) from error
        return block.transpose(order) if z is not None else block.transpose(order)[None]

    return Source(
        name,
        path,
        files,
        (depth, shape[y], shape[x]),
        dtype.newbyteorder("="),
        read,
        claim=claim,
        origin_nm=origin,
    )
