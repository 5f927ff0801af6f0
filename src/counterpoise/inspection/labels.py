"""The labels of one class of a crop: exact counts, objects, and values that mean nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from counterpoise.errors import DamagedChunkError, LayoutError
from counterpoise.inspection.facts import ClassFacts, ClassState
from counterpoise.inspection.objects import ObjectCounter
from counterpoise.inspection.problems import Problem, ProblemCode
from counterpoise.inspection.reading import Masks, masks_of, read_block, slabs
from counterpoise.text import counted, listed
from counterpoise.volumes.labels import LabelLevel

__all__ = ["SPECK_VOXELS", "count_label", "describe_faults"]

SPECK_VOXELS = 8
"""Objects of fewer voxels are specks: less than a cube of two voxels."""

SPECKS_SHARE = 0.5
"""Of all objects."""

_LEAST_OBJECTS = 4
"""Of fewer objects nothing is said."""

_MOST_NAMED = 3
_PRESENT = 1


def count_label(crop_id: str, name: str, label: LabelLevel) -> tuple[ClassFacts, list[Problem]]:
    """Count one class at its finest listed level; what is damaged or odd is a problem."""
    size = label.level.grid.voxel_size_nm
    whole = label.level.whole()
    try:
        found = label.count()
    except LayoutError as error:  # a value may be the class, or unknown
        text = f"cannot be counted: {error.problem} ({error.found}); {error.remedy}"
        return ClassFacts(ClassState.DAMAGED, voxel_size_nm=size), [
            Problem(ProblemCode.UNEXPECTED_VALUES, text, (crop_id,), name)
        ]
    except DamagedChunkError:
        faults = [
            fault for slab in slabs(whole, label.level.chunks[0]) for fault in read_block(label.level, slab).faults
        ]
        problem = Problem(ProblemCode.DAMAGED, describe_faults(name, faults), (crop_id,), name)
        return ClassFacts(ClassState.DAMAGED, voxel_size_nm=size), [problem]
    label, voxels = found.label, found.count.voxels
    state = ClassState.PRESENT if voxels.present else ClassState.EMPTY
    facts = ClassFacts(state, voxels.known, voxels.present, voxels.unknown, size, 0)
    if not voxels.present:
        return facts, []
    by_id = label.meaning.has_ids
    objects, odd = ObjectCounter(label.level.grid.shape, by_id=by_id), Counter[int]()
    for slab in slabs(whole, label.level.chunks[0]):
        block = read_block(label.level, slab)
        masks = masks_of(label, block.voxels)
        objects.add(slab.start[0], block.voxels, masks.present)
        if not by_id:
            odd += _odd_values(block.voxels, masks, label.meaning.present)
    sizes = objects.sizes()
    problems = [*_unexpected(crop_id, name, odd), *_specks(crop_id, name, sizes)]
    return ClassFacts(
        state, voxels.known, voxels.present, voxels.unknown, size, None if sizes is None else len(sizes)
    ), problems


def describe_faults(what: str, faults: Sequence[DamagedChunkError]) -> str:
    """Name the chunks that cannot be decoded, and say what the decoder says of the first."""
    named = [fault.problem.removeprefix("chunk ").partition(" of ")[0] for fault in faults]
    more = ", ..." if named[_MOST_NAMED:] else ""
    chunks = f"{counted(len(faults), 'chunk')} cannot be decoded ({', '.join(named[:_MOST_NAMED])}{more})"
    return f"{what}: {chunks}; {faults[0].found}; fetch them again"


def _odd_values(stored: np.ndarray, masks: Masks, named: Sequence[int]) -> Counter[int]:
    """Count the values that mean present although the encoding names others."""
    if stored.max() <= _PRESENT and stored.min() >= 0:
        return Counter()
    odd = stored[masks.present & ~np.isin(stored, named)]
    values, counts = np.unique(odd, return_counts=True)
    return Counter(dict(zip(values.tolist(), counts.tolist(), strict=True)))


def _unexpected(crop_id: str, name: str, odd: Counter[int]) -> list[Problem]:
    if not odd:
        return []
    common = [f"{value} ({count:,} voxels)" for value, count in odd.most_common(_MOST_NAMED)]
    more = f" and {len(odd) - _MOST_NAMED} more" if odd.keys() and len(odd) > _MOST_NAMED else ""
    text = f"semantic, and holds values other than 0, 1 and unknown, which are read as present: {listed(common)}{more}"
    values = {str(value): count for value, count in odd.most_common()}
    return [Problem(ProblemCode.UNEXPECTED_VALUES, text, (crop_id,), name, {"values": values})]


def _specks(crop_id: str, name: str, sizes: np.ndarray | None) -> list[Problem]:
    if sizes is None or len(sizes) < _LEAST_OBJECTS:
        return []
    specks = int(np.count_nonzero(sizes < SPECK_VOXELS))
    if specks <= SPECKS_SHARE * len(sizes):
        return []
    text = f"{specks} of {len(sizes)} objects have fewer than {SPECK_VOXELS} voxels"
    return [Problem(ProblemCode.SPECKS, text, (crop_id,), name, {"specks": specks, "objects": len(sizes)})]
