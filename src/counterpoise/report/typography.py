"""How the page writes what :mod:`counterpoise.text` writes: true minus signs, thin spaces, names that may break."""

from __future__ import annotations

import re

from markupsafe import Markup

from counterpoise import text

__all__ = ["breakable", "fixed", "grouped", "interval", "minus", "percentage", "signed"]

_MINUS = "\N{MINUS SIGN}"
_THIN_SPACE = "\N{NARROW NO-BREAK SPACE}"
_SMALLEST_PLAIN_PERCENT = 0.001


def minus(written: str) -> str:
    """Set true minus signs before numbers; hyphens inside words, dates and exponents stay.

    Examples
    --------
    >>> minus("[-0.025, +0.009] on 2026-11-27")
    '[−0.025, +0.009] on 2026-11-27'
    """
    return re.sub(r"(?<![\w.])-(?=\d)", _MINUS, written)


def fixed(value: float | None, decimals: int = 3) -> str:
    """Write a number with fixed decimals, or a dash."""
    return minus(text.fixed(value, decimals))


def signed(value: float | None) -> str:
    """Write a difference with its sign and three decimals."""
    return minus(text.signed(value))


def interval(low: float | None, high: float | None) -> str:
    """Write the ends of an interval of a difference."""
    return minus(text.interval(low, high))


def grouped(value: int | None) -> str:
    """Write a whole number in groups of three digits."""
    return text.grouped(value).replace(",", _THIN_SPACE)


def percentage(value: float | None) -> str:
    """Write a fraction in percent with three significant digits: rare classes have small ones."""
    if value is None:
        return text.DASH
    if value == 0:
        return "0"
    percent = 100 * value
    if percent < _SMALLEST_PLAIN_PERCENT:
        return f"{percent:.1e}".replace("-", _MINUS)
    return text.significant(percent)


def breakable(name: str) -> Markup:
    """Let a long name break after its underscores, dots and slashes."""
    written = Markup.escape(name)
    for mark in "_./":
        written = written.replace(mark, Markup("{}<wbr>").format(mark))
    return written
