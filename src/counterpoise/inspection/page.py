"""An inspection as one page that opens offline: a matrix of classes and crops, the numbers, and a picture per crop."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np

from counterpoise.inspection.facts import ClassFacts, ClassState, CropFacts
from counterpoise.inspection.inspect import Inspection
from counterpoise.inspection.picture import Picture
from counterpoise.inspection.problems import EXPLANATIONS, Problem, Severity
from counterpoise.report import render
from counterpoise.report.images import ClassColour, class_colours, class_overlay, grey_jpeg
from counterpoise.report.patches import ScaleBar, scale_bar
from counterpoise.text import counted, short_percent

__all__ = ["render_page", "write_page"]

_STEPS = (0.001, 0.01, 0.1, 0.5)
"""Shares at which the colour of a cell of the matrix changes."""

_MOST_NUMBERED = 16
"""With more crops, the cells of the matrix have no numbers."""

_WIDEST_CONTRAST = 3.0
"""At which the bars of contrast end."""


@dataclass(frozen=True)
class _Cell:
    """One class in one crop: how its cell looks, what it says, and what is said under the pointer."""

    css: str
    text: str
    title: str


@dataclass(frozen=True)
class _Bar:
    """A contrast: its class, its number, and where its bar starts and how wide it is, in percent."""

    name: str
    look: ClassColour | None
    value: float
    start: float
    width: float


@dataclass(frozen=True)
class _Card:
    """A crop and its pictures, which are data URIs."""

    number: int
    entry: CropFacts
    columns: int = 0
    rows: int = 0
    raw: str = ""
    overlay: str = ""
    scale: ScaleBar | None = None
    looks: tuple[ClassColour, ...] = ()
    bars: tuple[_Bar, ...] = ()


@dataclass(frozen=True)
class _Kind:
    """What is alike, under the sentence of its kind."""

    code: str
    severity: Severity
    explanation: str
    problems: tuple[Problem, ...]


def write_page(done: Inspection, out: Path) -> Path:
    """Write the page.

    Raises
    ------
    RunFolderError
        If it cannot be written.
    """
    return render.write_page(out, render_page(done))


def render_page(done: Inspection) -> str:
    """Fill the template; whatever came from files is escaped."""
    looks = _looks(done)
    return render.fill(
        "inspect.html.jinja",
        done=done,
        name="/".join(done.listing.source.resolve().parts[-2:]),
        summary=_summary(done),
        numbers={entry.crop_id: number for number, entry in enumerate(done.crops, start=1)},
        matrix=[(name, [_cell(name, entry, done) for entry in done.crops]) for name in done.settings.classes],
        cards=[_card(number, entry, looks) for number, entry in enumerate(done.crops, start=1)],
        kinds=list(_kinds(done.problems)),
        problem=Severity.PROBLEM,
        note=Severity.NOTE,
        any_missing=any(entry.raw is not None and entry.raw.missing_share for entry in done.crops),
    )


def _summary(done: Inspection) -> str:
    crops, classes = counted(len(done.crops), "crop"), counted(len(done.settings.classes), "class")
    found = " and ".join(counted(len(done.of(severity)), severity.value) for severity in Severity)
    return f"{crops}, {classes}: {found}"


def _looks(done: Inspection) -> dict[str, ClassColour]:
    """Give every class that a picture shows one look on the whole page."""
    classes = done.settings.classes
    shown = {name for entry in done.crops if isinstance(entry.picture, Picture) for name in entry.picture.masks}
    return {look.name: look for look in class_colours(classes, [int(name in shown) for name in classes])}


def _kinds(problems: Sequence[Problem]) -> Iterator[_Kind]:
    for code, alike in groupby(problems, key=lambda problem: problem.code):
        members = tuple(alike)
        yield _Kind(code.value, members[0].severity, EXPLANATIONS[code], members)


def _cell(name: str, entry: CropFacts, done: Inspection) -> _Cell:
    found = entry.classes.get(name, ClassFacts(ClassState.UNANNOTATED))
    about = [
        problem for problem in entry.problems if problem.class_name == name and problem.severity is Severity.PROBLEM
    ]
    css, said = f"c {found.state.value}", found.state.value
    text = ""
    if found.share:
        css = f"c s{sum(found.share >= limit for limit in _STEPS)}"
        said = f"{100 * found.share:.2g} %"
        is_numbered = len(done.crops) <= _MOST_NUMBERED
        text = short_percent(found.share) if is_numbered else ""
    if about:
        css += " wrong"
        said += ": " + ", ".join(problem.code.value for problem in about)
    return _Cell(css, text, f"{name} in {entry.crop_id}: {said}")


def _card(number: int, entry: CropFacts, looks: dict[str, ClassColour]) -> _Card:
    bars = tuple(
        _bar(name, found.contrast, looks.get(name))
        for name, found in entry.classes.items()
        if found.contrast is not None
    )
    picture = entry.picture
    if not isinstance(picture, Picture):
        return _Card(number, entry, bars=bars)
    masks = {name: picture.mask(packed) for name, packed in picture.masks.items()}
    order = sorted(masks, key=lambda name: -int(np.count_nonzero(masks[name])))
    drawn = [ClassColour(at, name, looks[name].colour, looks[name].texture) for at, name in enumerate(order)]
    rows, columns = picture.shape
    unknown = np.zeros((rows, columns), bool) if picture.unknown is None else picture.mask(picture.unknown)
    stack = np.stack([masks[name] for name in order]) if order else np.zeros((0, rows, columns), bool)
    return _Card(
        number,
        entry,
        columns,
        rows,
        grey_jpeg(picture.raw),
        class_overlay(stack, drawn, unknown),
        scale_bar(columns, picture.pixel_nm),
        tuple(look for name, look in looks.items() if name in masks),
        bars,
    )


def _bar(name: str, contrast: float, look: ClassColour | None) -> _Bar:
    length = min(abs(contrast) / _WIDEST_CONTRAST, 1.0) * 50
    return _Bar(name, look, contrast, 50 - length if contrast < 0 else 50, length)
