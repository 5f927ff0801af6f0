"""What crops and their data sets are called.

A crop is ``<data set>/<crop>``, both as the path says. Runs keep these names, so they depend on the paths alone: not on
the order of a list, and on the other crops only where two would have the same name.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from pathlib import PurePath
from typing import Protocol, TypeVar
from urllib.parse import quote

__all__ = ["Named", "data_set_of", "name_crops", "store_of"]

_SAYS_NOTHING = frozenset({"data", "dataset", "volume", "volumes", "store", "raw", "labels", "crops", "zarr", "n5"})
"""Names of stores that are the same everywhere: the folder around such a store names the data set."""

_Item = TypeVar("_Item", bound=Hashable)


class Named(Protocol):
    """What a crop is named after, as far as this module needs it."""

    @property
    def written(self) -> tuple[PurePath, PurePath]:
        """Raw and label path as they were written, absolute, links not followed."""

    @property
    def suffix(self) -> str:
        """What follows the crop in the path of each class."""

    @property
    def split(self) -> str:
        """What the crop is for."""


def data_set_of(crop_id: str) -> str:
    """Return the data set of a crop."""
    return crop_id.split("/", 1)[0]


def name_crops(rows: Sequence[Named], suffixes: Collection[str]) -> list[str]:
    """Name crops ``data set/crop``, with what distinguishes their paths where that is not unique.

    Parameters
    ----------
    rows : sequence of Named
        Different crops.
    suffixes : collection of str
        Endings of whole data sets.
    """
    stores = [store_of(*row.written, suffixes) for row in rows]
    data_sets = _data_set_names(dict.fromkeys(stores), suffixes)
    named = dict.fromkeys(range(len(rows)), "")
    for index, (row, store) in enumerate(zip(rows, stores, strict=True)):
        named[index] = f"{data_sets[store]}/{row.written[1].name}"
    for alike in _clashes(named):
        some = [rows[index] for index in alike]
        differing = (
            _differing([row.written[1] for row in some]),
            _differing([row.written[0] for row in some]),
            [row.suffix for row in some],
            [row.split for row in some],
        )
        told = next((words for words in differing if len(set(words)) == len(some)), None)
        told = told or [" ".join(filter(None, dict.fromkeys(words))) for words in zip(*differing, strict=True)]
        named.update(
            (index, f"{named[index]} ({word})" if word else named[index])
            for index, word in zip(alike, told, strict=True)
        )
    return list(named.values())


def store_of(raw: PurePath, labels: PurePath, suffixes: Collection[str]) -> PurePath:
    """Return the folder or file that holds a crop's whole data set: its ending says so, or it also holds the raw."""
    found = next((parent for parent in labels.parents if parent.suffix in suffixes), None)
    if found is not None:
        return found
    return next(
        parent for parent in labels.parents if parent == raw or parent in raw.parents or parent == parent.parent
    )


def _data_set_names(stores: Iterable[PurePath], suffixes: Collection[str]) -> dict[PurePath, str]:
    names = {store: _own_name(store, suffixes) for store in stores}
    for alike in _clashes(names):
        parts = _differing(alike)
        names.update((store, f"{part}-{names[store]}") for store, part in zip(alike, parts, strict=True))
    for alike in _clashes(names):
        names.update((store, quote(str(store), safe="")) for store in alike)
    return names


def _own_name(store: PurePath, suffixes: Collection[str]) -> str:
    name = _stem(store, suffixes)
    if name.lower() in _SAYS_NOTHING and store.parent.name:
        return _stem(store.parent, suffixes)
    return name or "crop"


def _stem(path: PurePath, suffixes: Collection[str]) -> str:
    while path.suffix in suffixes:
        path = path.with_suffix("")
    return path.name


def _clashes(names: Mapping[_Item, str]) -> list[list[_Item]]:
    """Group those that have the same name."""
    groups: dict[str, list[_Item]] = {}
    for item, name in names.items():
        groups.setdefault(name, []).append(item)
    return [group for group in groups.values() if len(group) > 1]


def _differing(paths: Sequence[PurePath]) -> list[str]:
    """Return the parts by which paths differ, of as few of their last ones as tell all of them apart."""
    columns = list(itertools.zip_longest(*(path.parts[::-1] for path in paths), fillvalue=""))
    told = [""] * len(paths)
    for number in range(1, len(columns) + 1):
        rows = [column for column in columns[:number] if len(set(column)) > 1]
        told = ["-".join(part.strip("/") for part in reversed(parts) if part) for parts in zip(*rows, strict=True)]
        if len(set(told)) == len(set(paths)):
            break
    return told or [""] * len(paths)
