"""The labels of one class of a crop: exact counts, objects, and values that mean nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from counterpoise.errors import DamagedChunkError, LayoutError
from counterpoise.inspection.facts import ClassFacts, ClassState
from counterpoise.inspection.objects import ObjectCounter
from counterpoise.inspection.problems import Problem, ProblemCode
from counterpoise.inspection.reading import masks_of, read_block, slabs
from counterpoise.notes import Note, NoteKind, of_kind
from counterpoise.text import counted
from counterpoise.volumes.labels import LabelLevel

__all__ = ["SPECK_VOXELS", "CountedClass", "count_label", "describe_faults"]

SPECK_VOXELS = 8
"""Objects of fewer voxels are specks: less than a cube of two voxels."""

SPECKS_SHARE = 0.5
"""Of all objects."""

_LEAST_OBJECTS = 4
"""Of fewer objects nothing is said."""

_MOST_NAMED = 3
_MOST_LISTED = 20


@dataclass(frozen=True)
class CountedClass:
    """A class of a crop: what is known about it, its finest level with the meaning of its values, what is wrong."""

    facts: ClassFacts
    label: LabelLevel
    problems: tuple[Problem, ...] = ()


def count_label(crop_id: str, name: str, label: LabelLevel) -> CountedClass:
    """Count one class at its finest listed level; what is damaged or odd is a problem."""
    size = label.level.grid.voxel_size_nm
    whole = label.level.whole()
    try:
        done = label.count()
    except LayoutError as error:
        text = f"cannot be counted: {error.problem} ({error.found}); {error.remedy}"
        problem = Problem(ProblemCode.UNEXPECTED_VALUES, text, (crop_id,), name)
        return CountedClass(ClassFacts(ClassState.DAMAGED, voxel_size_nm=size), label, (problem,))
    except DamagedChunkError:
        faults = [
            fault for slab in slabs(whole, label.level.chunks[0]) for fault in read_block(label.level, slab).faults
        ]
        problem = Problem(ProblemCode.DAMAGED, describe_faults(name, faults), (crop_id,), name)
        return CountedClass(ClassFacts(ClassState.DAMAGED, voxel_size_nm=size), label, (problem,))
    voxels, label = done.count.voxels, done.label
    lost = [_counts(note, name) for note in of_kind(done.notes, NoteKind.COUNTS)]
    undeclared = [note for note in done.notes if note.kind is not NoteKind.COUNTS]
    state = ClassState.PRESENT if voxels.present else ClassState.EMPTY
    facts = ClassFacts(state, voxels.known, voxels.present, voxels.unknown, size, 0)
    if not voxels.present:
        return CountedClass(facts, label, (*lost, *_unexpected(crop_id, name, undeclared, Counter())))
    by_id = label.meaning.has_ids
    objects, odd = ObjectCounter(label.level.grid.shape, by_id=by_id), Counter[float]()
    for slab in slabs(whole, label.level.chunks[0]):
        block = read_block(label.level, slab)
        masks = masks_of(label, block.voxels)
        objects.add(slab.start[0], block.voxels, masks.present)
        if undeclared:
            odd += _odd_values(block.voxels, label)
    sizes = objects.sizes()
    problems = (*lost, *_unexpected(crop_id, name, undeclared, odd), *_specks(crop_id, name, sizes))
    return CountedClass(replace(facts, objects=None if sizes is None else len(sizes)), label, problems)


def describe_faults(what: str, faults: Sequence[DamagedChunkError]) -> str:
    """Name the chunks that cannot be decoded, and say what the decoder says of the first."""
    named = [fault.problem.removeprefix("chunk ").partition(" of ")[0] for fault in faults]
    more = ", ..." if named[_MOST_NAMED:] else ""
    chunks = f"{counted(len(faults), 'chunk')} cannot be decoded ({', '.join(named[:_MOST_NAMED])}{more})"
    return f"{what}: {chunks}; {faults[0].found}; fetch them again"


def _odd_values(stored: np.ndarray, label: LabelLevel) -> Counter[float]:
    """Count the values that neither metadata nor the user declared."""
    values, counts = np.unique(stored, return_counts=True)
    named = label.meaning.named - set(label.meaning.assumed)
    return Counter({v: n for v, n in zip(values.tolist(), counts.tolist(), strict=True) if v not in named})


def _unexpected(crop_id: str, name: str, notes: Sequence[Note], odd: Counter[float]) -> list[Problem]:
    values = {"values": {str(value): count for value, count in odd.most_common(_MOST_LISTED)}} if odd else {}
    return [Problem(ProblemCode.UNEXPECTED_VALUES, f"{n.text}{n.numbers}", (crop_id,), name, values) for n in notes]


def _counts(note: Note, name: str) -> Problem:
    return Problem(ProblemCode.COUNTS, f"{note.text}{note.numbers}", (note.subject,), name)


def _specks(crop_id: str, name: str, sizes: np.ndarray | None) -> list[Problem]:
    if sizes is None or len(sizes) < _LEAST_OBJECTS:
        return []
    specks = int(np.count_nonzero(sizes < SPECK_VOXELS))
    if specks <= SPECKS_SHARE * len(sizes):
        return []
    text = f"{specks} of {len(sizes)} objects have fewer than {SPECK_VOXELS} voxels"
    return [Problem(ProblemCode.SPECKS, text, (crop_id,), name, {"specks": specks, "objects": len(sizes)})]
