"""Axes are round and hold their values; text is escaped; every arm looks different."""

# ruff: noqa: S314 -- the XML parsed here is what the package drew

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from counterpoise.report.svg import SHAPES, ArmStyle, element, marker, nice_scale, percent, span

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


def test_forty_two_arms_differ_in_colour_or_shape() -> None:
    styles = [ArmStyle.at(position) for position in range(42)]
    assert len({(style.colour, style.shape) for style in styles}) == 42


def test_arms_of_one_colour_differ_in_shape_and_in_dash() -> None:
    first, again = ArmStyle.at(2), ArmStyle.at(9)
    assert first.colour == again.colour
    assert first.shape != again.shape
    assert first.pattern != again.pattern


@given(st.floats(-10, 10), st.floats(-10, 10))
def test_a_span_is_the_distance_of_two_places(a: float, b: float) -> None:
    scale = nice_scale([-10.0, 10.0])
    apart = abs(float(percent(scale, a)[:-1]) - float(percent(scale, b)[:-1]))
    assert float(span(scale, a, b)[:-1]) == pytest.approx(apart, abs=0.011)


@pytest.mark.parametrize("x", ["50.00%", 12.0])
def test_a_marker_is_the_shape_of_its_arm(x: str | float) -> None:
    drawing = ET.fromstring(str(element("svg", marker(ArmStyle(1, 0, 2), x, 7, NASTY))))
    (path,) = drawing.iter("path")
    assert path.attrib["d"] == SHAPES[2]
    assert path.findtext("title") == "<b>x</b> & \"y\" 'z' \ufffd\ufffd"
