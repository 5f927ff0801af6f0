"""The screen, the JSON and the page of ``data inspect``."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from counterpoise.cli.data_inspect import inspect
from counterpoise.cli.options import Format
from counterpoise.errors import ConfigError, DatasplitError
from counterpoise.report.images import LONGEST_SIDE

AddCrop = Callable[..., Path]


def say(source: Path, monkeypatch: pytest.MonkeyPatch, width: int = 80) -> str:
    """Return what is printed on a terminal of a width."""
    screen = Console(width=width, highlight=False, markup=False)
    monkeypatch.setattr("counterpoise.cli.inspect_screen.console", screen)
    with screen.capture() as printed:
        inspect(source)
    return printed.get()


def test_the_screen_fits_80_columns(phantom: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = say(phantom, monkeypatch).splitlines()
    assert max(map(len, lines[1:])) <= 80  # the first has the path
    assert lines[-1].startswith("0 problems, ")
    assert any(line.startswith("golgi_mem") for line in lines)


def test_48_classes_are_a_matrix_of_signs(tmp_path: Path, add_crop: AddCrop, monkeypatch: pytest.MonkeyPatch) -> None:
    labels = {f"class_{k:02d}": np.zeros((8, 8, 8), np.uint8) for k in range(48)}
    labels["class_00"][:] = 1
    labels["class_01"][0, 0, :2] = 1
    labels["class_02"][0, :4] = 1
    table = add_crop(tmp_path, "crop1", labels)
    add_crop(tmp_path, "crop2", {"class_47": labels["class_00"]}, split="validate")
    lines = say(table, monkeypatch).splitlines()
    assert max(map(len, lines[1:])) <= 80
    assert "d/crop1  #-+" + 45 * "0" in lines
    assert "d/crop2  " + 47 * "\N{MIDDLE DOT}" + "#" in lines


def test_json_is_alone_on_standard_output(phantom: Path, capsys: pytest.CaptureFixture[str]) -> None:
    inspect(phantom, output=Format.json)
    said = json.loads(capsys.readouterr().out)
    assert [crop["usage"] for crop in said["crops"]].count("train") == 10
    assert said["classes"] == ["nuc", "mito_mem", "er_mem", "pm", "golgi_mem"]


def test_of_a_folder_nobody_said_what_is_for_training(phantom: Path, capsys: pytest.CaptureFixture[str]) -> None:
    inspect(phantom.parent / "phantom-2", output=Format.json, classes="pm,nuc", voxel_size="16,16,16", patch="32,64")
    said = json.loads(capsys.readouterr().out)
    assert {crop["usage"] for crop in said["crops"]} == {None}
    assert said["classes"] == ["pm", "nuc"]
    assert (said["voxel_size_nm"], said["patch"]) == ([16, 16, 16], [32, 64])


def test_an_experiment_says_classes_voxel_size_and_patch(
    phantom: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "experiment.toml"
    file.write_text(
        f'[data]\ndatasplit = "{phantom}"\nclasses = ["pm"]\nvoxel_size_nm = [8.0, 10.0, 10.0]\n'
        "[sampling]\npatch_shape = [64, 80]\n",
        encoding="utf-8",
    )
    for source in (file, tmp_path):
        inspect(source, output=Format.json)
        said = json.loads(capsys.readouterr().out)
        assert (said["classes"], said["voxel_size_nm"], said["patch"]) == (["pm"], [8, 10, 10], [64, 80])


def test_the_page_is_one_file_with_a_picture_of_every_crop(
    phantom: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "page.html"
    inspect(phantom, out=out)
    page = out.read_text(encoding="utf-8")
    assert len(page) < 4_000_000 * 15 / 50
    assert not re.search(r'(src|href)="(?!data:|#)', page)
    assert "<script" not in page
    assert page.count('<article class="card"') == 15
    assert page.count("data:image/jpeg;base64,") == 15
    sides = re.findall(r'<image id="raw-\d+" [^>]*width="(\d+)" height="(\d+)"', page)
    assert all(max(map(int, side)) <= LONGEST_SIDE for side in sides)


def test_what_comes_from_files_is_escaped(tmp_path: Path, add_crop: AddCrop) -> None:
    name = "<b onload=x>"
    table = add_crop(tmp_path, name, {"<i>": np.ones((8, 8, 8), np.uint8)})
    inspect(table, out=tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "<b onload" not in page
    assert "<i>" not in page
    assert "&lt;b onload" in page


def test_what_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasplitError):
        inspect(tmp_path / "nothing.csv")
    with pytest.raises(DatasplitError):
        inspect(tmp_path)
    with pytest.raises(ConfigError):
        inspect(tmp_path / "nothing.toml")


@pytest.mark.parametrize(
    ("voxel_size", "patch"), [("8,8", None), ("8,0,8", None), (None, "a,b"), (None, "nan,2"), (None, "64")]
)
def test_options_that_cannot_be_used_are_refused(voxel_size: str | None, patch: str | None, phantom: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be used"):
        inspect(phantom, voxel_size=voxel_size, patch=patch)


def test_a_page_in_a_folder_that_is_not_there_is_refused_at_once(phantom: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="the page cannot be written"):
        inspect(phantom, out=tmp_path / "no" / "page.html")
