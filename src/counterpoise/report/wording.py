"""Numbers and names as the page writes them: true minus signs, fixed decimals, a dash where there is nothing."""

from __future__ import annotations

from markupsafe import Markup

from counterpoise.report.judgement import Interval

__all__ = [
    "DASH",
    "breakable",
    "fixed",
    "grouped",
    "listed",
    "percentage",
    "range_text",
    "signed",
    "significant",
    "times",
]

DASH = "\N{EN DASH}"
"""Stands where there is no number."""

MINUS = "\N{MINUS SIGN}"
THIN_SPACE = "\N{NARROW NO-BREAK SPACE}"
SMALLEST_PLAIN_PERCENT = 0.001
TEN = 10.0


def fixed(value: float | None, decimals: int = 3) -> str:
    """Write a number with fixed decimals, or a dash."""
    return DASH if value is None else f"{value:.{decimals}f}".replace("-", MINUS)


def signed(value: float | None) -> str:
    """Write a difference with its sign and three decimals; what rounds to zero is +0.000."""
    return DASH if value is None else f"{round(value, 3) + 0.0:+.3f}".replace("-", MINUS)


def range_text(interval: Interval | None) -> str:
    """Write the ends of an interval of a difference.

    Examples
    --------
    >>> range_text(Interval(0.5, 0.25, 0.75)), range_text(None)
    ('[+0.250, +0.750]', '–')
    """
    return DASH if interval is None else f"[{signed(interval.low)}, {signed(interval.high)}]"


def times(factor: float | None) -> str:
    """Write a factor with two significant digits, from 10 on without decimals.

    Examples
    --------
    >>> times(2.13), times(0.047), times(14.2)
    ('×2.1', '×0.047', '×14')
    """
    if factor is None:
        return DASH
    return f"×{factor:.0f}" if factor >= TEN else f"×{factor:#.2g}".rstrip(".")


def grouped(value: int | None) -> str:
    """Write a whole number in groups of three digits."""
    return DASH if value is None else f"{value:,}".replace(",", THIN_SPACE)


def percentage(value: float | None) -> str:
    """Write a fraction in percent with three significant digits: rare classes have small ones."""
    if value is None:
        return DASH
    if value == 0:
        return "0"
    percent = 100 * value
    if percent < SMALLEST_PLAIN_PERCENT:
        return f"{percent:.1e}".replace("-", MINUS)
    return f"{percent:#.3g}".rstrip(".")


def significant(value: float | None) -> str:
    """Write a weight with three significant digits, small ones included."""
    return DASH if value is None else f"{value:#.3g}".rstrip(".")


def listed(names: tuple[str, ...] | list[str]) -> str:
    """Write names with commas, and an "and" before the last.

    Examples
    --------
    >>> listed(["a"]), listed(["a", "b", "c"])
    ('a', 'a, b and c')
    """
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def breakable(name: str) -> Markup:
    """Let a long name break after its underscores, dots and slashes."""
    text = Markup.escape(name)
    for mark in "_./":
        text = text.replace(mark, Markup("{}<wbr>").format(mark))
    return text
