"""The input formats, and which of them is responsible for a path.

A new format is a module that makes a :class:`~counterpoise.volumes.volume.Format`, and its entry in ``FORMATS``.
"""

from __future__ import annotations

from pathlib import Path

from counterpoise.errors import LayoutError
from counterpoise.volumes.omezarr import OME_ZARR
from counterpoise.volumes.volume import Format, Volume

__all__ = ["FORMATS", "dataset_suffixes", "is_stored", "open_volume"]

FORMATS: tuple[Format, ...] = (OME_ZARR,)
"""Asked in this order. The last one, whose volumes are plain folders, takes what no other recognises."""


def is_stored(path: Path) -> bool:
    """Tell whether there is something at a path that one of the formats may read.

    Raises
    ------
    LayoutError
        If that cannot be found out: what cannot be asked for is not missing.
    """
    try:
        return any(known.holds(path) for known in FORMATS)
    except OSError as error:
        raise LayoutError(
            f"it cannot be found out whether there is a group at {path}",
            expected="folders that may be read",
            found=str(error) or type(error).__name__,
            remedy="check the permissions of the folders above it",
        ) from error


def open_volume(path: Path) -> Volume:
    """Read the metadata of a volume.

    Raises
    ------
    LayoutError
        If there is none, or its metadata break the rules of its format.
    """
    return next((known for known in FORMATS[:-1] if known.holds(path)), FORMATS[-1]).open(path)


def dataset_suffixes() -> set[str]:
    """Return the endings of folders and files that hold a whole dataset."""
    return {suffix for known in FORMATS for suffix in known.suffixes}
