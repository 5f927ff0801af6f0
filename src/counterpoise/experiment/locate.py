"""Find the line of a TOML text where a key is set, for error messages (tomllib does not say)."""

from __future__ import annotations

import re

__all__ = ["find_line"]

_TABLE = re.compile(r"^\s*\[\[?\s*([^\]]+?)\s*\]\]?\s*(?:#.*)?$")
_KEY = re.compile(r"""^\s*((?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*'))*)\s*=""")


def find_line(text: str, path: tuple[str, ...]) -> int | None:
    """Find where a key is set.

    Parameters
    ----------
    text : str
        A TOML document.
    path : tuple of str
        Tables and key, outermost first; parts that address an element of a value are ignored.

    Returns
    -------
    int or None
        Line number from 1 of the longest part of the path that is there; None if no part is.
    """
    best: tuple[int, int] | None = None
    table: tuple[str, ...] = ()
    for number, line in enumerate(text.splitlines(), start=1):
        if header := _TABLE.match(line):
            table = _parts(header[1])
            here = table
        elif key := _KEY.match(line):
            here = table + _parts(key[1])
        else:
            continue
        if path[: len(here)] == here and (best is None or len(here) > best[0]):
            best = (len(here), number)
    return best[1] if best else None


def _parts(dotted: str) -> tuple[str, ...]:
    return tuple(part.strip().strip("\"'") for part in dotted.split("."))
