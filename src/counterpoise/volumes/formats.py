"""The input formats, and which of them is responsible for a path.

A new format is a module that makes a :class:`~counterpoise.volumes.volume.Format`, and its entry in ``FORMATS``.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from counterpoise.volumes.omezarr import OME_ZARR
from counterpoise.volumes.places import is_url
from counterpoise.volumes.volume import Format, Volume

__all__ = ["FORMATS", "dataset_suffixes", "is_stored", "open_volume", "paths_of", "resolved"]

FORMATS: tuple[Format, ...] = (OME_ZARR,)
"""Asked in this order. The last one, whose volumes are plain folders, takes what no other recognises."""


def paths_of(text: str, folders: Iterable[Path]) -> tuple[Path, ...]:
    """Say where a path of a list of crops may lead: below each of some folders, or behind a URL."""
    return (Path(text),) if is_url(text) else tuple(folder / text for folder in folders)


def resolved(path: Path) -> Path:
    """Follow links and leave out dots, where there is a file system to ask."""
    return path if is_url(path) else path.resolve()


def is_stored(path: Path) -> bool:
    """Tell whether there is something at a path that one of the formats may read."""
    return any(known.holds(path) for known in FORMATS)


def open_volume(path: Path) -> Volume:
    """Read the metadata of a volume.

    Raises
    ------
    LayoutError
        If there is none, or its metadata break the rules of its format.
    """
    return next((known for known in FORMATS if known.holds(path)), FORMATS[-1]).open(path)


def dataset_suffixes() -> set[str]:
    """Return the endings of folders and files that hold a whole dataset."""
    return {suffix for known in FORMATS for suffix in known.suffixes}
