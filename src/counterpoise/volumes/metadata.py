"""The JSON files that describe groups and arrays: of zarr v2, zarr v3 and N5, each by itself or consolidated.

A folder is described by the first of these that is there: a migrated store keeps the files of both versions, and a
copy of a store may have the consolidated metadata of its root alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from typing import Any

from counterpoise.errors import LayoutError
from counterpoise.volumes.places import Place

__all__ = ["Kind", "Node", "array_at", "group_at", "is_consolidated", "looked_for_at"]


class Kind(StrEnum):
    """Who wrote the metadata of a folder."""

    V2 = "zarr v2"
    V3 = "zarr v3"
    N5 = "N5"

    @property
    def names_last_axis_first(self) -> bool:
        """Return whether the files of chunks are named x first."""
        return self is Kind.N5


@dataclass(frozen=True)
class Node:
    """A group or an array: what its metadata say, and what users wrote about it.

    ``root`` is the store whose consolidated metadata describe it, if its own do not.
    """

    kind: Kind
    content: Mapping[str, Any]
    attributes: Mapping[str, Any]
    root: Path | None = field(default=None)


_FILES = {Kind.V2: ".zarray", Kind.V3: "zarr.json", Kind.N5: "attributes.json"}
_MULTISCALE_KEYS = ("multiscales", "ome")
_N5_KEYS = ("multiscales", "pixelResolution", "resolution", "downsamplingFactors", "scales", "transform", "dimensions")


def group_at(place: Place, path: Path) -> Node:
    """Read the metadata of a multiscale group.

    Returns
    -------
    Node
        The first of what lies there that describes levels; else the first, whatever it says.

    Raises
    ------
    LayoutError
        If there are none, or they cannot be read.
    """
    first: Node | None = None
    for node in _groups(place, path):
        keys = _N5_KEYS if node.kind is Kind.N5 else _MULTISCALE_KEYS
        if any(key in node.attributes for key in keys):
            return node
        first = first or node
    if first is None:
        raise _missing(place, path)
    return first


def array_at(place: Place, path: Path, group: Node) -> Node | None:
    """Read the metadata of an array of a group; None if there are none."""
    for kind in (group.kind, *(kind for kind in Kind if kind is not group.kind)):
        content = _read(place, path, _FILES[kind], "array metadata")
        if content is not None and _is_array(kind, content):
            if kind is Kind.V2:
                return Node(kind, content, _read(place, path, ".zattrs", "attributes") or {})
            return Node(kind, content, _attributes(kind, content))
    return next((node for node in _consolidated(place, path) if _is_array(node.kind, node.content)), None)


def is_consolidated(place: Place, path: Path) -> bool:
    """Tell whether the store around a path describes it, although nothing of it is there: none of its chunks is stored.

    Asked of very many paths, so it looks in the folder alone that is called a store.
    """
    root = next((parent for parent in path.parents if parent.suffix == ".zarr"), None)
    if root is None or not any(place.has_file(f"{root}/{name}") for name in (".zmetadata", "zarr.json")):
        return False
    return any(True for _ in _consolidated(place, path))


def looked_for_at(path: Path, group: Node, arrays: Mapping[Path, Node | None]) -> list[str]:
    """Name the files that metadata were looked for in, there or not."""
    names = [".zattrs"] if group.kind is Kind.V2 else [".zattrs", *list(_FILES.values())[1:]]
    files = [f"{path}/{name}" for name in names]
    of_array = (".zarray", ".zattrs") if group.kind is Kind.V2 else tuple(_FILES.values())
    files += [f"{array}/{name}" for array in arrays for name in of_array]
    roots = {node.root for node in (group, *arrays.values()) if node and node.root}
    return files + [f"{root}/{name}" for root in roots for name in (".zmetadata", "zarr.json")]


def _groups(place: Place, path: Path) -> Iterator[Node]:
    """Go through what describes a group, the most likely first."""
    attributes = _read(place, path, ".zattrs", "multiscale metadata")
    if attributes is not None:
        yield Node(Kind.V2, {}, attributes)
    for kind in (Kind.V3, Kind.N5):
        content = _read(place, path, _FILES[kind], "multiscale metadata")
        if content is not None:
            yield Node(kind, content, _attributes(kind, content))
    yield from _consolidated(place, path)


def _attributes(kind: Kind, content: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what a user wrote; OME-NGFF 0.5 has its keys below ``ome``, with the meaning they had before."""
    if kind is not Kind.V3:
        return content
    attributes = content.get("attributes")
    if not isinstance(attributes, dict):
        return {}
    ome = attributes.get("ome")
    return {**ome, **attributes} if isinstance(ome, dict) else attributes


def _is_array(kind: Kind, content: Mapping[str, Any]) -> bool:
    if kind is Kind.V3:
        return content.get("node_type") == "array"
    return kind is Kind.V2 or "dimensions" in content


def _consolidated(place: Place, path: Path) -> Iterator[Node]:
    """Go through what the roots of stores above say about a group or an array; for those without own metadata."""
    for root in path.parents:
        if len(root.parts) <= 1 or not _may_be_store(root, path):
            break
        inner = path.relative_to(root).as_posix()
        v2 = _parsed(place, f"{root}/.zmetadata")
        described = v2.get("metadata")
        if isinstance(described, dict) and (f"{inner}/.zattrs" in described or f"{inner}/.zarray" in described):
            yield Node(Kind.V2, _object(described.get(f"{inner}/.zarray")),
                       _object(described.get(f"{inner}/.zattrs")), root)  # fmt: skip
        v3 = _object(_parsed(place, f"{root}/zarr.json").get("consolidated_metadata")).get("metadata")
        if isinstance(v3, dict) and isinstance(v3.get(inner), dict):
            yield Node(Kind.V3, v3[inner], _attributes(Kind.V3, v3[inner]), root)


_DEPTH = 8
"""Folders of a store above a class, at most."""


def _may_be_store(root: Path, path: Path) -> bool:
    """Stop above the store: a copy may lie deep in a file system, and behind a URL every look takes a while."""
    return len(path.parts) - len(root.parts) <= _DEPTH and not any(
        part.endswith((".zarr", ".n5", ".zip")) for part in path.parts[len(root.parts) : -1]
    )


def _parsed(place: Place, file: str) -> Mapping[str, Any]:
    try:
        return _parse(place.fetch(file))
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return {}
    except OSError as error:
        raise _broken("consolidated metadata", file, error) from error


@lru_cache(maxsize=16)
def _parse(content: bytes) -> Mapping[str, Any]:
    """Parse consolidated metadata, which a thousand groups have in common."""
    try:
        return _object(json.loads(content))
    except ValueError:
        return {}


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _read(place: Place, folder: Path, name: str, what: str) -> dict[str, Any] | None:
    try:
        content = json.loads(place.fetch(f"{folder}/{name}"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise _broken(what, f"{folder}/{name}", error) from error
    if not isinstance(content, dict):
        raise LayoutError(
            f"{what} at {folder}/{name} is not an object",
            expected="a JSON object",
            found=type(content).__name__,
            remedy="fetch the file again",
        )
    return content


def _broken(what: str, file: str, error: Exception) -> LayoutError:
    return LayoutError(
        f"{what} at {file} cannot be read",
        expected="a JSON object",
        found=str(error) or type(error).__name__,
        remedy="fetch the file again",
    )


_OTHER_FORMATS = {
    "info": "Neuroglancer's precomputed format",
    "header.wkw": "WEBKNOSSOS' wkw format",
    "knossos.conf": "KNOSSOS cubes",
}
_SUFFIXES = {
    ".tif": "TIFF files", ".tiff": "TIFF files", ".png": "PNG files", ".jpg": "JPEG files", ".h5": "HDF5 files",
    ".hdf5": "HDF5 files", ".nii": "NIfTI files", ".gz": "compressed files", ".mrc": "MRC files", ".npy": "NumPy files",
    ".nrrd": "NRRD files",
}  # fmt: skip


def _missing(place: Place, path: Path) -> LayoutError:
    """Say what lies where metadata were expected."""
    remedy = "check the path in the datasplit, or fetch the data again"
    names = sorted(place.names(str(path)))[:1000]
    other = next((_OTHER_FORMATS[name] for name in names if name in _OTHER_FORMATS), None)
    other = other or next((_SUFFIXES[suffix] for name in names if (suffix := Path(name).suffix) in _SUFFIXES), None)
    if ".zarray" in names:
        found, remedy = "a single array (.zarray)", "name the group that holds s0, s1, ... in the datasplit"
    elif other:
        found = f"{other}: {', '.join(names[:3])}"
        remedy = "convert it: `counterpoise data import`"
    elif place.holds(str(path)):
        found = "the folder without it"
    else:
        found = f"nothing below {next((p for p in path.parents if place.holds(str(p))), Path('/'))}"
    return LayoutError(
        f"no multiscale metadata at {path}",
        expected="the file .zattrs (zarr v2), zarr.json (v3) or attributes.json (N5)",
        found=found,
        remedy=remedy,
    )
