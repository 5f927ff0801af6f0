"""Open what a user names: the kind follows from the name and what is there."""

from __future__ import annotations

import re
from contextlib import ExitStack
from pathlib import Path

from counterpoise.errors import SourceError
from counterpoise.importing.arrays import HDF5_SUFFIXES, is_store, open_hdf5, open_store
from counterpoise.importing.images import IMAGE_SUFFIXES, open_images
from counterpoise.importing.nifti import NIFTI_SUFFIXES, open_nifti
from counterpoise.importing.source import Reading, Source
from counterpoise.importing.tiff import TIFF_SUFFIXES, open_tiff

__all__ = ["open_source"]

_WITH_INNER = re.compile(r"(?P<path>.*\.(?:h5|hdf5|hdf|he5|zarr|n5)):(?P<inner>.*)", re.IGNORECASE | re.DOTALL)


def open_source(name: str, reading: Reading, stack: ExitStack, *, class_name: str = "") -> Source:
    """Open a volume.

    Parameters
    ----------
    name : str
        A folder of images, or a file; ``FILE.h5:DATASET``, ``STORE.zarr:GROUP`` and ``CONTAINER.n5:GROUP`` name what is
        inside.
    reading : Reading
        What the user says about the file.
    stack : ExitStack
        Closes the file.
    class_name : str
        The class that it annotates, if it is a mask.

    Raises
    ------
    SourceError, LayoutError
        If it is not there, of no known kind, or not a volume.
    """
    path, inner = Path(name).expanduser(), ""
    if not path.exists() and (found := _WITH_INNER.fullmatch(name)):
        path, inner = Path(found["path"]).expanduser(), found["inner"].strip("/")
    try:
        is_folder, is_there = path.is_dir(), path.exists()
    except (OSError, ValueError):
        is_folder = is_there = False
    if not is_there:
        raise _missing(name, path)
    if is_folder:
        if not is_store(path):
            return open_images(path, name)
        if inner and not (path / inner).is_dir():
            raise _missing(name, path / inner)
        return open_store(path / inner, name, reading, class_name)
    return _open_file(path, inner, name, reading, stack)


def _open_file(path: Path, inner: str, name: str, reading: Reading, stack: ExitStack) -> Source:
    lower = path.name.lower()
    if lower.endswith(HDF5_SUFFIXES):
        return open_hdf5(path, inner, name, reading, stack)
    if lower.endswith(TIFF_SUFFIXES):
        return open_tiff(path, name, reading, stack)
    if lower.endswith(NIFTI_SUFFIXES):
        return open_nifti(path, name, reading, stack)
    if lower.endswith(IMAGE_SUFFIXES):
        return open_images(path, name)
    raise SourceError(
        f"{name} is of no kind that can be imported",
        expected="a folder of PNG, TIFF or JPEG images, or .tif, .h5:DATASET, .zarr:GROUP, .n5:GROUP, .nii, .nii.gz",
        found=f"a file that ends in {path.suffix!r}" if path.suffix else "a file without an ending",
        remedy="save it as one of these (a TIFF stack is the plainest)",
    )


def _missing(name: str, path: Path) -> SourceError:
    try:
        nearest = next((parent for parent in path.absolute().parents if parent.exists()), Path("/"))
    except (OSError, ValueError):
        nearest = Path("/")
    return SourceError(
        f"{name} is not there",
        expected=f"a file or folder at {path}",
        found=f"nothing of that name in {nearest}",
        remedy="correct the path",
    )
