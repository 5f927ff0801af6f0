"""What the stored values of labels mean: counted first, judged, and only then written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from counterpoise.errors import SourceError
from counterpoise.text import grouped
from counterpoise.writing.cellmap import ABSENT, PRESENT, UNKNOWN

__all__ = ["ClassRule", "Coding", "Meaning", "code_class", "count_values", "refuse_stray_values"]

Counts = Mapping[int, int]

_RANGE = 1 << 22
"""Values within so many of each other are counted in a table, others by sorting."""

_MOST_NAMED = 6
_MOST_OBJECTS = np.iinfo(np.uint16).max
_TABLE = 1 << 22
"""Up to this value, codes are looked up in a table."""


@dataclass(frozen=True)
class ClassRule:
    """Which values of a file of labels are a class.

    Parameters
    ----------
    name : str
        The class.
    values : tuple of int, optional
        Its values; None for a mask of this class alone.
    is_instance : bool
        Whether a mask's values are ids of objects.
    """

    name: str
    values: tuple[int, ...] | None = None
    is_instance: bool = False


@dataclass(frozen=True)
class Meaning:
    """What the values mean that are no class.

    Parameters
    ----------
    unknown : tuple of int
        Not annotated, for every class.
    background : tuple of int
        No class, other than 0.
    """

    unknown: tuple[int, ...] = ()
    background: tuple[int, ...] = ()


@dataclass(frozen=True)
class Coding:
    """How stored values become voxels of one class.

    Parameters
    ----------
    stored : int64 or uint64 array, shape (values,)
        Every value that occurs, in order.
    codes : uint8 or uint16 array, shape (values,)
        What is written for each.
    is_instance : bool
        Whether codes are ids of objects.
    holds_unknown : bool
        Whether 255 means unknown in what is written.
    renumbered : dict
        Ids that were changed, old to new.
    """

    stored: np.ndarray
    codes: np.ndarray
    is_instance: bool
    holds_unknown: bool
    renumbered: Mapping[int, int]

    @property
    def unknown(self) -> np.ndarray:
        """Return the stored values that are written as unknown."""
        return np.asarray(self.stored[self._is_unknown])

    @property
    def present(self) -> np.ndarray:
        """Return the stored values that are written as the class, or as its objects."""
        return np.asarray(self.stored[(self.codes != ABSENT) & ~self._is_unknown])

    @property
    def _is_unknown(self) -> np.ndarray:
        return np.asarray((self.codes == UNKNOWN) & self.holds_unknown)

    def apply(self, block: np.ndarray) -> np.ndarray:
        """Translate a block."""
        if block.dtype.kind == "f":
            block = block.astype(np.int64)
        if block.dtype == self.codes.dtype and (self.codes == self.stored).all():
            return block
        low, high = int(self.stored[0]), int(self.stored[-1])
        if high - low >= _TABLE:
            place = np.searchsorted(self.stored, block.astype(self.stored.dtype, copy=False))
            return np.asarray(self.codes[np.minimum(place, len(self.codes) - 1)])
        table = np.zeros(high - low + 1, self.codes.dtype)
        table[(self.stored - self.stored.dtype.type(low)).astype(np.int64)] = self.codes
        return np.asarray(table[_above(block.view(np.uint8) if block.dtype == bool else block, low)])


def count_values(sections: Iterable[np.ndarray], name: str) -> dict[int, int]:
    """Count how many voxels have each value.

    Parameters
    ----------
    sections : iterable of array
        All voxels, in parts of moderate size.
    name : str
        The volume, for messages.

    Raises
    ------
    SourceError
        If a value is no whole number.
    """
    total: dict[int, int] = {}
    for section in sections:
        voxels = _whole(section, name).ravel()
        low, high = int(voxels.min()), int(voxels.max())
        if high - low < _RANGE:
            table = np.bincount(_above(voxels, low).astype(np.intp, copy=False))
            places = np.flatnonzero(table)
            values, numbers = [int(place) + low for place in places], table[places].tolist()
        else:
            found, many = np.unique(voxels, return_counts=True)
            values, numbers = found.tolist(), many.tolist()
        for value, number in zip(values, numbers, strict=True):
            total[value] = total.get(value, 0) + number
    return total


def _above(voxels: np.ndarray, low: int) -> np.ndarray:
    """Return how far values lie above the lowest; none of them is below."""
    if voxels.dtype.kind == "u":
        return voxels - voxels.dtype.type(low) if low else voxels
    return voxels.astype(np.int64) - low


def _whole(voxels: np.ndarray, name: str) -> np.ndarray:
    """Take labels that are stored as floats for the whole numbers they are."""
    if voxels.dtype.kind == "b":
        return voxels.view(np.uint8)
    if voxels.dtype.kind in "ui":
        return voxels
    limit = float(1 << 53)
    odd = (
        ~((voxels == np.rint(voxels)) & (np.abs(voxels) < limit))
        if voxels.dtype.kind == "f"
        else np.ones(voxels.shape, bool)
    )
    if odd.any():
        raise SourceError(
            f"{name} does not hold labels",
            expected="whole numbers",
            found=f"{grouped(int(odd.sum()))} voxels of a section that are none, such as {voxels[odd].ravel()[0]}",
            remedy="save labels as whole numbers (a probability needs a threshold first)",
        )
    return voxels.astype(np.int64)


def refuse_stray_values(
    name: str, rules: Sequence[ClassRule], counts: Counts, meaning: Meaning, *, strict: bool
) -> None:
    """Refuse an image of labels with values that nobody explains, or that lacks the value of a class.

    Parameters
    ----------
    name : str
        The image.
    rules : sequence of ClassRule
        Its classes, with their values.
    counts : mapping
        Value to voxels.
    meaning : Meaning
        What other values mean.
    strict : bool
        Whether every class must occur: asked where the user typed the values.

    Raises
    ------
    SourceError
        Names the values, with their counts.
    """
    known = {value for rule in rules for value in rule.values or ()}
    other = {*meaning.unknown, *meaning.background}
    if both := sorted(known & other):
        raise SourceError(
            f"value {both[0]} of {name} is a class and {'unknown' if both[0] in meaning.unknown else 'background'}",
            expected="one meaning per value",
            found=", ".join(rule.name for rule in rules if both[0] in (rule.values or ())),
            remedy="leave it out of one of the options",
        )
    if stray := {value: number for value, number in counts.items() if value not in known | other | {0}}:
        raise SourceError(
            f"{name} has values that are no class",
            expected=f"0 (background) or one of {_numbers(sorted(known | other))}",
            found=_counted(stray),
            remedy="name their class in --values; or say what they are with --background or --unknown",
        )
    nowhere = [f"{rule.name}={value}" for rule in rules for value in rule.values or () if value not in counts]
    if strict and nowhere:
        raise SourceError(
            f"{name} has no voxel of {', '.join(nowhere)}",
            expected="every value of --values in at least one voxel",
            found=_counted(counts),
            remedy="correct the value; a class that is annotated and empty is a --mask of zeros",
        )


def code_class(name: str, rule: ClassRule, counts: Counts, meaning: Meaning) -> Coding:
    """Decide what is written for every value of a file, for one class.

    Parameters
    ----------
    name : str
        The file.
    rule : ClassRule
        The class.
    counts : mapping
        Value to voxels.
    meaning : Meaning
        What is unknown or background.

    Raises
    ------
    SourceError
        If a mask has several values that may be the class, or ids that cannot be.
    """
    values = sorted(counts)
    stored = np.array(values, np.uint64 if values[-1] > np.iinfo(np.int64).max else np.int64)
    special = dict.fromkeys((0, *meaning.background), ABSENT) | dict.fromkeys(meaning.unknown, UNKNOWN)
    objects = [value for value in values if value not in special]
    holds_unknown = any(value in meaning.unknown for value in values)
    if rule.values is not None:
        codes = {value: PRESENT if value in rule.values else special.get(value, ABSENT) for value in values}
        return _coding(stored, codes, np.uint8, holds_unknown=True)
    if not rule.is_instance:
        if len(objects) > 1:
            raise SourceError(
                f"the mask of {rule.name}, {name}, has {len(objects)} values besides 0",
                expected="0 and one other value",
                found=_counted({value: counts[value] for value in objects}),
                remedy=f"--instance {rule.name} if they are objects; --unknown or --background for those that are not "
                "the class; a JPEG does not keep labels",
            )
        return _coding(stored, special | dict.fromkeys(objects, PRESENT), np.uint8, holds_unknown=True)
    if objects and objects[0] < 0:
        raise SourceError(
            f"the objects of {rule.name} in {name} have negative ids",
            expected="ids from 1 on",
            found=_counted({value: counts[value] for value in objects if value < 0}),
            remedy=f"--unknown {objects[0]} or --background {objects[0]}, whichever it is",
        )
    new = _ids(name, rule, objects, holds_unknown=holds_unknown)
    dtype = np.uint8 if max(new.values(), default=0) < UNKNOWN else np.uint16
    renumbered = {old: number for old, number in new.items() if old != number}
    return _coding(stored, special | new, dtype, holds_unknown=holds_unknown, is_instance=True, renumbered=renumbered)


def _ids(name: str, rule: ClassRule, objects: Sequence[int], *, holds_unknown: bool) -> dict[int, int]:
    """Keep ids that fit 16 bits; where 255 means unknown, an object of this id gets a free one."""
    if len(objects) > _MOST_OBJECTS - holds_unknown:
        raise SourceError(
            f"{name} has too many objects of {rule.name}",
            expected=f"at most {grouped(_MOST_OBJECTS - holds_unknown)} (16 bits)",
            found=grouped(len(objects)),
            remedy="import it in several crops",
        )
    if not objects or objects[-1] <= _MOST_OBJECTS:
        ids = {value: value for value in objects}
        if holds_unknown and UNKNOWN in ids:
            ids[UNKNOWN] = next(k for k in range(1, _MOST_OBJECTS + 1) if k not in ids)
        return ids
    numbers = (k for k in range(1, _MOST_OBJECTS + 1) if k != UNKNOWN or not holds_unknown)
    return dict(zip(objects, numbers, strict=False))


def _coding(
    stored: np.ndarray,
    codes: Mapping[int, int],
    dtype: type[np.uint8 | np.uint16],
    *,
    holds_unknown: bool,
    is_instance: bool = False,
    renumbered: Mapping[int, int] | None = None,
) -> Coding:
    written = np.array([codes[int(value)] for value in stored], dtype)
    return Coding(stored, written, is_instance, holds_unknown, renumbered or {})


def _counted(counts: Counts) -> str:
    """Name values with their voxels, the most frequent first."""
    most = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    named = ", ".join(f"{value} ({grouped(number)} voxels)" for value, number in most[:_MOST_NAMED])
    return named + (f", and {len(most) - _MOST_NAMED} more values" if most[_MOST_NAMED:] else "")


def _numbers(values: Sequence[int]) -> str:
    return ", ".join(map(str, values[:20])) + (", ..." if values[20:] else "")
