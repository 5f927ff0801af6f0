"""Marks of a forest plot lie where the numbers say."""

# ruff: noqa: S314 -- the XML parsed here is what the package drew

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from counterpoise.report.forest import Forest, ForestRow, Whisker, difference_scale, forest_strip
from counterpoise.report.svg import ArmStyle, Scale

SCALE = Scale(-0.05, 0.05, (-0.04, 0.0, 0.04), 2)
"""2 % of the width is free at either end, so a difference d lies at 50 + 960 d percent."""


def strip(interval: Whisker | None, inner: Whisker | None = None, *, is_baseline: bool = False) -> ET.Element:
    row = ForestRow("sqrt", ArmStyle(1, 0, 1), interval, inner, "better", is_baseline, is_in_best_set=False)
    return ET.fromstring(str(forest_strip(row, Forest("Difference", (row,), SCALE, 0.01, "crops"))))


def lines(drawing: ET.Element, css: str) -> list[tuple[str, str]]:
    return [(e.attrib["x1"], e.attrib["x2"]) for e in drawing.iter("line") if e.attrib["class"] == css]


def test_an_interval_lies_where_it_should() -> None:
    drawing = strip(Whisker(0.02, 0.005, 0.035), Whisker(0.02, 0.01, 0.03))
    assert lines(drawing, "whisker") == [("54.80%", "83.60%"), ("54.80%", "54.80%"), ("83.60%", "83.60%")]
    assert lines(drawing, "inner") == [("59.60%", "78.80%")]
    (marker,) = (e for e in drawing.iter("svg") if e.attrib["class"] == "at")
    assert marker.attrib["x"] == "69.20%"


def test_zero_and_the_margin_are_drawn() -> None:
    drawing = strip(Whisker(0.02, 0.005, 0.035))
    assert lines(drawing, "zero") == [("50.00%", "50.00%")]
    (band,) = drawing.iter("rect")
    assert (band.attrib["x"], band.attrib["width"]) == ("40.40%", "19.20%")


def test_a_row_says_its_numbers() -> None:
    title = strip(Whisker(0.02, 0.005, 0.035), Whisker(0.02, 0.01, 0.03)).findtext("title")
    assert title == "Difference, sqrt: +0.020 [+0.005, +0.035], better; on these crops only [+0.010, +0.030]"


def test_the_baseline_is_a_marker_at_zero() -> None:
    drawing = strip(None, is_baseline=True)
    assert lines(drawing, "whisker") == []
    assert [e.attrib["x"] for e in drawing.iter("svg") if e.attrib["class"] == "at"] == ["50.00%"]


def test_an_arm_that_was_not_compared_has_no_mark() -> None:
    drawing = strip(None)
    assert list(drawing.iter("path")) == []
    assert lines(drawing, "whisker") == []


@pytest.mark.parametrize(
    ("most", "ticks"), [(5, (-0.1, -0.05, 0.0, 0.05, 0.1)), (4, (-0.1, 0.0, 0.1)), (3, (-0.1, 0.0, 0.1)), (2, (0.0,))]
)
def test_an_axis_has_as_many_labels_as_there_is_room_for(most: int, ticks: tuple[float, ...]) -> None:
    assert difference_scale([Whisker(0.0, -0.1, 0.1)], 0.01, most=most).ticks == pytest.approx(ticks)


ends = st.floats(-1, 1).map(lambda value: round(value, 6))


@given(st.lists(st.tuples(ends, ends), max_size=6), st.floats(0.001, 0.2), st.integers(2, 6))
def test_an_axis_holds_everything_and_has_room_for_its_labels(
    bounds: list[tuple[float, float]], margin: float, most: int
) -> None:
    intervals = [Whisker((a + b) / 2, min(a, b), max(a, b)) for a, b in bounds]
    scale = difference_scale([*intervals, None], margin, most=most)
    needed = [-margin, 0.0, margin, *(end for i in intervals for end in (i.low, i.high))]
    assert all(scale.low < value < scale.high for value in needed)
    assert len(scale.ticks) <= most
    assert any(tick == pytest.approx(0, abs=1e-12) for tick in scale.ticks)
