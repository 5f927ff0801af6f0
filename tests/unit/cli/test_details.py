"""``results --format details`` and its relatives, through the command."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from counterpoise.cli.results import ResultsFormat
from counterpoise.cli.results import results as results_command
from counterpoise.experiment.config import VerdictConfig

from ..statistics.test_judge_run import write_run  # noqa: TID252 - tests are no package that could be named
from .test_results import make_run


def test_text_csv_and_json_show_the_same_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = write_run(tmp_path, VerdictConfig()).path
    results_command(run, ResultsFormat.json)
    document = json.loads(capsys.readouterr().out)["details"]
    arm = document["arms"][0]
    results_command(run, ResultsFormat.details)
    printed = capsys.readouterr().out
    assert printed.startswith("Further scores of 1 class that the verdict scores (nuc)")
    assert f"{arm['worst']['mean']:.3f} ± {arm['worst']['sd']:.3f}" in printed
    results_command(run, ResultsFormat.details, out=tmp_path / "details.txt")
    assert "\nCalibration\n" in (tmp_path / "details.txt").read_text(encoding="utf-8")
    results_command(run, ResultsFormat.details_csv)
    rows = [line.split(",") for line in capsys.readouterr().out.splitlines()]
    (worst,) = [row for row in rows if row[0] == arm["name"] and row[3] == "worst_tenth_dice"]
    assert float(worst[4]) == arm["worst"]["mean"]


def test_a_run_whose_classes_cannot_be_scored_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = make_run(tmp_path / "run", finished=0)
    results_command(run.path, ResultsFormat.details)
    assert "nothing further to show" in capsys.readouterr().out.lower()
    results_command(run.path, ResultsFormat.json)
    assert json.loads(capsys.readouterr().out)["details"] is None
