"""Figures as inline SVG, made from plain data; colours come from the page's style sheet.

Every figure has a title and a description for those who cannot see it, and titles on its marks, which
browsers show under the pointer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from counterpoise.report.patches import ScaleBar
from counterpoise.report.svg import (
    ArmStyle,
    Place,
    Scale,
    element,
    grid_lines,
    marker,
    nice_scale,
    percent,
    picture,
    text_at,
    tick_line,
)
from counterpoise.text import DASH

__all__ = [
    "Bar",
    "BarPanel",
    "Dot",
    "DotRow",
    "Line",
    "LineChart",
    "LinePoint",
    "bar_panel",
    "class_swatch",
    "dot_strip",
    "line_chart",
    "scale_bar",
]


@dataclass(frozen=True)
class Dot:
    """The score of one seed; ``slot`` is the seed's place, the same in every arm."""

    seed: int
    slot: int
    value: float


@dataclass(frozen=True)
class DotRow:
    """The seeds of one arm and their mean."""

    label: str
    style: ArmStyle
    dots: tuple[Dot, ...]
    mean: float | None


STRIP_HEIGHT = 30


def dot_strip(row: DotRow, scale: Scale, *, slots: int, reference: float | None) -> Markup:
    """Draw one arm's seeds as dots and its mean as a bar across; ``reference`` is the baseline's mean.

    Positions along x are percentages, so the strip takes any width while its text and dots keep their size.
    """
    grid = grid_lines(scale, STRIP_HEIGHT)
    if reference is not None:
        x = percent(scale, reference)
        grid.append(element("line", x1=x, x2=x, y1=0, y2=STRIP_HEIGHT, class_="reference"))
    marks = [
        element(
            "circle",
            element("title", f"{row.label}, seed {dot.seed}: {dot.value:.4f}"),
            cx=percent(scale, dot.value),
            cy=_slot(dot.slot, slots, 6, STRIP_HEIGHT - 6),
            r=4,
            class_="dot",
        )
        for dot in row.dots
    ]
    if row.mean is not None:
        x = percent(scale, row.mean)
        title = element("title", f"{row.label}, mean of {len(row.dots)}: {row.mean:.4f}")
        marks.insert(0, element("line", title, x1=x, x2=x, y1=2, y2=STRIP_HEIGHT - 2, class_="mean"))
    scores = ", ".join(f"seed {dot.seed} {dot.value:.3f}" for dot in row.dots)
    mean = "no score" if row.mean is None else f"mean {row.mean:.3f}"
    css = f"strip {row.style.css}"
    return picture(f"{row.label}: {mean}", scores, *grid, *marks, class_=css, width="100%", height=STRIP_HEIGHT)


def _slot(slot: int, slots: int, top: float, bottom: float) -> float:
    return (top + bottom) / 2 if slots <= 1 else top + (bottom - top) * slot / (slots - 1)


@dataclass(frozen=True)
class Bar:
    """The mean of one arm and the seeds it is the mean of; None where there is no score."""

    label: str
    style: ArmStyle
    mean: float | None
    dots: tuple[Dot, ...]


@dataclass(frozen=True)
class BarPanel:
    """One class: a bar per arm."""

    name: str
    bars: tuple[Bar, ...]


def bar_panel(panel: BarPanel, scale: Scale) -> Markup:
    """Draw one class; panels that share a scale can be compared side by side."""
    left, top, height = 34.0, 8.0, 140.0
    pitch = min(26.0, max(15.0, 165.0 / max(1, len(panel.bars))))
    width = left + pitch * len(panel.bars) + 6
    floor = top + height

    def y(value: float) -> float:
        return floor - height * scale.at(value)

    grid = [tick_line(left, width, y(t), scale.label(t)) for t in scale.ticks]
    bars = [_bar(bar, panel.name, left + 3 + pitch * i, pitch - 4, floor, y) for i, bar in enumerate(panel.bars)]
    scores = "; ".join(f"{b.label} {'no score' if b.mean is None else f'{b.mean:.3f}'}" for b in panel.bars)
    box = f"0 0 {width:.0f} {floor + 6:.0f}"
    return picture(f"Last Dice of {panel.name}", scores, *grid, *bars, class_="panel", width=width, viewBox=box)


def _bar(bar: Bar, class_name: str, x: float, width: float, floor: float, y: Place) -> Markup:
    name = f"{bar.label}, {class_name}"
    if bar.mean is None:
        title = element("title", f"{name}: no score")
        return element("text", title, DASH, x=x + width / 2, y=floor - 4, text_anchor="middle")
    title = element("title", f"{name}: {bar.mean:.4f}, mean of {len(bar.dots)}")
    top = y(bar.mean)
    dots = [
        element(
            "circle",
            element("title", f"{name}, seed {dot.seed}: {dot.value:.4f}"),
            cx=_slot(dot.slot, len(bar.dots), x + 3, x + width - 3),
            cy=y(dot.value),
            r=2.2,
            class_="seed",
        )
        for dot in bar.dots
    ]
    column = element("rect", title, x=x, y=top, width=width, height=max(floor - top, 0.0), class_="bar")
    return element("g", column, *dots, class_=bar.style.css)


@dataclass(frozen=True)
class LinePoint:
    """One epoch of one arm: mean, lowest and highest over seeds."""

    epoch: int
    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Line:
    """One arm over the epochs; an epoch without a value is not among the points."""

    label: str
    style: ArmStyle
    points: tuple[LinePoint, ...]


@dataclass(frozen=True)
class LineChart:
    """One quantity over the epochs, a line per arm."""

    title: str
    lines: tuple[Line, ...]


CHART_WIDTH, CHART_HEIGHT = 380.0, 250.0
CHART_LEFT, CHART_RIGHT, CHART_TOP, CHART_BOTTOM = 46.0, 10.0, 8.0, 38.0


def line_chart(chart: LineChart) -> Markup:
    """Draw one quantity over the epochs: a line per arm, and a band from its lowest to its highest seed."""
    points = [p for line in chart.lines for p in line.points]
    across = nice_scale((float(p.epoch) for p in points), whole=True, count=6)
    up = nice_scale(v for p in points for v in (p.low, p.high))

    def x(epoch: float) -> float:
        return CHART_LEFT + (CHART_WIDTH - CHART_LEFT - CHART_RIGHT) * across.at(epoch)

    def y(value: float) -> float:
        return CHART_HEIGHT - CHART_BOTTOM - (CHART_HEIGHT - CHART_BOTTOM - CHART_TOP) * up.at(value)

    floor = CHART_HEIGHT - CHART_BOTTOM
    axes = [tick_line(CHART_LEFT, CHART_WIDTH - CHART_RIGHT, y(t), up.label(t)) for t in up.ticks]
    axes += [text_at(x(t), floor + 16, across.label(t), text_anchor="middle") for t in across.ticks]
    middle = (CHART_LEFT + CHART_WIDTH - CHART_RIGHT) / 2
    axes.append(text_at(middle, floor + 33, "epoch", text_anchor="middle"))
    if not points:
        axes.append(text_at(middle, floor / 2, "no epoch recorded", text_anchor="middle"))
    runs = [(line, run) for line in chart.lines for run in _unbroken(line.points)]
    bands = [_band(line, run, x, y) for line, run in runs if any(p.low < p.high for p in run)]
    lines = [_curve(line, run, x, y) for line, run in runs]
    ends = "; ".join(f"{line.label} {line.points[-1].mean:.3f}" for line in chart.lines if line.points)
    return picture(
        f"{chart.title} over the epochs",
        f"Last values: {ends}." if ends else "No epoch recorded.",
        *axes,
        *bands,
        *lines,
        class_="chart",
        viewBox=f"0 0 {CHART_WIDTH:.0f} {CHART_HEIGHT:.0f}",
    )


def _unbroken(points: Sequence[LinePoint]) -> list[list[LinePoint]]:
    """Split where epochs are missing: a line across a gap would show values that nobody measured."""
    runs: list[list[LinePoint]] = []
    for point in points:
        if runs and runs[-1][-1].epoch == point.epoch - 1:
            runs[-1].append(point)
        else:
            runs.append([point])
    return runs


def _band(line: Line, run: Sequence[LinePoint], x: Place, y: Place) -> Markup:
    around = [(x(p.epoch), y(p.high)) for p in run] + [(x(p.epoch), y(p.low)) for p in reversed(run)]
    return element("polygon", points=_path(around), class_=f"band {line.style.css}")


def _curve(line: Line, run: Sequence[LinePoint], x: Place, y: Place) -> Markup:
    """Draw a line that ends in the arm's marker; a single epoch is the marker alone."""
    last = run[-1]
    title = f"{line.label}: {last.mean:.4f} in epoch {last.epoch}"
    end = marker(line.style, x(last.epoch), y(last.mean), title)
    if len(run) == 1:
        return end
    along = _path([(x(p.epoch), y(p.mean)) for p in run])
    css = f"line {line.style.css}"
    return element("g", element("polyline", element("title", title), points=along, class_=css), end)


def _path(places: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in places)


def class_swatch(colour: tuple[int, int, int], texture: int) -> Markup:
    """Draw the look of a class for the legend: plain, striped or dotted; the class's name stands next to it."""
    rgb = "rgb" + str(colour)
    box = element("rect", x=1, y=1, width=16, height=12, style=f"fill:{rgb};stroke:{rgb}", class_=f"look t{texture}")
    marks: list[Markup] = []
    if texture == 1:
        lines = "M1,6L8,13M3,1L15,13M9.5,1L17,8.5"
        marks = [element("path", d=lines, style=f"stroke:{rgb};stroke-width:2.5;fill:none")]
    elif texture == 2:  # noqa: PLR2004 - the last of the textures in images.py
        places = [(x, y) for y in (4, 7, 10) for x in (4, 9, 14)]
        marks = [element("rect", x=x - 1, y=y - 1, width=2, height=2, style=f"fill:{rgb}") for x, y in places]
    return element("svg", box, *marks, width=18, height=14, aria_hidden="true")


def scale_bar(bar: ScaleBar, columns: int, rows: int) -> Markup:
    """Draw the scale bar of a patch in its lower right corner, white with a dark edge, its length above it."""
    edge, size = columns / 40, columns / 14
    right, bottom = columns - edge, rows - edge
    return element(
        "g",
        element(
            "rect", x=right - bar.columns, y=bottom - columns / 60, width=bar.columns, height=columns / 60, class_="bar"
        ),
        text_at(
            right,
            bottom - columns / 60 - edge / 2,
            bar.label,
            text_anchor="end",
            style=f"font-size:{size:.1f}px",
        ),
        class_="scale-bar",
    )
