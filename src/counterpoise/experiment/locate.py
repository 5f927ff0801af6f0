"""Find the line of a TOML text where a key is set, for error messages (tomllib does not say)."""

from __future__ import annotations

import re
from collections import Counter

__all__ = ["find_line"]

_TABLE = re.compile(r"^\s*(\[\[?)\s*([^\]]+?)\s*\]\]?\s*(?:#.*)?$")
_KEY = re.compile(r"""^\s*((?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*'))*)\s*=""")


def find_line(text: str, path: tuple[str, ...]) -> int | None:
    """Find where a key is set.

    Parameters
    ----------
    text : str
        A TOML document.
    path : tuple of str
        Tables and key, outermost first; an entry of an array of tables (``[[name]]``) by its number from 0. Parts
        that address an element of a value are ignored.

    Returns
    -------
    int or None
        Line number from 1 of the longest part of the path that is there; None if no part is.
    """
    best: tuple[int, int] | None = None
    table: tuple[str, ...] = ()
    entry = table  # the table with its number, if it is one of several
    entries: Counter[tuple[str, ...]] = Counter()
    for number, line in enumerate(text.splitlines(), start=1):
        if header := _TABLE.match(line):
            table = entry = _parts(header[2])
            if header[1] == "[[":
                entry = (*table, str(entries[table]))
                entries[table] += 1
            places = (entry, table)
        elif key := _KEY.match(line):
            places = (entry + _parts(key[1]), table + _parts(key[1]))
        else:
            continue
        for here in places:
            if path[: len(here)] == here and (best is None or len(here) > best[0]):
                best = (len(here), number)
    return best[1] if best else None


def _parts(dotted: str) -> tuple[str, ...]:
    return tuple(part.strip().strip("\"'") for part in dotted.split("."))
