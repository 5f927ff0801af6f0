"""Look at everything that is to be imported before anything is written: shapes, sizes, values, the window."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace

import numpy as np

from counterpoise.arrays import Vector3
from counterpoise.errors import SourceError
from counterpoise.importing.opening import open_source
from counterpoise.importing.request import CropRequest, ImportRequest, Options
from counterpoise.importing.source import SizeClaim, Source
from counterpoise.importing.values import Coding, code_class, count_values, refuse_stray_values
from counterpoise.importing.window import Histogram, Window, is_windowed
from counterpoise.text import grouped
from counterpoise.volumes.geometry import SAME_SIZE_TOLERANCE, Shape3, round_nm

__all__ = ["Advance", "CropPlan", "ImportPlan", "make_plan", "open_crop", "sections_of"]

Advance = Callable[[int], object]

_MAX_NM = 1e6
_WHOLE = 0.01
"""Share of a voxel by which an offset in nm may miss a whole number of voxels."""


@dataclass(frozen=True)
class CropPlan:
    """A crop as it will be written.

    Parameters
    ----------
    request : CropRequest
        What it is made from.
    voxel_size_nm : (z, y, x)
        Of raw and labels.
    raw_shape, label_shape, offset : (z, y, x)
        Voxels; ``offset`` is the raw voxel on which the first labelled one lies.
    codings : tuple of tuple of Coding
        For every file of labels, and every class in it.
    counts : tuple of dict
        For every file of labels, value to voxels.
    notes : tuple of str
        What a user should know.
    """

    request: CropRequest
    voxel_size_nm: Vector3
    raw_shape: Shape3
    label_shape: Shape3
    offset: Shape3
    is_windowed: bool
    codings: tuple[tuple[Coding, ...], ...]
    counts: tuple[dict[int, int], ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class ImportPlan:
    """All crops, and the window of their raw; None where all of it has 8 bits."""

    crops: tuple[CropPlan, ...]
    window: Window | None
    notes: tuple[str, ...]


def make_plan(request: ImportRequest, known_window: Window | None, advance: Advance) -> ImportPlan:
    """Look at every source once (raw that needs a window: once or twice), and refuse what cannot be imported.

    Parameters
    ----------
    request : ImportRequest
        What to import.
    known_window : Window, optional
        That of the folder to which it is added.
    advance : callable
        Told the bytes that were looked at.

    Raises
    ------
    SourceError, LayoutError
        Says what is wrong with which source.
    """
    plans: list[CropPlan] = []
    dtypes: dict[str, str] = {}
    for crop in request.crops:
        with ExitStack() as stack:
            raw, labels = open_crop(crop, request.options, stack)
            plans.append(_plan_crop(crop, raw, labels, request.options, advance))
            dtypes.setdefault(str(raw.dtype), crop.raw)
    _refuse_same_place(request)
    if len(dtypes) > 1:
        raise SourceError(
            "raw volumes of one data set have different types",
            expected="one type, so that one window serves all",
            found=", ".join(f"{dtype} ({name})" for dtype, name in dtypes.items()),
            remedy="import them into folders of their own, or convert them to 8 bits",
        )
    notes = [*request.notes, *(note for plan in plans for note in plan.notes)]
    classes = sorted({rule.name for crop in request.crops for file in crop.labels for rule in file.rules})
    notes += [
        f"{name} is in no voxel: annotated and absent"
        for name in classes
        if not any(_occurs(plan, name) for plan in plans)
    ]
    window = _window(request, plans, next(iter(dtypes)), known_window, advance)
    if window is not None and window is known_window:
        notes.append(f"raw is scaled by the window of this folder: {window.low:g} to {window.high:g}")
    return ImportPlan(tuple(plans), window, tuple(dict.fromkeys(notes)))


def open_crop(crop: CropRequest, options: Options, stack: ExitStack) -> tuple[Source, list[Source]]:
    """Open a crop's raw volume and its labels."""
    raw = open_source(crop.raw, options.reading, stack)
    raw = raw if crop.claim is None else raw.said(crop.claim)
    labels = []
    for file in crop.labels:
        only = file.rules[0].name if len(file.rules) == 1 else ""
        source = open_source(file.name, options.reading, stack, class_name=only)
        labels.append(source if file.claim is None else source.said(file.claim))
    return raw, labels


def sections_of(source: Source, depth: int) -> Iterator[tuple[int, np.ndarray]]:
    """Read a source from its first section to its last, some at a time: yield the number of the first, and these."""
    for start in range(0, source.shape[0], depth):
        yield start, source.read(start, min(start + depth, source.shape[0]))


def _plan_crop(
    crop: CropRequest, raw: Source, labels: Sequence[Source], options: Options, advance: Advance
) -> CropPlan:
    if raw.is_indexed:
        raise SourceError(
            f"{raw.name} is a colour image",
            expected="grey values",
            found="values that are places in a table of colours",
            remedy="convert it to a grey image without changing its size",
        )
    windowed = is_windowed(raw)
    if options.window is not None and not windowed:
        raise SourceError(
            "--window is for raw of more than 8 bits",
            expected="raw that is not uint8",
            found=f"{raw.name} is uint8 and stays as it is",
            remedy="leave --window out",
        )
    size = _voxel_size(raw, labels, options)
    notes = [note for source in (raw, *labels) for note in source.notes]
    offsets = [_offset(crop, raw, source, size) for source in labels]
    for source, offset in zip(labels, offsets, strict=True):
        _refuse_misfit(raw, source, offset, labels[0], offsets[0] or (0, 0, 0))
        if source.direction is not None and raw.direction is not None and source.direction != raw.direction:
            raise SourceError(
                f"{raw.name} and {source.name} are turned differently in space",
                expected="the same directions of their axes",
                found=f"{raw.direction} and {source.direction} (sform or qform)",
                remedy="save the labels with the orientation of the raw volume",
            )
    counts, codings = [], []
    for file, source in zip(crop.labels, labels, strict=True):
        meaning = options.meaning
        meaning = replace(meaning, unknown=tuple(dict.fromkeys((*meaning.unknown, *source.unknown))))
        found = count_values((section for _, section in _looked_at(source, advance)), source.name)
        if any(rule.values is not None for rule in file.rules):
            refuse_stray_values(source.name, file.rules, found, meaning, strict=crop.is_strict)
        coded = tuple(code_class(source.name, rule, found, meaning) for rule in file.rules)
        notes += [
            f"{rule.name}: {_renumbered(one)} (import.json lists them)"
            for rule, one in zip(file.rules, coded, strict=True)
            if one.renumbered
        ]
        counts.append(found)
        codings.append(coded)
    if crop.is_strict:
        _refuse_unused(options, counts)
    return CropPlan(
        crop,
        size,
        raw.shape,
        labels[0].shape,
        offsets[0] or (0, 0, 0),
        windowed,
        tuple(codings),
        tuple(counts),
        tuple(notes),
    )


def _refuse_same_place(request: ImportRequest) -> None:
    """Refuse two crops that would be written to the same place."""
    places = [(crop.dataset.lower(), crop.crop) for crop in request.crops]
    names = [crop.dataset.lower() for crop in request.crops]
    if len(set(places)) < len(places) or (len(names) > 1 and len(set(names)) < len(names)):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise SourceError(
            "two cases would be one data set",
            expected="names that differ in letters, digits and _ . + -",
            found=", ".join(twice),
            remedy="rename one of them",
        )


def _refuse_unused(options: Options, counts: Sequence[dict[int, int]]) -> None:
    for option, values in (("--unknown", options.meaning.unknown), ("--background", options.meaning.background)):
        if lacking := [value for value in values if not any(value in found for found in counts)]:
            raise SourceError(
                f"{option} {lacking[0]} is in no voxel",
                expected="a value that occurs in the labels",
                found=f"values {', '.join(map(str, sorted({v for found in counts for v in found})[:20]))}",
                remedy="correct the value, or leave the option out",
            )


def _looked_at(source: Source, advance: Advance) -> Iterator[tuple[int, np.ndarray]]:
    """Read a source section by section; several at a time cost no less and hold more memory."""
    for start, block in sections_of(source, 8 if math.prod(source.shape[1:]) < 1 << 22 else 1):
        for place, section in enumerate(block):
            yield start + place, section
        advance(block.nbytes)


def _occurs(plan: CropPlan, name: str) -> bool:
    for file, codings, counts in zip(plan.request.labels, plan.codings, plan.counts, strict=True):
        for rule, coding in zip(file.rules, codings, strict=True):
            if rule.name == name:
                return any(counts.get(int(value)) for value in coding.present)
    return False


def _renumbered(coding: Coding) -> str:
    if len(coding.renumbered) == 1:
        ((old, new),) = coding.renumbered.items()
        return f"object {old} got id {new}, because 255 means unknown"
    return f"{grouped(len(coding.renumbered))} objects got other ids: some were above 65,535"


# Voxel size and place -------------------------------------------------------------------------------------------


def _voxel_size(raw: Source, labels: Sequence[Source], options: Options) -> Vector3:
    """Find the one voxel size that the user or the files state.

    Raises
    ------
    SourceError
        If nothing states it, it cannot be, or two statements differ by more than 1 %.
    """
    told = [(source.name, source.claim) for source in (raw, *labels)]
    if options.voxel_size_nm is not None:
        told.insert(0, ("--voxel-size-nm", SizeClaim(options.voxel_size_nm, "as given")))
    sizes: list[tuple[float, str]] = []
    for axis in range(3):
        said = [(claim.sizes_nm[axis], f"{name} ({claim.said_by})") for name, claim in told]
        stated = [(value, by) for value, by in said if value is not None]
        if not stated:
            raise SourceError(
                f"the voxel size of {raw.name} is not known" + (f" along {'zyx'[axis]}" if sizes or axis else ""),
                expected="a voxel size with its unit, in the file or in --voxel-size-nm",
                found="; ".join(dict.fromkeys(f"{name}: {_words(claim)}" for name, claim in told)),
                remedy="state it: --voxel-size-nm z,y,x, such as --voxel-size-nm 30,8,8",
            )
        value, by = stated[0]
        for other, its in stated[1:]:
            if abs(other - value) > SAME_SIZE_TOLERANCE * value:
                raise SourceError(
                    f"two voxel sizes are stated along {'zyx'[axis]}",
                    expected="one, within 1 %",
                    found=f"{value:g} nm by {by}, {other:g} nm by {its}",
                    remedy="correct the wrong one" + _unit_hint(other),
                )
        sizes.append((value, by))
    for value, by in sizes:
        if not 0 < value < _MAX_NM:
            raise SourceError(
                f"the voxel size of {raw.name} cannot be",
                expected="less than a millimetre",
                found=f"{value:g} nm, by {by}",
                remedy="state what its numbers mean" + _unit_hint(value),
            )
    return round_nm([value for value, _ in sizes])


def _unit_hint(value_nm: float) -> str:
    return "; if numbers called mm are nm, say --spacing-unit nm" if value_nm >= _MAX_NM else ""


def _words(claim: SizeClaim) -> str:
    known = [f"{axis} {value:g} nm" for axis, value in zip("zyx", claim.sizes_nm, strict=True) if value is not None]
    return f"{', '.join(known)} by {claim.said_by}" if known else claim.said_by


def _offset(crop: CropRequest, raw: Source, labels: Source, size_nm: Vector3) -> Shape3 | None:
    """Find the raw voxel on which labels begin, as the user or else the files say; None if neither does."""
    if crop.offset is not None:
        return crop.offset
    # In one HDF5 file labels of a part have an offset, and raw has none. Places in different files may differ.
    if labels.origin_nm is None or (raw.origin_nm is None and raw.path != labels.path):
        return None
    start = raw.origin_nm or (0.0, 0.0, 0.0)
    places = [(a - b) / s for a, b, s in zip(labels.origin_nm, start, size_nm, strict=True)]
    z, y, x = map(round, places)
    if any(abs(place - whole) > _WHOLE for place, whole in zip(places, (z, y, x), strict=True)):
        raise SourceError(
            f"{labels.name} does not lie on the voxels of {raw.name}",
            expected="an offset of whole voxels",
            found=f"{', '.join(f'{place:.3f}' for place in places)} voxels (z, y, x), as their metadata say",
            remedy="state the offset in voxels with --offset-voxels z,y,x",
        )
    return (z, y, x)


def _refuse_misfit(raw: Source, labels: Source, stated: Shape3 | None, first: Source, first_offset: Shape3) -> None:
    offset = stated or (0, 0, 0)
    ends = [start + length for start, length in zip(offset, labels.shape, strict=True)]
    inside = min(offset) >= 0 and all(end <= length for end, length in zip(ends, raw.shape, strict=True))
    if not inside or (stated is None and labels.shape != raw.shape):
        raise SourceError(
            f"{labels.name} does not fit {raw.name}",
            expected=f"labels of {_shape(raw.shape)} voxels (z, y, x)" + (", or within them" if stated else ""),
            found=f"{_shape(labels.shape)} voxels" + (f" at voxel {', '.join(map(str, offset))}" if stated else ""),
            remedy="correct the offset (--offset-voxels z,y,x)"
            if stated
            else "if labels cover a part of raw, state its first voxel with --offset-voxels z,y,x",
        )
    if (labels.shape, offset) != (first.shape, first_offset):
        raise SourceError(
            f"{first.name} and {labels.name} cover different blocks",
            expected="labels of one crop that cover the same voxels",
            found=f"{_shape(first.shape)} at {first_offset} and {_shape(labels.shape)} at {offset}",
            remedy="import them as two crops (--crop 1, --crop 2)",
        )


def _shape(shape: Shape3) -> str:
    return " x ".join(map(str, shape))


# The window -----------------------------------------------------------------------------------------------------


def _window(
    request: ImportRequest, plans: Sequence[CropPlan], dtype: str, known: Window | None, advance: Advance
) -> Window | None:
    if not any(plan.is_windowed for plan in plans):
        return None
    given = request.options.window
    if known is not None:
        if known.dtype != dtype or (given is not None and given != (known.low, known.high)):
            asked = f"{given[0]:g} to {given[1]:g}" if given is not None else "another type of raw"
            raise SourceError(
                f"{request.out} has another window",
                expected=f"{known.low:g} to {known.high:g} for {known.dtype}: one window for the whole folder",
                found=f"{asked}, for {dtype}",
                remedy="leave --window out" if known.dtype == dtype else "import into another folder",
            )
        return known
    if given is not None:
        return Window(*given, dtype, "--window")
    histogram = Histogram(np.dtype(dtype))
    for _ in histogram.rounds():
        for crop in request.crops:
            with ExitStack() as stack:
                raw = open_source(crop.raw, request.options.reading, stack)
                for _, section in _looked_at(raw, advance):
                    histogram.add(section, raw.name)
    return histogram.window()
