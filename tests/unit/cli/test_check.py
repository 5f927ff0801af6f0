"""The screen of ``check``: what it says, what it exits with, and that it fits a terminal."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from counterpoise.cli import check as module
from counterpoise.cli.check import show_check
from counterpoise.experiment.load import Source
from counterpoise.runs.speed import Speed

SPEED = Speed(1.0, 0.1, 0.01, 0.1, 2, 1000, 20_000, 5_000, 10**9, 0, micro_batch=2)


@pytest.fixture(autouse=True)
def no_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let steps be tried without a process."""
    monkeypatch.setattr(
        "counterpoise.preflight.first_steps.measure_slots", lambda _, slots, *__, **___: (SPEED,) * len(slots)
    )


@pytest.fixture
def write(phantom: Path, tmp_path: Path) -> Callable[..., Path]:
    """Return a writer of an experiment on a copy of the made volume."""
    shutil.copytree(phantom.parent, tmp_path / "data")

    def write_experiment(classes: str = '["nuc", "pm"]', more: str = "") -> Path:
        file = tmp_path / "experiment.toml"
        file.write_text(
            f'preset = "demo"\nhypothesis = []\n[data]\ndatasplit = "data/datasplit.csv"\nclasses = {classes}\n'
            "[sampling]\npatch_shape = [32, 32]\n[training]\nbatch_size = 2\n[run]\nfolder = 'run'\nslots = 1\n" + more,
            encoding="utf-8",
        )
        return file

    return write_experiment


@pytest.fixture
def as_json(capsys: pytest.CaptureFixture[str]) -> Callable[[Path], dict[str, Any]]:
    """Return a function that checks and returns what ``--json`` prints, and whether it can be run."""

    def ask(file: Path) -> dict[str, Any]:
        can_run = show_check(Source(file), as_json=True)
        said: dict[str, Any] = json.loads(capsys.readouterr().out)
        assert said["can_run"] == can_run
        return said

    return ask


def test_a_sound_experiment_can_be_run(write: Callable[..., Path], as_json: Callable[[Path], dict[str, Any]]) -> None:
    said = as_json(write())
    assert said["can_run"]
    assert said["problems"] == []
    subjects = [finding["subject"] for finding in said["findings"]]
    assert subjects[:6] == ["data", "splits", "crops", "store", "run folder", "arms"]
    assert subjects[6:] == ["classes", "trials", "first steps", "disk", "time", "verdict"]
    assert said["cost"]["run_s"] > 0
    assert said["steps"][0]["slot"] == "cpu-0"
    assert any("too few" in text or "fewer than" in text for text in said["warnings"])
    (by_class,) = [text for text in said["warnings"] if text.startswith("effective number of validation crops below 5")]
    assert [name.split(" (")[0] for name in by_class.rpartition("by class: ")[2].split(", ")] == ["nuc", "pm"]


def test_all_faults_of_a_configuration_are_listed(
    write: Callable[..., Path], as_json: Callable[[Path], dict[str, Any]]
) -> None:
    said = as_json(write(more="retires = 2\nthreads = 0\n[loss]\nalpha = -1\n"))
    problems = [error["problem"] for error in said["problems"]]
    assert len(problems) == 3
    assert "unknown key 'run.retires' (2 more after this one)" in problems[0]
    assert {"run.threads" in text or "loss.alpha" in text for text in problems[1:]} == {True}
    assert all(set(error) == {"kind", "problem", "expected", "found", "remedy"} for error in said["problems"])


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], tuple[bool, str, str]]:
    """Return a function that checks on a terminal of 80 columns, and returns what stands on it."""

    def show(file: Path) -> tuple[bool, str, str]:
        consoles = {
            name: Console(width=80, highlight=False, markup=False, record=True, quiet=False)
            for name in ("console", "side")
        }
        for name, console in consoles.items():
            monkeypatch.setattr(module, name, console)
        can_run = show_check(Source(file), as_json=False)
        return can_run, consoles["console"].export_text(), consoles["side"].export_text()

    return show


def test_the_screen_fits_eighty_columns(
    write: Callable[..., Path], screen: Callable[[Path], tuple[bool, str, str]]
) -> None:
    can_run, text, beside = screen(write())
    assert can_run
    assert beside == ""
    lines = text.splitlines()
    assert lines[0] == "data         ok       10 train and 5 validation crops, 2 classes"
    # Lines of one word, and the last one, hold paths, which are never folded.
    assert max(len(line) for line in lines[:-1] if " " in line.strip()) <= 80
    assert lines[-1].startswith("No problem, ")
    assert lines[-1].endswith(f"Next: counterpoise run {write()}")


def test_problems_stand_on_the_screen_and_their_four_parts_below_it(
    write: Callable[..., Path], screen: Callable[[Path], tuple[bool, str, str]], tmp_path: Path
) -> None:
    table = tmp_path / "data" / "datasplit.csv"
    lines = table.read_text(encoding="utf-8").splitlines()
    doubled = [line.replace('"validate"', '"train"') for line in lines if line.startswith('"validate"')]
    table.write_text("\n".join([*lines, *doubled]) + "\n", encoding="utf-8")
    can_run, text, beside = screen(write())
    assert not can_run
    assert "splits       PROBLEM  5 validation crops share voxels with train crops" in text
    assert "5 problems: this cannot be run." in text
    assert beside.count("to fix:") == 5
    table.write_text("\n".join([*lines, *(['"train","nowhere","x"'] * 8)]) + "\n", encoding="utf-8")
    _, text, beside = screen(write())
    assert "8 problems" in text
    assert beside.count("to fix:") == 5
    assert "... and 3 more of the kind DatasplitError" in beside


def test_classes_that_cannot_be_scored_are_a_warning(
    write: Callable[..., Path], as_json: Callable[[Path], dict[str, Any]], tmp_path: Path
) -> None:
    table = tmp_path / "data" / "datasplit.csv"
    lines = table.read_text(encoding="utf-8").splitlines()
    validated = [line for line in lines if line.startswith('"validate"')]
    kept = [line for line in lines if line not in validated[2:]]
    table.write_text("\n".join(kept) + "\n", encoding="utf-8")
    said = as_json(write())
    (verdict,) = [finding for finding in said["findings"] if finding["subject"] == "verdict"]
    assert verdict["text"] == ""
    assert verdict["warnings"][0] == "there can be none: none of 2 classes can be scored"
    assert "pm has positives in 2 of the scored validation crops, and needs 3 to be scored" in verdict["warnings"]
    assert said["can_run"]


@pytest.mark.parametrize("name", ["check", "run"])
def test_a_leak_ends_with_exit_code_2(write: Callable[..., Path], name: str, tmp_path: Path) -> None:
    table = tmp_path / "data" / "datasplit.csv"
    text = table.read_text(encoding="utf-8")
    first = next(line for line in text.splitlines() if line.startswith('"validate"'))
    table.write_text(text + first.replace("validate", "train") + "\n", encoding="utf-8")
    steps = "[model]\nname = 'counterpoise.nowhere:network'\n"  # refused, too: nothing is tried
    done = subprocess.run(
        [sys.executable, "-m", "counterpoise", name, str(write(more=steps))],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "shares voxels with train crop" in done.stderr
    assert "counterpoise.nowhere" in done.stderr
    assert done.stderr.count("to fix:") == 2
    assert not (tmp_path / "run").exists()


def test_torch_is_not_imported_by_the_checking_process() -> None:
    check = "import sys, counterpoise.cli.check, counterpoise.run; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0
