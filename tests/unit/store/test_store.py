from __future__ import annotations

import json
import os
import pickle
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from counterpoise.errors import StoreError
from counterpoise.store import StoreRequest, VoxelStore, open_or_build, open_store
from counterpoise.store.files import file_checksum, open_array
from counterpoise.store.store import from_index, to_index, word_dtype
from counterpoise.store.verification import find_damage
from counterpoise.volumes.crops import load_crops
from counterpoise.volumes.geometry import IndexBox
from counterpoise.volumes.placement import PatchReach

AddCrop = Callable[..., Path]

VALUES = np.array([0, 1, 255, 7], np.uint8).repeat(6).reshape(4, 2, 3)


@pytest.fixture
def store(tmp_path: Path, add_crop: AddCrop) -> VoxelStore:
    semantic = [{"values": VALUES, "origin": (8.0, 16.0, 24.0)}]
    add_crop(tmp_path, "crop1", {"er": semantic, "pm": semantic}, split="validate")
    table = add_crop(tmp_path, "crop2", {"pm": (VALUES > 0).astype(np.uint8)})
    reach = PatchReach((16.0, 24.0), stack_nm=8.0, rotation_degrees=0.0, transpose=False)
    request = StoreRequest(load_crops(table, ("pm", "er")), (8.0, 8.0, 8.0), reach, 4.0)
    return open_or_build(request, tmp_path / "s", workers=1)


def test_a_store_says_what_it_holds(store: VoxelStore) -> None:
    again = open_store(store.path)
    assert (again.classes, again.voxel_size_nm) == (("pm", "er"), (8.0, 8.0, 8.0))
    assert again.fingerprint == store.fingerprint
    assert len(again.fingerprint) == 64
    assert [crop.crop_id for crop in again.crops] == ["d/crop1", "d/crop2"]
    assert [crop.crop_id for crop in again.of("train")] == ["d/crop2"]
    assert [crop.crop_id for crop in again.of("validate")] == ["d/crop1"]
    assert [crop.known_word for crop in again.crops] == [0b11, 0b01]
    assert [crop.has_unknown for crop in again.crops] == [True, False]
    # One section more on either side of crop1, which begins at raw voxel (1, 2, 3); crop2 begins at the corner.
    assert [crop.raw_grid.shape for crop in again.crops] == [(6, 2, 3), (5, 2, 3)]
    assert [crop.raw_grid.translation_nm for crop in again.crops] == [(0.0, 16.0, 24.0), (0.0, 0.0, 0.0)]
    assert again.crops == store.crops


def test_words_hold_one_bit_per_class(store: VoxelStore) -> None:
    first, second = store.crops
    present = np.array([0, 0b11, 0, 0b11], np.uint8).repeat(6).reshape(4, 2, 3)
    known = np.array([0b11, 0b11, 0, 0b11], np.uint8).repeat(6).reshape(4, 2, 3)
    np.testing.assert_array_equal(store.present_of(first), present)
    np.testing.assert_array_equal(store.known_of(first), known)
    np.testing.assert_array_equal(store.present_of(second), (VALUES > 0).astype(np.uint8))
    np.testing.assert_array_equal(store.known_of(second), np.ones((4, 2, 3), np.uint8))
    assert store.known_of(first).dtype == store.known_of(second).dtype == np.uint8


def test_frequencies_are_those_of_the_building_pass(store: VoxelStore) -> None:
    table = store.frequencies()
    assert table.classes == ("pm", "er")
    assert tuple(table.total("pm", "validate")) == (12, 6, 6)
    assert tuple(table.total("pm", "train")) == (18, 6, 0)
    assert table.frequency("pm", "validate") == 12 / 18
    assert np.isnan(table.frequency("er", "train"))


def test_arrays_are_mapped_and_cannot_be_changed(store: VoxelStore) -> None:
    for array in (store.raw, store.present, store.unknown):
        assert isinstance(array, np.memmap)
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1


@pytest.mark.parametrize(("name", "crops"), [("raw", "d/crop2"), ("present", "d/crop2"), ("unknown", "d/crop1")])
def test_the_damaged_crop_is_named(store: VoxelStore, name: str, crops: str) -> None:
    assert find_damage(store) == []
    place = {"d/crop1": store.crops[0], "d/crop2": store.crops[1]}[crops]
    offset = place.raw_offset if name == "raw" else place.label_offset
    file = store.path / f"{name}.npy"
    content = bytearray(file.read_bytes())
    start = len(content) - getattr(store, name).size
    content[start + offset] ^= 4
    file.write_bytes(bytes(content))
    assert find_damage(open_store(store.path)) == [crops]


@pytest.mark.parametrize("name", ["raw.npy", "present.npy", "unknown.npy", "index.json"])
@pytest.mark.parametrize("size", [None, 0, 1, 100])
def test_a_file_that_is_missing_or_torn_is_an_error(store: VoxelStore, name: str, size: int | None) -> None:
    if size is None:
        (store.path / name).unlink()
    else:
        os.truncate(store.path / name, size)
    with pytest.raises(StoreError, match="cannot be used") as caught:
        open_store(store.path)
    assert str(store.path) in caught.value.problem
    again = pickle.loads(pickle.dumps(caught.value))  # noqa: S301 - our own bytes
    assert (type(again), str(again)) == (StoreError, str(caught.value))


@pytest.mark.parametrize("content", ["[]", "null", "{}", '{"version": 2}', "\x00"])
def test_an_index_of_another_form_is_an_error(store: VoxelStore, content: str) -> None:
    (store.path / "index.json").write_text(content)
    with pytest.raises(StoreError, match="cannot be used"):
        open_store(store.path)


@pytest.mark.parametrize(
    ("old", "new"), [('"known_word": 3', '"known_word": 1'), ("[12, 6, 6]", "[12, 7, 6]"), ('"validate"', '"train"')]
)
def test_a_changed_number_in_the_index_is_an_error(store: VoxelStore, old: str, new: str) -> None:
    text = (store.path / "index.json").read_text()
    assert old in text
    (store.path / "index.json").write_text(text.replace(old, new))
    with pytest.raises(StoreError, match="cannot be used") as caught:
        open_store(store.path)
    assert "damaged index" in caught.value.found


def test_a_store_of_another_version_is_an_error(store: VoxelStore) -> None:
    index = json.loads((store.path / "index.json").read_text())
    (store.path / "index.json").write_text(json.dumps(index | {"version": 99}))
    with pytest.raises(StoreError) as caught:
        open_store(store.path)
    assert "another version" in caught.value.found


@pytest.mark.parametrize(("name", "dtype"), [("raw", np.int8), ("present", np.bool_), ("unknown", np.int8)])
def test_an_array_of_another_type_is_an_error(store: VoxelStore, name: str, dtype: type) -> None:
    np.save(store.path / f"{name}.npy", np.load(store.path / f"{name}.npy").astype(dtype))
    with pytest.raises(StoreError) as caught:
        open_store(store.path)
    assert caught.value.found == f"ValueError: wrong size or type of {name}" or name in caught.value.found


def test_an_entry_of_the_index_comes_back(store: VoxelStore) -> None:
    for crop in store.crops:
        assert from_index(json.loads(json.dumps(to_index(crop)))) == crop


@pytest.mark.parametrize(
    ("classes", "name"),
    [
        (1, "uint8"),
        (8, "uint8"),
        (9, "uint16"),
        (16, "uint16"),
        (17, "uint32"),
        (32, "uint32"),
        (33, "uint64"),
        (64, "uint64"),
    ],
)
def test_the_narrowest_word_is_chosen(classes: int, name: str) -> None:
    assert word_dtype(classes) == np.dtype(name)


def test_no_word_holds_more_than_64_classes() -> None:
    with pytest.raises(StoreError, match="65 classes"):
        word_dtype(65)


@given(st.binary(max_size=300), st.integers(0, 300), st.integers(0, 300))
def test_the_checksum_is_that_of_the_bytes(content: bytes, first: int, size: int) -> None:
    with tempfile.NamedTemporaryFile() as stream:
        stream.write(content)
        stream.flush()
        assert file_checksum(Path(stream.name), first, size) == zlib.crc32(content[first : first + size])


def test_the_checksum_of_a_large_block_does_not_depend_on_its_pieces(tmp_path: Path) -> None:
    content = np.random.default_rng(0).bytes(10_000_001)  # three pieces
    (tmp_path / "f").write_bytes(content)
    assert file_checksum(tmp_path / "f", 7, len(content) - 9) == zlib.crc32(content[7:-2])


WHOLE = IndexBox((0, 0, 0), (4, 5, 3))
LOWER, UPPER = IndexBox((0, 0, 0), (3, 5, 3)), IndexBox((3, 0, 0), (4, 5, 3))
FRONT, BACK = IndexBox((0, 0, 0), (4, 2, 3)), IndexBox((0, 2, 0), (4, 5, 3))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint32])
@pytest.mark.parametrize(
    "bars",
    [[WHOLE], [LOWER, UPPER], [UPPER, LOWER], [FRONT, BACK], [BACK, FRONT], [LOWER], [FRONT], [LOWER, WHOLE, UPPER]],
    ids=["whole", "in order", "turned round", "rows", "rows turned round", "the beginning", "the first rows", "twice"],
)
def test_the_checksum_of_a_block_is_that_of_the_file_in_whatever_order_it_was_written(
    tmp_path: Path, bars: list[IndexBox], dtype: type
) -> None:
    rng = np.random.default_rng(0)
    elements: np.ndarray = rng.integers(1, 200, (4, 5, 3)).astype(dtype)
    array = open_array(tmp_path / "a.npy", 100, np.dtype(dtype))
    block = array.block(7, (4, 5, 3))
    expected: np.ndarray = np.zeros((4, 5, 3), dtype)
    for number, bar in enumerate(bars):
        part = np.ascontiguousarray(elements[bar.slices]) + dtype(number)
        block.write(bar, part)
        expected[bar.slices] = part
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy")[7:67].reshape(4, 5, 3), expected)
    assert block.checksum() == array.block(7, (4, 5, 3)).checksum() == zlib.crc32(expected.tobytes())


def test_zeros_that_a_new_file_holds_already_count_in_the_checksum(tmp_path: Path) -> None:
    block = open_array(tmp_path / "a.npy", 100, np.dtype(np.uint8)).block(7, (4, 5, 3))
    block.write(LOWER, None)
    block.write(UPPER, np.full(UPPER.shape, 3, np.uint8))
    assert block.checksum() == zlib.crc32(bytes(45) + b"\3" * 15)
