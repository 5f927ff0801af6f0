"""Multiscale groups: OME-NGFF 0.4 on zarr v2, 0.5 on zarr v3, and N5; their levels and their place in space.

Metadata is parsed here once, into frozen objects; groups are opened by their own path, because a downloaded copy may
lack the ``.zgroup`` files above it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from counterpoise.arrays import Vector3
from counterpoise.errors import LayoutError
from counterpoise.volumes.cellmap import cellmap_layout
from counterpoise.volumes.encoding import Annotation, read_annotation
from counterpoise.volumes.geometry import voxel_volume_nm3
from counterpoise.volumes.levels import ChunkedLevel, open_level
from counterpoise.volumes.metadata import Kind, Node, array_at, group_at, is_consolidated, looked_for_at
from counterpoise.volumes.n5 import n5_places
from counterpoise.volumes.ngff import Axes, LevelPlace, parse_image
from counterpoise.volumes.places import LOCAL, Place, place_of
from counterpoise.volumes.volume import Format

__all__ = ["OME_ZARR", "Multiscale", "open_multiscale"]


@dataclass(frozen=True)
class Multiscale:
    """A multiscale group: its levels (the first is the finest), and what is odd about it and was dealt with.

    ``looked_for`` are the files that opening it depended on, whether they exist or not.
    """

    path: Path
    levels: tuple[ChunkedLevel, ...]
    attributes: Mapping[str, Any]
    notes: tuple[str, ...] = ()
    looked_for: tuple[str, ...] = ()

    @property
    def voxel_sizes_nm(self) -> list[Vector3]:
        """Return the voxel size of every level."""
        return [level.grid.voxel_size_nm for level in self.levels]

    def annotations(self) -> list[Annotation]:
        """Return what the attributes of every level, and of the group, say about its values."""
        return [read_annotation(self.attributes, level.attributes, level.path) for level in self.levels]

    def metadata_files(self) -> list[str]:
        """Name the files that :func:`open_multiscale` looked for, there or not."""
        return list(self.looked_for)


def open_multiscale(path: Path) -> Multiscale:
    """Read the metadata of a multiscale group and of all its levels.

    Parameters
    ----------
    path : Path
        Folder of the group, such as ``.../recon-1/em/fibsem-uint8`` or ``.../crop1/mito``; in a zip archive or behind
        a URL as well.

    Returns
    -------
    Multiscale
        Levels as the metadata list them, never as folders happen to lie there, the finest first. Those that are
        listed and not there are left out, with a note.

    Raises
    ------
    LayoutError
        If the group, its metadata or all arrays are missing, or something in them cannot be used.
    """
    place = place_of(path)
    group = group_at(place, path)
    paths: dict[str, Path] = {}
    arrays: dict[Path, Node | None] = {}

    def array_of(name: str) -> Node | None:
        where = paths.setdefault(name, path / name)
        if where not in arrays:
            arrays[where] = array_at(place, where, group)
        return arrays[where]

    axes, listed = _listed(group, path, array_of, place)
    levels: list[ChunkedLevel] = []
    notes: list[str] = []
    seen: set[Path] = set()
    for entry in listed:
        name = entry.path
        node = array_of(name)
        if paths[name] in seen:
            notes.append(f"level {name} is listed twice; the first entry counts")
            continue
        seen.add(paths[name])
        if node is None:
            notes.append(f"level {name} is listed but not there; it is passed over")
            continue
        level, note = open_level(place, paths[name], entry, axes, node)
        levels.append(level)
        notes += [f"{name}: {note}"] if note else []
    if not levels:
        raise LayoutError(
            f"no level that the metadata of {path} list is there",
            expected="array metadata (.zarray, zarr.json or attributes.json) in at least one of them",
            found=f"none in {', '.join(paths)}",
            remedy="check the path in the datasplit, or fetch the data again",
        )
    levels.sort(key=lambda level: voxel_volume_nm3(level.grid.voxel_size_nm))
    looked_for = (*looked_for_at(path, group, arrays), *place.watched())
    return Multiscale(path, tuple(levels), group.attributes, tuple(notes), looked_for)


def _listed(
    group: Node, path: Path, array_of: Callable[[str], Node | None], place: Place
) -> tuple[Axes, list[LevelPlace]]:
    """Read which levels there are and where, in the order in which they are listed."""
    if group.kind is not Kind.N5:
        return parse_image(group.attributes, path)
    return n5_places(group, path, array_of, place)


def _holds(path: Path) -> bool:
    """Tell whether a group may be stored at a path: a folder, or what consolidated metadata of its store describe."""
    if path.is_dir():
        return True
    place = place_of(path)
    return (place is not LOCAL and place.holds(str(path))) or is_consolidated(place, path)


OME_ZARR = Format(
    "OME-Zarr", _holds, open_multiscale, suffixes=(".zarr", ".n5", ".zip"), layout=cellmap_layout(open_multiscale)
)
