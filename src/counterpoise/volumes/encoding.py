"""What the metadata of a label array, and the user, say about its values; read in whatever shape people write it.

| key | where nobody says |
| --- | --- |
| ``absent`` | 0 |
| ``present`` | 1 in semantic arrays, ids in instance arrays |
| ``unknown`` | 255 |

The array's own ``encoding`` goes before its group's, and the user's ``[data.labels]`` before both, key by key. A value
that one of them names is no other key's default.

The trap: instance arrays with more than 255 objects still say ``unknown: 255``, while 255 is just another object. The
array's own ``complement_counts`` decide if they are there; otherwise the value is in doubt.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from counterpoise.errors import LayoutError
from counterpoise.volumes.annotation import LabelMeaning, Meaning

__all__ = [
    "ALL_CLASSES", "INSTANCE_CLASSES", "SENTINELS", "Annotation", "StatedValues", "meaning_of", "read_annotation",
]  # fmt: skip

INSTANCE_CLASSES = frozenset(
    {"nuc", "vim", "ves", "endo", "lyso", "ld", "perox", "mito", "np", "mt", "cell", "instance"}
)
"""Classes that the CellMap challenge annotates as instances (its configuration lists them)."""

ALL_CLASSES = "*"
"""Key of what a user says about every class."""

SENTINELS = (2**16 - 1, 2**31 - 1, 2**32 - 1, 2**63 - 1, 2**64 - 1)
"""Largest values of the integer types: more often a mark than the id of an object."""

_DEFAULT_UNKNOWN = 255
_KEYS = ("absent", "present", "unknown")
_MOST_SHOWN = 80


@dataclass(frozen=True)
class StatedValues:
    """Values that somebody gave a meaning to; None where they left it open."""

    absent: tuple[int, ...] | None = None
    present: tuple[int, ...] | None = None
    unknown: tuple[int, ...] | None = None
    others: Meaning | None = None

    def over(self, below: StatedValues) -> StatedValues:
        """Lay these over what somebody else said, key by key; a value that is named here is taken from there."""
        taken = {value for key in _KEYS for value in getattr(self, key) or ()}

        def choose(key: str) -> tuple[int, ...] | None:
            own, other = getattr(self, key), getattr(below, key)
            if own is not None or other is None:
                return own  # type: ignore[no-any-return]  # a value of this dataclass
            return tuple(value for value in other if value not in taken)

        return StatedValues(choose("absent"), choose("present"), choose("unknown"), self.others or below.others)

    def __bool__(self) -> bool:
        return self != StatedValues()


@dataclass(frozen=True)
class Annotation:
    """What the metadata of one label array say about its values.

    Parameters
    ----------
    values : StatedValues
        Its encoding.
    is_instance : bool or None
        Whether present values are ids of objects; None where that is not said.
    counts : mapping
        Its ``complement_counts``: absent, present, unknown, as many of them as are given.
    remarks : tuple of str
        What could not be understood and is ignored.
    faults : mapping
        Keys of the encoding whose value is no whole number, and what it is.
    array : Path, optional
        Folder of the level, for errors.
    """

    values: StatedValues = StatedValues()
    is_instance: bool | None = None
    counts: Mapping[str, int] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()
    faults: Mapping[str, str] = field(default_factory=dict)
    array: Path | None = None

    @property
    def source(self) -> str:
        """Return the files that say all this."""
        if self.array is None:
            return "its metadata"
        return f"{self.array.parent / '.zattrs'} and {self.array / '.zattrs'}"


def read_annotation(
    group_attributes: Mapping[str, Any], array_attributes: Mapping[str, Any], array: Path | None = None
) -> Annotation:
    """Read what the attributes of a class group and of one of its arrays say about the values.

    Parameters
    ----------
    group_attributes, array_attributes : mapping
        Content of ``.zattrs`` of the class group and of the level.
    array : Path, optional
        Folder of the level, for errors.

    Returns
    -------
    Annotation
        Nothing is raised here: what cannot be used is among its remarks or faults.
    """
    remarks: list[str] = []
    annotations = [_annotation(attributes, remarks) for attributes in (array_attributes, group_attributes)]
    kinds = [_kind_of(annotation, remarks) for annotation in annotations]
    faults: dict[str, str] = {}
    found: dict[str, tuple[int, ...]] = {}
    for annotation, (_, encoding) in zip(annotations, kinds, strict=True):
        for each in (encoding, annotation.get("encoding")):
            _read_encoding(each, found, faults, remarks)
    is_instance = next((kind for kind, _ in kinds if kind is not None), None)
    counts = _counts(annotations[0].get("complement_counts"), remarks)
    values = StatedValues(found.get("absent"), found.get("present"), found.get("unknown"))
    return Annotation(values, is_instance, counts, tuple(dict.fromkeys(remarks)), faults, array)


def meaning_of(
    annotation: Annotation, class_name: str, dtype: np.dtype[Any], said: StatedValues = StatedValues()
) -> LabelMeaning:
    """Decide what the values of an array mean, as far as that can be known without looking at them.

    Parameters
    ----------
    annotation : Annotation
        What its metadata say.
    class_name : str
        Decides whether values are ids where the metadata do not say.
    dtype : dtype
        Of the array: values that it cannot hold are left out.
    said : StatedValues
        What the user says.

    Raises
    ------
    LayoutError
        If the encoding cannot be used: an entry is no whole number, or a value has two meanings.
    """
    _require_readable(annotation, class_name, said)
    is_instance = class_name in INSTANCE_CLASSES if annotation.is_instance is None else annotation.is_instance
    return _meaning_of(annotation.values, said, is_instance, annotation.counts.get("unknown"), dtype)


@lru_cache(maxsize=1024)
def _meaning_of(
    values: StatedValues, said: StatedValues, is_instance: bool, counted: int | None, dtype: np.dtype[Any]
) -> LabelMeaning:
    """Decide what values mean; kept, because the many arrays of a list say few different things."""
    stated = said.over(values)
    taken = {value for key in _KEYS for value in getattr(stated, key) or ()}

    def default(*values: int) -> tuple[int, ...]:
        return tuple(value for value in values if value not in taken)

    absent = default(0) if stated.absent is None else stated.absent
    present = stated.present if stated.present is not None else default(*(() if is_instance else (1,)))
    codes = default(_DEFAULT_UNKNOWN) if stated.unknown is None else stated.unknown
    if stated.unknown is None and (dtype.kind == "b" or stated.others is not None):
        codes = ()
    assumed = default(*SENTINELS) + (codes if stated.unknown is None else ())
    unknown, doubtful = codes, assumed
    if dtype.kind == "u":  # -1 as an unsigned type holds it
        doubtful += tuple(value % (1 << 8 * dtype.itemsize) for value in codes if value < 0)
    if said.unknown is None and is_instance:
        if not counted:  # 0 and negative values are no ids
            unknown = tuple(value for value in codes if value <= 0)
        in_doubt = tuple(value for value in codes if value > 0)
        doubtful = (*doubtful, *in_doubt) if counted is None else tuple(v for v in doubtful if v not in in_doubt)
    others = stated.others or _meaning_of_others(stated, said, absent, is_instance=is_instance)
    return LabelMeaning(
        absent=_held(absent, dtype),
        present=_held(present, dtype),
        unknown=_held(unknown, dtype),
        others=others,
        has_ids=is_instance and others is Meaning.PRESENT,
        doubtful=tuple(dict.fromkeys(_held(doubtful, dtype))),
        assumed=_held(assumed, dtype),
        is_settled=said.others is not None,
    )


def _meaning_of_others(
    stated: StatedValues, said: StatedValues, absent: tuple[int, ...], *, is_instance: bool
) -> Meaning:
    """Take others as present, as the layout does, unless it is said which ones are and that is not the usual 1."""
    if stated.present is None or (is_instance and said.present is None):
        return Meaning.PRESENT
    return Meaning.PRESENT if stated.present == (1,) and absent == (0,) else Meaning.UNKNOWN


def _require_readable(annotation: Annotation, class_name: str, said: StatedValues) -> None:
    remedy = f"correct the encoding there, or say what the values mean: [data.labels.{class_name}] absent = 0 ..."
    left = {key: found for key, found in annotation.faults.items() if getattr(said, key) is None}
    if left:
        raise LayoutError(
            f"the encoding of {class_name} in {annotation.source} cannot be used",
            expected="whole numbers, or null, for absent, present and unknown",
            found=", ".join(f"{key}: {found}" for key, found in left.items()),
            remedy=remedy,
        )
    values = _laid_over(annotation.values, said)
    if _is_contradictory(values):
        found = ", ".join(
            f"{key}: {', '.join(map(str, getattr(values, key)))}" for key in _KEYS if getattr(values, key) is not None
        )
        raise LayoutError(
            f"the encoding of {class_name} in {annotation.source} gives a value two meanings",
            expected="different values for absent, present and unknown",
            found=found,
            remedy=remedy,
        )


@lru_cache(maxsize=1024)
def _laid_over(values: StatedValues, said: StatedValues) -> StatedValues:
    """Return what the metadata say by themselves: the user's words are laid over them without a contradiction."""
    return replace(said.over(values), others=None)


@lru_cache(maxsize=1024)
def _is_contradictory(values: StatedValues) -> bool:
    named = [value for key in _KEYS for value in getattr(values, key) or ()]
    return len(set(named)) < len(named)


def _held(values: tuple[int, ...], dtype: np.dtype[Any]) -> tuple[int, ...]:
    """Return the values that an array of a type can hold."""
    if dtype.kind == "f":
        return tuple(value for value in values if abs(value) <= 1 << int(np.finfo(dtype).nmant) + 1)
    limits = (0, 1) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    return tuple(value for value in values if limits[0] <= value <= limits[1])


# Odd shapes -----------------------------------------------------------------------------------------------------------


def _annotation(attributes: Mapping[str, Any], remarks: list[str]) -> Mapping[str, Any]:
    """Return ``cellmap/annotation``, empty where there is none that can be read."""
    content: Any = attributes
    for key in ("cellmap", "annotation"):
        content = content.get(key)
        if content is None:
            return {}
        if not isinstance(content, Mapping):
            remarks.append(f"{key} in its attributes is {_shown(content)}, no object, and is ignored")
            return {}
    return content  # type: ignore[no-any-return]  # a mapping of JSON


def _kind_of(annotation: Mapping[str, Any], remarks: list[str]) -> tuple[bool | None, Any]:
    """Return whether an annotation type is of instances, and its encoding; None each where it does not say."""
    content = annotation.get("annotation_type")
    if isinstance(content, list) and len(content) == 1:
        content = content[0]
    kind, encoding = (content.get("type"), content.get("encoding")) if isinstance(content, Mapping) else (content, None)
    if kind is None:
        return None, encoding
    word = kind.strip().casefold() if isinstance(kind, str) else ""
    for name in ("instance", "semantic"):
        if word.startswith(name):
            return name == "instance", encoding
    remarks.append(f"annotation_type {_shown(kind)} is neither semantic nor instance segmentation, and is ignored")
    return None, encoding


def _read_encoding(content: Any, found: dict[str, tuple[int, ...]], faults: dict[str, str], remarks: list[str]) -> None:
    """Add the entries of an encoding whose keys are not read yet; null means that no value has this meaning."""
    if content is None:
        return
    if not isinstance(content, Mapping):
        remarks.append(f"encoding {_shown(content)} is no object, and is ignored")
        return
    for key, value in content.items():
        name = key.strip().casefold()
        if name not in _KEYS:
            remarks.append(f"{_shown(key)} in its encoding is none of {', '.join(_KEYS)}, and is ignored")
        elif name not in found and name not in faults:
            if value is None and name != "unknown":
                continue  # some value must be absent, and some present
            entries = value if isinstance(value, list) else [] if value is None else [value]
            values = [_whole(each) for each in entries]
            if None in values:
                faults[name] = _shown(value)
            else:
                found[name] = tuple(dict.fromkeys(each for each in values if each is not None))


def _counts(content: Any, remarks: list[str]) -> dict[str, int]:
    if content is None:
        return {}
    if not isinstance(content, Mapping):
        remarks.append(f"complement_counts {_shown(content)} is no object, and is ignored")
        return {}
    counts = {}
    for key in _KEYS:
        value = content.get(key)
        count = None if value is None else _whole(value)
        if count is not None and count >= 0:
            counts[key] = count
        elif value is not None:
            remarks.append(f"complement_counts of {key} is {_shown(value)}, no number of voxels, and is ignored")
    return counts


def _whole(value: Any) -> int | None:
    """Read a whole number, also one that is written as text or with a decimal point."""
    if isinstance(value, str):
        try:
            return int(value)
        except ValueError:
            try:
                value = float(value)
            except ValueError:
                return None
    if isinstance(value, int):
        return int(value)
    return int(value) if isinstance(value, float) and value.is_integer() else None


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _MOST_SHOWN else text[:_MOST_SHOWN] + " ..."
