"""``data split``: what is written, what is refused, what is told."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from counterpoise.cli.data_split import write_splits
from counterpoise.errors import ClassNameError, ConfigError, CounterpoiseError, DatasplitError
from counterpoise.volumes.datasplit import read_datasplit

AddCrop = Callable[..., Path]
DEFAULTS: dict[str, Any] = {"share": 0.2, "seed": 0, "folds": None, "classes": (), "force": False}


def sides(file: Path) -> dict[Path, str]:
    return {row.label_path: row.split for row in read_datasplit(file)}


def crops(folder: Path, add_crop: AddCrop, classes: str, apart_nm: float = 1000.0) -> Path:
    """Write one crop per word, each 32 nm long, in one volume, with the classes that the word names."""
    values = np.ones((4, 4, 4), np.uint8)
    words = classes.split()
    for number, names in enumerate(words):
        level = [{"values": values, "origin": (0.0, 0.0, number * apart_nm)}]
        table = add_crop(folder, f"crop{number + 1}", dict.fromkeys(names, level))
    table.write_text(re.sub(r"/em/crop\d+", "/em/crop1", table.read_text()))
    return table


def test_a_folder_and_its_list_are_divided_alike(phantom: Path, tmp_path: Path) -> None:
    write_splits(phantom.parent, tmp_path / "folder.csv", **DEFAULTS)
    write_splits(phantom, tmp_path / "new" / "list.csv", **DEFAULTS)
    one, other = sides(tmp_path / "folder.csv"), sides(tmp_path / "new" / "list.csv")
    assert one.keys() == other.keys() == sides(phantom).keys()
    assert [*one.values()].count("validate") >= 3  # a fifth of 15


def test_each_crop_validates_in_one_fold_and_trains_in_the_others(phantom: Path, tmp_path: Path) -> None:
    write_splits(phantom, tmp_path / "d.csv", **(DEFAULTS | {"folds": 3}))
    folds = [sides(tmp_path / f"d_fold{fold}.csv") for fold in (1, 2, 3)]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["d_fold1.csv", "d_fold2.csv", "d_fold3.csv"]
    for crop in sides(phantom):
        assert sorted(fold[crop] for fold in folds) == ["train", "train", "validate"]


def test_the_seed_alone_decides(tmp_path: Path, add_crop: AddCrop) -> None:
    table = crops(tmp_path, add_crop, "a a a a a a a a a a")
    for name, seed in (("1", 0), ("2", 0), ("3", 1)):
        write_splits(table, tmp_path / f"{name}.csv", **(DEFAULTS | {"seed": seed}))
    assert sides(tmp_path / "1.csv") == sides(tmp_path / "2.csv") != sides(tmp_path / "3.csv")


@pytest.mark.parametrize(
    ("changes", "kind", "hint"),
    [
        ({"classes": ["nuk"]}, ClassNameError, "did you mean 'nuc'"),
        ({"folds": 99}, DatasplitError, "ask for fewer folds"),
    ],
)
def test_what_is_refused_writes_nothing(
    phantom: Path, tmp_path: Path, changes: dict[str, Any], kind: type[CounterpoiseError], hint: str
) -> None:
    with pytest.raises(kind) as caught:
        write_splits(phantom, tmp_path / "d.csv", **(DEFAULTS | changes))
    assert hint in caught.value.remedy
    assert list(tmp_path.iterdir()) == []


def test_no_list_is_overwritten_without_force(phantom: Path, tmp_path: Path) -> None:
    (tmp_path / "d_fold2.csv").write_text("mine", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"d_fold2\.csv exists"):
        write_splits(phantom, tmp_path / "d.csv", **(DEFAULTS | {"folds": 2}))
    assert [path.name for path in tmp_path.iterdir()] == ["d_fold2.csv"]
    write_splits(phantom, tmp_path / "d.csv", **(DEFAULTS | {"folds": 2, "force": True}))
    assert len(sides(tmp_path / "d_fold2.csv")) == 15


def test_a_list_may_be_divided_in_place(tmp_path: Path, add_crop: AddCrop) -> None:
    table = crops(tmp_path, add_crop, "a a a a")
    write_splits(table, table, **(DEFAULTS | {"force": True, "share": 0.5}))
    assert sorted(sides(table).values()) == ["train", "train", "validate", "validate"]


def test_crops_without_a_wanted_class_are_left_out_and_counted(
    tmp_path: Path, add_crop: AddCrop, capsys: pytest.CaptureFixture[str]
) -> None:
    table = crops(tmp_path, add_crop, "ab a a b b")
    write_splits(table, tmp_path / "d.csv", **(DEFAULTS | {"classes": ["a"]}))
    assert [row.classes for row in read_datasplit(tmp_path / "d.csv")] == [("a",)] * 3
    assert "2 crops annotate none of these classes and are left out" in capsys.readouterr().err


def test_what_could_not_be_done_is_said(tmp_path: Path, add_crop: AddCrop, capsys: pytest.CaptureFixture[str]) -> None:
    # Crops of 32 nm in one volume, 8 nm apart: to have class a on both sides, neighbours must be parted.
    table = crops(tmp_path, add_crop, "a a a a ac", apart_nm=40.0)
    write_splits(table, tmp_path / "d.csv", **DEFAULTS)
    output = capsys.readouterr()
    assert "no overlap, some adjacent" in output.out
    for told in (
        "only one crop annotates c: it cannot be on both sides",
        "fewer than 3 validation crops annotate a",
        "neighbours had to be parted",
    ):
        assert told in output.err


@pytest.mark.real
def test_three_validation_crops_of_every_class_of_the_real_data(real_data: Path, tmp_path: Path) -> None:
    # Six to ten of its twelve crops annotate each class; a verdict on a class needs three.
    for seed in range(5):
        file = tmp_path / f"{seed}.csv"
        write_splits(real_data / "vnc" / "datasplit.csv", file, **(DEFAULTS | {"seed": seed}))
        validated = [row.classes for row in read_datasplit(file) if row.split == "validate"]
        for name in ("cell", "cyto", "ecs", "mito", "nuc", "pm", "synapse"):
            assert sum(name in classes for classes in validated) >= 3
