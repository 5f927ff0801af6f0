"""``status``, ``watch`` and ``logs`` on made run folders."""

import json
import time
from dataclasses import replace
from pathlib import Path

import pytest

from counterpoise.cli.progress import _most_important, duration, health_lines
from counterpoise.cli.status import show_logs, show_status, watch_run
from counterpoise.errors import RunFolderError
from counterpoise.machine.hardware import GIB, GpuLoad
from counterpoise.machine.health import Health
from counterpoise.runs.layout import RunFolder, TrialFolder
from counterpoise.runs.progress import TrialProgress
from counterpoise.runs.records import ArmRecord, ArmsRecord, TrialState, TrialStatus


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    run = RunFolder(tmp_path / "run")
    run.path.mkdir()
    arms = tuple(ArmRecord(name, "", {"nuc": 1.0}, (), None, runs=True) for name in ("weight_uniform", "weight_log"))
    ArmsRecord(("nuc",), "weight_uniform", (0, 1), arms, ()).write(run.weights)
    for arm in ("weight_uniform", "weight_log"):
        for seed in (0, 1):
            folder = run.trial(arm, seed)
            folder.path.mkdir(parents=True)
            folder.log.write_text("".join(f"{arm} {seed} line {k}\n" for k in range(30)), encoding="utf-8")
            TrialStatus("failed", 3, 9, reason="out of memory", updated=time.time()).write(folder.status)
    TrialStatus("running", 4, 9, 5, 10, dice_mean=0.61234, updated=time.time()).write(run.trial("weight_log", 1).status)
    return run


def test_status_prints_the_trials_the_machine_and_what_to_look_at(
    run: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    show_status(run.path, as_json=False)
    shown = capsys.readouterr().out
    row = next(line for line in shown.splitlines() if line.startswith("weight_log") and " 1 " in line)
    assert row.split()[:5] == ["weight_log", "1", "running", "4/9", "0.6123"]
    assert "1 running, 3 failed" in shown
    assert "warning: weight_uniform seed 0: failed: out of memory" in shown
    assert "GiB free" in shown


def test_status_as_json_has_every_trial(run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    show_status(run.path, as_json=True)
    document = json.loads(capsys.readouterr().out)
    assert [(t["arm"], t["seed"], t["state"]) for t in document["trials"]] == [
        ("weight_uniform", 0, "failed"),
        ("weight_log", 0, "failed"),
        ("weight_uniform", 1, "failed"),
        ("weight_log", 1, "running"),
    ]
    assert document["done"] == pytest.approx((3 + (3 + 0.5) / 9) / 4)
    assert document["machine"]["memory_bytes"] > 0


def test_watch_without_a_terminal_prints_lines_and_ends_with_the_run(
    run: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    TrialStatus("finished", 0, 0).write(run.trial("weight_log", 1).status)
    watch_run(run.path, every_s=0.01)
    assert "100% done (1 finished, 3 failed)" in capsys.readouterr().out


def test_logs_show_the_last_lines_of_one_seed_or_of_all(run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    show_logs(run.path, "weight_log", seed=1, lines=2, follow=False)
    assert capsys.readouterr().out == "weight_log 1 line 28\nweight_log 1 line 29\n"
    show_logs(run.path, "weight_log", seed=None, lines=1, follow=False)
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
def test_a_wrong_arm_or_seed_is_named(run: RunFolder, arm: str, seed: int | None, said: str) -> None:
    with pytest.raises(RunFolderError, match=said):
        show_logs(run.path, arm, seed=seed, lines=1, follow=False)


def test_the_logs_of_an_arm_that_was_not_trained_are_those_of_its_twin(run: RunFolder) -> None:
    record = ArmsRecord.read(run.weights)
    copy = ArmRecord("weight_copy", "", {"nuc": 2.0}, (), "weight_log", runs=False)
    replace(record, arms=(*record.arms, copy)).write(run.weights)
    with pytest.raises(RunFolderError, match="weight_copy was not trained") as caught:
        show_logs(run.path, "weight_copy", seed=None, lines=1, follow=False)
    assert caught.value.remedy == "read the logs of weight_log"


def test_running_and_failed_trials_are_shown_where_not_all_fit() -> None:
    states: tuple[TrialState, ...] = ("finished", "failed", "waiting", "running", "finished", "running")
    trials = [
        TrialProgress(TrialFolder(Path(f"a/seed-{n}")), TrialStatus(state), None, None, ())
        for n, state in enumerate(states)
    ]
    assert _most_important(trials, 6) == trials
    assert [trial.folder.seed for trial in _most_important(trials, 5)] == [3, 5, 1]
    assert [trial.folder.seed for trial in _most_important(trials, 2)] == [3, 5]


def test_the_machine_in_words() -> None:
    gpus = (GpuLoad(0, "A100", 0.97, 30 * GIB, 40 * GIB), GpuLoad(1, "A100 MIG", None, 1 * GIB, 10 * GIB))
    health = Health(gpus, 3.5, 16, 20 * GIB, 64 * GIB, 1 * GIB, 100 * GIB)
    assert health_lines(health) == [
        "GPU 0 A100: busy 97%, 30.0 of 40.0 GiB",
        "GPU 1 A100 MIG: load unknown, 1.0 of 10.0 GiB",
        "load 3.5 on 16 cores; memory 20.0 of 64.0 GiB; disk 1 GiB free",
    ]
    assert health.warnings == ("the disk of the run folder has 1.0 GiB left",)


def test_durations() -> None:
    assert [duration(s) for s in (4.4, 61, 3600 * 5 + 59)] == ["4 s", "1 min 01 s", "5 h 00 min"]
