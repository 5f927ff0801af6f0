"""Values that nobody declared: what each is taken as, what is said about it, and that counting and store agree."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numcodecs
import numpy as np
import pytest

from counterpoise.errors import LayoutError
from counterpoise.frequencies.count import count_crops
from counterpoise.notes import Note, NoteKind
from counterpoise.store import StoreRequest, VoxelStore, open_or_build
from counterpoise.volumes import labels
from counterpoise.volumes.annotation import Meaning, VoxelCount
from counterpoise.volumes.crops import load_crops
from counterpoise.volumes.encoding import StatedValues
from counterpoise.volumes.placement import PatchReach

AddCrop = Callable[..., Path]
WriteGroup = Callable[..., Path]
SEMANTIC = {"type": "semantic_segmentation", "encoding": {"absent": 0, "present": 1, "unknown": 255}}
INSTANCE = {"type": "instance_segmentation", "encoding": {"absent": 0, "unknown": 255}}
SHAPE = (8, 16, 16)
ALL = 8 * 16 * 16


class Made:
    """One crop with one class, counted alone and in a store; the two must agree."""

    def __init__(self, root: Path, add_crop: AddCrop, write_group: WriteGroup) -> None:
        self._root, self._add_crop, self._write_group = root, add_crop, write_group
        self._size = 8.0

    def write(self, values: Any, kind: Any = None, name: str = "er", counts: Any = None, **level: Any) -> Made:
        """Write it: ``values`` is an array, or levels."""
        levels = [{"values": values, "counts": counts, **level}] if isinstance(values, np.ndarray) else values
        self.table, self.name = self._add_crop(self._root, "crop1", {name: levels}), name
        annotation = None if kind is None else {"annotation_type": kind}
        self._write_group(self.group, levels, annotation=annotation)
        return self

    @property
    def group(self) -> Path:
        return self._root / "d.zarr/recon-1/labels/groundtruth/crop1" / self.name

    def count(self, said: Mapping[str, StatedValues] | None = None) -> tuple[VoxelCount, list[Note]]:
        crop_set = load_crops(self.table, [self.name], values=said or {})
        notes: list[Note] = []
        table = count_crops(crop_set, workers=1, on_note=notes.append)
        store = self.build(said)
        assert store.frequencies() == table
        assert [note for note in store.notes if note in notes] == notes
        if self._size == 8.0:
            (crop,) = store.crops
            present = int(np.count_nonzero(store.present_of(crop) & store.known_of(crop)))
            known = int(np.count_nonzero(store.known_of(crop)))
            total = table.total(self.name)
            assert (present, known) == (total.present, total.known)
        return table.total(self.name), [*crop_set.notes, *notes]

    def build(self, said: Mapping[str, StatedValues] | None = None, size: float = 8.0) -> VoxelStore:
        reach = PatchReach((64.0, 64.0), stack_nm=0.0, rotation_degrees=0.0, transpose=False)
        crop_set = load_crops(self.table, [self.name], values=said or {})
        return open_or_build(StoreRequest(crop_set, (size,) * 3, reach, 4.0), self._root / "store", workers=1)


@pytest.fixture
def made(tmp_path: Path, add_crop: AddCrop, write_group: WriteGroup) -> Made:
    return Made(tmp_path, add_crop, write_group)


def filled(dtype: Any, **parts: float) -> np.ndarray:
    """Make an array of zeros with so many voxels of further values, in order: ``_1=100`` are 100 voxels of 1."""
    flat = np.zeros(ALL, dtype)
    start = 0
    for name, voxels in parts.items():
        value: Any = name.removeprefix("_").replace("m", "-").replace("p", ".")
        flat[start : start + int(voxels)] = float(value) if flat.dtype.kind == "f" else int(value)
        start += int(voxels)
    return flat.reshape(SHAPE)


IDS_TO_255 = np.arange(ALL).reshape(SHAPE) % 256

CASES: dict[str, tuple[Any, Any, str, Any, tuple[int, int], int]] = {
    # name: values, annotation type, class, counts, (present, unknown), notes
    "0 and 1": (filled("u1", _1=100), None, "er", None, (100, 0), 0),
    "bool": (filled("?", _1=100), None, "er", None, (100, 0), 0),
    "bool of an instance class": (filled("?", _1=100), INSTANCE, "nuc", None, (100, 0), 0),
    "big-endian": (filled(">u2", _1=100, _255=50), SEMANTIC, "er", None, (100, 50), 0),
    "255 in an encoding": (filled("u1", _1=100, _255=50), SEMANTIC, "er", None, (100, 50), 0),
    "0 and 255, 255 in an encoding as unknown": (filled("u1", _255=50), SEMANTIC, "er", None, (0, 50), 0),
    "255 beside 1, nothing said": (filled("u1", _1=100, _255=50), None, "er", None, (100, 50), 1),
    "255 present": (
        filled("u1", _255=100),
        {"type": "semantic_segmentation", "encoding": {"absent": 0, "present": 255}},
        "er",
        None,
        (100, 0),
        0,
    ),
    "255 present, and 128": (
        filled("u1", _255=100, _128=20),
        {"type": "semantic_segmentation", "encoding": {"absent": 0, "present": 255}},
        "er",
        None,
        (100, 20),
        1,
    ),
    "-1": (filled("i2", _1=100, m1=50), None, "er", None, (100, 50), 1),
    "-1 alone": (filled("i1", m1=50), None, "er", None, (0, 50), 1),
    "-100 beside ids": (filled("i4", _1=10, _2=10, m100=50), INSTANCE, "nuc", None, (20, 50), 1),
    "-1 declared": (
        filled("i2", _1=100, m1=50),
        {"type": "semantic_segmentation", "encoding": {"absent": 0, "present": 1, "unknown": -1}},
        "er",
        None,
        (100, 50),
        0,
    ),
    "-1 declared, stored as uint8": (
        filled("u1", _1=100, _255=50),
        {"type": "semantic_segmentation", "encoding": {"absent": 0, "present": 1, "unknown": -1}},
        "er",
        None,
        (100, 50),
        1,
    ),
    "65535": (filled("u2", _1=100, _65535=50), None, "er", None, (100, 50), 1),
    "65535 beside ids": (filled("u2", _1=10, _2=10, _65535=50), INSTANCE, "nuc", None, (20, 50), 1),
    "2^32 - 1 beside ids": (filled("u4", _1=10, _4294967295=50), INSTANCE, "nuc", None, (10, 50), 1),
    "2^64 - 1": (filled("u8", _1=100, _18446744073709551615=50), None, "er", None, (100, 50), 1),
    "2^64 - 1 beside ids": (filled("u8", _7=5, _18446744073709551615=50), INSTANCE, "nuc", None, (5, 50), 1),
    "ids 1 and 255": (filled("u1", _1=100, _255=50), INSTANCE, "nuc", None, (100, 50), 1),
    "ids 3, 17 and 255": (filled("u1", _3=10, _17=10, _255=50), INSTANCE, "nuc", None, (20, 50), 1),
    "255 declared, no id": (filled("u1", _255=50), INSTANCE, "nuc", None, (0, 50), 1),
    "every id to 255": (IDS_TO_255.astype("u1"), INSTANCE, "nuc", None, (ALL - 8, 0), 0),
    "most ids to 255": (np.where(IDS_TO_255 % 5, IDS_TO_255, 255).astype("u1"), INSTANCE, "nuc", None, (ALL, 0), 1),
    "ids beyond 255": (filled("u2", _1=10, _255=10, _300=10), INSTANCE, "nuc", None, (30, 0), 0),
    "255 that the counts call unknown": (
        filled("u1", _1=100, _255=50),
        INSTANCE,
        "nuc",
        {"absent": ALL - 150, "unknown": 50},
        (100, 50),
        0,
    ),
    "255 that the counts call an object": (filled("u1", _1=100, _255=50), INSTANCE, "nuc", {"unknown": 0}, (150, 0), 0),
    "ids in a semantic array": (filled("u1", _1=100, _2=30, _3=20), SEMANTIC, "er", None, (150, 0), 1),
    "127 in a semantic array": (filled("u1", _1=100, _127=20), SEMANTIC, "er", None, (120, 0), 1),
    "ids beyond 255, nothing said": (IDS_TO_255.astype("u2") + 1, None, "neurons", None, (ALL, 0), 1),
    "whole floats": (filled("f4", _1=100, _255=50), SEMANTIC, "er", None, (100, 50), 0),
    "half precision": (filled("f2", _1=100, _0p25=30, _0p5=20), None, "er", None, (120, 0), 1),
    "double precision": (filled("f8", _0p49=10, _0p51=20), None, "er", None, (20, 0), 1),
    "NaN": (np.where(filled("f4", _1=50) > 0, np.nan, filled("f4", _1=80)), SEMANTIC, "er", None, (30, 50), 1),
    "NaN among probabilities": (
        np.where(filled("f4", _1=50) > 0, np.nan, filled("f4", _0p75=80)),
        None,
        "er",
        None,
        (30, 50),
        2,
    ),
    "int64": (filled("i8", _1=100, _255=50), SEMANTIC, "er", None, (100, 50), 0),
    "a plain string for a type": (filled("u1", _1=100), "semantic_segmentation", "er", None, (100, 0), 0),
    "a misspelt type": (filled("u1", _1=100), "semantik", "er", None, (100, 0), 1),
    "counts as text": (filled("u1", _1=100), SEMANTIC, "er", {"absent": "many", "unknown": None}, (100, 0), 1),
}


@pytest.mark.parametrize("case", CASES)
def test_each_value_is_taken_as_the_documentation_says(made: Made, case: str) -> None:
    values, kind, name, counts, (present, unknown), notes = CASES[case]
    found, said = made.write(values, kind, name, counts).count()
    assert found == VoxelCount(present, ALL - present - unknown, unknown)
    assert len(said) == notes, list(map(str, said))
    assert all(note.kind is NoteKind.DATA and name in str(note) for note in said)


def test_a_note_names_the_values_and_their_voxels(made: Made) -> None:
    values = filled("u1", _1=100, _2=30, _3=20, _4=9, _5=8, _6=7, _7=6)
    _, (note,) = made.write(values, SEMANTIC).count()
    assert "taken as present" in note.text
    assert note.numbers == (" (2: 30 voxels; 3: 20 voxels; 4: 9 voxels; 5: 8 voxels; 6: 7 voxels; and 1 other value)")
    assert str(note) == f"d/crop1: {note.text}{note.numbers}"


@pytest.mark.parametrize(
    ("values", "kind", "name", "found"),
    [
        (filled("u1", _255=50), None, "er", "0: 1,998 voxels; 255: 50 voxels"),
        (filled("u1", _255=50), None, "nuc", "0: 1,998 voxels; 255: 50 voxels"),
        (filled("u1", _255=ALL), None, "er", "255: 2,048 voxels"),
        (filled("u1", _128=9, _255=50), None, "er", "0: 1,989 voxels; 128: 9 voxels; 255: 50 voxels"),
        (filled("u2", _65535=50), SEMANTIC, "er", "0: 1,998 voxels; 65535: 50 voxels"),
    ],
)
def test_a_mask_that_may_be_the_class_or_unknown_is_asked_about(
    made: Made, values: np.ndarray, kind: Any, name: str, found: str
) -> None:
    made.write(values, kind, name)
    mark = int(values.max())
    with pytest.raises(LayoutError, match=f"holds {mark}, and nothing says") as caught:
        made.count()
    assert caught.value.found == found
    assert f"data.labels.{name}.present = {mark}" in caught.value.remedy
    voxels = int((values == mark).sum())
    present, _ = made.count({name: StatedValues(present=(mark,))})
    assert present.present == voxels
    unknown, _ = made.count({"*": StatedValues(unknown=(mark,))})
    assert unknown.unknown == voxels


def test_fractions_beyond_one_are_refused_with_their_limits(made: Made) -> None:
    made.write(filled("f4", _127p5=20, _255=20))
    with pytest.raises(LayoutError, match="no probabilities") as caught:
        made.count()
    assert caught.value.found == "fractions from 0 to 127.5 (20 voxels)"


@pytest.mark.parametrize(
    ("dtype", "fill", "kind", "expected"),
    [
        ("u1", 1, None, (1024, 1024, 0)),
        ("u1", 255, SEMANTIC, (0, 1024, 1024)),
        ("?", True, None, (1024, 1024, 0)),
        ("f4", 0.75, None, (1024, 1024, 0)),
        ("f4", "NaN", None, (0, 1024, 1024)),
        ("i2", -1, None, (0, 1024, 1024)),
        ("u1", 5, {"type": "semantic_segmentation", "encoding": {"absent": 5, "present": 0}}, (1024, 1024, 0)),
    ],
)
def test_a_chunk_that_is_not_on_disk_means_what_its_fill_value_means(
    made: Made, dtype: str, fill: Any, kind: Any, expected: tuple[int, int, int]
) -> None:
    made.write(filled(dtype), kind, chunks=(8, 8, 16))
    array = made.group / "s0"
    meta = json.loads((array / ".zarray").read_text(encoding="utf-8")) | {"fill_value": 0}
    (array / ".zarray").write_text(json.dumps(meta | {"fill_value": fill}), encoding="utf-8")
    folder = array / "0/0"
    folder.mkdir(parents=True, exist_ok=True)
    codec = meta["compressor"]
    assert codec["id"] == "zstd"
    content = numcodecs.get_codec(codec).encode(np.zeros((8, 8, 16), dtype))
    (folder / "0").write_bytes(bytes(content))
    assert made.count()[0] == VoxelCount(*expected)


def test_counts_that_differ_from_the_metadata_are_noted_with_both_numbers(made: Made) -> None:
    made.write(filled("u1", _1=100), SEMANTIC, counts={"absent": 1848, "present": 200, "unknown": 0})
    _, (note,) = made.count()
    assert (note.kind, note.subject) == (NoteKind.COUNTS, "d/crop1")
    assert note.numbers == " (counted 1,948 absent instead of 1,848, 100 present instead of 200)"


def test_what_the_user_says_is_not_compared_with_the_metadata(made: Made) -> None:
    made.write(filled("u1", _1=100), SEMANTIC, counts={"absent": 1948, "present": 100})
    inverted = {"er": StatedValues(absent=(1,), present=(0,))}
    assert made.count(inverted) == (VoxelCount(1948, 100, 0), [])


def test_one_array_of_many_classes_gives_each_of_them(made: Made) -> None:
    made.write(filled("u1", _1=100, _5=60, _255=9))
    one = StatedValues(present=(5,), others=Meaning.ABSENT)
    assert made.count({"er": one}) == (VoxelCount(60, ALL - 60, 0), [])
    assert made.build({"er": one}).fingerprint != made.build({"er": StatedValues(present=(1, 5))}).fingerprint


def two_levels(fine: np.ndarray, coarse: np.ndarray) -> list[dict[str, Any]]:
    return [
        {"values": fine, "size": (8.0, 8.0, 8.0)},
        {"values": coarse, "size": (16.0, 16.0, 16.0), "origin": (4.0, 4.0, 4.0)},
    ]


@pytest.mark.parametrize("dtype", ["f4", "u1"])
def test_a_coarser_level_with_values_between_is_passed_over(made: Made, dtype: str) -> None:
    top = 1 if dtype == "f4" else 255
    fine = np.zeros(SHAPE, dtype)
    fine[:, :5] = top
    mean = fine.astype(float).reshape(4, 2, 8, 2, 8, 2).mean((1, 3, 5)).astype(dtype)
    assert 0 < mean[0, 2, 0] < top
    kind = {"type": "semantic_segmentation", "encoding": {"absent": 0, "present": top}}
    store = made.write(two_levels(fine, mean), kind).build(size=16.0)
    (crop,) = store.crops
    (note,) = store.notes
    assert "level s1 of er holds values that s0 does not" in note.text
    # A tie between two voxels goes up: row 2 of the coarse grid lies between rows 4 (present) and 5.
    np.testing.assert_array_equal(store.present_of(crop)[0, :, 0] & 1, [1, 1, 0, 0, 0, 0, 0, 0])
    assert store.known_of(crop).all()
    assert store.frequencies().total("er") == VoxelCount(5 * 128, 11 * 128, 0)


def test_what_the_finest_level_settles_holds_for_coarser_ones(made: Made) -> None:
    fine = filled("u1", _1=512, _255=512)
    store = made.write(two_levels(fine, fine[::2, ::2, ::2]), INSTANCE, "nuc").build(size=16.0)
    (crop,) = store.crops
    coarse = fine[::2, ::2, ::2]
    np.testing.assert_array_equal(store.present_of(crop) & 1, coarse == 1)
    np.testing.assert_array_equal(store.known_of(crop) & 1, coarse != 255)
    assert len(store.notes) == 1


def test_ordinary_arrays_are_decoded_once(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(labels, "find_values", None)
    made.write(filled("u1", _1=100, _255=50), SEMANTIC, counts={"absent": ALL - 150, "present": 100, "unknown": 50})
    assert made.count() == (VoxelCount(100, ALL - 150, 50), [])
