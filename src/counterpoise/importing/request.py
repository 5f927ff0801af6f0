"""What is to be imported: the words of the command line, parsed once."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from counterpoise.arrays import Vector3
from counterpoise.errors import SourceError
from counterpoise.importing.source import Reading, SizeClaim, nm_per
from counterpoise.importing.values import ClassRule, Meaning
from counterpoise.volumes.geometry import Shape3
from counterpoise.writing.cellmap import ALL

__all__ = [
    "CropRequest",
    "ImportRequest",
    "LabelFile",
    "Options",
    "check_name",
    "read_crop",
    "read_options",
]

_AXES = 3
_MAX_NM = 1e6
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*")


@dataclass(frozen=True)
class LabelFile:
    """A file of labels and the classes in it; ``claim`` is what another file says about its voxel size."""

    name: str
    rules: tuple[ClassRule, ...]
    claim: SizeClaim | None = None


@dataclass(frozen=True)
class CropRequest:
    """One annotated block: its raw volume, its labels, and where it goes.

    ``offset`` is the raw voxel on which its first voxel lies; ``claim`` is what another file says about the voxel
    size of raw; ``is_strict`` says whether every value of a class has to occur.
    """

    dataset: str
    crop: str
    raw: str
    labels: tuple[LabelFile, ...]
    offset: Shape3 | None = None
    claim: SizeClaim | None = None
    is_strict: bool = True


@dataclass(frozen=True)
class Options:
    """What holds for everything that is imported."""

    meaning: Meaning = field(default_factory=Meaning)
    voxel_size_nm: Vector3 | None = None
    window: tuple[float, float] | None = None
    reading: Reading = field(default_factory=Reading)


@dataclass(frozen=True)
class ImportRequest:
    """Crops to import into a folder; ``notes`` are what was noticed when they were looked for."""

    crops: tuple[CropRequest, ...]
    out: Path
    options: Options
    notes: tuple[str, ...] = ()


def read_options(
    *,
    unknown: str | None,
    background: str | None,
    voxel_size_nm: str | None,
    window: str | None,
    axes: str | None,
    spacing_unit: str | None,
) -> Options:
    """Parse the options that hold for all sources.

    Raises
    ------
    SourceError
        If one has another form.
    """
    size, limits = None, None
    if voxel_size_nm is not None:
        z, y, x = _numbers("--voxel-size-nm", voxel_size_nm, _AXES, "three numbers of nm: z,y,x, such as 30,8,8")
        size = (z, y, x)
        if not all(0 < value < _MAX_NM for value in size):
            raise _wrong("--voxel-size-nm", "numbers of nm above 0 and below 1,000,000", voxel_size_nm)
    if window is not None:
        low, high = _numbers("--window", window, 2, "two numbers: LOW,HIGH")
        limits = (low, high)
        if not low < high:
            raise _wrong("--window", "a lower number and a higher one", window)
    if axes is not None:
        axes = axes.lower()
        if len(set(axes)) != len(axes) or not axes.isalpha() or not {"x", "y"} <= set(axes):
            raise _wrong("--axes", "a letter per stored axis, among them y and x: zyx, xyz, czyx", axes)
    if spacing_unit is not None and nm_per(spacing_unit) is None:
        raise _wrong("--spacing-unit", "nm, um, mm or angstrom", spacing_unit)
    meaning = Meaning(
        tuple(_whole("--unknown", unknown)) if unknown is not None else (),
        tuple(value for value in _whole("--background", background) if value) if background is not None else (),
    )
    if len(meaning.unknown) > 1:
        raise _wrong("--unknown", "one whole number", unknown or "")
    if both := set(meaning.unknown) & set(meaning.background):
        raise _wrong("--background", "values that are not unknown", f"{both.pop()} in both --unknown and --background")
    return Options(meaning, size, limits, Reading(axes, spacing_unit))


def read_crop(
    *,
    raw: str,
    masks: Sequence[str],
    labels: str | None,
    values: str | None,
    instance: str | None,
    offset_voxels: str | None,
    dataset: str | None,
    crop: str | None,
) -> CropRequest:
    """Parse what one crop is made from.

    Raises
    ------
    SourceError
        If an option has another form, or options that belong together are not.
    """
    instances = [name.strip() for name in (instance or "").split(",") if name.strip()]
    files = []
    for mask in masks:
        name, equals, path = mask.partition("=")
        if not equals or not path:
            raise _wrong("--mask", "CLASS=PATH, such as mito=masks/mito.tif", mask)
        files.append(LabelFile(path, (ClassRule(_class(name.strip()), is_instance=name.strip() in instances),)))
    if (labels is None) != (values is None):
        raise _wrong("--labels" if values is None else "--values", "both --labels and --values", "one of them")
    if labels is not None and values is not None:
        files.append(LabelFile(labels, _rules(values)))
    if not files:
        raise _wrong("--mask", "--mask CLASS=PATH, or --labels PATH with --values a=1,b=2", "no labels")
    names = [rule.name for file in files for rule in file.rules]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise _wrong("--mask", "every class once", f"{', '.join(twice)} twice")
    masked = {rule.name for file in files for rule in file.rules if rule.values is None}
    if others := [name for name in instances if name not in masked]:
        raise _wrong(
            "--instance",
            f"classes with a --mask of their own, whose values are ids ({', '.join(sorted(masked)) or 'none here'})",
            ", ".join(others),
        )
    offset = None
    if offset_voxels is not None:
        z, y, x = _whole("--offset-voxels", offset_voxels, _AXES)
        offset = (z, y, x)
        if min(offset) < 0:
            raise _wrong("--offset-voxels", "voxels of the raw volume from 0 on: z,y,x", offset_voxels)
    return CropRequest(
        check_name("--dataset", dataset) if dataset is not None else _name_of(raw),
        _crop(crop) if crop is not None else "",
        raw,
        tuple(files),
        offset,
    )


def check_name(option: str, name: str) -> str:
    """Return a name that a folder can have.

    Raises
    ------
    SourceError
        If it has other characters.
    """
    if not _NAME.fullmatch(name):
        raise _wrong(option, "letters, digits and _ . + - only", repr(name))
    return name


def _rules(values: str) -> tuple[ClassRule, ...]:
    """Parse ``a=1,b=2``; a class may have several values, and a value several classes."""
    found: dict[str, list[int]] = {}
    for part in values.split(","):
        name, equals, value = part.partition("=")
        if not equals or not re.fullmatch(r"\s*-?\d+\s*", value):
            raise _wrong(
                "--values", "CLASS=NUMBER with commas between: mito=1,er=2", part.strip() or values or "nothing"
            )
        numbers = found.setdefault(_class(name.strip()), [])
        if int(value) in numbers:
            raise _wrong("--values", "every value of a class once", part.strip())
        numbers.append(int(value))
    return tuple(ClassRule(name, tuple(numbers)) for name, numbers in found.items())


def _class(name: str) -> str:
    if name == ALL:
        raise _wrong("the class", f"another name than {ALL!r}, which stands for every label in one array", name)
    return check_name("the class", name)


def _crop(text: str) -> str:
    number = text.removeprefix("crop")
    if not number.isdecimal() or not number.isascii():
        raise _wrong("--crop", "a number, such as 7", text)
    return f"crop{int(number)}"


def _name_of(raw: str) -> str:
    """Name a data set after its raw volume."""
    outer = re.split(r"(?<=\.(?:h5|n5)):|(?<=\.zarr):", raw)[0].rstrip("/")
    stem = re.sub(r"(\.nii)?(\.gz)?$", "", Path(outer).name)
    stem = re.sub(r"\.(tiff?|btf|tf8|h5|hdf5?|he5|zarr|n5|png|jpe?g)$", "", stem, flags=re.IGNORECASE)
    return re.sub(r"[^A-Za-z0-9_.+-]+", "_", stem).lstrip(".+-") or "data"


def _numbers(option: str, text: str, count: int, expected: str) -> list[float]:
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) != count or not all(map(math.isfinite, numbers)):
        raise _wrong(option, expected, text)
    return numbers


def _whole(option: str, text: str, count: int | None = None) -> list[int]:
    parts = [part.strip() for part in text.split(",")]
    if not all(re.fullmatch(r"-?\d+", part) for part in parts) or (count is not None and len(parts) != count):
        raise _wrong(option, f"{'three whole numbers: z,y,x' if count else 'whole numbers with commas between'}", text)
    return [int(part) for part in parts]


def _wrong(option: str, expected: str, found: str) -> SourceError:
    return SourceError(
        f"{option} cannot be used as it is given",
        expected=expected,
        found=found,
        remedy="correct it; `counterpoise data import --help` has an example",
    )
