from __future__ import annotations

import operator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from counterpoise.volumes.annotation import (
    ClassCount,
    VoxelCount,
    count_voxels,
    find_unknown_code,
    is_known,
    is_present,
)

SEMANTIC: dict[str, Any] = {"type": "semantic_segmentation", "encoding": {"absent": 0, "present": 1, "unknown": 255}}
INSTANCE: dict[str, Any] = {"type": "instance_segmentation", "encoding": {"absent": 0, "unknown": 255}}


def attributes(**annotation: Any) -> dict[str, Any]:
    return {"cellmap": {"annotation": annotation}}


@pytest.mark.parametrize(
    ("class_name", "annotation_type", "counts", "expected"),
    [
        # semantic: 255 has no other use, whatever the counts say
        ("er_mem", SEMANTIC, None, 255),
        ("er_mem", SEMANTIC, {"absent": 5, "unknown": 3}, 255),
        ("er_mem", SEMANTIC, {"absent": 5, "unknown": 0}, 255),
        # instance: only where the array's own counts say that voxels are unknown
        ("mito", INSTANCE, {"absent": 5, "unknown": 3}, 255),
        ("mito", INSTANCE, {"absent": 5, "unknown": 0}, None),
        ("mito", INSTANCE, {"absent": 5, "unknown": None}, None),
        ("mito", INSTANCE, None, None),
        # the metadata decide what a class is, not its name
        ("mito", SEMANTIC, None, 255),
        ("er_mem", INSTANCE, None, None),
        # without metadata the name does
        ("mito", None, None, None),
        ("mito", None, {"unknown": 1}, 255),
        ("er_mem", None, None, 255),
        # another code, or none
        ("er_mem", {"type": "semantic_segmentation", "encoding": {"absent": 0, "unknown": 9}}, None, 9),
        ("er_mem", {"type": "semantic_segmentation", "encoding": {"absent": 0, "unknown": None}}, None, None),
        ("er_mem", {"type": "semantic_segmentation", "encoding": None}, None, 255),
    ],
)
def test_which_value_means_unknown(
    class_name: str, annotation_type: Any, counts: dict[str, Any] | None, expected: int | None
) -> None:
    group = attributes(class_name=class_name, annotation_type=annotation_type)
    array = attributes(class_name=class_name, complement_counts=counts)
    assert find_unknown_code(class_name, group, array) == expected


@pytest.mark.parametrize("empty", [{}, {"cellmap": None}, {"cellmap": {"annotation": None}}])
def test_attributes_without_annotation_are_those_of_a_semantic_array(empty: dict[str, Any]) -> None:
    assert find_unknown_code("pm", empty, empty) == 255
    assert find_unknown_code("nuc", empty, empty) is None


STORED = np.array([[0, 1, 2, 254], [255, 255, 0, 7]], np.uint8)


def test_every_value_but_zero_and_unknown_is_present() -> None:
    np.testing.assert_array_equal(is_present(STORED, 255), [[0, 1, 1, 1], [0, 0, 0, 1]])
    np.testing.assert_array_equal(is_known(STORED, 255), [[1, 1, 1, 1], [0, 0, 1, 1]])
    assert count_voxels(STORED, 255) == VoxelCount(present=4, absent=2, unknown=2)


def test_without_a_code_every_value_but_zero_is_present() -> None:
    np.testing.assert_array_equal(is_present(STORED, None), [[0, 1, 1, 1], [1, 1, 0, 1]])
    assert is_known(STORED, None).all()
    assert is_known(STORED, None).shape == STORED.shape
    assert count_voxels(STORED, None) == VoxelCount(present=6, absent=2, unknown=0)


def test_ids_wider_than_eight_bits_are_counted() -> None:
    ids = np.array([0, 1, 255, 256, 511, 65535], np.uint16)
    assert count_voxels(ids, None) == VoxelCount(5, 1, 0)
    assert count_voxels(ids, 255) == VoxelCount(4, 1, 1)


def test_counts_add_up() -> None:
    total = VoxelCount(1, 2, 3) + VoxelCount(10, 20, 30)
    assert total == VoxelCount(11, 22, 33)
    assert total.known == 33
    with pytest.raises(TypeError):
        operator.add(total, (1, 2, 3))


def test_volumes_follow_the_voxel_size() -> None:
    count = ClassCount(VoxelCount(present=3, absent=5, unknown=100), (50.0, 4.0, 2.0))
    assert (count.present_nm3, count.known_nm3) == (1200.0, 3200.0)


arrays = npst.arrays(
    st.sampled_from([np.uint8, np.uint16, np.int32]),
    npst.array_shapes(min_dims=3, max_dims=3, max_side=6),
    elements=st.sampled_from([0, 1, 2, 100, 127]),
)


@given(arrays, st.sampled_from([None, 0, 2, 127, 255]), st.integers(0, 6))
def test_counts_are_what_a_loop_finds_and_do_not_depend_on_cutting(
    stored: np.ndarray, code: int | None, cut: int
) -> None:
    values = stored.ravel().tolist()
    unknown = sum(code is not None and v == code for v in values)
    absent = sum(v == 0 != code for v in values)
    expected = VoxelCount(len(values) - unknown - absent, absent, unknown)
    assert count_voxels(stored, code) == expected
    assert count_voxels(stored[:cut], code) + count_voxels(stored[cut:], code) == expected
    assert int(is_present(stored, code).sum()) == expected.present
    assert int(is_known(stored, code).sum()) == expected.known
    assert not (is_present(stored, code) & ~is_known(stored, code)).any()


@given(arrays, st.sampled_from([None, 0, 2, 127, 255]), st.tuples(*[st.integers(0, 6)] * 3))
def test_only_what_is_inside_is_counted_whatever_lies_beyond(
    stored: np.ndarray, code: int | None, sides: tuple[int, int, int]
) -> None:
    inside = tuple(min(a, b) for a, b in zip(sides, stored.shape, strict=True))
    values = [int(stored[place]) for place in np.ndindex(*inside)]
    unknown = sum(v == code for v in values)
    absent = sum(v == 0 != code for v in values)
    assert count_voxels(stored, code, inside) == VoxelCount(len(values) - unknown - absent, absent, unknown)
