"""How numbers, sizes, times and lists are written: every plural, sign, unit and missing value, in one place.

Signs are ASCII here, so that any terminal can show them; the pages put true minus signs in their place.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

__all__ = [
    "DASH",
    "counted",
    "duration",
    "finite",
    "fixed",
    "grouped",
    "interval",
    "listed",
    "percent",
    "plural",
    "short_percent",
    "shortest",
    "signed",
    "significant",
    "size",
    "spread",
    "times",
]

DASH = "\N{EN DASH}"
"""Stands where there is no number."""

_LEAST_WHOLE, _LEAST_SHOWN = 9.95, 0.1
_UNITS = ("B", "kB", "MB", "GB", "TB", "PB")
_STEP = 1000.0
_TEN, _MINUTE_S, _HOUR_MIN, _DAY_H = 10.0, 60, 60, 24
_LONG_H = 72
"""From this many hours on a time is written in days."""


def percent(share: float) -> str:
    """Write a share as a whole number of percent, or with the decimals it needs.

    Examples
    --------
    >>> percent(0.05), percent(0.975)
    ('5 %', '97.5 %')
    """
    return f"{100 * share:.4g} %"


def short_percent(share: float) -> str:
    """Write a share above 0 in percent for a narrow cell: two digits, and no small one as 0.

    Examples
    --------
    >>> short_percent(0.7512), short_percent(0.0512), short_percent(0.0004)
    ('75', '5.1', '<0.1')
    """
    value = 100 * share
    return f"{value:.0f}" if value >= _LEAST_WHOLE else f"{value:.1f}" if value >= _LEAST_SHOWN else "<0.1"


def plural(noun: str) -> str:
    """Write several of a thing; the plural takes an s, or es after a hiss, or is Greek.

    Examples
    --------
    >>> plural("seed"), plural("class"), plural("patch"), plural("hypothesis")
    ('seeds', 'classes', 'patches', 'hypotheses')
    """
    if noun.endswith("sis"):
        return f"{noun.removesuffix('is')}es"
    return noun + ("es" if noun.endswith(("s", "x", "sh", "tch")) else "s")


def counted(count: int, noun: str) -> str:
    """Write a number of things, one of them in the singular.

    Examples
    --------
    >>> counted(1, "seed"), counted(0, "seed"), counted(2, "class"), counted(8, "patch")
    ('1 seed', '0 seeds', '2 classes', '8 patches')
    """
    return f"{count} {noun if count == 1 else plural(noun)}"


def listed(names: Sequence[str]) -> str:
    """Write names with commas, and an "and" before the last.

    Examples
    --------
    >>> listed(["a"]), listed(["a", "b", "c"]), listed([])
    ('a', 'a, b and c', '')
    """
    return ", ".join(names[:-1]) + " and " + names[-1] if len(names) > 1 else "".join(names)


# Missing values -------------------------------------------------------------------------------------------------


def finite(value: float | None) -> float | None:
    """Return a number, or None where it is NaN or infinite: JSON and our records have no other word for it.

    Examples
    --------
    >>> finite(0.5), finite(float("nan")), finite(None)
    (0.5, None, None)
    """
    return value if value is not None and math.isfinite(value) else None


# Scores and differences -----------------------------------------------------------------------------------------


def fixed(value: float | None, decimals: int = 3) -> str:
    """Write a number with fixed decimals, or a dash where there is none."""
    return DASH if finite(value) is None else f"{value:.{decimals}f}"


def signed(value: float | None, decimals: int = 3) -> str:
    """Write a difference with its own sign, also where it rounds to zero; only an exact 0 has none.

    A bound just below zero must not look as if it lay above.

    Examples
    --------
    >>> signed(0.0214), signed(-0.0002), signed(0.0002), signed(0.0), signed(None)
    ('+0.021', '-0.000', '+0.000', '0.000', '–')
    """
    if finite(value) is None:
        return DASH
    return f"{value:+.{decimals}f}" if value else f"{0:.{decimals}f}"


def spread(mean: str, sd: float | None, decimals: int = 3) -> str:
    """Write a mean with the standard deviation over seeds, if there is one.

    Examples
    --------
    >>> spread("0.620", 0.0124), spread("0.620", None)
    ('0.620 ± 0.012', '0.620')
    """
    return mean if sd is None else f"{mean} ± {sd:.{decimals}f}"


def interval(low: float | None, high: float | None, decimals: int = 3) -> str:
    """Write the ends of an interval of a difference, or a dash where there is none.

    Examples
    --------
    >>> interval(-0.0254, 0.009), interval(None, None)
    ('[-0.025, +0.009]', '–')
    """
    if finite(low) is None or finite(high) is None:
        return DASH
    return f"[{signed(low, decimals)}, {signed(high, decimals)}]"


def significant(value: float | None) -> str:
    """Write a number with three significant digits, small ones included.

    Examples
    --------
    >>> significant(0.01234), significant(12.345), significant(None)
    ('0.0123', '12.3', '–')
    """
    return DASH if finite(value) is None else f"{value:#.3g}".rstrip(".")


def times(factor: float | None) -> str:
    """Write a factor with two significant digits, from 10 on without decimals.

    Examples
    --------
    >>> times(2.13), times(0.047), times(14.2)
    ('×2.1', '×0.047', '×14')
    """
    if factor is None or finite(factor) is None:
        return DASH
    return f"×{factor:.0f}" if factor >= _TEN else f"×{factor:#.2g}".rstrip(".")


def grouped(value: int | None) -> str:
    """Write a whole number in groups of three digits.

    Examples
    --------
    >>> grouped(1234567)
    '1,234,567'
    """
    return DASH if value is None else f"{value:,}"


def shortest(value: float) -> str:
    """Write a setting as a person would: 0.01, 8, 5.24."""
    return f"{value:g}"


# Bytes and seconds ----------------------------------------------------------------------------------------------


def size(size_bytes: float) -> str:
    """Write a number of bytes with a decimal unit: one decimal from MB on.

    Examples
    --------
    >>> size(800), size(25_300), size(63_440_000), size(25_340_000_000)
    ('800 B', '25 kB', '63.4 MB', '25.3 GB')
    """
    value, unit = float(size_bytes), 0
    while round(value, _decimals(unit)) >= _STEP and unit < len(_UNITS) - 1:
        value, unit = value / _STEP, unit + 1
    return f"{value:.{_decimals(unit)}f} {_UNITS[unit]}"


def _decimals(unit: int) -> int:
    return 1 if unit > 1 else 0


def duration(seconds: float) -> str:
    """Write a time in the two largest units that say something; long ones in days.

    Examples
    --------
    >>> duration(3.21), duration(59), duration(95), duration(7_260), duration(6_220_500)
    ('3.2 s', '59 s', '1 min 35 s', '2 h 01 min', '72 days')
    """
    if round(seconds, 1) < _TEN:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), _MINUTE_S)
    hours, minutes = divmod(minutes, _HOUR_MIN)
    if hours >= _LONG_H:
        return f"{seconds / (_DAY_H * 3600):.0f} days"
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
