"""Numbers are written so that they can be read without a doubt."""

from __future__ import annotations

import pytest

from counterpoise.report.judgement import Interval
from counterpoise.report.wording import (
    breakable,
    fixed,
    grouped,
    listed,
    percentage,
    range_text,
    signed,
    significant,
    times,
)

DASH, MINUS = "\N{EN DASH}", "\N{MINUS SIGN}"


def test_what_is_not_known_is_a_dash() -> None:
    assert {write(None) for write in (fixed, signed, grouped, percentage, significant, times, range_text)} == {DASH}


@pytest.mark.parametrize(
    ("value", "text"), [(0.0123, "+0.012"), (-0.0123, f"{MINUS}0.012"), (-0.0004, "+0.000"), (0.0, "+0.000")]
)
def test_a_difference_has_a_sign_and_zero_is_not_negative(value: float, text: str) -> None:
    assert signed(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(2.13, "×2.1"), (0.047, "×0.047"), (1.0, "×1.0"), (9.96, "×10"), (14.2, "×14"), (0.0, "×0.0"), (1234.5, "×1234")],
)
def test_factors_have_two_digits(value: float, text: str) -> None:
    assert times(value) == text


def test_an_interval_shows_both_ends() -> None:
    assert range_text(Interval(0.0, -0.25, 0.125)) == f"[{MINUS}0.250, +0.125]"


def test_lists_end_in_an_and() -> None:
    assert [listed(["a"]), listed(["a", "b"]), listed(["a", "b", "c"])] == ["a", "a and b", "a, b and c"]


def test_names_break_after_their_marks_and_stay_text() -> None:
    assert breakable("a_b.<i>") == "a_<wbr>b.<wbr>&lt;i&gt;"
