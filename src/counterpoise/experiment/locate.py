"""Find the line of a TOML text where a key is set, for error messages (tomllib does not say)."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

__all__ = ["find_exactly", "find_line"]

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
        Line number from 1 of the longest part of the path that exists; None if no part is.
    """
    found = [(len(place), -number) for number, place in _places(text) if path[: len(place)] == place]
    return -max(found)[1] if found else None


def find_exactly(text: str, path: tuple[str, ...]) -> int | None:
    """Find the line, from 1, where a key is set or a table begins; None if there is no such line."""
    return next((number for number, place in _places(text) if place == path), None)


def _places(text: str) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Go through lines and what each sets; one in an array of tables has a path with its number and one without."""
    table: tuple[str, ...] = ()
    entry = table  # the table with its number, if it is one of several
    entries: Counter[tuple[str, ...]] = Counter()
    for number, line in enumerate(text.splitlines(), start=1):
        if header := _TABLE.match(line):
            table = entry = _parts(header[2])
            if header[1] == "[[":
                entry = (*table, str(entries[table]))
                entries[table] += 1
            yield from ((number, place) for place in (entry, table))
        elif key := _KEY.match(line):
            yield from ((number, place + _parts(key[1])) for place in (entry, table))


def _parts(dotted: str) -> tuple[str, ...]:
    return tuple(part.strip().strip("\"'") for part in dotted.split("."))
