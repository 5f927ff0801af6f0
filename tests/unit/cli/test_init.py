from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from counterpoise.cli.init import write_experiment
from counterpoise.errors import ClassNameError, ConfigError, CounterpoiseError, VoxelSizeError
from counterpoise.experiment.load import load_experiment
from counterpoise.volumes.datasplit import read_datasplit

DEFAULTS: dict[str, Any] = {
    "datasplit": None,
    "classes": (),
    "voxel_size": None,
    "preset": "classic",
    "validation_fraction": 0.15,
    "seed": 0,
    "force": False,
}


def init(file: Path, phantom: Path, **changes: Any) -> None:
    write_experiment(file, **({"data": phantom.parent} | DEFAULTS | changes))


@pytest.mark.parametrize(
    ("changes", "kind", "hint"),
    [
        ({"classes": ["nuk"]}, ClassNameError, "did you mean 'nuc'"),
        ({"classes": ["nuc", "nuc"]}, ClassNameError, "asked for twice"),
        ({"preset": "clasic"}, ConfigError, "did you mean 'classic'"),
        ({"voxel_size": "8,8"}, ConfigError, "three numbers: z,y,x in nm"),
        ({"voxel_size": "8,8,nan"}, ConfigError, "three numbers: z,y,x in nm"),
        ({"voxel_size": "1,1,1"}, VoxelSizeError, "no level near"),
        ({"validation_fraction": 0.0}, ConfigError, "above 0 and below 1"),
        ({"validation_fraction": 1.0}, ConfigError, "above 0 and below 1"),
        ({"validation_fraction": float("nan")}, ConfigError, "above 0 and below 1"),
    ],
)
def test_a_refused_init_writes_nothing(
    phantom: Path, tmp_path: Path, changes: dict[str, Any], kind: type[CounterpoiseError], hint: str
) -> None:
    with pytest.raises(kind) as caught:
        init(tmp_path / "new" / "experiment.toml", phantom, **changes)
    assert hint in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_list_of_crops_is_never_overwritten_and_the_same_one_is_used_again(phantom: Path, tmp_path: Path) -> None:
    file = tmp_path / "my experiment.toml"
    taken = tmp_path / "datasplit.csv"
    taken.write_text("mine", encoding="utf-8")
    used = []
    for seed in (0, 0, 1, 2):
        init(file, phantom, seed=seed, force=True)
        used.append(load_experiment(file).data.datasplit)
    name = "my experiment-datasplit"
    assert [path.name for path in used] == [f"{name}.csv", f"{name}.csv", f"{name}-2.csv", f"{name}-3.csv"]
    assert taken.read_text(encoding="utf-8") == "mine"
    assert len({read_datasplit(path) for path in used}) == 3


def test_a_folder_name_with_quotes_survives(phantom: Path, tmp_path: Path) -> None:
    file = tmp_path / 'a "b" \\ c' / "experiment.toml"
    init(file, phantom)
    assert load_experiment(file).data.datasplit == file.parent / "datasplit.csv"


def test_a_voxel_size_that_some_crop_does_not_have_gives_way_to_its_own(
    tmp_path: Path, add_crop: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    raw = [{"values": np.ones((8, 24, 24), np.uint8), "size": (40.0, 4.0, 4.0)}]
    label = [{"values": np.ones((4, 8, 8), np.uint8), "size": (40.0, 4.0, 4.0)}]
    add_crop(tmp_path, "crop1", {"nuc": label}, raw)
    listed = add_crop(tmp_path, "crop2", {"pm": label}, raw, split="validate")
    file = tmp_path / "experiment.toml"
    write_experiment(file, **(DEFAULTS | {"data": None, "datasplit": listed}))
    assert load_experiment(file).data.voxel_size_nm == (40.0, 4.0, 4.0)
    told = capsys.readouterr()
    assert "voxel size 40,4,4 nm, that of raw (d/crop1 cannot be read at 8,8,8 nm)" in told.out
    assert "no validation crop annotates nuc" in told.err
    assert "no positive voxel in the train crops: pm; left out" in told.err


@pytest.mark.parametrize(("crops", "is_told"), [(2, True), (3, False)])
def test_classes_that_too_few_validation_crops_annotate_are_told(
    phantom: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], crops: int, is_told: bool
) -> None:
    lines = phantom.read_text(encoding="utf-8").replace('"phantom-', f'"{phantom.parent}/phantom-').splitlines()
    validated = [line for line in lines if line.startswith('"validate"')]
    table = tmp_path / "fewer.csv"
    table.write_text("\n".join(line for line in lines if line not in validated[crops:]), encoding="utf-8")
    init(tmp_path / "experiment.toml", phantom, data=None, datasplit=table, classes=("pm",))
    told = "pm cannot be scored: positives in 2 validation crops, of 12 crops that have any; a score needs 3"
    shown = capsys.readouterr().err
    assert (told in shown) is is_told
    assert ("to speak of new crops takes 5 or more" in shown) is not is_told


def test_crops_are_dealt_out_by_what_they_hold_and_not_by_what_they_annotate(
    tmp_path: Path, add_crop: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """All of 24 crops annotate b, ten hold it; c is annotated and held by none."""
    ones, empty = np.ones((8, 8, 8), np.uint8), np.zeros((8, 8, 8), np.uint8)
    for number in range(24):
        block = {"origin": (0.0, 0.0, 0.0), "counts": None}
        labels = {"a": ones, "b": ones if number % 12 < 5 else empty, "c": empty}
        folder = tmp_path / "data" / f"set{number}"
        folder.mkdir(parents=True)
        add_crop(folder, f"crop{number}", {n: [block | {"values": v}] for n, v in labels.items()})
    for seed in range(3):
        file = tmp_path / "made" / f"{seed}" / "experiment.toml"
        write_experiment(file, **(DEFAULTS | {"data": tmp_path / "data", "seed": seed}))
        rows = read_datasplit(file.parent / "datasplit.csv")
        held = [row for row in rows if int(row.label_path.name.removeprefix("crop")) % 12 < 5]
        assert [row.split for row in held].count("validate") == 5
        assert load_experiment(file).data.classes == ("a", "b")
        told = capsys.readouterr().err
        assert "no positive voxel in the train crops: c; left out" in told
        assert "cannot be scored" not in told
