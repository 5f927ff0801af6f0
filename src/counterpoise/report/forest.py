"""Forest plots: differences to the baseline with their intervals, a row each, on one axis."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from markupsafe import Markup

from counterpoise.report.svg import ArmStyle, Scale, element, grid_lines, marker, nice_scale, percent, picture, span
from counterpoise.report.typography import interval, signed
from counterpoise.statistics.arm_verdict import BaselineComparison, ClassDifference

__all__ = ["Forest", "ForestRow", "Whisker", "backdrop", "difference_scale", "forest_strip", "whisker"]

ROW_HEIGHT = 30
SMALL_ROW_HEIGHT = 20
END_SHARE = 0.04
"""Of the axis, left free at either end."""

CAP = 4
"""Half the height of the end of an interval, in pixels."""


@dataclass(frozen=True)
class Whisker:
    """A difference and the ends of its interval."""

    middle: float
    low: float
    high: float

    @property
    def text(self) -> str:
        """Write the difference and its interval."""
        return f"{signed(self.middle)} {interval(self.low, self.high)}"


def whisker(found: BaselineComparison | ClassDifference | None) -> Whisker | None:
    """Make what can be drawn of a difference; None where something of it is not known."""
    if found is None or found.difference is None or found.low is None or found.high is None:
        return None
    return Whisker(found.difference, found.low, found.high)


@dataclass(frozen=True)
class ForestRow:
    """One arm against the baseline.

    Parameters
    ----------
    label : str
        The arm.
    outer, inner : Whisker or None
        The wide interval and the one for these crops (or data sets) only, drawn thicker; None where there is nothing
        to draw.
    words : str
        What the interval says.
    has_notes : bool
        Whether the verdict has a note on the arm.
    """

    label: str
    style: ArmStyle
    outer: Whisker | None
    inner: Whisker | None = None
    words: str = ""
    is_baseline: bool = False
    is_in_best_set: bool = False
    has_notes: bool = False


@dataclass(frozen=True)
class Forest:
    """Rows that share an axis; differences within the margin do not matter to the reader.

    ``nouns`` is what the intervals rest on: crops, or data sets.
    """

    title: str
    rows: tuple[ForestRow, ...]
    scale: Scale
    margin: float
    nouns: str


def difference_scale(bars: Iterable[Whisker | None], margin: float, *, most: int) -> Scale:
    """Find an axis that holds zero, the margin to both sides, and every interval.

    Unlike other axes it does not end at ticks: the strips are narrow, and every pixel tells intervals apart.

    Parameters
    ----------
    bars : iterable of Whisker or None
        What has to fit.
    margin : float
        Smallest difference that matters.
    most : int
        How many tick labels fit.
    """
    ends = [-margin, margin, *(end for entry in bars if entry is not None for end in (entry.low, entry.high))]
    free = END_SHARE * (max(ends) - min(ends))
    low, high = min(ends) - free, max(ends) + free
    for count in range(2 * most, 0, -1):
        fitting = nice_scale(ends, count=count)
        ticks = tuple(t for t in fitting.ticks if low <= t <= high)
        if len(ticks) <= most:
            break
    return Scale(low, high, ticks, fitting.decimals)


def forest_strip(row: ForestRow, forest: Forest, *, small: bool = False) -> Markup:
    """Draw one row: the margin as a band, zero as a line, the interval as a bar with the arm's marker on it.

    Positions along x are percentages, so the strip takes any width while its marks keep their size.
    """
    scale, height = forest.scale, SMALL_ROW_HEIGHT if small else ROW_HEIGHT
    middle = height / 2
    marks = backdrop(scale, forest.margin, height)
    numbers = row.outer.text if row.outer else ""
    if row.outer is not None:
        low, high = percent(scale, row.outer.low), percent(scale, row.outer.high)
        marks.append(element("line", x1=low, x2=high, y1=middle, y2=middle, class_="whisker"))
        marks += [
            element("line", x1=end, x2=end, y1=middle - CAP, y2=middle + CAP, class_="whisker") for end in (low, high)
        ]
        if row.inner is not None:
            low, high = percent(scale, row.inner.low), percent(scale, row.inner.high)
            marks.append(element("line", x1=low, x2=high, y1=middle, y2=middle, class_="inner"))
        marks.append(marker(row.style, percent(scale, row.outer.middle), middle, f"{row.label}: {numbers}"))
    elif row.is_baseline:
        marks.append(marker(row.style, percent(scale, 0.0), middle, f"{row.label}: the baseline"))
    shows_inner = row.inner is not None and not small
    inner = (
        f"; on these {forest.nouns} only {interval(row.inner.low, row.inner.high)}" if shows_inner and row.inner else ""
    )
    title = ", ".join(text for text in (f"{forest.title}, {row.label}: {numbers}".rstrip(": "), row.words) if text)
    css = f"strip {row.style.css}"
    return picture(f"{title}{inner}", "", *marks, class_=css, width="100%", height=height)


def backdrop(scale: Scale, margin: float, height: float) -> list[Markup]:
    """Draw what lies behind the marks of a strip: the margin's band, the ticks, the line of no difference."""
    band = element(
        "rect", x=percent(scale, -margin), y=0, width=span(scale, -margin, margin), height=height, class_="margin"
    )
    zero = percent(scale, 0.0)
    return [band, *grid_lines(scale, height), element("line", x1=zero, x2=zero, y1=0, y2=height, class_="zero")]
