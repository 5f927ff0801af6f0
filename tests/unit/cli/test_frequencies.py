"""``frequencies --exposure``: what a user sees of a run whose sampler already balances."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from counterpoise.cli.app import app
from counterpoise.cli.frequencies import show_exposure
from counterpoise.errors import ConfigError, LayoutError
from counterpoise.files.atomic import append_line, write_json
from counterpoise.frequencies.exposure import ClassExposure, Exposure
from counterpoise.frequencies.table import CropCount, FrequencyTable
from counterpoise.runs.arms import ArmRecord, ArmsRecord
from counterpoise.runs.layout import RunFolder
from counterpoise.runs.records import EpochRecord
from counterpoise.volumes.annotation import ClassCount, VoxelCount

SIZE = (8.0, 8.0, 8.0)
ARMS = ("weight_uniform", "weight_inv_freq")


def epoch(number: int) -> EpochRecord:
    """Show 3 patches: nuc 20 %, pm 5 % and er 3 % of the pixels."""
    shown = {
        "nuc": ClassExposure(3, 3, 10000, 2000),
        "pm": ClassExposure(3, 2, 10000, 500),
        "er": ClassExposure(2, 1, 10000, 300),
    }
    return EpochRecord(number, 1.0, 1.0, None, {}, {}, 1e-4, 0, 0, 1.0, 1.0, Exposure(3, shown).to_json(), 0.0)


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """Write a run with one seed and two epochs; in the data nuc has 20 %, pm 4 %, er 1 %."""
    folder = RunFolder(tmp_path / "my run")
    folder.path.mkdir()
    arms = tuple(ArmRecord(name, "", {"nuc": 1.0, "pm": 1.0, "er": 1.0}, [], None, runs=True) for name in ARMS)
    ArmsRecord(("nuc", "pm", "er"), "weight_uniform", (7,), arms, ()).write(folder.weights)
    counts = {
        name: ClassCount(VoxelCount(present, 10**6 - present, 0), SIZE)
        for name, present in (("nuc", 200000), ("pm", 40000), ("er", 10000))
    }
    table = FrequencyTable(("nuc", "pm", "er"), (CropCount("d/crop1", "train", counts),))
    write_json(folder.frequencies, table.to_json({}))
    for arm in ARMS:
        trial = folder.trial(arm, 7)
        trial.path.mkdir(parents=True)
        for number in (1, 2):
            append_line(trial.metrics, epoch(number).__dict__)
    return folder


def test_exact_and_shown_frequencies_are_shown_together(run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    show_exposure(run, None, (), as_json=False)
    out, err = capsys.readouterr()
    cells = {line.split()[0]: line.split()[1:] for line in out.splitlines() if line.startswith(("nuc", "pm", "er"))}
    assert "nuc    20.000 %  20.000 %         1.00       100.0 %      100.0 %" in out
    assert "pm      4.000 %   5.000 %         1.25       100.0 %       66.7 %" in out
    assert "er      1.000 %   3.000 %         3.00        66.7 %       33.3 %" in out
    assert cells["er"] == ["2.40", "4.000", "/", "1.667", "2.000", "/", "1.291"]
    assert "6 patches in 2 epochs of weight_uniform seed 7;" in out
    (warning, arms) = err.splitlines()
    assert warning == (
        "warning: er is corrected twice: the sampler moves it 2.40 x towards balance, and weights from the exact "
        "frequencies do it again (weight_inv_freq 4.000 instead of 1.667, weight_sqrt_inv 2.000 instead of 1.291)"
    )
    assert arms == "arms of this run with weights from the exact frequencies: weight_inv_freq"


def test_json_has_the_references_document_and_the_exposure(run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    show_exposure(run, None, (), as_json=True)
    document = json.loads(capsys.readouterr().out)
    assert document["total_pos"] == {"nuc": 200000, "pm": 40000, "er": 10000}
    found = document["exposure"]
    assert (found["patches"], found["epochs"], found["trials"]) == (6, 2, ["weight_uniform/seed-7"])
    assert found["arms_by_exact_frequency"] == ["weight_inv_freq"]
    er = found["classes"]["er"]
    assert (er["patches_known"], er["patches_positive"]) == (4, 2)
    assert (er["pixels_known"], er["pixels_positive"]) == (20000, 600)
    assert (er["exact_frequency"], er["shown_frequency"], er["is_corrected_twice"]) == (0.01, 0.03, True)
    assert er["weights"]["weight_inv_freq"]["exact"] == 4.0
    assert [found["classes"][name]["is_corrected_twice"] for name in ("nuc", "pm")] == [False, False]


def test_a_run_alone_is_enough(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    named = CliRunner().invoke(app, ["frequencies", "--exposure", str(run.path)])
    assert named.exit_code == 0
    assert "Class frequencies in the train crops, and as shown in training" in named.output
    monkeypatch.chdir(run.path.parent)
    assert CliRunner().invoke(app, ["frequencies", "--exposure"]).output == named.output


@pytest.mark.parametrize(
    "half", [["--classes", "nuc"], ["--datasplit", "x.csv"], ["e.toml", "--datasplit", "x.csv", "--classes", "nuc"]]
)
@pytest.mark.parametrize("command", ["frequencies", "weights"])
def test_a_list_of_crops_needs_its_classes_and_no_experiment(command: str, half: list[str]) -> None:
    refused = CliRunner().invoke(app, [command, *half])
    assert refused.exit_code == 2
    assert "--datasplit" in refused.output


def test_of_a_run_the_counts_in_its_folder_are_shown(run: RunFolder) -> None:
    experiment = """
        [data]
        datasplit = "gone.csv"
        classes = ["nuc", "pm", "er"]
        [arms]
        strategies = ["weight_uniform", "weight_inv_freq", "weight_manual"]
        manual_weights = { nuc = 3, pm = 2, er = 1 }
        [run]
        folder = "my run"
    """
    run.config.write_text(experiment, encoding="utf-8")
    printed = CliRunner().invoke(app, ["frequencies", str(run.path), "--json"])
    assert json.loads(printed.stdout)["total_pos"] == {"nuc": 200000, "pm": 40000, "er": 10000}
    printed = CliRunner().invoke(app, ["weights", str(run.path), "--json"])
    found = json.loads(printed.stdout)["weights"]
    assert list(found) == ["weight_uniform", "weight_inv_freq", "weight_manual"]
    assert found["weight_inv_freq"]["weights"]["er"] == 4.0  # the median frequency is 4 %, that of er 1 %
    assert found["weight_manual"]["weights"] == {"nuc": 3.0, "pm": 2.0, "er": 1.0}


def test_an_experiment_names_crops_and_classes(phantom: Path, tmp_path: Path) -> None:
    experiment = tmp_path / "experiment.toml"
    experiment.write_text(f'[data]\ndatasplit = "{phantom}"\nclasses = ["nuc", "pm"]\n', encoding="utf-8")
    direct = CliRunner().invoke(app, ["frequencies", "--datasplit", str(phantom), "--classes", "nuc,pm", "--json"])
    through = CliRunner().invoke(app, ["frequencies", str(experiment), "--format", "json"])
    assert direct.exit_code == through.exit_code == 0
    assert json.loads(through.stdout) == json.loads(direct.stdout)


def masks_of_255(tmp_path: Path, add_crop: Callable[..., Path]) -> Path:
    """List a crop whose class is 255, as its attributes do not say."""
    mask = np.zeros((8, 8, 8), np.uint8)
    mask[:2] = 255
    return add_crop(tmp_path, "crop1", {"er": mask})


def test_what_values_mean_can_be_said_for_a_list(tmp_path: Path, add_crop: Callable[..., Path]) -> None:
    listed = ["frequencies", "--datasplit", str(masks_of_255(tmp_path, add_crop)), "--classes", "er", "--json"]
    refused = CliRunner().invoke(app, listed)
    assert isinstance(refused.exception, LayoutError)
    assert "data.labels.er.present = 255" in refused.exception.remedy
    said = CliRunner().invoke(app, [*listed, "--set", "data.labels.er.present=255"])
    assert json.loads(said.stdout)["total_pos"] == {"er": 128}
    assert json.loads(said.stdout)["total_valid"] == {"er": 512}
    unknown = CliRunner().invoke(app, [*listed, "--set", 'data.labels."*".unknown=[255]'])
    assert json.loads(unknown.stdout)["total_valid"] == {"er": 384}
    ignored = CliRunner().invoke(app, [*listed, "--set", "data.allow_overlap=true"])
    assert (ignored.exit_code, "changes nothing about a list" in " ".join(ignored.output.split())) == (2, True)
    misspelt = CliRunner().invoke(app, [*listed, "--set", "data.labels.er.presnt=255"])
    assert isinstance(misspelt.exception, ConfigError)
    assert "did you mean 'present'?" in misspelt.exception.remedy


def test_numbers_that_differ_from_the_metadata_are_shown(tmp_path: Path, add_crop: Callable[..., Path]) -> None:
    levels = [{"values": np.ones((8, 8, 8), np.uint8), "counts": {"absent": 12, "unknown": 0}}]
    table = add_crop(tmp_path, "crop1", {"er": levels})
    result = CliRunner().invoke(app, ["frequencies", "--datasplit", str(table), "--classes", "er"])
    assert "d/crop1: what er holds differs from the complement_counts of s0" in result.stderr
    assert "(counted 0 absent instead of 12)" in result.stderr
