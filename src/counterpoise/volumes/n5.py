"""Where the levels of an N5 group are in space: CellMap's ``transform``, OME-NGFF, or resolution and factors.

N5 lists sizes and shapes with x first. ``transform`` names its own axes, usually z first.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from counterpoise.arrays import Vector3
from counterpoise.errors import LayoutError
from counterpoise.volumes.geometry import round_nm
from counterpoise.volumes.metadata import Node
from counterpoise.volumes.ngff import Axes, LevelPlace, check_voxel_size, nm_of_unit, parse_axes, parse_image
from counterpoise.volumes.places import Place

__all__ = ["n5_places"]

_AXES = 3


def n5_places(
    group: Node, path: Path, array_of: Callable[[str], Node | None], place: Place
) -> tuple[Axes, list[LevelPlace]]:
    """List the levels of an N5 group, or a single array as its only level.

    Parameters
    ----------
    group : Node
        Metadata of the group.
    path : Path
        Of the group.
    array_of : callable
        Returns the metadata of an array of the group, None where it is not there.
    place : Place
        How to list the group's folder.

    Raises
    ------
    LayoutError
        If there is no level, or nothing says how large its voxels are.
    """
    described = group.attributes.get("multiscales")
    image = described[0] if isinstance(described, list) and described and isinstance(described[0], dict) else {}
    datasets = image.get("datasets")
    datasets = [d for d in datasets if isinstance(d, dict)] if isinstance(datasets, list) else []
    if any("coordinateTransformations" in dataset for dataset in datasets):
        return parse_image(group.attributes, path)
    names = _names(group.attributes, datasets, path, place)
    if not names:
        raise LayoutError(
            f"{path} is not a multiscale group",
            expected="'multiscales', or arrays s0, s1, ... in an N5 group",
            found=f"keys {sorted(group.attributes)}",
            remedy="name the group that holds s0, s1, ... in the datasplit",
        )
    axes = Axes((0, 1, 2), (1.0, 1.0, 1.0), _AXES, has_unit=True)
    places = []
    for number, name in enumerate(names):
        node = array_of(name)
        own = node.attributes if node else {}
        transform = next((t for t in (own.get("transform"), _of(datasets, name)) if isinstance(t, dict)), None)
        if transform is not None:
            places.append(_by_transform(name, transform, path))
        elif own:
            places.append(_by_resolution(name, own, group.attributes, number, path))
        else:
            places.append(LevelPlace(name, (1.0, 1.0, 1.0), (0.0, 0.0, 0.0)))  # not there: passed over
    return axes, places


def _names(attributes: Mapping[str, Any], datasets: Sequence[Mapping[str, Any]], path: Path, place: Place) -> list[str]:
    if "dimensions" in attributes:
        return ["."]
    if listed := [d["path"] for d in datasets if isinstance(d.get("path"), str)]:
        return listed
    factors = attributes.get("downsamplingFactors") or attributes.get("scales")
    if isinstance(factors, list) and factors and isinstance(factors[0], list):
        return [f"s{number}" for number in range(len(factors))]
    found = [name for name in place.names(str(path)) if re.fullmatch(r"s\d+", name)]
    return sorted(found, key=lambda name: int(name[1:]))


def _of(datasets: Sequence[Mapping[str, Any]], name: str) -> Any:
    return next((dataset.get("transform") for dataset in datasets if dataset.get("path") == name), None)


def _by_transform(name: str, transform: Mapping[str, Any], path: Path) -> LevelPlace:
    units = transform.get("units")
    stated = parse_axes(transform.get("axes"), path / name, units=units if isinstance(units, list) else ())
    scale = _numbers(transform.get("scale"))
    shift = _numbers(transform.get("translate", [0.0] * _AXES))
    if scale is None or shift is None or stated.count != _AXES:
        raise _no_size(path / name, f"transform {json.dumps(transform)}")
    return _placed(name, _times(stated.pick(scale), stated.nm), _times(stated.pick(shift), stated.nm), path, stated)


def _by_resolution(name: str, own: Mapping[str, Any], group: Mapping[str, Any], number: int, path: Path) -> LevelPlace:
    """Multiply the resolution of the array or the group with the factors by which this level was sampled down."""
    factors = _numbers(own.get("downsamplingFactors"))
    found = _resolution(own)
    if found is None:
        found = _resolution(group)
        listed = group.get("downsamplingFactors") or group.get("scales") or []
        if factors is None and isinstance(listed, list) and number < len(listed):
            factors = _numbers(listed[number])
        if factors is None and number:
            found = None  # how much coarser it is, nothing says
    if found is None:
        raise _no_size(path / name, f"keys {sorted({*own, *group})}")
    base, nm = found
    x, y, z = factors or (1.0, 1.0, 1.0)
    fine = _times((base[2], base[1], base[0]), (nm, nm, nm))
    size = _times(fine, (z, y, x))
    first = _numbers(own.get("offset", group.get("offset"))) or (0.0, 0.0, 0.0)
    shift = [nm * first[2 - k] + (size[k] - fine[k]) / 2 for k in range(_AXES)]
    axes = Axes((0, 1, 2), (nm, nm, nm), _AXES, has_unit=True)
    return _placed(name, size, (shift[0], shift[1], shift[2]), path, axes)


def _resolution(attributes: Mapping[str, Any]) -> tuple[Vector3, float] | None:
    """Read ``pixelResolution`` or ``resolution``: three numbers with x first, and nm per unit."""
    value: Any = attributes.get("pixelResolution", attributes.get("resolution"))
    unit: object = None
    if isinstance(value, dict):
        value, unit = value.get("dimensions"), value.get("unit")
    elif isinstance(units := attributes.get("units"), list) and units:
        unit = units[0]
    numbers, nm = _numbers(value), nm_of_unit(unit)
    return None if numbers is None or nm is None else (numbers, nm)


def _placed(name: str, size: Vector3, shift: Vector3, path: Path, axes: Axes) -> LevelPlace:
    check_voxel_size(size, axes, path, name)
    return LevelPlace(name, round_nm(size), round_nm(shift))


def _times(values: Vector3, factors: Vector3) -> Vector3:
    return (values[0] * factors[0], values[1] * factors[1], values[2] * factors[2])


def _numbers(value: Any) -> Vector3 | None:
    if not isinstance(value, list) or len(value) != _AXES:
        return None
    if not all(isinstance(v, int | float) and math.isfinite(v) for v in value):
        return None
    return (float(value[0]), float(value[1]), float(value[2]))


def _no_size(path: Path, found: str) -> LayoutError:
    return LayoutError(
        f"{path} has no voxel size",
        expected="'transform', or 'pixelResolution' or 'resolution' of the array or its group (N5)",
        found=found,
        remedy="add pixelResolution to attributes.json of the array: x, y, z and the unit",
    )
