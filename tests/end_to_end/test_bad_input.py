"""Bad input through the command line: four parts, exit code 2, no traceback, nothing half-written."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

CommandLine = Callable[..., subprocess.CompletedProcess[str]]
WriteExperiment = Callable[..., Path]


def _refused(done: subprocess.CompletedProcess[str], *words: str) -> None:
    assert done.returncode == 2, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    for part in ("expected:", "found:", "to fix:", *words):
        assert part in done.stderr, done.stderr


def _edit_json(file: Path, change: Callable[[dict], object]) -> None:  # type: ignore[type-arg]
    content = json.loads(file.read_text(encoding="utf-8"))
    change(content)
    file.write_text(json.dumps(content), encoding="utf-8")


def _raw_levels(data: Path) -> list[Path]:
    return sorted(data.glob("*/*.zarr/recon-1/em/fibsem-uint8/s*"))


@pytest.fixture
def run_on(command_line: CommandLine, write_experiment: WriteExperiment, tmp_path: Path) -> Callable[..., object]:
    """Run the small experiment on a data folder, expect a refusal that says these words, and no run folder."""

    def refuse(data: Path, *words: str, **changes: str) -> None:
        experiment = write_experiment(tmp_path / "experiment", data / "datasplit.csv", **changes)
        _refused(command_line("run", experiment), *words)
        assert not (experiment.parent / "my run").exists()

    return refuse


def test_missing_experiment(command_line: CommandLine, tmp_path: Path) -> None:
    _refused(command_line("run", tmp_path / "nothing.toml"), "nothing.toml", "counterpoise init")


def test_missing_datasplit(run_on: Callable[..., object], tmp_path: Path) -> None:
    run_on(tmp_path / "nowhere", "no datasplit at", "nowhere")


def test_missing_label_folder(run_on: Callable[..., object], own_data: Path) -> None:
    text = (own_data / "datasplit.csv").read_text(encoding="utf-8")
    (own_data / "datasplit.csv").write_text(text.replace("groundtruth/crop2/", "groundtruth/crop77/"), encoding="utf-8")
    run_on(own_data, "line 2", "crop77")


def test_wrong_columns(run_on: Callable[..., object], own_data: Path) -> None:
    with (own_data / "datasplit.csv").open("a", encoding="utf-8") as stream:
        stream.write('"train","somewhere"\n')
    run_on(own_data, "has 2 columns")


def test_class_nobody_annotates(run_on: Callable[..., object], own_data: Path) -> None:
    run_on(own_data, "'golgi_men' is annotated nowhere", "did you mean 'golgi_mem'", classes='classes = ["golgi_men"]')


def test_class_without_a_positive_voxel(
    run_on: Callable[..., object], own_data: Path, command_line: CommandLine, tmp_path: Path
) -> None:
    for level in own_data.glob("*/*.zarr/recon-1/labels/groundtruth/crop*/mito_mem/s*"):
        for chunk in [p for p in level.rglob("*") if p.is_file() and not p.name.startswith(".")]:
            chunk.unlink()  # an absent chunk is all zero: annotated, nowhere present
    shown = command_line("frequencies", "--datasplit", own_data / "datasplit.csv", "--classes", "nuc,mito_mem")
    assert shown.returncode == 0
    assert "mito_mem has no positive voxel" in shown.stderr
    run_on(own_data, "no positive voxel of mito_mem", "classes = ['nuc', 'pm']")


def test_no_validation_crop(run_on: Callable[..., object], own_data: Path) -> None:
    text = (own_data / "datasplit.csv").read_text(encoding="utf-8")
    (own_data / "datasplit.csv").write_text(text.replace('"validate"', '"train"'), encoding="utf-8")
    run_on(own_data, "no validate crop")


def test_damaged_chunk(run_on: Callable[..., object], own_data: Path) -> None:
    chunk = next(
        p for p in sorted(own_data.glob("*/*.zarr/recon-1/labels/groundtruth/crop*/nuc/s0/**/*"))
        if p.is_file() and not p.name.startswith(".")
    )  # fmt: skip
    chunk.write_bytes(chunk.read_bytes()[:10])
    run_on(own_data, "cannot be decoded", "/".join(chunk.parts[-3:]))


def test_raw_of_more_than_16_bits(run_on: Callable[..., object], own_data: Path) -> None:
    for level in _raw_levels(own_data):
        _edit_json(level / ".zarray", lambda meta: meta.update(dtype="<f4"))
    run_on(own_data, "has values that cannot be used", "float32")


def test_raw_whose_metadata_say_another_type_than_its_chunks_have(
    run_on: Callable[..., object], own_data: Path
) -> None:
    for level in _raw_levels(own_data):
        _edit_json(level / ".zarray", lambda meta: meta.update(dtype="<u2"))
    run_on(own_data, "cannot be decoded", "uint16")


@pytest.mark.parametrize("size", [0.0, -8.0, 1e9])
def test_impossible_voxel_size(run_on: Callable[..., object], own_data: Path, size: float) -> None:
    group = _raw_levels(own_data)[0].parent

    def spoil(content: dict) -> None:  # type: ignore[type-arg]
        content["multiscales"][0]["datasets"][0]["coordinateTransformations"][0]["scale"] = [8.0, size, 8.0]

    _edit_json(group / ".zattrs", spoil)
    run_on(own_data, "impossible voxel size")


def test_impossible_requested_voxel_size(run_on: Callable[..., object], own_data: Path) -> None:
    run_on(own_data, "voxel_size_nm", "line 5", voxel_size_nm="voxel_size_nm = [16, 0, 16]")


def test_unwritable_run_folder(
    command_line: CommandLine, write_experiment: WriteExperiment, small_data: Path, tmp_path: Path
) -> None:
    (tmp_path / "a file").write_text("in the way", encoding="utf-8")
    experiment = write_experiment(tmp_path, small_data / "datasplit.csv", folder='folder = "a file/run"')
    _refused(command_line("run", experiment), "cannot be written", "a file")


def test_not_a_run_folder(command_line: CommandLine, tmp_path: Path) -> None:
    for command in ("results", "report"):
        _refused(command_line(command, tmp_path), "is not a run folder")


def test_not_a_trial_folder(command_line: CommandLine, tmp_path: Path) -> None:
    _refused(command_line("trial", tmp_path), "does not describe a trial")


def test_init_needs_data_and_spares_what_is_there(command_line: CommandLine, small_data: Path, tmp_path: Path) -> None:
    file = tmp_path / "e.toml"
    _refused(command_line("init", file), "--data")
    file.write_text("mine", encoding="utf-8")
    _refused(command_line("init", file, "--data", small_data), "exists", "--force")
    assert file.read_text(encoding="utf-8") == "mine"
    _refused(command_line("init", tmp_path / "f.toml", "--data", tmp_path / "empty"), "no crop below")
    _refused(command_line("init", tmp_path / "g.toml", "--data", small_data, "--voxel-size", "8;8"), "voxel")


def test_phantom_spares_a_folder_in_use(command_line: CommandLine, small_data: Path) -> None:
    _refused(command_line("data", "phantom", small_data), "in use")


def test_a_byte_order_mark_is_no_fault(
    command_line: CommandLine, write_experiment: WriteExperiment, tmp_path: Path
) -> None:
    experiment = write_experiment(tmp_path, tmp_path / "nowhere" / "datasplit.csv")
    experiment.write_bytes(b"\xef\xbb\xbf" + experiment.read_bytes())
    _refused(command_line("run", experiment), "no datasplit at")
