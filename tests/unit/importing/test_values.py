"""What stored values become, against loops over voxels."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from counterpoise.importing.values import ClassRule, Coding, Meaning, code_class, count_values

_DTYPES = st.sampled_from(["bool", "uint8", "int8", "uint16", "int16", "int32", "uint32", "int64", "uint64", "float32"])


@given(st.data())
def test_counts_are_those_of_a_loop_for_every_type(data: st.DataObject) -> None:
    dtype = np.dtype(data.draw(_DTYPES))
    whole = st.integers(-1000, 1000).map(float) if dtype.kind == "f" else None
    voxels = data.draw(hnp.arrays(dtype, (3, 4, 5), elements=whole))
    assert count_values(voxels, "it") == Counter(map(int, voxels.ravel().tolist()))


def _code(rule: ClassRule, voxels: np.ndarray, meaning: Meaning = Meaning()) -> Coding:  # noqa: B008 - frozen
    return code_class("it", rule, count_values(voxels, "it"), meaning)


@given(st.data())
def test_ids_keep_objects_apart_whatever_they_are(data: st.DataObject) -> None:
    dtype = data.draw(st.sampled_from([np.uint8, np.uint16, np.uint32, np.uint64]))
    voxels = data.draw(hnp.arrays(dtype, (3, 4, 5)))
    unknown = data.draw(st.sampled_from([(), (int(voxels.max()),)]))
    coding = _code(ClassRule("a", is_instance=True), voxels, Meaning(unknown))
    written = coding.apply(voxels)
    is_unknown = np.isin(voxels, np.array(unknown, dtype)) if unknown else np.zeros(voxels.shape, bool)
    np.testing.assert_array_equal(written == 0, (voxels == 0) & ~is_unknown)
    if is_unknown.any():
        np.testing.assert_array_equal((written == 255), is_unknown)
    objects = ~is_unknown & (voxels != 0)
    pairs = set(zip(voxels[objects].tolist(), written[objects].tolist(), strict=True))
    assert len(pairs) == len({old for old, _ in pairs}) == len({new for _, new in pairs})
    if not objects.any() or int(voxels[objects].max()) <= 65535:
        assert all(old == new or (old == 255 and unknown) for old, new in pairs)


@pytest.mark.parametrize(
    ("ids", "unknown", "dtype", "expected"),
    [
        ([0, 1, 254], (), np.uint8, [0, 1, 254]),
        ([0, 1, 255], (), np.uint16, [0, 1, 255]),
        ([0, 1, 9], (9,), np.uint8, [0, 1, 255]),
        ([0, 255, 300, 9], (9,), np.uint16, [0, 1, 300, 255]),
        ([0, 5, 70000, 2**64 - 1], (2**64 - 1,), np.uint8, [0, 1, 2, 255]),
        ([0, 65535, 1], (), np.uint16, [0, 65535, 1]),
    ],
)
def test_ids_are_kept_where_they_fit(
    ids: list[int], unknown: tuple[int, ...], dtype: type, expected: list[int]
) -> None:
    voxels = np.array(ids, np.uint64).reshape(1, 1, -1)
    coding = _code(ClassRule("a", is_instance=True), voxels, Meaning(unknown))
    written = coding.apply(voxels)
    assert (written.dtype, written.ravel().tolist()) == (np.dtype(dtype), expected)


def test_a_mask_of_255_is_present_and_zero_can_be_a_class() -> None:
    voxels = np.array([[[0, 255, 255, 7]]], np.uint8)
    mask = _code(ClassRule("a"), voxels, Meaning(background=(7,)))
    assert mask.apply(voxels).ravel().tolist() == [0, 1, 1, 0]
    zero = _code(ClassRule("a", (0,)), voxels, Meaning(unknown=(7,), background=(255,)))
    assert zero.apply(voxels).ravel().tolist() == [1, 0, 0, 255]
