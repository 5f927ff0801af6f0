"""The table of results: what is missing from it, and where it goes."""

from __future__ import annotations

import io
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from counterpoise.cli.report import report as report_command
from counterpoise.cli.results import print_results
from counterpoise.cli.results import results as results_command
from counterpoise.cli.screen import plain_console
from counterpoise.errors import RunFolderError
from counterpoise.files.atomic import append_line
from counterpoise.report.verdict_file import read_verdict
from counterpoise.runs.arms import ArmRecord, ArmsRecord
from counterpoise.runs.layout import RunFolder
from counterpoise.runs.read import read_run
from counterpoise.runs.records import EpochRecord, FailureCause, TrialStatus
from counterpoise.statistics.results import summarise_run
from counterpoise.statistics.run_verdict import judge_run

from ..statistics.conftest import counts_of  # noqa: TID252 - tests are no package that could be named


def make_run(path: Path, *, finished: int = 1, micro_batch: int | None = None) -> RunFolder:
    """Write four seeds of an arm: finished ones with Dice 0.5, 0.52, ..., a failed one, a running one, none."""
    run = RunFolder(path)
    run.path.mkdir()
    record = ArmRecord("weight_uniform", "", {"nuc": 1.0}, (), None, runs=True)
    copy = ArmRecord("weight_twice", "", {"nuc": 2.0}, (), "weight_uniform", runs=False)
    ArmsRecord(("nuc",), "weight_uniform", (0, 1, 2, 3), (record, copy)).write(run.weights)
    failed = TrialStatus("waiting").failed(FailureCause.OTHER, "out of [memory]")
    states = [*[TrialStatus("finished", 1, 1)] * finished, failed, TrialStatus("running", 0, 1)]
    for seed, status in enumerate(states[:4]):
        folder = run.trial("weight_uniform", seed)
        folder.path.mkdir(parents=True)
        folder.config.write_text("[training]\nbatch_size = 8\n", encoding="utf-8")
        status.write(folder.status)
        if status.state == "finished":
            dice = 0.5 + 0.02 * seed
            epoch = EpochRecord(1, 0.5, 0.5, dice, {"nuc": dice}, {"nuc": (1, 1, 1)}, 1e-4, 0, 0, 1.0, 1.0)
            append_line(folder.metrics, replace(epoch, micro_batch=micro_batch).__dict__)
            counts_of([{"nuc": dice}]).write(folder.counts)
    return run


def shown(run: RunFolder) -> str:
    page = io.StringIO()
    opened = read_run(run)
    print_results(summarise_run(opened, judge_run(opened)), to=plain_console(file=page))
    return page.getvalue()


def test_an_unfinished_run_says_so(tmp_path: Path) -> None:
    page = shown(make_run(tmp_path / "run"))
    assert " 1/4 " in page
    assert page.count("weight_uniform, seed 1: failed (out of [memory]); run the same seed again") == 1
    assert "2 trainings not finished: not yet counted" in page
    assert "= weight_uniform" in page


def test_a_control_has_scores_of_its_own_and_a_copy_has_none(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    plan = ArmsRecord.read(run.weights)
    control = ArmRecord("weight_again", "", {"nuc": 1.0}, (), "weight_uniform", runs=True)
    replace(plan, arms=(*plan.arms, control)).write(run.weights)
    shutil.copytree(run.trial("weight_uniform", 0).path, run.trial("weight_again", 0).path)
    rows = {line.split()[0]: line.split() for line in shown(run).splitlines() if line.startswith("weight_")}
    assert rows["weight_again"] == ["weight_again", "1/4", "0.500", "0.000", "0.500", "1", "0.500"]
    assert rows["weight_twice"] == ["weight_twice", "=", "weight_uniform"]


def test_the_table_goes_to_a_file_and_a_missing_folder_is_named(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    results_command(run.path, out=tmp_path / "table.txt")
    text = (tmp_path / "table.txt").read_text(encoding="utf-8")
    assert "weight_uniform" in text
    assert "\x1b" not in text
    with pytest.raises(RunFolderError, match="cannot be written to") as caught:
        results_command(run.path, out=tmp_path / "none" / "table.txt")
    assert caught.value.found == "No such file or directory"


def test_the_spread_of_the_table_is_that_over_seeds(tmp_path: Path) -> None:
    assert " ± 0" not in shown(make_run(tmp_path / "one")), "one seed has no spread"
    two = shown(make_run(tmp_path / "two", finished=2))
    assert "0.510 ± 0.014" in two  # 0.02 / sqrt 2
    assert "± standard deviation over the finished seeds" in two.splitlines()[2]


def test_trainings_whose_batches_came_in_parts_are_named_below_the_table(tmp_path: Path) -> None:
    assert "note: " not in shown(make_run(tmp_path / "whole", micro_batch=8))
    said = "note: every training: memory allowed 4 patches at a time (batch of 8) from epoch 1 on;"
    assert said in shown(make_run(tmp_path / "parts", micro_batch=4))


def test_a_report_keeps_the_verdict_it_shows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = make_run(tmp_path / "run", finished=3)
    report_command(run.path)
    assert capsys.readouterr().out.strip() == str(run.report)
    assert not read_verdict(run.verdict).has_verdict
    sentence = json.loads(run.verdict.read_text(encoding="utf-8"))["sentence"]
    assert f'<p class="lead verdict">{sentence}</p>' in run.report.read_text(encoding="utf-8")


def test_what_is_no_run_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="is not a run folder"):
        report_command(tmp_path)
    with pytest.raises(RunFolderError, match="is not a run folder"):
        results_command(tmp_path)
    assert not list(tmp_path.iterdir())
