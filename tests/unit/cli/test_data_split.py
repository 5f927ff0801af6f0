"""``data split``: lists in folders of our own, never next to the data."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from counterpoise.cli.app import app
from counterpoise.cli.data_split import write_splits
from counterpoise.errors import ClassNameError, DatasplitError, RunFolderError
from counterpoise.volumes.datasplit import read_datasplit


def validated(file: Path) -> set[Path]:
    return {row.label_path for row in read_datasplit(file) if row.split == "validate"}


def test_a_folder_is_split_into_the_current_one_and_the_same_seed_gives_the_same(
    phantom: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = phantom.read_bytes()
    write_splits(phantom.parent, seed=4)
    first = (tmp_path / "datasplit.csv").read_bytes()
    write_splits(phantom.parent, seed=4, force=True)
    assert (tmp_path / "datasplit.csv").read_bytes() == first
    write_splits(phantom.parent, seed=5, force=True)
    assert (tmp_path / "datasplit.csv").read_bytes() != first
    assert phantom.read_bytes() == before


def test_in_folds_every_crop_validates_once(phantom: Path, tmp_path: Path) -> None:
    write_splits(phantom.parent, folds=3, out=tmp_path)
    folds = [validated(tmp_path / f"datasplit_fold{number}.csv") for number in (1, 2, 3)]
    everything = {row.label_path for row in read_datasplit(phantom)}
    assert set().union(*folds) == everything
    assert sum(map(len, folds)) == len(everything) == 15


def test_a_list_is_split_anew_with_the_same_crops_and_classes(phantom: Path, tmp_path: Path) -> None:
    write_splits(phantom, out=tmp_path)
    listed = {row.label_path: set(row.classes) for row in read_datasplit(phantom)}
    assert {row.label_path: set(row.classes) for row in read_datasplit(tmp_path / "datasplit.csv")} == listed


def test_a_list_is_overwritten_only_with_force_and_never_if_it_is_read_only(phantom: Path, tmp_path: Path) -> None:
    file = tmp_path / "datasplit.csv"
    file.write_text("mine")
    with pytest.raises(RunFolderError, match="exists"):
        write_splits(phantom.parent, out=tmp_path)
    file.chmod(0o444)
    with pytest.raises(RunFolderError, match="is read-only"):
        write_splits(phantom.parent, out=tmp_path, force=True)
    assert file.read_text() == "mine"


@pytest.mark.parametrize("share", [0.0, 1.0, float("nan"), 20.0])
def test_a_share_that_is_none_is_refused_and_nothing_written(phantom: Path, tmp_path: Path, share: float) -> None:
    with pytest.raises(DatasplitError, match="--validate"):
        write_splits(phantom.parent, validate=share, out=tmp_path / "new")
    assert list(tmp_path.iterdir()) == []


def test_more_folds_than_crops_are_refused(phantom: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasplitError, match="cannot be divided into 16 folds"):
        write_splits(phantom.parent, folds=16, out=tmp_path / "new")


def crops(folder: Path, add_crop: Callable[..., Path], classes: str, apart_nm: float) -> Path:
    """Write one crop per word, each 32 nm long, in one volume, with the classes that the word names."""
    for number, names in enumerate(classes.split()):
        level = [{"values": np.ones((4, 4, 4), np.uint8), "origin": (0.0, 0.0, number * apart_nm)}]
        table = add_crop(folder, f"crop{number + 1}", dict.fromkeys(names, level))
    table.write_text(re.sub(r"/em/crop\d+", "/em/crop1", table.read_text()))
    return table


def test_crops_without_a_wanted_class_are_left_out_and_counted(
    tmp_path: Path, add_crop: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    table = crops(tmp_path, add_crop, "ab a a b b", apart_nm=1000.0)
    write_splits(table, asked=["a"], out=tmp_path / "new")
    assert [row.classes for row in read_datasplit(tmp_path / "new/datasplit.csv")] == [("a",)] * 3
    assert "annotate none of these classes: 2 crops" in capsys.readouterr().err
    with pytest.raises(ClassNameError, match="'c' is annotated nowhere"):
        write_splits(table, asked=["c"], out=tmp_path / "none")


def test_what_could_not_be_done_is_said(
    tmp_path: Path, add_crop: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    # 8 nm apart: to have class a on both sides, neighbours must be parted. Class c has one crop only.
    table = crops(tmp_path, add_crop, "a a a a ac", apart_nm=40.0)
    write_splits(table, out=tmp_path / "new")
    output = capsys.readouterr()
    assert "no overlap, some adjacent; 40 % validate and not 20 %" in output.out
    assert "no validation crop annotates c" in output.err
    assert "a cannot be scored: positives in 2 validation crops, of 5 crops that have any; a score" in output.err


def test_what_all_folds_lack_is_said_once(
    tmp_path: Path, add_crop: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    write_splits(crops(tmp_path, add_crop, "a a a a", apart_nm=1000.0), folds=4, out=tmp_path / "new")
    assert capsys.readouterr().err == (
        "warning: a cannot be scored: positives in 1 validation crop, of 4 crops that have any; a score needs 3\n"
    )


def test_raw_and_labels_in_stores_of_their_own_are_written_back_as_they_were(
    tmp_path: Path, add_crop: Callable[..., Path]
) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        table = crops(tmp_path / name, add_crop, "a a", apart_nm=100.0)
    lines = [line.split('","') for line in table.read_text().strip().splitlines()]
    text = [f'{split}","one/d.zarr","{raw}","two/d.zarr","{labels}' for split, _, raw, _, labels in lines]
    (tmp_path / "both.csv").write_text("\n".join(text))
    write_splits(tmp_path / "both.csv", out=tmp_path / "deep" / "down")
    was, made = read_datasplit(tmp_path / "both.csv"), read_datasplit(tmp_path / "deep/down/datasplit.csv")
    assert [(row.raw_path, row.label_path) for row in made] == [(row.raw_path, row.label_path) for row in was]


@pytest.mark.real
def test_four_validation_crops_of_every_class_of_the_real_data(real_data: Path, tmp_path: Path) -> None:
    # Nine to eleven of its twelve crops annotate each class: four at least, with as many to train on.
    for seed in range(5):
        write_splits(real_data / "vnc" / "datasplit.csv", seed=seed, out=tmp_path, force=True)
        listed = [row.classes for row in read_datasplit(tmp_path / "datasplit.csv") if row.split == "validate"]
        for name in ("cell", "cyto", "ecs", "mito", "nuc", "pm", "synapse"):
            assert sum(name in classes for classes in listed) >= 4


def test_a_share_beside_folds_is_refused_rather_than_ignored(phantom: Path, tmp_path: Path) -> None:
    done = CliRunner().invoke(
        app, ["data", "split", str(phantom.parent), "--folds", "3", "--validate", "0.5", "--out", str(tmp_path)]
    )
    assert (done.exit_code, list(tmp_path.iterdir())) == (2, [])
    assert "no share to choose" in " ".join(done.output.split())
