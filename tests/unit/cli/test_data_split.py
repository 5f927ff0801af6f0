"""``data split``: lists in folders of our own, never next to the data."""

from __future__ import annotations

from pathlib import Path

import pytest

from counterpoise.cli.data_split import write_splits
from counterpoise.errors import DatasplitError, RunFolderError
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
