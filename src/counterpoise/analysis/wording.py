"""Words that the verdict, the tables and the screens share."""

from __future__ import annotations

__all__ = ["counted"]


def counted(count: int, noun: str) -> str:
    """Write a number of things, one of them in the singular; the plural takes an s, or es after a hiss.

    Examples
    --------
    >>> counted(1, "seed"), counted(0, "seed"), counted(2, "class"), counted(8, "patch")
    ('1 seed', '0 seeds', '2 classes', '8 patches')
    """
    plural = noun + ("es" if noun.endswith(("s", "x", "sh", "tch")) else "s")
    return f"{count} {noun if count == 1 else plural}"
