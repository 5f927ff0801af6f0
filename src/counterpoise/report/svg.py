"""What every figure is made of: escaped elements, axes with round ticks, and the look of each arm."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache

from markupsafe import Markup, escape

__all__ = [
    "ArmStyle",
    "Place",
    "Scale",
    "axis_strip",
    "element",
    "grid_lines",
    "marker",
    "nice_scale",
    "percent",
    "picture",
    "span",
    "swatch",
    "text_at",
    "tick_line",
]

Place = Callable[[float], float]
"""From a value to its coordinate."""

COLOURS = 7
"""Arm colours in the style sheet, a0 (the baseline's) to a6."""

PATTERNS = 3
"""Solid, dashed, dotted; tells arms apart that share a colour."""

SHAPES = (
    "M-4.5,0A4.5,4.5,0,1,1,4.5,0A4.5,4.5,0,1,1,-4.5,0Z",
    "M-4,-4H4V4H-4Z",
    "M0,-5.5L5,0L0,5.5L-5,0Z",
    "M0,-5L5,4H-5Z",
    "M0,5L5,-4H-5Z",
    "M-1.7,-5H1.7V-1.7H5V1.7H1.7V5H-1.7V1.7H-5V-1.7H-1.7Z",
)
"""Circle, square, diamond, triangle up and down, cross; about equal in area. 7 and 6 have no common divisor, so
colour and shape together repeat after 42 arms."""

STRIP_MARGIN = 2.0
"""Percent of the width left free at each end of a strip."""

NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True)
class ArmStyle:
    """How one arm looks in every figure; no two of the first 42 arms share colour and shape."""

    colour: int
    pattern: int
    shape: int = 0

    @classmethod
    def at(cls, position: int) -> ArmStyle:
        """Return the style of the arm at a position; 0 is the baseline."""
        return cls(position % COLOURS, position // COLOURS % PATTERNS, position % len(SHAPES))

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
        """Return a tick as text; zero has no sign."""
        return f"{round(tick, self.decimals) + 0.0:.{self.decimals}f}".replace("-", "\N{MINUS SIGN}")


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
    # A page has tens of thousands of these: Markup.format() would take most of the time it takes to make one.
    written = "".join(f' {_attribute_name(name)}="{_attribute(value)}"' for name, value in attributes.items())
    if not children:
        return Markup(f"<{tag}{written}/>")  # noqa: S704 -- every part is escaped
    inside = "".join(c if isinstance(c, Markup) else escape(_printable(c)) for c in children)
    return Markup(f"<{tag}{written}>{inside}</{tag}>")  # noqa: S704 -- every part is escaped


@cache
def _attribute_name(name: str) -> str:
    return name.strip("_").replace("_", "-")


def _attribute(value: str | float) -> str:
    if isinstance(value, str):
        return str(escape(_printable(value)))
    return f"{value:.2f}".rstrip("0").rstrip(".")


def _printable(text: str) -> str:
    """Replace the characters that XML has no way to write."""
    return NOT_IN_XML.sub("\N{REPLACEMENT CHARACTER}", text)


def picture(title: str, description: str, *children: str, **attributes: str | float) -> Markup:
    """Wrap children in an SVG that has a name and, if it is not empty, a description."""
    described = [element("title", title), *([element("desc", description)] if description else [])]
    return element("svg", *described, *children, role="img", **attributes)


def text_at(x: str | float, y: float, text: str, **attributes: str | float) -> Markup:
    """Write text at a place."""
    return element("text", text, x=x, y=y, **attributes)


def tick_line(left: float, right: float, y: float, label: str) -> Markup:
    """Draw one line of a grid with its label at the left."""
    return element(
        "g",
        element("line", x1=left, x2=right, y1=y, y2=y, class_="grid"),
        text_at(left - 5, y + 3.5, label, text_anchor="end"),
    )


def marker(style: ArmStyle, x: str | float, y: float, title: str) -> Markup:
    """Draw the shape of an arm; ``x`` may be a percentage, which no path can hold: then a drawing inside holds it."""
    named = (element("title", title),) if title else ()
    css = f"dot {style.css}"
    if isinstance(x, str):
        return element("svg", element("path", *named, d=SHAPES[style.shape], class_=css), x=x, y=y, class_="at")
    return element("path", *named, d=SHAPES[style.shape], transform=f"translate({x:.1f} {y:.1f})", class_=css)


def swatch(style: ArmStyle) -> Markup:
    """Draw an arm's line and shape for the legend; the arm's name stands next to it."""
    return element(
        "svg",
        element("line", x1=1, y1=7, x2=27, y2=7, class_="line"),
        marker(style, 14, 7, ""),
        class_=f"swatch {style.css}",
        width=28,
        height=14,
        aria_hidden="true",
    )


def percent(scale: Scale, value: float) -> str:
    """Return where a value lies on a strip, in percent of its width."""
    return f"{STRIP_MARGIN + (100 - 2 * STRIP_MARGIN) * scale.at(value):.2f}%"


def span(scale: Scale, start: float, end: float) -> str:
    """Return how long a bar between two values is on a strip, in percent of its width."""
    return f"{(100 - 2 * STRIP_MARGIN) * abs(scale.at(end) - scale.at(start)):.2f}%"


def grid_lines(scale: Scale, height: float) -> list[Markup]:
    """Draw the ticks behind the marks of a strip."""
    return [
        element("line", x1=percent(scale, t), x2=percent(scale, t), y1=0, y2=height, class_="grid") for t in scale.ticks
    ]


def axis_strip(scale: Scale) -> Markup:
    """Draw the tick labels that stand under the strips."""
    labels = [text_at(percent(scale, t), 13, scale.label(t), text_anchor="middle") for t in scale.ticks]
    return element("svg", *labels, class_="strip", width="100%", height=18, aria_hidden="true")
