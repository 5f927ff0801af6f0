"""The words and numbers that every surface shares; the examples in the docstrings are run as well."""

import doctest
import math

import pytest

from counterpoise import text
from counterpoise.text import DASH, counted, duration, finite, fixed, interval, signed, size


def test_examples_in_the_docstrings_hold() -> None:
    failed, tried = doctest.testmod(text)
    assert tried > 0
    assert failed == 0


def test_nouns_agree_with_their_number() -> None:
    assert [counted(n, "trial") for n in (0, 1, 2)] == ["0 trials", "1 trial", "2 trials"]
    assert [counted(2, noun) for noun in ("class", "patch", "epoch")] == ["2 classes", "2 patches", "2 epochs"]


@pytest.mark.parametrize("missing", [None, math.nan, math.inf])
def test_a_missing_number_is_a_dash_everywhere_and_none_in_records(missing: float | None) -> None:
    assert fixed(missing) == signed(missing) == interval(missing, 0.1) == interval(0.1, missing) == DASH
    assert finite(missing) is None


def test_a_bound_below_zero_shows_on_which_side_it_lies() -> None:
    assert (signed(-0.0002), signed(0.0002), signed(0.0), signed(-0.0)) == ("-0.000", "+0.000", "0.000", "0.000")
    assert interval(-0.0002, 0.02) == "[-0.000, +0.020]"


@pytest.mark.parametrize(
    ("size_bytes", "written"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1 kB"),
        (999_499, "999 kB"),
        (999_600, "1.0 MB"),
        (999_960, "1.0 MB"),
        (999_940_000, "999.9 MB"),
        (999_960_000, "1.0 GB"),
        (1e12, "1.0 TB"),
        (2e18, "2000.0 PB"),
    ],
)
def test_sizes_change_units_where_the_number_would_round_to_a_thousand(size_bytes: float, written: str) -> None:
    assert size(size_bytes) == written


@pytest.mark.parametrize(
    ("seconds", "written"),
    [
        (0.04, "0.0 s"),
        (9.94, "9.9 s"),
        (9.97, "10 s"),
        (10, "10 s"),
        (59.7, "1 min 00 s"),
        (3600, "1 h 00 min"),
        (71 * 3600, "71 h 00 min"),
        (72 * 3600, "3 days"),
    ],
)
def test_durations_keep_two_units(seconds: float, written: str) -> None:
    assert duration(seconds) == written
