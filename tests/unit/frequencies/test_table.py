from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from counterpoise.errors import ClassNameError
from counterpoise.frequencies.table import CropCount, FrequencyTable, from_json
from counterpoise.volumes.annotation import ClassCount, VoxelCount
from counterpoise.volumes.datasplit import Split

Vector = tuple[float, float, float]


def count(present: int, absent: int, unknown: int = 0, size: Vector = (1.0, 1.0, 1.0)) -> ClassCount:
    return ClassCount(VoxelCount(present, absent, unknown), size)


TABLE = FrequencyTable(
    ("mito", "nuc", "er"),
    (
        CropCount("d/crop1", "train", {"mito": count(10, 30, 60), "nuc": count(0, 100)}),
        CropCount("d/crop2", "train", {"mito": count(4, 1, 0, (2.0, 2.0, 2.5))}),
        CropCount("d/crop3", "validate", {"mito": count(1, 3), "er": count(0, 0, 8)}),
    ),
)


def test_totals_and_frequencies_by_hand() -> None:
    assert TABLE.total("mito") == VoxelCount(14, 31, 60)
    assert TABLE.total("mito", "validate") == VoxelCount(1, 3, 0)
    assert TABLE.total("mito", None) == VoxelCount(15, 34, 60)
    # Voxels of 1 and of 10 nm3: (10 + 40) / (40 + 50). Unknown voxels are in neither.
    assert TABLE.frequency("mito") == 50 / 90
    assert TABLE.frequency("mito", "validate") == 0.25
    assert TABLE.frequency("mito", None) == 51 / 94
    assert TABLE.frequency("nuc") == 0.0


def test_a_class_that_is_known_nowhere_has_no_frequency() -> None:
    assert math.isnan(TABLE.frequency("nuc", "validate"))  # annotated in no such crop
    assert math.isnan(TABLE.frequency("er", "validate"))  # annotated, but every voxel is unknown
    np.testing.assert_array_equal(TABLE.frequencies(), [50 / 90, 0.0, np.nan])
    assert TABLE.frequencies().dtype == np.float64


def test_counts_are_those_of_the_crops_that_annotate_the_class() -> None:
    assert TABLE.counts("mito") == [count(10, 30, 60), count(4, 1, 0, (2.0, 2.0, 2.5))]
    assert TABLE.counts("er") == []
    assert TABLE.counts("er", None) == [count(0, 0, 8)]


def test_a_class_present_everywhere_has_frequency_one() -> None:
    table = FrequencyTable(("cell",), (CropCount("c", "train", {"cell": count(7, 0, 3, (5.24, 4.0, 4.0))}),))
    assert table.frequency("cell") == 1.0


def test_classes_without_a_positive_voxel_are_refused_for_training() -> None:
    assert TABLE.empty_classes() == ("nuc", "er")
    assert TABLE.empty_classes("validate") == ("nuc", "er")
    with pytest.raises(ClassNameError, match="no positive voxel of nuc, er in the train crops") as caught:
        TABLE.require_positives()
    assert caught.value.found == "nuc: 0 of 100 known voxels, er: 0 of 0 known voxels"
    assert "['mito']" in caught.value.remedy
    FrequencyTable(("mito",), TABLE.crops).require_positives()


def test_the_document_has_the_keys_of_the_reference() -> None:
    document = TABLE.to_json({"weight_inv_freq": {"mito": 1.5}})
    assert document["frequencies"] == {"mito": 50 / 90, "nuc": 0.0, "er": None}
    assert document["total_pos"] == {"mito": 14, "nuc": 0, "er": 0}
    assert document["total_valid"] == {"mito": 45, "nuc": 100, "er": 0}
    assert document["weight_strategies"] == {"weight_inv_freq": {"mito": 1.5}}
    assert document["validate"]["total_pos"] == {"mito": 1, "nuc": 0, "er": 0}
    assert document["validate"]["frequencies"] == {"mito": 0.25, "nuc": None, "er": None}
    assert document["crops"]["d/crop2"] == {
        "split": "train",
        "classes": {"mito": {"present": 4, "absent": 1, "unknown": 0, "voxel_size_nm": [2.0, 2.0, 2.5]}},
    }


splits: st.SearchStrategy[Split] = st.sampled_from(["train", "validate"])
voxels = st.integers(0, 2**40)
counts = st.builds(
    ClassCount, st.builds(VoxelCount, voxels, voxels, voxels), st.tuples(*[st.sampled_from([2.62, 4.0, 50.0])] * 3)
)


@st.composite
def tables(draw: st.DrawFn) -> FrequencyTable:
    names = ["a", "b", "c"]
    crops = [
        CropCount(f"crop{i}", draw(splits), draw(st.dictionaries(st.sampled_from(names), counts)))
        for i in range(draw(st.integers(1, 4)))
    ]
    return FrequencyTable(tuple(draw(st.permutations(names))), tuple(crops))


@given(tables())
def test_what_is_saved_is_read_back(table: FrequencyTable) -> None:
    assert from_json(json.loads(json.dumps(table.to_json({})))) == table


@given(tables())
def test_the_pooled_frequency_lies_between_those_of_the_crops(table: FrequencyTable) -> None:
    for name in table.classes:
        single = [c.present_nm3 / c.known_nm3 for c in table.counts(name) if c.known_nm3]
        pooled = table.frequency(name)
        if single:
            assert min(single) * (1 - 1e-12) <= pooled <= max(single) * (1 + 1e-12)
        else:
            assert math.isnan(pooled)


@given(tables(), st.integers(2, 1000))
def test_multiplying_all_counts_changes_no_frequency(table: FrequencyTable, factor: int) -> None:
    crops = [
        CropCount(
            crop.crop_id,
            crop.split,
            {
                n: ClassCount(VoxelCount(*(v * factor for v in c.voxels)), c.voxel_size_nm)
                for n, c in crop.classes.items()
            },
        )
        for crop in table.crops
    ]
    np.testing.assert_allclose(
        FrequencyTable(table.classes, tuple(crops)).frequencies(), table.frequencies(), rtol=1e-12
    )


@given(tables(), st.integers(0, 2**30))
def test_unknown_voxels_change_no_frequency(table: FrequencyTable, more: int) -> None:
    crops = [
        CropCount(
            crop.crop_id,
            crop.split,
            {n: ClassCount(c.voxels + VoxelCount(0, 0, more), c.voxel_size_nm) for n, c in crop.classes.items()},
        )
        for crop in table.crops
    ]
    np.testing.assert_array_equal(FrequencyTable(table.classes, tuple(crops)).frequencies(), table.frequencies())
