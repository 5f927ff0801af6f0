"""Multiscale metadata: which levels there are, in which order, and where their voxels are in space.

Transformations are applied one after the other, those of a level in their order and then those of the group, as
OME-NGFF says. Sizes and positions are converted from the unit of their axis to nm.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from counterpoise.arrays import Vector3
from counterpoise.errors import LayoutError
from counterpoise.volumes.geometry import round_nm

__all__ = ["Axes", "LevelPlace", "check_voxel_size", "nm_of_unit", "parse_axes", "parse_image"]

_NM = {
    "angstrom": 0.1, "ångström": 0.1, "ångstrom": 0.1, "å": 0.1, "a": 0.1,
    "picometer": 1e-3, "pm": 1e-3,
    "nanometer": 1.0, "nanometre": 1.0, "nm": 1.0,
    "micrometer": 1e3, "micrometre": 1e3, "micron": 1e3, "um": 1e3, "µm": 1e3, "μm": 1e3,
    "millimeter": 1e6, "millimetre": 1e6, "mm": 1e6,
    "centimeter": 1e7, "centimetre": 1e7, "cm": 1e7,
    "meter": 1e9, "metre": 1e9, "m": 1e9,
}  # fmt: skip
_LIKELY_UNITS = ("nanometer", "micrometer", "millimeter", "meter", "angstrom", "picometer")
_MIN_VOXEL_SIZE_NM, _MAX_VOXEL_SIZE_NM = 0.1, 1e6
"""An atom, and a millimetre: beyond, no electron micrograph has its voxels, and a unit was mistaken."""
_LIKELY_NM = (0.3, 1000.0)
"""Voxel sizes that volumes really have, to guess which unit was meant."""

_SPACE = ("z", "y", "x")


def nm_of_unit(unit: object) -> float | None:
    """Return how many nm a unit of length has, 1 where none is named; None if it is not known."""
    if unit is None or unit == "":
        return 1.0
    name = str(unit).strip().lower()
    return _NM.get(name, _NM.get(name.removesuffix("s")))


@dataclass(frozen=True)
class Axes:
    """The axes of an array as it is stored.

    Parameters
    ----------
    order : tuple of int
        For z, y and x the position among the stored axes.
    nm : (z, y, x)
        nm per unit.
    count : int
        Number of stored axes; those that are not z, y or x must have length 1.
    has_unit : bool
        Whether the metadata name a unit for every axis of space.
    """

    order: tuple[int, int, int]
    nm: Vector3
    count: int
    has_unit: bool

    def pick(self, values: Sequence[float]) -> Vector3:
        """Take z, y and x of one number per stored axis."""
        z, y, x = self.order
        return (values[z], values[y], values[x])


@dataclass(frozen=True)
class LevelPlace:
    """A level that the metadata list: its path below the group, voxel size and centre of voxel 0."""

    path: str
    voxel_size_nm: Vector3
    translation_nm: Vector3


def parse_image(attributes: Mapping[str, Any], path: Path) -> tuple[Axes, list[LevelPlace]]:
    """Take the axes and the levels of the first image that a group's attributes describe, in the order of the list.

    Raises
    ------
    LayoutError
        If they describe none, or something in it cannot be used.
    """
    entries = attributes.get("multiscales")
    image = entries[0] if isinstance(entries, list) and entries else None
    datasets = image.get("datasets") if isinstance(image, dict) else None
    named = isinstance(datasets, list) and all(isinstance(d, dict) and isinstance(d.get("path"), str) for d in datasets)
    if not isinstance(image, dict) or not isinstance(datasets, list) or not datasets or not named:
        raise LayoutError(
            f"{path} is not a multiscale group",
            expected="'multiscales' with a list of 'datasets' in its metadata (OME-NGFF 0.4 or 0.5)",
            found=f"keys {sorted(attributes)}",
            remedy="name the group that holds s0, s1, ... in the datasplit",
        )
    axes = parse_axes(image.get("axes"), path, _numbers_of(datasets))
    of_group = _entries(image.get("coordinateTransformations"))
    return axes, [
        _place(d["path"].strip("/") or ".", [*_entries(d.get("coordinateTransformations")), *of_group], axes, path)
        for d in datasets
    ]


def parse_axes(described: Any, path: Path, count: int = 3, units: Sequence[object] = ()) -> Axes:
    """Read the ``axes`` of an image; where there are none, they are the last ones of t, c, z, y, x, in nm.

    Raises
    ------
    LayoutError
        If one of z, y, x is missing or named twice, or has a unit that is no length.
    """
    entries = described if isinstance(described, list) and described else list("tczyx"[-count:])
    axes = [axis if isinstance(axis, dict) else {"name": axis} for axis in entries]
    if units:
        axes = [axis | {"unit": unit} for axis, unit in zip(axes, units, strict=False)]
    found = _axes_of(tuple((str(axis.get("name")).lower(), _hashable(axis.get("unit"))) for axis in axes))
    if found is not None:
        return found
    raise LayoutError(
        f"{path} has axes that cannot be used",
        expected="z, y and x, each once, in nanometer, micrometer or another unit of length",
        found=json.dumps(entries),
        remedy="correct the axes in the group's metadata",
    )


def _hashable(unit: object) -> object:
    return unit if unit is None or isinstance(unit, str) else repr(unit)


@lru_cache(maxsize=256)
def _axes_of(axes: tuple[tuple[str, object], ...]) -> Axes | None:
    """Find z, y, x among names and units; kept, because the groups of a list are alike."""
    names = [name for name, _ in axes]
    if not all(names.count(name) == 1 for name in _SPACE):
        return None
    z, y, x = order = (names.index("z"), names.index("y"), names.index("x"))
    nm = [nm_of_unit(axes[k][1]) for k in order]
    if nm[0] is None or nm[1] is None or nm[2] is None:
        return None
    return Axes((z, y, x), (nm[0], nm[1], nm[2]), len(axes), all(axes[k][1] for k in order))


def check_voxel_size(voxel_size_nm: Vector3, axes: Axes, path: Path, name: str) -> None:
    """Refuse a voxel size of a level that no electron micrograph has, and name the unit that was likely meant.

    Raises
    ------
    LayoutError
        If a side is below 0.1 nm or above 1 mm.
    """
    if all(_MIN_VOXEL_SIZE_NM <= size < _MAX_VOXEL_SIZE_NM for size in voxel_size_nm):
        return
    as_written = [size / nm for size, nm in zip(voxel_size_nm, axes.nm, strict=True)]
    likely = [
        unit for unit in _LIKELY_UNITS if all(_LIKELY_NM[0] <= size * _NM[unit] <= _LIKELY_NM[1] for size in as_written)
    ]
    said = "as the axes say" if axes.has_unit else "the axes name no unit"
    meant = f"give the axes the unit that is meant, probably {likely[0]!r}" if likely else "correct the scale"
    raise LayoutError(
        f"{path / name} has an impossible voxel size",
        expected=f"three numbers from {_MIN_VOXEL_SIZE_NM:g} to {_MAX_VOXEL_SIZE_NM:.0f} nm",
        found=f"{voxel_size_nm} nm (z, y, x); {said}",
        remedy=f"{meant} (in the metadata of the group)",
    )


def _entries(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _numbers_of(datasets: Sequence[Mapping[str, Any]]) -> int:
    """Count the axes by the first scale: metadata older than OME-NGFF 0.3 do not name them."""
    for entry in _entries(datasets[0].get("coordinateTransformations")):
        if isinstance(entry, dict) and isinstance(entry.get("scale"), list):
            return max(len(entry["scale"]), len(_SPACE))
    return len(_SPACE)


def _place(name: str, entries: Sequence[Any], axes: Axes, path: Path) -> LevelPlace:
    """Apply transformations one after the other to voxel sizes and the position of voxel 0."""
    scale, shift = [1.0] * axes.count, [0.0] * axes.count
    has_scale = False
    for entry in entries:
        kind = entry.get("type") if isinstance(entry, dict) else None
        if kind == "identity":
            continue
        values = entry.get(kind) if kind in ("scale", "translation") else None
        numbers = values if isinstance(values, list) and len(values) == axes.count else []
        if not numbers or not all(isinstance(v, int | float) and math.isfinite(v) for v in numbers):
            raise _unusable(path, entry, axes)
        if kind == "scale":
            has_scale = True
            scale, shift = _times(scale, numbers), _times(shift, numbers)
        else:
            shift = [a + b for a, b in zip(shift, numbers, strict=True)]
    if not has_scale:
        raise _unusable(path, list(entries), axes)
    z, y, x = _times(axes.pick(scale), axes.nm)
    check_voxel_size((z, y, x), axes, path, name)
    return LevelPlace(name, round_nm((z, y, x)), round_nm(_times(axes.pick(shift), axes.nm)))


def _times(values: Sequence[float], factors: Sequence[float]) -> list[float]:
    return [a * b for a, b in zip(values, factors, strict=True)]


def _unusable(path: Path, entry: Any, axes: Axes) -> LayoutError:
    return LayoutError(
        f"{path} has a coordinate transformation that cannot be used",
        expected=f"a scale and translations, {axes.count} finite numbers each, one per axis",
        found=json.dumps(entry),
        remedy="rewrite the transformation as scale + translation",
    )
