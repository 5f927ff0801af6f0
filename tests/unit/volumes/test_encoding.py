from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from counterpoise.errors import LayoutError
from counterpoise.volumes.annotation import LabelMeaning, Meaning
from counterpoise.volumes.encoding import Annotation, StatedValues, meaning_of, read_annotation

SEMANTIC: dict[str, Any] = {"type": "semantic_segmentation", "encoding": {"absent": 0, "present": 1, "unknown": 255}}
INSTANCE: dict[str, Any] = {"type": "instance_segmentation", "encoding": {"absent": 0, "unknown": 255}}
UINT8 = np.dtype("u1")


def attributes(**annotation: Any) -> dict[str, Any]:
    return {"cellmap": {"annotation": annotation}}


def read(kind: Any, counts: Any = None, **more: Any) -> Annotation:
    return read_annotation(attributes(annotation_type=kind, **more), attributes(complement_counts=counts))


def encoded(**encoding: Any) -> LabelMeaning:
    return meaning_of(read({"type": "semantic_segmentation", "encoding": encoding}), "er", UINT8)


@pytest.mark.parametrize(
    ("class_name", "annotation_type", "counts", "unknown", "is_doubtful"),
    [
        # semantic: 255 has no other use, whatever the counts say
        ("er_mem", SEMANTIC, None, (255,), False),
        ("er_mem", SEMANTIC, {"absent": 5, "unknown": 3}, (255,), False),
        ("er_mem", SEMANTIC, {"absent": 5, "unknown": 0}, (255,), False),
        # instance: only where the array's own counts say that voxels are unknown; without counts it is in doubt
        ("mito", INSTANCE, {"absent": 5, "unknown": 3}, (255,), False),
        ("mito", INSTANCE, {"absent": 5, "unknown": 0}, (), False),
        ("mito", INSTANCE, {"absent": 5, "unknown": "0"}, (), False),
        ("mito", INSTANCE, {"absent": 5, "unknown": None}, (), True),
        ("mito", INSTANCE, None, (), True),
        # the metadata decide what a class is, not its name
        ("mito", SEMANTIC, None, (255,), False),
        ("er_mem", INSTANCE, None, (), True),
        # without metadata the name does
        ("mito", None, None, (), True),
        ("mito", None, {"unknown": 1}, (255,), False),
        ("er_mem", None, None, (255,), True),
        # another code, or none
        ("er_mem", {"type": "semantic_segmentation", "encoding": {"absent": 0, "unknown": 9}}, None, (9,), False),
        ("er_mem", {"type": "semantic_segmentation", "encoding": {"absent": 0, "unknown": None}}, None, (), False),
        ("er_mem", {"type": "semantic_segmentation", "encoding": None}, None, (255,), True),
        # 0 is the id of no object
        ("mito", {"type": "instance_segmentation", "encoding": {"absent": 1, "unknown": 0}}, None, (0,), False),
    ],
)
def test_which_value_means_unknown(
    class_name: str, annotation_type: Any, counts: dict[str, Any] | None, unknown: tuple[int, ...], is_doubtful: bool
) -> None:
    meaning = meaning_of(read(annotation_type, counts), class_name, UINT8)
    assert (meaning.unknown, 255 in meaning.doubtful) == (unknown, is_doubtful)


@pytest.mark.parametrize("empty", [{}, {"cellmap": None}, {"cellmap": {"annotation": None}}])
def test_attributes_without_annotation_are_those_of_a_semantic_array(empty: dict[str, Any]) -> None:
    annotation = read_annotation(empty, empty)
    assert annotation == Annotation()
    assert meaning_of(annotation, "pm", UINT8).unknown == (255,)
    assert meaning_of(annotation, "nuc", UINT8).has_ids


@pytest.mark.parametrize(
    ("encoding", "absent", "present", "unknown", "others"),
    [
        ({"absent": 0, "present": 1, "unknown": 255}, (0,), (1,), (255,), Meaning.PRESENT),
        ({"absent": 0, "present": 255}, (0,), (255,), (), Meaning.UNKNOWN),
        ({"absent": 1, "present": 0, "unknown": 255}, (1,), (0,), (255,), Meaning.UNKNOWN),
        ({"unknown": 0, "absent": 1, "present": 2}, (1,), (2,), (0,), Meaning.UNKNOWN),
        ({"absent": "0", "present": "1", "unknown": "255.0"}, (0,), (1,), (255,), Meaning.PRESENT),
        ({"absent": 0.0, "present": 1.0, "unknown": 255.0}, (0,), (1,), (255,), Meaning.PRESENT),
        ({"Absent": 0, " PRESENT ": 2}, (0,), (2,), (255,), Meaning.UNKNOWN),
        ({"absent": None, "present": None, "unknown": None}, (0,), (1,), (), Meaning.PRESENT),
        ({"absent": 0, "present": [1, 2], "unknown": [254, 255]}, (0,), (1, 2), (254, 255), Meaning.UNKNOWN),
        ({"unknown": 0}, (), (1,), (0,), Meaning.PRESENT),
        ({"absent": False, "present": True}, (0,), (1,), (255,), Meaning.PRESENT),
        ({}, (0,), (1,), (255,), Meaning.PRESENT),
    ],
)
def test_an_encoding_is_read_as_it_is_written(
    encoding: dict[str, Any],
    absent: tuple[int, ...],
    present: tuple[int, ...],
    unknown: tuple[int, ...],
    others: Meaning,
) -> None:
    meaning = encoded(**encoding)
    assert (meaning.absent, meaning.present, meaning.unknown, meaning.others) == (absent, present, unknown, others)


def test_the_arrays_own_encoding_goes_before_its_groups_key_by_key() -> None:
    group = attributes(annotation_type=SEMANTIC)
    array = attributes(annotation_type={"type": "instance_segmentation", "encoding": {"unknown": 7}})
    annotation = read_annotation(group, array)
    assert annotation.values == StatedValues((0,), (1,), (7,))
    assert annotation.is_instance


@pytest.mark.parametrize(
    ("annotation_type", "is_instance", "remarks"),
    [
        ("semantic_segmentation", False, 0),
        ("instance_segmentation", True, 0),
        ("Instance Segmentation", True, 0),
        (["semantic_segmentation"], False, 0),
        ([SEMANTIC], False, 0),
        (None, None, 0),
        ({"type": None}, None, 0),
        ("instnace_segmentation", None, 1),
        (["semantic_segmentation", "instance_segmentation"], None, 1),
        (5, None, 1),
        ({"type": {"name": "semantic"}}, None, 1),
        ({"type": "semantic_segmentation", "encoding": "0/1"}, False, 1),
        ({"type": "semantic_segmentation", "encoding": {"background": 0}}, False, 1),
    ],
)
def test_odd_annotation_types_are_read_or_remarked_upon(
    annotation_type: Any, is_instance: bool | None, remarks: int
) -> None:
    found = read(annotation_type)
    assert (found.is_instance, len(found.remarks)) == (is_instance, remarks)


@pytest.mark.parametrize(
    ("counts", "read_as", "remarks"),
    [
        ({"absent": 1, "unknown": "0"}, {"absent": 1, "unknown": 0}, 0),
        ({"absent": None, "present": 3.0}, {"present": 3}, 0),
        ({"absent": "many", "unknown": -1, "present": [1]}, {}, 3),
        ("none", {}, 1),
        ([1, 2], {}, 1),
        (None, {}, 0),
    ],
)
def test_odd_counts_are_read_or_remarked_upon(counts: Any, read_as: dict[str, int], remarks: int) -> None:
    found = read(SEMANTIC, counts)
    assert (found.counts, len(found.remarks)) == (read_as, remarks)


@pytest.mark.parametrize("content", ["x", [], 5, {"annotation": "x"}, {"annotation": [1]}])
def test_attributes_that_are_no_objects_are_remarked_upon(content: Any) -> None:
    found = read_annotation({"cellmap": content}, {})
    assert (found.values, len(found.remarks)) == (StatedValues(), 1)


@pytest.mark.parametrize("value", ["none", 0.5, {}, [0, "x"], "0.5", "nan", ""])
def test_an_entry_that_is_no_whole_number_is_refused_unless_the_user_says_another(value: Any) -> None:
    annotation = read({"type": "semantic_segmentation", "encoding": {"absent": 0, "unknown": value}})
    with pytest.raises(LayoutError, match="cannot be used") as caught:
        meaning_of(annotation, "er", UINT8)
    assert "unknown: " in caught.value.found
    assert meaning_of(annotation, "er", UINT8, StatedValues(unknown=(9,))).unknown == (9,)


def test_a_value_with_two_meanings_is_refused_unless_the_user_says_which() -> None:
    annotation = read({"type": "semantic_segmentation", "encoding": {"absent": 0, "present": 0}})
    with pytest.raises(LayoutError, match="two meanings") as caught:
        meaning_of(annotation, "er", UINT8)
    assert caught.value.found == "absent: 0, present: 0"
    meaning = meaning_of(annotation, "er", UINT8, StatedValues(present=(0,)))
    assert (meaning.absent, meaning.present) == ((), (0,))


def test_the_user_goes_before_the_metadata_key_by_key() -> None:
    annotation = read(SEMANTIC)
    meaning = meaning_of(annotation, "er", UINT8, StatedValues(present=(255,)))
    assert (meaning.absent, meaning.present, meaning.unknown) == ((0,), (255,), ())
    meaning = meaning_of(read(INSTANCE, {"unknown": 0}), "nuc", UINT8, StatedValues(unknown=(255,)))
    assert (meaning.unknown, 255 in meaning.doubtful) == ((255,), False)
    meaning = meaning_of(Annotation(), "er", UINT8, StatedValues(present=(5,), others=Meaning.ABSENT))
    assert {value: meaning.of(value) for value in (0, 5, 9, 255)} == {
        0: Meaning.ABSENT,
        5: Meaning.PRESENT,
        9: Meaning.ABSENT,
        255: Meaning.ABSENT,
    }


@pytest.mark.parametrize(("dtype", "unknown"), [("?", ()), ("i1", ()), ("u1", (255,)), ("f2", (255,)), ("u8", (255,))])
def test_values_that_an_array_cannot_hold_are_left_out(dtype: str, unknown: tuple[int, ...]) -> None:
    assert meaning_of(Annotation(), "er", np.dtype(dtype)).unknown == unknown


def test_minus_one_is_looked_for_as_an_unsigned_array_holds_it() -> None:
    meaning = meaning_of(Annotation(StatedValues(unknown=(-1,))), "er", np.dtype("u2"))
    assert meaning.unknown == ()
    assert 65535 in meaning.doubtful
