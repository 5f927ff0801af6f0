"""Names of chunk files, and whether the files that lie in an array's folder are those that its metadata name.

Chunks whose names no one asks for would read as empty. Copies of stores get there: nested chunks (``0/0/0``) with
metadata that do not say ``dimension_separator``, or flat ones (``0.0.0``) with metadata that promise folders.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from counterpoise.errors import LayoutError
from counterpoise.volumes.places import Place

__all__ = ["Naming", "find_naming"]


class Naming(NamedTuple):
    """How a chunk's file is named: ``c`` in front or nothing, and what stands between the numbers."""

    prefix: str
    separator: str

    @property
    def start(self) -> str:
        """Return what stands before the first number."""
        return f"{self.prefix}{self.separator}" if self.prefix else ""

    def example(self, axes: int) -> str:
        """Return the name of the first chunk."""
        return self.of([0] * axes)

    def of(self, key: Sequence[int]) -> str:
        """Return the name of a chunk."""
        return self.start + self.separator.join(map(str, key))


_FLAT = re.compile(r"(c\.)?(\d+(?:\.\d+)+)")


def find_naming(place: Place, folder: str, stated: Naming, counts: Sequence[int]) -> tuple[Naming, str | None]:
    """Compare the files in an array's folder with what its metadata name.

    Parameters
    ----------
    place : Place
        Where the folder is.
    folder : str
        Of the array.
    stated : Naming
        What the metadata say.
    counts : sequence of int
        Number of keys along each axis, in the order of the names.

    Returns
    -------
    naming : Naming
        What the metadata say; another if there are chunks that have only this other one.
    note : str or None
        What to tell, if it is another.

    Raises
    ------
    LayoutError
        If there are chunks that have no place in the array, or some in this naming and some in another.
    """
    if not place.can_list:
        return _asked_for(place, folder, stated, counts)
    named = False
    others: dict[Naming, str] = {}
    stray = ""
    for name in place.names(folder):
        if name.isdecimal():
            naming, fits = Naming("", "/"), len(name) < _DIGITS and int(name) < counts[0] and name == str(int(name))
        elif name == "c":
            naming, fits = Naming("c", "/"), True
        elif name[0] != "." and (found := _FLAT.fullmatch(name)):
            numbers = found[2].split(".")
            naming = Naming("c" if found[1] else "", ".")
            fits = len(numbers) == len(counts) and all(
                len(number) < _DIGITS and int(number) < n for number, n in zip(numbers, counts, strict=True)
            )
        else:
            continue
        if not fits:
            stray = name
        elif naming == stated:
            named = True
        else:
            others.setdefault(naming, name)
    if not others and not stray:
        return stated, None
    if len(others) == 1 and not named and not stray:
        (naming,) = others
        return naming, _told(naming, stated, len(counts))
    wrong = stray or next(iter(others.values()))
    raise LayoutError(
        f"{folder} holds chunks that its metadata do not name",
        expected=f"chunks {stated.example(len(counts))} to {stated.of([n - 1 for n in counts])}",
        found=f"{wrong}" + (", and chunks named as expected" if named else ""),
        remedy=(
            "correct shape and chunks in the array's metadata, or delete chunks that are left from another array"
            if stray
            else "keep the chunks of one naming and delete the others, or fetch the array again"
        ),
    )


def _asked_for(place: Place, folder: str, stated: Naming, counts: Sequence[int]) -> tuple[Naming, str | None]:
    """Look for the first chunk and one in the middle by name, where a folder cannot be listed."""
    keys = dict.fromkeys([(0,) * len(counts), tuple(n // 2 for n in counts)])
    others = [naming for naming in (Naming("", "/"), Naming("", "."), Naming("c", "/")) if naming != stated]
    for naming in (stated, *others):
        for name in map(naming.of, keys):
            if place.has_file(f"{folder}/{name}"):
                return naming, None if naming == stated else _told(naming, stated, len(counts))
    return stated, None


def _told(naming: Naming, stated: Naming, axes: int) -> str:
    return (
        f"its chunks are named like {naming.example(axes)}, its metadata say {stated.example(axes)}; "
        "they are read by the names they have"
    )


_DIGITS = 10
"""No array has a thousand million chunks along an axis."""
