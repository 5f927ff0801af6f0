"""A second input format is one module and one entry of the register: here a dataset in one ``.npz`` file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from counterpoise.errors import DatasplitError
from counterpoise.frequencies.count import count_crops
from counterpoise.store import StoreRequest, open_or_build
from counterpoise.store.fingerprint import sources_of
from counterpoise.volumes import discover, formats
from counterpoise.volumes.annotation import ClassCount, VoxelCount
from counterpoise.volumes.crops import CropSet, load_crops
from counterpoise.volumes.discover import find_crops
from counterpoise.volumes.encoding import Annotation, StatedValues
from counterpoise.volumes.formats import FORMATS
from counterpoise.volumes.geometry import Grid, IndexBox, Shape3
from counterpoise.volumes.omezarr import OME_ZARR
from counterpoise.volumes.placement import PatchReach
from counterpoise.volumes.volume import Format, Volume

UNKNOWN = 9


@dataclass(frozen=True)
class NumpyLevel:
    """An array of the file, in chunks of two sections."""

    path: Path
    name: str
    grid: Grid
    dtype: np.dtype[Any]
    file: Path
    fill_value: int = 0

    @property
    def chunks(self) -> Shape3:
        return (2, *self.grid.shape[1:])

    def chunk_paths(self, block: IndexBox) -> Iterator[tuple[IndexBox, str]]:
        depth, height, width = self.grid.shape
        for z in range(block.start[0] // 2 * 2, block.stop[0], 2):
            yield IndexBox((z, 0, 0), (min(z + 2, depth), height, width)), str(self.file)

    def decoded_chunks(
        self, block: IndexBox, *, as_stored: bool = False
    ) -> Iterator[tuple[IndexBox, np.ndarray | None]]:
        array = np.load(self.file)[self.name]
        for box, _ in self.chunk_paths(block):
            voxels = np.full(self.chunks, UNKNOWN, self.dtype)  # what lies beyond the array must not be counted
            voxels[: box.shape[0]] = array[box.slices]
            yield box, voxels if as_stored else voxels[: box.shape[0]]

    def whole(self) -> IndexBox:
        return IndexBox((0, 0, 0), self.grid.shape)

    def description(self) -> bytes:
        return json.dumps([self.name, self.grid.voxel_size_nm]).encode()


@dataclass(frozen=True)
class NumpyVolume:
    path: Path
    levels: tuple[NumpyLevel, ...]
    notes: tuple[str, ...] = ()

    def annotations(self) -> list[Annotation]:
        stated = StatedValues(unknown=(UNKNOWN,) if self.path.name == "a" else ())
        return [Annotation(stated, is_instance=self.path.name == "b") for _ in self.levels]

    def metadata_files(self) -> list[str]:
        return [str(level.file) for level in self.levels]


def _in_file(path: Path) -> tuple[Path, str] | None:
    file = next((p for p in (path, *path.parents) if p.suffix == ".npz"), None)
    return None if file is None or not file.is_file() else (file, path.relative_to(file).as_posix())


def _holds(path: Path) -> bool:
    found = _in_file(path)
    return found is not None and any(name == found[1] or name.startswith(f"{found[1]}/") for name in np.load(found[0]))


def _open(path: Path) -> Volume:
    found = _in_file(path)
    assert found is not None
    array = np.load(found[0])[found[1]]
    grid = Grid(array.shape, (8.0, 8.0, 8.0), (0.0, 0.0, 0.0))
    return NumpyVolume(path, (NumpyLevel(path, found[1], grid, array.dtype, found[0]),))


NUMPY = Format("NumPy", _holds, _open, suffixes=(".npz",))


@pytest.fixture
def arrays(tmp_path: Path) -> dict[str, np.ndarray]:
    """Write a dataset of two crops, and the list of them."""
    random = np.random.default_rng(3)
    made = {
        "em": random.integers(1, 255, (7, 8, 9), np.uint8),
        "crop1/a": random.choice(np.array([0, 1, UNKNOWN], np.uint16), (7, 8, 9), p=[0.6, 0.3, 0.1]),
        "crop1/b": random.integers(0, UNKNOWN + 1, (7, 8, 9), np.uint8),
        "crop2/a": random.choice(np.array([0, 1], np.uint8), (5, 4, 6)),
    }
    np.savez(tmp_path / "set.npz", **made)  # type: ignore[arg-type]  # mypy takes an array for allow_pickle
    rows = '"train","set.npz","em","set.npz","crop1/[a,b]"\n"validate","set.npz","em","set.npz","crop2/[a,b]"\n'
    (tmp_path / "datasplit.csv").write_text(rows, encoding="utf-8")
    return made


@pytest.fixture
def crop_set(tmp_path: Path, arrays: dict[str, np.ndarray], monkeypatch: pytest.MonkeyPatch) -> CropSet:
    monkeypatch.setattr(formats, "FORMATS", (NUMPY, *FORMATS))
    return load_crops(tmp_path / "datasplit.csv", ["a", "b"])


def request(crops: CropSet) -> StoreRequest:
    reach = PatchReach((32.0, 32.0), stack_nm=0.0, rotation_degrees=0.0, transpose=False)
    return StoreRequest(crops, (8.0, 8.0, 8.0), reach, max_upsampling=1.0)


def counted(values: np.ndarray, unknown: int | None) -> ClassCount:
    """Count voxel by voxel."""
    tally = {"present": 0, "absent": 0, "unknown": 0}
    for value in values.ravel().tolist():
        tally["unknown" if value == unknown else "present" if value else "absent"] += 1
    return ClassCount(VoxelCount(**tally), (8.0, 8.0, 8.0))


def test_classes_of_a_second_format_are_counted(crop_set: CropSet, arrays: dict[str, np.ndarray]) -> None:
    expected = {
        "set/crop1": {"a": counted(arrays["crop1/a"], UNKNOWN), "b": counted(arrays["crop1/b"], None)},
        "set/crop2": {"a": counted(arrays["crop2/a"], UNKNOWN)},
    }
    table = count_crops(crop_set, workers=1)
    assert {crop.crop_id: dict(crop.classes) for crop in table.crops} == expected
    assert tuple(map(str, crop_set.notes)) == (
        "set/crop2: b is listed but has no group on disk; it is not annotated there",
    )


def test_its_voxels_are_stored_and_a_changed_file_is_another_store(
    tmp_path: Path, crop_set: CropSet, arrays: dict[str, np.ndarray]
) -> None:
    store = open_or_build(request(crop_set), tmp_path / "stores", workers=1)
    first, second = store.crops
    assert store.frequencies() == count_crops(crop_set, workers=1)
    assert np.array_equal(store.raw_of(first), arrays["em"])
    a, b = arrays["crop1/a"], arrays["crop1/b"]
    assert np.array_equal(store.present_of(first), (a == 1) + 2 * (b != 0))
    assert np.array_equal(store.present_of(second), arrays["crop2/a"])
    assert str(tmp_path / "set.npz") in sources_of(crop_set, request(crop_set).fit())

    np.savez(tmp_path / "set.npz", **(arrays | {"em": arrays["em"] + 1}))  # type: ignore[arg-type]
    again = load_crops(tmp_path / "datasplit.csv", ["a", "b"])
    changed = open_or_build(request(again), tmp_path / "stores", workers=1)
    assert changed.fingerprint != store.fingerprint
    assert np.array_equal(changed.raw_of(changed.crops[0]), arrays["em"] + 1)


def test_without_its_entry_a_file_is_no_group(tmp_path: Path, arrays: dict[str, np.ndarray]) -> None:
    del arrays
    with pytest.raises(DatasplitError, match=r"no raw group at set\.npz/em"):
        load_crops(tmp_path / "datasplit.csv", ["a"])


def test_a_format_without_a_layout_is_not_searched_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discover, "FORMATS", (NUMPY, *FORMATS))
    assert OME_ZARR.layout is not None
    with pytest.raises(DatasplitError) as caught:
        find_crops(tmp_path)
    assert caught.value.expected == OME_ZARR.layout.expected
