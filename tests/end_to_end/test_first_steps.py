"""What a newcomer types first."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from counterpoise.experiment.load import load_experiment

CommandLine = Callable[..., subprocess.CompletedProcess[str]]


def test_help_names_every_command_and_imports_nothing_heavy(process: CommandLine) -> None:
    shown = process("--help").stdout
    for name in ("demo", "init", "hardware", "frequencies", "weights", "run", "trial", "results", "report", "data"):
        assert name in shown
    heavy = ("torch", "numba", "zarr", "pydantic", "scipy", "numpy")
    code = f"import sys, counterpoise.cli.app; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_init_writes_an_experiment_that_loads(command_line: CommandLine, small_data: Path, tmp_path: Path) -> None:
    done = command_line("init", tmp_path / "mine.toml", "--data", small_data, "--voxel-size", "16,16,16")
    assert done.returncode == 0, done.stderr
    experiment = load_experiment(tmp_path / "mine.toml")
    assert experiment.data.classes == ("nuc", "mito_mem", "er_mem", "pm", "golgi_mem")
    assert experiment.data.voxel_size_nm == (16.0, 16.0, 16.0)
    assert experiment.data.datasplit == tmp_path / "datasplit.csv"
    assert experiment.training.epochs == 60
    assert experiment.training.steps_per_epoch == 100
    lines = (tmp_path / "datasplit.csv").read_text(encoding="utf-8").splitlines()
    usages = [line.split(",")[0] for line in lines]
    assert usages.count('"validate"') >= 1
    assert usages.count('"train"') > usages.count('"validate"')


def test_hardware_explains_its_plan(command_line: CommandLine) -> None:
    shown = command_line("hardware").stdout
    assert "cores" in shown
    assert "slot" in shown
    assert "batch of" in shown


def test_frequencies_json_is_the_references_document(command_line: CommandLine, small_data: Path) -> None:
    classes = "nuc,mito_mem,er_mem,pm,golgi_mem"
    done = command_line("frequencies", "--datasplit", small_data / "datasplit.csv", "--classes", classes, "--json")
    document = json.loads(done.stdout)
    assert {"frequencies", "total_pos", "total_valid", "weight_strategies", "crops"} <= document.keys()
    assert set(document["weight_strategies"]) == {
        "uniform", "manual_current", "inverse_frequency", "sqrt_inverse_frequency", "log_inverse_frequency",
        "effective_number",
    }  # fmt: skip
    for name in document["classes"]:
        by_crop = [
            c["classes"][name] for c in document["crops"].values() if c["split"] == "train" and name in c["classes"]
        ]
        assert sum(c["present"] for c in by_crop) == document["total_pos"][name]
        assert sum(c["present"] + c["absent"] for c in by_crop) == document["total_valid"][name]
    assert document["weight_strategies"]["manual_current"]["nuc"] == 1.8


def test_weights_says_which_arms_are_the_same(command_line: CommandLine, small_data: Path) -> None:
    done = command_line("weights", "--datasplit", small_data / "datasplit.csv", "--classes", "nuc,pm", "--json")
    document = json.loads(done.stdout)
    assert document["weights"]["weight_effective_num"] == {
        "weights": {"nuc": 2.0, "pm": 2.0},
        "same_as": "weight_uniform",
    }


def test_usage_errors_and_own_strategies_that_are_misspelt_end_with_2(
    command_line: CommandLine, small_data: Path
) -> None:
    assert command_line("init", "--nonsense").returncode == 2
    done = command_line(
        "weights", "--datasplit", small_data / "datasplit.csv", "--classes", "nuc", "--strategies", "weight_inv_frq"
    )
    assert done.returncode == 2
    assert "did you mean 'weight_inv_freq'" in done.stderr


def test_the_quick_start_finds_its_list_of_crops(command_line: CommandLine, small_data: Path, tmp_path: Path) -> None:
    assert command_line("init", "experiment.toml", "--data", small_data, cwd=tmp_path).returncode == 0
    done = command_line("frequencies", "--datasplit", "datasplit.csv", "--classes", "nuc,pm", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
