"""A volume to import, whatever it is stored in: its sections, and what its file says about voxel size and place."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from counterpoise.arrays import Vector3
from counterpoise.errors import SourceError
from counterpoise.volumes.geometry import Shape3

__all__ = [
    "NO_CLAIM",
    "Reading",
    "SizeClaim",
    "Source",
    "axes_of",
    "colour",
    "native",
    "need",
    "nm_per",
    "place_axes",
    "sizes_of",
    "unreadable",
]

_NM: Mapping[str, float] = {
    "nm": 1.0, "nanometer": 1.0, "nanometre": 1.0,
    "um": 1e3, "micron": 1e3, "micrometer": 1e3, "micrometre": 1e3,
    "mm": 1e6, "millimeter": 1e6, "millimetre": 1e6,
    "angstrom": 0.1, "ångström": 0.1, "å": 0.1,
}  # fmt: skip
"""Units of microscopy. Centimetres and inches are what programs write who mean the size on paper."""

_PACKAGES = {"tifffile": "TIFF", "h5py": "HDF5", "nibabel": "NIfTI"}


@dataclass(frozen=True)
class Reading:
    """How to read what files leave open.

    Parameters
    ----------
    axes : str, optional
        Letters of the stored axes, such as ``zyx``; instead of what the file says.
    spacing_unit : str, optional
        Unit of the spacing in NIfTI and nnU-Net files; instead of what the file says.
    """

    axes: str | None = None
    spacing_unit: str | None = None


@dataclass(frozen=True)
class SizeClaim:
    """The voxel size that a file states (z, y, x), None where it does not, and which of its fields says so."""

    sizes_nm: tuple[float | None, float | None, float | None]
    said_by: str


NO_CLAIM = SizeClaim((None, None, None), "the file does not say")


@dataclass(frozen=True)
class Source:
    """One volume, as sections along z.

    Parameters
    ----------
    name : str
        As the user wrote it.
    path : Path
        The file or folder it is in.
    files : tuple of Path
        Everything its voxels and metadata come from.
    shape : (z, y, x)
    dtype : dtype
        Of the voxels, in the byte order of this machine.
    read : callable
        Returns the sections from a first to a last (exclusive), shape (sections, y, x).
    claim : SizeClaim
        What it says about its voxel size.
    origin_nm : (z, y, x), optional
        Where its first voxel is, if it says so.
    direction : tuple of float, optional
        How its axes lie in the room, if it says so. Compared only.
    unknown_code : int, optional
        The value that its own metadata declare to be unknown.
    is_indexed : bool
        Whether values are places in a table of colours.
    notes : tuple of str
        What a user should know about it.
    """

    name: str
    path: Path
    files: tuple[Path, ...]
    shape: Shape3
    dtype: np.dtype[Any]
    read: Callable[[int, int], np.ndarray]
    claim: SizeClaim = NO_CLAIM
    origin_nm: Vector3 | None = None
    direction: tuple[float, ...] | None = None
    unknown_code: int | None = None
    is_indexed: bool = False
    notes: tuple[str, ...] = ()

    def said(self, claim: SizeClaim) -> Source:
        """Return it with what another file says about its voxel size."""
        return replace(self, claim=claim)


def need(package: str) -> Any:
    """Import a package of the extra ``import``.

    Raises
    ------
    SourceError
        If it is not installed.
    """
    try:
        return import_module(package)
    except ImportError as error:
        raise SourceError(
            f"{_PACKAGES.get(package, package)} cannot be read here",
            expected=f"the package {package}, which the extra 'import' installs",
            found=str(error),
            remedy='pip install "counterpoise[import]"',
        ) from error


def nm_per(unit: str) -> float | None:
    """Return how many nm a unit has; None if it is not one of microscopy."""
    word = unit.strip().lower().replace(r"\u00b5", "u").replace("\N{MICRO SIGN}", "u")
    word = word.replace("\N{GREEK SMALL LETTER MU}", "u")
    return _NM.get(word, _NM.get(word.removesuffix("s")))


def native(voxels: np.ndarray) -> np.ndarray:
    """Return an array in the byte order of this machine."""
    return voxels.astype(voxels.dtype.newbyteorder("="), copy=False)


def unreadable(name: str, error: Exception) -> SourceError:
    """Make the error of a file whose content cannot be read."""
    return SourceError(
        f"{name} cannot be read",
        expected="a whole file in the format that its name says",
        found=str(error).strip() or type(error).__name__,
        remedy="open it with the program that wrote it and save it again, or copy it again",
    )


def colour(name: str, found: str) -> SourceError:
    """Make the error of an image with colours."""
    return SourceError(
        f"{name} is a colour image",
        expected="one grey value, or one label, per voxel",
        found=found,
        remedy="convert it to a grey image without changing its size (labels: to whole numbers, one per class)",
    )


def place_axes(name: str, shape: Sequence[int], own: str, chosen: str | None) -> tuple[int | None, int, int]:
    """Find the stored axes that are z, y and x.

    Parameters
    ----------
    name : str
        The volume, for messages.
    shape : sequence of int
        As stored.
    own : str
        A letter per axis, as the file names them; ``?`` for one without a name. A single one beside y and x is z; if
        none has a name they are z, y, x.
    chosen : str, optional
        What the user says instead; axes of length 1 may be left out.

    Returns
    -------
    tuple
        Number of the stored axis for z (None if there is one section only), y and x.

    Raises
    ------
    SourceError
        If axes other than z, y, x are longer than 1, or their number differs from what the user says.
    """
    letters = own
    if chosen is not None:
        long = [axis for axis, length in enumerate(shape) if length > 1]
        places = range(len(shape)) if len(chosen) == len(shape) else long
        letters = "".join(dict(zip(places, chosen, strict=False)).get(axis, "1") for axis in range(len(shape)))
        if len(chosen) != len(places):
            raise _wrong_axes(name, shape, own, f"--axes {chosen} names {len(chosen)} axes")
    if set(letters) == {"?"} and (fits := _fill_unnamed(shape)) is not None:
        return fits
    kept = [(letter, axis) for axis, letter in enumerate(letters) if letter in "zyx" or shape[axis] > 1]
    unnamed = sum(letter == "?" for letter, _ in kept)
    named = "".join(letter for letter, _ in kept if letter != "?")
    if unnamed == 1 and sorted(named) == ["x", "y"]:
        kept = [("z" if letter == "?" else letter, axis) for letter, axis in kept]
    found = dict(kept)
    if len(found) != len(kept) or not {"y", "x"} <= found.keys() <= {"z", "y", "x"}:
        raise _wrong_axes(name, shape, own, f"axes {letters.replace('?', '(unnamed)')}")
    return found.get("z"), found["y"], found["x"]


def _fill_unnamed(shape: Sequence[int]) -> tuple[int | None, int, int] | None:
    """Take axes without names as z, y, x: the last two are y and x, at most one before them is longer than 1."""
    *before, y, x = range(len(shape)) if len(shape) > 1 else (0, 0, 0)
    deep = [axis for axis in before if shape[axis] > 1] or before[-1:]
    return (deep[0] if deep else None, y, x) if len(shape) > 1 and len(deep) <= 1 else None


def _wrong_axes(name: str, shape: Sequence[int], own: str, found: str) -> SourceError:
    return SourceError(
        f"{name} is not one volume z, y, x",
        expected="three axes z, y, x, others of length 1 only (no channels, no time series)",
        found=f"{found}; stored: {' x '.join(map(str, shape))}, axes {own.replace('?', '(unnamed) ').strip()}",
        remedy="name the axes as they are stored, such as --axes zyx, or save one channel alone",
    )


def axes_of(attributes: Mapping[str, Any], dimensions: int) -> str:
    """Return the letters of an array's axes, where its attributes name them; ``?`` for each where they do not."""
    tags = attributes.get("axistags")
    names: Any = attributes.get("axis_names", attributes.get("_ARRAY_DIMENSIONS"))
    if isinstance(tags, str | bytes):
        names = re.findall(r'"key"\s*:\s*"(\w)"', tags if isinstance(tags, str) else tags.decode(errors="replace"))
    letters = [str(name)[:1].lower() for name in names] if isinstance(names, list | tuple | np.ndarray) else []
    return "".join(letters) if len(letters) == dimensions and len(set(letters)) == dimensions else "?" * dimensions


def sizes_of(
    attributes: Mapping[str, Any], axes: Sequence[int | None], dimensions: int
) -> tuple[SizeClaim, Vector3 | None]:
    """Read voxel size and place of an array from its attributes, as HDF5, N5 and zarr files of EM data have them.

    Parameters
    ----------
    attributes : mapping
        Of the array: ``resolution`` or ``voxel_size`` in nm, or in ``units``; ``element_size_um``; ``offset``. One
        number per stored axis.
    axes : sequence of int or None
        Stored axes that are z, y, x.
    dimensions : int
        Number of stored axes.

    Returns
    -------
    SizeClaim, and (z, y, x) or None
        What is said about the size, and the offset in nm.
    """
    units = attributes.get("units", attributes.get("unit", "nm"))
    first = units if isinstance(units, str) else next(iter(units), "nm")
    scale = nm_per(first if isinstance(first, str) else str(first))
    for key, factor in (("resolution", scale), ("voxel_size", scale), ("element_size_um", 1e3)):
        numbers = _numbers(attributes.get(key), axes, dimensions)
        if numbers is None:
            continue
        if factor is None:
            return SizeClaim((None, None, None), f"its attribute {key} is in {first!r}"), None
        z, y, x = (value * factor for value in numbers)
        offset = _numbers(attributes.get("offset"), axes, dimensions)
        at = None if offset is None else (offset[0] * factor, offset[1] * factor, offset[2] * factor)
        return SizeClaim((z, y, x), f"its attribute {key}"), at
    return NO_CLAIM, None


def _numbers(value: Any, axes: Sequence[int | None], dimensions: int) -> tuple[float, ...] | None:
    """Take one number per axis z, y, x; a list of three is for those three in the order in which they are stored."""
    try:
        numbers = np.asarray(value, np.float64).ravel()
    except (TypeError, ValueError):
        return None
    stored = [axis for axis in axes if axis is not None]
    if len(stored) != len(axes) or len(numbers) not in {dimensions, len(axes)} or not np.isfinite(numbers).all():
        return None
    places = stored if len(numbers) == dimensions else [sorted(stored).index(axis) for axis in stored]
    return tuple(float(numbers[place]) for place in places)
