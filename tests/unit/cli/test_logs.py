from __future__ import annotations

from dataclasses import replace

import pytest
from typer.testing import CliRunner

from counterpoise.cli.app import app
from counterpoise.cli.logs import show_logs
from counterpoise.errors import RunFolderError
from counterpoise.runs.arms import ArmRecord, ArmsRecord
from counterpoise.runs.layout import RunFolder


def test_logs_show_the_last_lines_of_one_seed_or_of_all(
    status_run: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    show_logs(status_run, "weight_log", seed=1, lines=2, follow=False)
    assert capsys.readouterr().out == "weight_log 1 line 28\nweight_log 1 line 29\n"
    show_logs(status_run, "weight_log", seed=None, lines=1, follow=False)
    assert capsys.readouterr().out.splitlines() == [
        "--- weight_log seed 0",
        "weight_log 0 line 29",
        "--- weight_log seed 1",
        "weight_log 1 line 29",
    ]


@pytest.mark.parametrize(
    ("arm", "seed", "said"),
    [("weight_logg", None, "did you mean 'weight_log'"), ("weight_log", 7, "one of the seeds 0, 1")],
)
def test_a_wrong_arm_or_seed_is_named(status_run: RunFolder, arm: str, seed: int | None, said: str) -> None:
    with pytest.raises(RunFolderError, match=said):
        show_logs(status_run, arm, seed=seed, lines=1, follow=False)


def test_the_logs_of_an_arm_that_was_not_trained_are_those_of_its_twin(status_run: RunFolder) -> None:
    record = ArmsRecord.read(status_run.weights)
    copy = ArmRecord("weight_copy", "", {"nuc": 2.0}, (), "weight_log", runs=False)
    replace(record, arms=(*record.arms, copy)).write(status_run.weights)
    with pytest.raises(RunFolderError, match="weight_copy was not trained") as caught:
        show_logs(status_run, "weight_copy", seed=None, lines=1, follow=False)
    assert caught.value.remedy == "read the logs of weight_log"


def test_the_run_of_the_current_folder_is_meant_where_none_is_named(
    status_run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(status_run.path.parent)
    named = CliRunner().invoke(app, ["logs", str(status_run.path), "weight_log", "--seed", "1", "-n", "1"])
    assert named.stdout == "weight_log 1 line 29\n"
    assert CliRunner().invoke(app, ["logs", "weight_log", "--seed", "1", "-n", "1"]).stdout == named.stdout
    assert CliRunner().invoke(app, ["logs", "a", "b", "weight_log"]).exit_code == 2
