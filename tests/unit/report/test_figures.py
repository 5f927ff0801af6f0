"""Drawings are well formed, and their marks lie where the numbers say."""

# ruff: noqa: S314 -- the XML parsed here is what the package drew

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest

from counterpoise.report.figures import (
    Bar,
    BarPanel,
    Dot,
    DotRow,
    Line,
    LineChart,
    LinePoint,
    bar_panel,
    class_swatch,
    dot_strip,
    line_chart,
    scale_bar,
)
from counterpoise.report.patches import ScaleBar
from counterpoise.report.svg import ArmStyle, nice_scale

STYLE = ArmStyle(1, 0)
NASTY = "<b>x</b> & \"y\" 'z' \x00\x1b"


def bar(mean: float | None) -> Bar:
    return Bar(NASTY, STYLE, mean, () if mean is None else (Dot(3, 0, mean),))


def test_a_bar_is_as_high_as_its_score() -> None:
    drawing = ET.fromstring(str(bar_panel(BarPanel("nuc", (bar(0.5), bar(1.0), bar(None))), nice_scale([0, 1.0]))))
    half, whole = (float(rect.attrib["height"]) for rect in drawing.iter("rect"))
    assert half == pytest.approx(whole / 2)
    assert drawing.findtext("desc", "").endswith("no score")
    assert "\N{EN DASH}" in "".join(drawing.itertext())


def test_dots_of_a_strip_lie_at_their_scores() -> None:
    row = DotRow("a", STYLE, (Dot(1, 0, 0.0), Dot(2, 1, 1.0)), 0.5)
    drawing = ET.fromstring(str(dot_strip(row, nice_scale([0.0, 1.0]), slots=2, reference=None)))
    assert [c.attrib["cx"] for c in drawing.iter("circle")] == ["2.00%", "98.00%"]
    (mean,) = (line for line in drawing.iter("line") if line.attrib["class"] == "mean")
    assert mean.attrib["x1"] == "50.00%"
    assert drawing.findtext("title") == "a: mean 0.500"
    assert drawing.findtext("desc") == "seed 1 0.000, seed 2 1.000"


def chart(*epochs: int) -> ET.Element:
    points = tuple(LinePoint(e, 0.1 * e, 0.1 * e - 0.05, 0.1 * e + 0.05) for e in epochs)
    return ET.fromstring(str(line_chart(LineChart("Mean Dice", (Line(NASTY, STYLE, points),)))))


def test_a_line_is_not_drawn_across_missing_epochs() -> None:
    drawing = chart(1, 2, 3, 6, 7)
    assert [len(line.attrib["points"].split()) for line in drawing.iter("polyline")] == [3, 2]
    assert [len(band.attrib["points"].split()) for band in drawing.iter("polygon")] == [6, 4]


def test_a_single_epoch_is_a_dot() -> None:
    drawing = chart(1)
    assert not list(drawing.iter("polyline"))
    assert [m.attrib["class"] for m in drawing.iter("path")] == ["dot a1 p0"]


def test_a_line_ends_in_its_marker() -> None:
    drawing = chart(1, 2, 3)
    (line,) = drawing.iter("polyline")
    (end,) = drawing.iter("path")
    x, y = line.attrib["points"].split()[-1].split(",")
    assert end.attrib["transform"] == f"translate({x} {y})"


def test_a_chart_without_epochs_says_so() -> None:
    assert "no epoch recorded" in "".join(chart().itertext())


def test_the_looks_of_classes_differ_in_more_than_colour() -> None:
    plain, striped, dotted = (ET.fromstring(str(class_swatch((86, 180, 233), texture))) for texture in range(3))
    assert [len(list(drawing.iter("rect"))) for drawing in (plain, striped, dotted)] == [1, 1, 10]
    assert [len(list(drawing.iter("path"))) for drawing in (plain, striped, dotted)] == [0, 1, 0]


def test_a_scale_bar_is_as_long_as_it_says_and_lies_inside() -> None:
    drawing = ET.fromstring(str(scale_bar(ScaleBar(62.5, "500 nm"), 256, 128)))
    (bar_drawn,) = drawing.iter("rect")
    x, y, width, height = (float(bar_drawn.attrib[key]) for key in ("x", "y", "width", "height"))
    assert width == 62.5
    assert 0 < x < x + width < 256
    assert 0 < y < y + height < 128
    assert drawing.findtext("text") == "500 nm"
