"""Crops of a list, to be divided anew."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from counterpoise.errors import DatasplitError
from counterpoise.notes import Note
from counterpoise.volumes.datasplit import read_datasplit, write_datasplit
from counterpoise.volumes.discover import datasplit_rows, find_crops
from counterpoise.volumes.geometry import Box
from counterpoise.volumes.listed import find_listed_crops

AddCrop = Callable[..., Path]
ONES = np.ones((4, 4, 4), np.uint8)


def test_the_crops_of_a_list_are_those_of_its_folder_with_the_classes_that_it_lists(phantom: Path) -> None:
    places = {crop.labels: (crop.store.resolve(), crop.raw, crop.box) for crop in find_crops(phantom.parent)}
    found = find_listed_crops(phantom)
    assert {crop.labels: (crop.store.resolve(), crop.raw, crop.box) for crop in found} == places
    assert [crop.classes for crop in found] == [row.classes for row in read_datasplit(phantom)]


def test_a_crop_that_both_splits_list_is_one_crop_with_the_classes_of_both(tmp_path: Path, add_crop: AddCrop) -> None:
    add_crop(tmp_path, "crop1", {"a": ONES, "b": ONES}, listed=["a"])
    table = tmp_path / "datasplit.csv"
    line = table.read_text().strip()
    table.write_text(f"{line}\n{line}\n{line.replace('train', 'validate').replace('[a]', '[b]')}\n")
    notes: list[Note] = []
    (found,) = find_listed_crops(table, on_note=notes.append)
    assert (found.classes, found.box) == (("a", "b"), Box((-4.0, -4.0, -4.0), (28.0, 28.0, 28.0)))
    assert len(notes) == 1


def test_raw_and_labels_in_stores_of_their_own_are_written_back_as_they_were(tmp_path: Path, add_crop: AddCrop) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        table = add_crop(tmp_path / name, "crop1", {"a": ONES})
    split, _, raw, _, labels = table.read_text().strip().strip('"').split('","')
    (tmp_path / "both.csv").write_text(f'"{split}","one/d.zarr","{raw}","two/d.zarr","{labels}"\n')
    (tmp_path / "deep").mkdir()
    crops = find_listed_crops(tmp_path / "both.csv")
    write_datasplit(tmp_path / "deep/made.csv", datasplit_rows(crops, ["train"], ["a"], tmp_path / "deep"))
    (was,), (made,) = read_datasplit(tmp_path / "both.csv"), read_datasplit(tmp_path / "deep/made.csv")
    assert (made.raw_path, made.label_path, made.classes) == (was.raw_path, was.label_path, was.classes)


def test_lines_that_could_not_be_written_again_are_refused(tmp_path: Path, add_crop: AddCrop) -> None:
    table = add_crop(tmp_path, "crop1", {"a": ONES})
    text = table.read_text()
    table.write_text(text.replace("[a]", "[a]/v2"))
    with pytest.raises(DatasplitError, match=r"line 1 .* cannot be written into another list"):
        find_listed_crops(table)
    table.write_text(text.replace("[a]", "[b]"))
    with pytest.raises(DatasplitError, match=r"line 1 .*: no class has a group"):
        find_listed_crops(table)
