"""Figures as inline SVG, made from plain data; colours come from the page's style sheet.

Every figure has a title and a description for those who cannot see it, and titles on its marks, which
browsers show under the pointer.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

__all__ = [
    "ArmStyle",
    "Bar",
    "BarPanel",
    "Dot",
    "DotRow",
    "Line",
    "LineChart",
    "LinePoint",
    "Scale",
    "axis_strip",
    "bar_panel",
    "dot_strip",
    "element",
    "line_chart",
    "nice_scale",
    "swatch",
]

Place = Callable[[float], float]
"""From a value to its coordinate."""

COLOURS = 7
"""Arm colours in the style sheet, a0 (the baseline's) to a6."""

PATTERNS = 3
"""Solid, dashed, dotted; tells arms apart that share a colour."""

NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True)
class ArmStyle:
    """How one arm looks in every figure."""

    colour: int
    pattern: int

    @classmethod
    def at(cls, position: int) -> ArmStyle:
        """Return the style of the arm at a position; 0 is the baseline."""
        return cls(position % COLOURS, position // COLOURS % PATTERNS)

    @property
    def css(self) -> str:
        """Return the classes that the style sheet knows."""
        return f"a{self.colour} p{self.pattern}"


@dataclass(frozen=True)
class Scale:
    """An axis: its ends, its ticks, and how many decimals tell the ticks apart."""

    low: float
    high: float
    ticks: tuple[float, ...]
    decimals: int

    def at(self, value: float) -> float:
        """Return where a value lies, 0 at the low end, 1 at the high end."""
        return (value - self.low) / (self.high - self.low)

    def label(self, tick: float) -> str:
        """Return a tick as text."""
        return f"{tick:.{self.decimals}f}".replace("-", "\N{MINUS SIGN}")


def nice_scale(values: Iterable[float], *, from_zero: bool = False, whole: bool = False, count: int = 5) -> Scale:
    """Find round ends and ticks for an axis that holds all values.

    Parameters
    ----------
    values : iterable of float
        What has to fit; may be empty or constant.
    from_zero : bool
        Whether the axis starts at 0, as it must under bars.
    whole : bool
        Whether only whole numbers are ticks, as for epochs; the axis then ends at the values themselves.
    count : int
        About how many ticks.
    """
    there = list(values) or [0.0, 1.0]
    low, high = min(there), max(there)
    if from_zero:
        low = min(low, 0.0)
    if high - low < 1e-9 * max(1.0, abs(high)):
        if whole:
            return Scale(low - 0.5, high + 0.5, (low,), 0)
        margin = max(abs(high) * 0.05, 0.01)
        low, high = (low, high + margin) if from_zero else (low - margin, high + margin)
    step = _nice_step((high - low) / count)
    if whole:
        step = max(1.0, float(round(step)))
        first = math.ceil(low / step) * step
        ticks = [low, *(first + i * step for i in range(int((high - first) / step + 1e-9) + 1))]
        distinct = tuple(t for i, t in enumerate(ticks) if i == 0 or t - low > 0.6 * step)
        return Scale(low, high, distinct, 0)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    return Scale(first * step, last * step, tuple(i * step for i in range(first, last + 1)), decimals)


def _nice_step(step: float) -> float:
    power = 10.0 ** math.floor(math.log10(step))
    return next(m * power for m in (1.0, 2.0, 5.0, 10.0) if m * power >= step * 0.999)


def element(tag: str, *children: str, **attributes: str | float) -> Markup:
    """Write one element; text and attributes are escaped, ``text_anchor_`` becomes ``text-anchor``."""
    written = Markup("").join(
        Markup(' {}="{}"').format(name.strip("_").replace("_", "-"), _attribute(value))
        for name, value in attributes.items()
    )
    if not children:
        return Markup("<{}{}/>").format(tag, written)
    inside = Markup("").join(c if isinstance(c, Markup) else escape(_printable(c)) for c in children)
    return Markup("<{0}{1}>{2}</{0}>").format(tag, written, inside)


def _attribute(value: str | float) -> str:
    if isinstance(value, str):
        return _printable(value)
    return f"{value:.2f}".rstrip("0").rstrip(".")


def _printable(text: str) -> str:
    """Replace the characters that XML has no way to write."""
    return NOT_IN_XML.sub("\N{REPLACEMENT CHARACTER}", text)


def _picture(title: str, description: str, *children: str, **attributes: str | float) -> Markup:
    described = [element("title", title), *([element("desc", description)] if description else [])]
    return element("svg", *described, *children, role="img", **attributes)


def _text(x: str | float, y: float, text: str, **attributes: str | float) -> Markup:
    return element("text", text, x=x, y=y, **attributes)


def swatch(style: ArmStyle) -> Markup:
    """Draw an arm's line and dot for the legend; the arm's name stands beside it."""
    return element(
        "svg",
        element("line", x1=1, y1=7, x2=27, y2=7, class_="line"),
        element("circle", cx=14, cy=7, r=4, class_="dot"),
        class_=f"swatch {style.css}",
        width=28,
        height=14,
        aria_hidden="true",
    )


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
STRIP_MARGIN = 2.0
"""Percent of the width left free at each end of a strip."""


def _percent(scale: Scale, value: float) -> str:
    return f"{STRIP_MARGIN + (100 - 2 * STRIP_MARGIN) * scale.at(value):.2f}%"


def dot_strip(row: DotRow, scale: Scale, *, slots: int, reference: float | None) -> Markup:
    """Draw one arm's seeds as dots and its mean as a bar across; ``reference`` is the baseline's mean.

    Positions along x are percentages, so the strip takes any width while its text and dots keep their size.
    """
    grid = [
        element("line", x1=_percent(scale, t), x2=_percent(scale, t), y1=0, y2=STRIP_HEIGHT, class_="grid")
        for t in scale.ticks
    ]
    if reference is not None:
        x = _percent(scale, reference)
        grid.append(element("line", x1=x, x2=x, y1=0, y2=STRIP_HEIGHT, class_="reference"))
    marks = [
        element(
            "circle",
            element("title", f"{row.label}, seed {dot.seed}: {dot.value:.4f}"),
            cx=_percent(scale, dot.value),
            cy=_slot(dot.slot, slots, 6, STRIP_HEIGHT - 6),
            r=4,
            class_="dot",
        )
        for dot in row.dots
    ]
    if row.mean is not None:
        x = _percent(scale, row.mean)
        title = element("title", f"{row.label}, mean of {len(row.dots)}: {row.mean:.4f}")
        marks.insert(0, element("line", title, x1=x, x2=x, y1=2, y2=STRIP_HEIGHT - 2, class_="mean"))
    scores = ", ".join(f"seed {dot.seed} {dot.value:.3f}" for dot in row.dots)
    mean = "no score" if row.mean is None else f"mean {row.mean:.3f}"
    css = f"strip {row.style.css}"
    return _picture(f"{row.label}: {mean}", scores, *grid, *marks, class_=css, width="100%", height=STRIP_HEIGHT)


def _slot(slot: int, slots: int, top: float, bottom: float) -> float:
    return (top + bottom) / 2 if slots <= 1 else top + (bottom - top) * slot / (slots - 1)


def axis_strip(scale: Scale) -> Markup:
    """Draw the tick labels that stand under the strips."""
    labels = [_text(_percent(scale, t), 13, scale.label(t), text_anchor="middle") for t in scale.ticks]
    return element("svg", *labels, class_="strip", width="100%", height=18, aria_hidden="true")


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

    grid = [_tick_line(left, width, y(t), scale.label(t)) for t in scale.ticks]
    bars = [_bar(bar, panel.name, left + 3 + pitch * i, pitch - 4, floor, y) for i, bar in enumerate(panel.bars)]
    scores = "; ".join(f"{b.label} {'no score' if b.mean is None else f'{b.mean:.3f}'}" for b in panel.bars)
    box = f"0 0 {width:.0f} {floor + 6:.0f}"
    return _picture(f"Last Dice of {panel.name}", scores, *grid, *bars, class_="panel", width=width, viewBox=box)


def _tick_line(left: float, right: float, y: float, label: str) -> Markup:
    return element(
        "g",
        element("line", x1=left, x2=right, y1=y, y2=y, class_="grid"),
        _text(left - 5, y + 3.5, label, text_anchor="end"),
    )


def _bar(bar: Bar, class_name: str, x: float, width: float, floor: float, y: Place) -> Markup:
    name = f"{bar.label}, {class_name}"
    if bar.mean is None:
        title = element("title", f"{name}: no score")
        return element("text", title, "\N{EN DASH}", x=x + width / 2, y=floor - 4, text_anchor="middle")
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
    axes = [_tick_line(CHART_LEFT, CHART_WIDTH - CHART_RIGHT, y(t), up.label(t)) for t in up.ticks]
    axes += [_text(x(t), floor + 16, across.label(t), text_anchor="middle") for t in across.ticks]
    middle = (CHART_LEFT + CHART_WIDTH - CHART_RIGHT) / 2
    axes.append(_text(middle, floor + 33, "epoch", text_anchor="middle"))
    if not points:
        axes.append(_text(middle, floor / 2, "no epoch recorded", text_anchor="middle"))
    runs = [(line, run) for line in chart.lines for run in _unbroken(line.points)]
    bands = [_band(line, run, x, y) for line, run in runs if any(p.low < p.high for p in run)]
    lines = [_curve(line, run, x, y) for line, run in runs]
    ends = "; ".join(f"{line.label} {line.points[-1].mean:.3f}" for line in chart.lines if line.points)
    return _picture(
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
    title = element("title", f"{line.label}: {run[-1].mean:.4f} in epoch {run[-1].epoch}")
    if len(run) == 1:
        at = run[0]
        return element("circle", title, cx=x(at.epoch), cy=y(at.mean), r=3, class_=f"dot {line.style.css}")
    along = _path([(x(p.epoch), y(p.mean)) for p in run])
    return element("polyline", title, points=along, class_=f"line {line.style.css}")


def _path(places: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
