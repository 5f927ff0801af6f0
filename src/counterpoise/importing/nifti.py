"""NIfTI: stored x, y, z, here z, y, x; voxels are not turned in space."""

from __future__ import annotations

import zlib
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from counterpoise.errors import SourceError
from counterpoise.importing.source import (
    NO_CLAIM,
    Reading,
    SizeClaim,
    Source,
    colour,
    native,
    need,
    nm_per,
    unreadable,
)

__all__ = ["NIFTI_SUFFIXES", "open_nifti"]

NIFTI_SUFFIXES = (".nii", ".nii.gz")

_DIGITS = 6
"""Sizes are stored as float32, in which 4.6 is 4.599999904."""

_ERRORS = (OSError, ValueError, TypeError, EOFError, KeyError, zlib.error)


def open_nifti(path: Path, name: str, reading: Reading, stack: ExitStack) -> Source:
    """Open a NIfTI file.

    Parameters
    ----------
    path, name
        The file, and how the user called it.
    reading : Reading
        The unit of its sizes, where the user says it.
    stack : ExitStack
        Closes the file.

    Raises
    ------
    SourceError
        If it is no NIfTI file, has colours or several images.
    """
    nibabel = need("nibabel")
    try:
        # Sections are read in their order: a compressed file that stays open is decoded once, not from its start for
        # each of them.
        image = nibabel.load(path, keep_file_open=True)
        header = image.header
        shape = tuple(map(int, image.shape))
        dtype = np.dtype(image.dataobj.dtype)
    except (*_ERRORS, nibabel.filebasedimages.ImageFileError, nibabel.spatialimages.HeaderDataError) as error:
        raise unreadable(name, error) from error
    stack.callback(image.uncache)
    if dtype.fields or dtype.kind == "c":
        raise colour(name, f"voxels of {dtype}")
    if len(shape) < 2 or any(length != 1 for length in shape[3:]):  # noqa: PLR2004 - x and y
        raise SourceError(
            f"{name} is not one volume",
            expected="three axes x, y, z",
            found=f"{' x '.join(map(str, shape))}",
            remedy="save one of its volumes alone",
        )
    x, y, z = (*shape, 1)[:3]
    is_scaled = (image.dataobj.slope, image.dataobj.inter) != (1.0, 0.0)

    def read(start: int, stop: int) -> np.ndarray:
        try:
            block = image.dataobj[
                (slice(None), slice(None), slice(start, stop))[: len(shape)] + (0,) * (len(shape) - 3)
            ]
        except _ERRORS as error:
            raise unreadable(name, error) from error
        return native(np.asarray(block)).reshape(x, y, stop - start, order="A").transpose(2, 1, 0)

    return Source(
        name,
        path,
        (path,),
        (z, y, x),
        np.dtype(np.float64) if is_scaled else dtype.newbyteorder("="),
        read,
        claim=_claim(header, reading),
        direction=_direction(image),
    )


def _claim(header: Any, reading: Reading) -> SizeClaim:
    """Read pixdim in the file's unit, or in the user's."""
    x, y, z = (*(round(float(size), _DIGITS) for size in header.get_zooms()[:3]), 1.0)[:3]
    unit = reading.spacing_unit or header.get_xyzt_units()[0]
    scale = nm_per(unit) if unit != "meter" else 1e9
    if scale is None:
        return SizeClaim((None, None, None), "its sizes have no unit (xyzt_units)")
    if (z, y, x) == (1.0, 1.0, 1.0) and reading.spacing_unit is None:
        return NO_CLAIM  # what programs write that know no size
    return SizeClaim((z * scale, y * scale, x * scale), f"its pixdim, in {unit}")


def _direction(image: Any) -> tuple[float, ...] | None:
    """Return the directions of its axes, rounded; None where the file leaves them open."""
    if not (int(image.header["sform_code"]) or int(image.header["qform_code"])):
        return None
    columns = np.asarray(image.affine, np.float64)[:3, :3]
    length = np.linalg.norm(columns, axis=0)
    return tuple(np.round(columns / np.where(length > 0, length, 1), 3).ravel().tolist())
