"""Values that nobody declared: what they mean follows from all values of the array, or is asked of the user.

| value | taken as |
| --- | --- |
| negative, NaN, infinite | unknown |
| largest value of an integer type (65535, 2^32 - 1, ...) | unknown, unless ids run up to it |
| 255, declared unknown in an array of ids without counts | unknown, unless ids run up to it |
| 255, where nothing is declared | the same if 1 occurs, too; otherwise an error: it may be the class |
| fractions between 0 and 1 | a probability: present from 1/2 on |
| any other in a semantic array | present; unknown if the encoding has a ``present`` of its own |

Ids run up to a value if there are larger ones, or at least half of the ids below it occur. All is noted with the
values and how many voxels hold them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import numpy as np

from counterpoise.errors import LayoutError
from counterpoise.text import counted
from counterpoise.volumes.annotation import LabelMeaning, VoxelCount
from counterpoise.volumes.encoding import SENTINELS
from counterpoise.volumes.volume import Level

__all__ = ["FoundValues", "Remark", "find_values", "settle"]

_MOST_SHOWN = 5

Remark = tuple[str, str]
"""What is to be noted: words that many crops share, and the numbers of this one."""


@dataclass
class FoundValues:
    """How many voxels of an array hold which value.

    Parameters
    ----------
    whole : Counter
        Voxels by value, whole numbers only.
    below_half, from_half : int
        Voxels with a fraction, below 1/2 and from there on.
    lowest, highest : float
        Limits of the fractions.
    not_finite : int
        Voxels with NaN or infinity.
    """

    whole: Counter[int] = field(default_factory=Counter)
    below_half: int = 0
    from_half: int = 0
    lowest: float = 0.0
    highest: float = 0.0
    not_finite: int = 0

    @property
    def fractions(self) -> int:
        """Return how many voxels hold a fraction."""
        return self.below_half + self.from_half

    def add(self, stored: np.ndarray, voxels: int = 1) -> None:
        """Add the values of a block, each of its entries standing for so many voxels."""
        if stored.dtype.kind == "f":
            finite = stored[np.isfinite(stored)]
            is_whole = np.floor(finite) == finite
            fractions, stored_whole = finite[~is_whole], finite[is_whole]
            self.not_finite += (stored.size - finite.size) * voxels
            from_half = int(np.count_nonzero(fractions >= 0.5)) * voxels  # noqa: PLR2004
            self.from_half += from_half
            self.below_half += fractions.size * voxels - from_half
            if fractions.size:
                self.lowest = min(self.lowest, float(fractions.min()))
                self.highest = max(self.highest, float(fractions.max()))
        else:
            stored_whole = stored
        values, counts = np.unique(stored_whole, return_counts=True)
        for value, count in zip(values.tolist(), counts.tolist(), strict=True):
            self.whole[int(value)] += count * voxels

    def count(self, meaning: LabelMeaning) -> VoxelCount:
        """Count what is present, absent and unknown, if values mean this."""
        voxels = np.array(list(self.whole.values()), np.int64)
        is_present, is_unknown = meaning.masks(np.array(list(self.whole)))
        present = int(voxels[is_present].sum())
        unknown = 0 if is_unknown is None else int(voxels[is_unknown].sum())
        absent = int(voxels.sum()) - present - unknown
        return VoxelCount(present + self.from_half, absent + self.below_half, unknown + self.not_finite)


def find_values(level: Level) -> FoundValues:
    """Decode an array to find all of its values."""
    found = FoundValues()
    for box, stored in level.decoded_chunks(level.whole()):
        if stored is None:
            found.add(np.array([level.fill_value], level.dtype), box.voxels)
        else:
            found.add(stored)
    return found


def settle(
    level: Level, class_name: str, meaning: LabelMeaning, found: FoundValues
) -> tuple[LabelMeaning, list[Remark]]:
    """Decide what the values mean that nobody declared.

    Parameters
    ----------
    level : Level
        The array, for errors.
    class_name : str
        Its class, for errors and remarks.
    meaning : LabelMeaning
        What is known without looking at them.
    found : FoundValues
        All values of the array.

    Returns
    -------
    meaning : LabelMeaning
        No value is in doubt any more.
    remarks : list of Remark
        What was decided, and how many voxels that concerns.

    Raises
    ------
    LayoutError
        If it cannot be decided: the user has to say it.
    """
    whole = found.whole
    remarks: list[Remark] = []
    marks = sorted(v for v in whole if v not in meaning.named and (v < 0 or v in meaning.doubtful))
    unknown = [value for value in marks if value < 0 or not _is_id(value, whole)]
    objects = [value for value in marks if value not in unknown]
    is_soft = found.fractions > 0
    if is_soft and not 0 <= found.lowest <= found.highest <= 1:
        raise LayoutError(
            f"{level.path} holds fractions that are no probabilities",
            expected="whole numbers, or fractions between 0 and 1 (present from 1/2 on)",
            found=f"fractions from {found.lowest:g} to {found.highest:g} ({found.fractions:,} voxels)",
            remedy=f"store {class_name} as whole numbers",
        )
    if not is_soft:
        _require_a_positive(level, class_name, meaning, whole, [value for value in unknown if value > 0])
    otherwise = f"; set data.labels.{class_name} if they mean something else"
    if is_soft:
        text = f"fractions in {class_name} are read as probabilities, present from 1/2 on"
        remarks.append((text, _voxels(found.fractions)))
    if found.not_finite:
        remarks.append((f"NaN or infinity in {class_name} is taken as unknown", _voxels(found.not_finite)))
    if unknown:
        text = f"values of {class_name} without a certain meaning are taken as unknown{otherwise}"
        remarks.append((text, _listed(whole, unknown)))
    if unsure := [value for value in objects if not _is_surely_id(value, whole)]:
        text = f"values of {class_name} are taken as objects, although they may mean unknown"
        remarks.append((text, _listed(whole, unsure)))
    rest = [value for value in whole if value not in meaning.named and value not in marks]
    if rest and not meaning.has_ids:
        remarks.append(
            (
                f"values of {class_name} that nobody declared are taken as {meaning.others}{otherwise}",
                _listed(whole, sorted(rest)),
            )
        )
    settled = replace(
        meaning,
        unknown=tuple(dict.fromkeys(value for value in (*meaning.unknown, *unknown) if value not in objects)),
        doubtful=(),
        is_settled=True,
        is_soft=is_soft,
    )
    return settled, remarks


def _is_id(value: int, whole: Iterable[int]) -> bool:
    """Tell whether a value is one of many ids rather than a mark."""
    return _has_larger(value, whole) or 2 * _ids_below(value, whole) >= value - 1 > 0


def _is_surely_id(value: int, whole: Iterable[int]) -> bool:
    return _has_larger(value, whole) or _ids_below(value, whole) == value - 1


def _has_larger(value: int, whole: Iterable[int]) -> bool:
    return any(other > value and other not in SENTINELS for other in whole)


def _ids_below(value: int, whole: Iterable[int]) -> int:
    return sum(0 < other < value for other in whole)


def _require_a_positive(
    level: Level, class_name: str, meaning: LabelMeaning, whole: Counter[int], unknown: list[int]
) -> None:
    """Refuse an array with 255, say, and nothing that is surely present, where nobody says what 255 means.

    It may be a mask of 0 and 255, or a part of a crop without the class that nobody annotated.
    """
    undeclared = [value for value in unknown if value in meaning.assumed]
    surely = (value for value in whole if value > 0 and value not in unknown) if meaning.has_ids else meaning.present
    if not undeclared or any(value in whole for value in surely):
        return
    value = undeclared[0]
    raise LayoutError(
        f"{level.path} holds {value}, and nothing says whether that is {class_name} or unknown",
        expected="its meaning in the 'encoding' of the array or its group, or in [data.labels]",
        found=_listed(whole, sorted(whole)).strip(" ()"),
        remedy=f"set data.labels.{class_name}.present = {value}, or data.labels.{class_name}.unknown = {value}",
    )


def _listed(whole: Counter[int], values: list[int]) -> str:
    shown = "; ".join(f"{value}: {whole[value]:,} voxels" for value in values[:_MOST_SHOWN])
    more = len(values) - _MOST_SHOWN
    return f" ({shown}; and {counted(more, 'other value')})" if more > 0 else f" ({shown})"


def _voxels(count: int) -> str:
    return f" ({count:,} voxels)"
