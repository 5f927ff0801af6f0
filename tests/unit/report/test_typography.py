"""Numbers are set so that they can be read without a doubt."""

from __future__ import annotations

import pytest

from counterpoise.report.typography import breakable, fixed, grouped, interval, minus, percentage, signed

DASH, MINUS = "\N{EN DASH}", "\N{MINUS SIGN}"


def test_what_is_not_known_is_a_dash() -> None:
    assert {write(None) for write in (fixed, signed, grouped, percentage)} == {DASH}
    assert interval(None, None) == DASH


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0123, "+0.012"), (-0.0123, f"{MINUS}0.012"), (-0.0004, f"{MINUS}0.000"), (0.0004, "+0.000"), (0.0, "0.000")],
)
def test_a_difference_has_its_own_sign(value: float, text: str) -> None:
    assert signed(value) == text


def test_an_interval_shows_both_ends() -> None:
    assert interval(-0.25, 0.125) == f"[{MINUS}0.250, +0.125]"


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ("-0.5 and (-3)", f"{MINUS}0.5 and ({MINUS}3)"),
        ("weight-2, 1e-4, 2026-11-27, a-b", "weight-2, 1e-4, 2026-11-27, a-b"),
        ("cb_beta_0.9-1 [-0.1, -0.2]", f"cb_beta_0.9-1 [{MINUS}0.1, {MINUS}0.2]"),
    ],
)
def test_only_signs_of_numbers_become_minus_signs(written: str, text: str) -> None:
    assert minus(written) == text


@pytest.mark.parametrize(
    ("fraction", "text"), [(0.0, "0"), (0.12, "12.0"), (0.00123, "0.123"), (1.5e-7, f"1.5e{MINUS}05"), (1.0, "100")]
)
def test_rare_classes_have_a_percentage_too(fraction: float, text: str) -> None:
    assert percentage(fraction) == text


def test_counts_are_grouped_by_thin_spaces() -> None:
    assert grouped(1234567).split("\N{NARROW NO-BREAK SPACE}") == ["1", "234", "567"]


def test_names_break_after_their_marks_and_stay_text() -> None:
    assert breakable("a_b.<i>") == "a_<wbr>b.<wbr>&lt;i&gt;"
