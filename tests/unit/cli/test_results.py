from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest

from counterpoise.cli.results import print_results, show_results
from counterpoise.cli.screen import plain_console
from counterpoise.errors import RunFolderError
from counterpoise.runs.layout import RunFolder
from counterpoise.runs.records import ArmRecord, ArmsRecord, TrialState, TrialStatus
from counterpoise.statistics.results import ArmResult, Results, Spread, TrialResult


def unfinished_run() -> Results:
    def trial(seed: int, state: TrialState, reason: str = "") -> TrialResult:
        return TrialResult("weight_uniform", seed, TrialStatus(state, reason=reason), ())

    record = ArmRecord("weight_uniform", "", {"nuc": 1.0}, (), None, runs=True)
    arm = ArmResult(
        record=record,
        trials=(trial(0, "finished"),),
        unfinished=(trial(1, "failed", "out of [memory]"), trial(2, "waiting"), trial(3, "running")),
        best_dice=None,
        best_epoch=None,
        last_dice=Spread(0.5, None, 1),
        last_dice_by_class={"nuc": None},
        difference=None,
    )
    copy = replace(arm, record=replace(record, name="weight_twice", same_as="weight_uniform", runs=False))
    arms = ArmsRecord(("nuc",), "weight_uniform", (0, 1, 2, 3), (record, copy.record), ())
    return Results(RunFolder(Path("run")), arms, (arm, copy))


def test_an_unfinished_run_says_so() -> None:
    page = io.StringIO()
    print_results(unfinished_run(), to=plain_console(file=page))
    shown = page.getvalue()
    assert " 1/4 " in shown
    assert shown.count("failed: weight_uniform seed 1: out of [memory]") == 1
    assert "unfinished trials: 1 running, 1 waiting" in shown
    assert "= weight_uniform" in shown


def test_the_table_goes_to_a_file_and_a_missing_folder_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("counterpoise.cli.results.load_results", lambda _: unfinished_run())
    show_results(tmp_path, "table", tmp_path / "table.txt")
    text = (tmp_path / "table.txt").read_text(encoding="utf-8")
    assert "weight_uniform" in text
    assert "\x1b" not in text
    with pytest.raises(RunFolderError, match="cannot be written to") as caught:
        show_results(tmp_path, "table", tmp_path / "none" / "table.txt")
    assert caught.value.found == "No such file or directory"


def test_the_spread_of_the_table_is_told_from_that_of_the_verdict() -> None:
    results = unfinished_run()
    page = io.StringIO()
    print_results(results, to=plain_console(file=page))
    assert "±: over seeds" not in page.getvalue(), "one seed has no spread"
    arm, copy = results.arms
    two = replace(results, arms=(replace(arm, last_dice=Spread(0.5, 0.01, 2)), copy))
    print_results(two, to=plain_console(file=page))
    explained = "±: over seeds as they are; the sd of the verdict leaves out what all arms of a seed share."
    assert explained in page.getvalue().splitlines()


def test_a_training_that_is_not_exactly_comparable_is_named_below_the_table() -> None:
    results = unfinished_run()
    arm, copy = results.arms
    trial = replace(arm.trials[0], parts="memory allowed 4 patches at a time (batch of 8) from epoch 5 on")
    page = io.StringIO()
    print_results(replace(results, arms=(replace(arm, trials=(trial,)), copy)), to=plain_console(file=page))
    assert "note: every training: memory allowed 4 patches at a time (batch of 8) from epoch 5 on\n" in page.getvalue()
