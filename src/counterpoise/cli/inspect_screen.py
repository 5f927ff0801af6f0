"""The screen of ``data inspect``: crops, classes, and what is wrong, in 80 columns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from rich.text import Text

from counterpoise.arrays import Vector3
from counterpoise.cli.screen import Column, console, grouped, print_table, width_of, wrapped
from counterpoise.frequencies.table import CropCount, FrequencyTable
from counterpoise.inspection.facts import ClassFacts, ClassState, CropFacts
from counterpoise.inspection.inspect import Inspection
from counterpoise.inspection.problems import EXPLANATIONS, Problem, Severity
from counterpoise.notes import Note, NoteKind
from counterpoise.text import DASH, counted, short_percent, shortest
from counterpoise.volumes.annotation import ClassCount, VoxelCount
from counterpoise.volumes.datasplit import Split

__all__ = ["print_inspection"]

_UNANNOTATED, _EMPTY, _DAMAGED = "\N{MIDDLE DOT}", "0", "!"
_STEPS = ((0.01, "-"), (0.1, "+"), (1.0, "#"))
"""Signs of a matrix: shares below the first number, below the second, and others."""

_SIDES = {"train": "train", "validate": "val", "": DASH}

_MOST_LINES = 6
"""Of one kind; --json and the page have them all."""


def print_inspection(done: Inspection) -> None:
    """Print everything that was found."""
    size = _size(done.settings.voxel_size_nm)
    rows, columns = done.settings.patch
    about = f"{counted(len(done.crops), 'crop')}, {counted(len(done.settings.classes), 'class')}"
    console.print(f"{done.listing.source}: {about}; voxels of {size} nm, patches of {rows} x {columns}", soft_wrap=True)
    if done.crops:
        console.print()
        _print_crops(done)
        console.print()
        _print_classes(done)
    for severity in Severity:
        for _, alike in groupby(done.of(severity), key=lambda problem: problem.code):
            _print_kind(list(alike))
    console.print()
    problems, notes = (len(done.of(severity)) for severity in Severity)
    console.print(f"{counted(problems, 'problem')}, {counted(notes, 'note')}", style="bold")


# Crops ----------------------------------------------------------------------------------------------------------


def _print_crops(done: Inspection) -> None:
    crops, classes = done.crops, done.settings.classes
    names = ["crop", *(entry.crop_id for entry in crops)]
    about = [names, *_columns(crops, has_splits=done.listing.has_splits)]
    shares = [[name, *(_share(entry.classes.get(name)) for entry in crops)] for name in classes]
    width = sum(map(width_of, (*about, *shares)))
    if width <= console.width:
        print_table([*about, *shares], title="Crops, and percent of the known voxels of each class", to=console)
        _print_legend()
        _print_about(done)
        return
    print_table(about, title="Crops", to=console)
    _print_about(done)
    console.print()
    if sum(map(width_of, (names, *shares))) <= console.width:
        print_table([names, *shares], title="Percent of the known voxels of each class", to=console)
        _print_legend()
    else:
        _print_matrix(names, crops, classes)


def _columns(crops: Sequence[CropFacts], *, has_splits: bool) -> Iterator[Column]:
    if has_splits:
        yield ["side", *(_SIDES[entry.usage or ""] for entry in crops)]
    yield ["voxels", *("x".join(map(str, entry.shape)) if entry.shape else DASH for entry in crops)]
    yield ["label nm", *(_size(entry.label_voxel_nm) for entry in crops)]
    yield ["raw nm", *(_size(entry.raw.voxel_size_nm) if entry.raw else DASH for entry in crops)]
    if any(entry.raw is not None and entry.raw.missing_share for entry in crops):
        yield ["missing", *(_missing(entry) for entry in crops)]
    yield ["found", *(_found(entry) for entry in crops)]


def _found(entry: CropFacts) -> str:
    problems, notes = entry.count(Severity.PROBLEM), entry.count(Severity.NOTE)
    return f"{problems} + {notes}" if problems or notes else ""


def _missing(entry: CropFacts) -> str:
    share = entry.raw.missing_share if entry.raw else None
    return DASH if share is None else f"{short_percent(share)} %" if share else ""


def _size(size: Vector3 | None) -> str:
    """Write a voxel size; one number where all sides are the same."""
    if size is None:
        return DASH
    return shortest(size[0]) if len(set(size)) == 1 else ",".join(map(shortest, size))


def _share(found: ClassFacts | None) -> str:
    if found is None or found.state is ClassState.UNANNOTATED:
        return _UNANNOTATED
    if found.state is ClassState.DAMAGED:
        return _DAMAGED
    return short_percent(found.share) if found.share else _EMPTY


def _print_about(done: Inspection) -> None:
    lines = ["found: problems + notes"] if any(entry.problems for entry in done.crops) else []
    if any(entry.raw is not None and entry.raw.missing_share for entry in done.crops):
        lines.append("missing: raw under the crop that is not stored")
    if lines:
        console.print("; ".join(lines), style="dim", soft_wrap=True)


def _print_legend() -> None:
    legend = f"{_UNANNOTATED} not annotated, {_EMPTY} annotated and empty, {_DAMAGED} cannot be read"
    console.print(legend, style="dim", soft_wrap=True)


def _print_matrix(names: Column, crops: Sequence[CropFacts], classes: Sequence[str]) -> None:
    """Print one sign per class and crop, below names that are written downwards."""
    console.print("Classes in each crop", style="bold")
    first = max(map(len, names)) + 2
    per_part = max(console.width - first, 1)
    for start in range(0, len(classes), per_part):
        part = classes[start : start + per_part]
        height = max(map(len, part))
        upright = [name.rjust(height) for name in part]
        for row in range(height):
            title = names[0] if row == height - 1 else ""
            console.print(f"{title:<{first}}" + "".join(name[row] for name in upright), soft_wrap=True)
        for entry in crops:
            signs = "".join(_sign(entry.classes.get(name)) for name in part)
            console.print(f"{entry.crop_id:<{first}}{signs}", soft_wrap=True)
    console.print("- below 1 %, + below 10 %, # more of the known voxels", style="dim", soft_wrap=True)
    _print_legend()


def _sign(found: ClassFacts | None) -> str:
    if found is None or not found.share:
        return _share(found)
    share = found.share
    return next((sign for limit, sign in _STEPS if share < limit), _STEPS[-1][1])


# Classes --------------------------------------------------------------------------------------------------------


def _print_classes(done: Inspection) -> None:
    sides: tuple[Split, ...] = ("train", "validate") if done.listing.has_splits else ("train",)
    table = _frequencies(done)
    columns: list[list[str]] = [["class"]]
    for split in sides:
        columns += [["crops" if len(sides) == 1 else _SIDES[split]], ["present"], ["percent"]]
    columns += [["objects"], ["contrast"]]
    for name in done.settings.classes:
        cells = [name]
        for split in sides:
            counts = table.counts(name, split)
            present = sum(count.voxels.present > 0 for count in counts)
            share = table.frequency(name, split) if counts else 0.0
            cells += [str(len(counts)), str(present), short_percent(share) if share > 0 else _EMPTY if counts else DASH]
        found = [entry.classes[name] for entry in done.crops if name in entry.classes]
        contrasts = [facts.contrast for facts in found if facts.contrast is not None]
        objects = [facts.objects for facts in found if facts.known is not None]
        cells.append(DASH if not objects else "many" if None in objects else f"{sum(n or 0 for n in objects):,}")
        cells.append(f"{sum(contrasts) / len(contrasts):+.2f}" if contrasts else DASH)
        for column, cell in zip(columns, cells, strict=True):
            column.append(cell)
    print_table(
        columns, title="Classes: crops that annotate it, where it is present, percent of known volume", to=console
    )
    text = "contrast: (mean raw inside - outside) / standard deviation, mean of the crops; dark is below 0"
    console.print(text, style="dim")


def _frequencies(done: Inspection) -> FrequencyTable:
    """Make the table that `frequencies` shows from what was counted."""
    counts = [
        CropCount(
            entry.crop_id,
            "validate" if entry.usage == "validate" else "train",
            {
                name: ClassCount(VoxelCount(f.present, f.known - f.present, f.unknown), f.voxel_size_nm)
                for name, f in entry.classes.items()
                if f.present is not None and f.known is not None and f.unknown is not None and f.voxel_size_nm
            },
        )
        for entry in done.crops
    ]
    return FrequencyTable(done.settings.classes, tuple(counts))


# Problems -------------------------------------------------------------------------------------------------------


def _print_kind(problems: Sequence[Problem]) -> None:
    """Print what is alike under the sentence of its kind."""
    code, severity = problems[0].code, problems[0].severity
    console.print()
    style = "bold red" if severity is Severity.PROBLEM else "yellow"
    for position, line in enumerate(wrapped(f"{severity} {code}: {EXPLANATIONS[code]}", console.width, hang=2)):
        text = Text(line)
        if not position:
            text.stylize(style, 0, len(severity) + 1 + len(code))
        console.print(text, soft_wrap=True)
    lines = list(_lines(problems))
    for line in lines[:_MOST_LINES]:
        for part in wrapped(f"  {line}", console.width, hang=4):
            console.print(part, soft_wrap=True)
    if len(lines) > _MOST_LINES:
        console.print(f"  ... and {len(lines) - _MOST_LINES} more; --json has them all", style="dim")


def _lines(problems: Sequence[Problem]) -> Iterator[str]:
    """Write problems of one kind; what many crops, or many classes, share is said once."""
    about_crops = (entry for entry in problems if entry.crops)
    yield from grouped(Note(NoteKind.DATA, _with_class(entry), entry.crops[0]) for entry in about_crops)
    classes: dict[str, list[str]] = {}
    for entry in problems:
        if not entry.crops:
            classes.setdefault(entry.text, []).append(entry.class_name)
    for text, names in classes.items():
        yield f"{', '.join(names)}: {text}" if any(names) else text


def _with_class(entry: Problem) -> str:
    return f"{entry.class_name}: {entry.text}" if entry.class_name else entry.text
