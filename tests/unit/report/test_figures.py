"""Axes are round and hold their values; drawings are well formed and say what they show."""

# ruff: noqa: S314 -- the XML parsed here is what the package drew

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from counterpoise.report.figures import (
    ArmStyle,
    Bar,
    BarPanel,
    Dot,
    DotRow,
    Line,
    LineChart,
    LinePoint,
    bar_panel,
    dot_strip,
    element,
    line_chart,
    nice_scale,
)

STYLE = ArmStyle(1, 0)
NASTY = "<b>x</b> & \"y\" 'z' \x00\x1b"


@given(st.lists(st.floats(-1e6, 1e6), max_size=8), st.booleans(), st.booleans())
def test_a_scale_holds_its_values_and_has_ticks_inside(values: list[float], from_zero: bool, whole: bool) -> None:
    if whole:
        values = [float(round(v)) for v in values]
    scale = nice_scale(values, from_zero=from_zero, whole=whole)
    assert scale.low < scale.high
    slack = 1e-6 * (scale.high - scale.low)
    assert all(scale.low - slack <= v <= scale.high + slack for v in (*values, *scale.ticks))
    assert 1 <= len(scale.ticks) <= 12
    assert list(scale.ticks) == sorted(set(scale.ticks))
    assert len({scale.label(t) for t in scale.ticks}) == len(scale.ticks)


@pytest.mark.parametrize(
    ("values", "ticks"),
    [
        ([0.0, 1.0], ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]),
        ([0.512, 0.537], ["0.510", "0.515", "0.520", "0.525", "0.530", "0.535", "0.540"]),
    ],
)
def test_ticks_are_round_numbers(values: list[float], ticks: list[str]) -> None:
    scale = nice_scale(values)
    assert [scale.label(t) for t in scale.ticks] == ticks


def test_epochs_have_whole_ticks_from_the_first_on() -> None:
    scale = nice_scale([1.0, 60.0], whole=True, count=6)
    assert [scale.label(t) for t in scale.ticks] == ["1", "10", "20", "30", "40", "50", "60"]


def test_bars_start_at_zero() -> None:
    assert nice_scale([0.7, 0.8], from_zero=True).low == 0


def test_names_are_escaped_and_stay_readable() -> None:
    root = ET.fromstring(str(element("title", NASTY, class_=NASTY)))
    assert root.text == "<b>x</b> & \"y\" 'z' \ufffd\ufffd"
    assert root.attrib["class"] == root.text


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
    assert len(list(drawing.iter("circle"))) == 1


def test_a_chart_without_epochs_says_so() -> None:
    assert "no epoch recorded" in "".join(chart().itertext())
