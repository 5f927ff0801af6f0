"""How a run is doing: shares, times left and warnings worked out by hand from made records."""

import math
import os
import socket
from dataclasses import replace
from pathlib import Path

import pytest

from counterpoise.files.atomic import append_line
from counterpoise.files.lock import LOCK_NAME, Purpose, only_one_process
from counterpoise.runs.arms import ArmRecord, ArmsRecord
from counterpoise.runs.layout import RunFolder
from counterpoise.runs.progress import read_progress, share_done
from counterpoise.runs.records import EpochRecord, TrialStatus

NOW = 1_000_000.0


def write_epochs(run: RunFolder, arm: str, seed: int, count: int, *, seconds: float, lost: int = 0) -> None:
    folder = run.trial(arm, seed)
    folder.path.mkdir(parents=True, exist_ok=True)
    for number in range(1, count + 1):
        record = EpochRecord(number, 0.5, 0.5, 0.5, {}, {}, 1e-4, 0, lost, seconds - 1.0, 1.0)
        append_line(folder.metrics, record.__dict__)


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """Write two arms of two seeds: one trial finished, one half through, one waiting, one failed."""
    run = RunFolder(tmp_path / "run")
    run.path.mkdir()
    arms = tuple(ArmRecord(name, "", {"nuc": 1.0}, (), None, runs=True) for name in ("a", "b"))
    copy = ArmRecord("copy", "", {"nuc": 2.0}, (), "a", runs=False)
    ArmsRecord(("nuc",), "a", (0, 1), (*arms, copy), ()).write(run.weights)
    write_epochs(run, "a", 0, 4, seconds=10.0)
    TrialStatus("finished", 4, 4, 50, 50, updated=NOW - 500).write(run.trial("a", 0).status)
    write_epochs(run, "b", 0, 1, seconds=20.0, lost=3)
    TrialStatus("running", 2, 4, 25, 50, updated=NOW - 5).write(run.trial("b", 0).status)
    run.trial("b", 1).path.mkdir(parents=True)
    TrialStatus("failed", 1, 4, 10, 50, reason="out of memory").write(run.trial("b", 1).status)
    return run


def test_shares_and_times_left(run: RunFolder) -> None:
    progress = read_progress(run, now=NOW)
    assert [trial.name for trial in progress.trials] == ["a seed 0", "b seed 0", "a seed 1", "b seed 1"]
    # 1 of 4 epochs and half of the next: 37.5 % done, 62.5 % of 4 epochs of 20 s left.
    # The one that waits has no epoch of its own: the median of 10 s and 20 s is assumed, for 4 epochs.
    assert [trial.left_s for trial in progress.trials] == [0.0, 50.0, 60.0, 0.0]
    assert progress.done == pytest.approx((1 + 0.375 + 0 + 1) / 4)
    assert progress.left_s == 110.0  # one trial runs now, and both of what is left go through its slot
    assert not progress.has_ended


def test_no_run_ends_before_its_longest_trial(run: RunFolder) -> None:
    status = TrialStatus("running", 1, 4, 0, 50, updated=NOW)
    run.trial("a", 1).path.mkdir(parents=True)
    status.write(run.trial("a", 1).status)
    progress = read_progress(run, now=NOW)
    assert [trial.left_s for trial in progress.trials] == [0.0, 50.0, 60.0, 0.0]
    assert progress.left_s == 60.0  # two side by side: 110 / 2 would be less than the longer one


def test_a_share_counts_steps() -> None:
    assert share_done(TrialStatus("waiting")) == 0.0
    assert share_done(TrialStatus("running", epoch=2, epochs=4, step=50, steps_per_epoch=100)) == 0.375
    assert share_done(TrialStatus("finished")) == 1.0


def test_warnings_name_failures_lost_steps_and_silence(run: RunFolder) -> None:
    with only_one_process(run.path, Purpose.RUN_EXPERIMENT):
        warnings = read_progress(run, now=NOW).warnings
        assert warnings == ("b seed 0: the loss was not finite in 3 steps", "b seed 1: failed: out of memory")
        assert "b seed 0: stalled: no progress for 10 min" in read_progress(run, now=NOW + 595).warnings
        # Three epochs of 20 s are less than two minutes: still no reason to worry after 100 s.
        assert not any("stalled" in line for line in read_progress(run, now=NOW + 95).warnings)


def test_a_trial_of_long_epochs_may_be_silent_for_three_of_them(run: RunFolder) -> None:
    run.trial("b", 0).metrics.unlink()
    write_epochs(run, "b", 0, 1, seconds=200.0)
    TrialStatus("running", 2, 4, 25, 50, updated=NOW).write(run.trial("b", 0).status)
    with only_one_process(run.path, Purpose.RUN_EXPERIMENT):
        assert not any("stalled" in line for line in read_progress(run, now=NOW + 599).warnings)
        assert "b seed 0: stalled: no progress for 10 min" in read_progress(run, now=NOW + 601).warnings


def test_where_the_runner_is_gone_no_trial_is_called_stalled(run: RunFolder) -> None:
    lock = run.path / LOCK_NAME
    later = NOW + 595
    lock.write_text("process 1 on another-machine", encoding="utf-8")
    assert "b seed 0: stalled: no progress for 10 min" in read_progress(run, now=later).warnings
    lock.write_text("process 99999999 on " + socket.gethostname(), encoding="utf-8")
    warnings = read_progress(run, now=later).warnings
    assert warnings[0].startswith("nothing runs this experiment now")
    assert not any("stalled" in line for line in warnings)


def test_a_run_was_heard_of_when_the_last_of_its_trials_wrote(run: RunFolder) -> None:
    assert read_progress(run, now=NOW).heard_s == 5.0
    run.trial("a", 1).path.mkdir(parents=True)
    TrialStatus("running", 1, 4, 0, 50, updated=NOW - 400).write(run.trial("a", 1).status)
    progress = read_progress(run, now=NOW)
    assert (progress.heard_s, progress.is_idle) == (5.0, False)


def test_the_runner_is_found_by_the_lock_it_wrote(run: RunFolder) -> None:
    assert read_progress(run, now=NOW).runner == "none"
    with only_one_process(run.path, Purpose.RUN_EXPERIMENT):
        progress = read_progress(run, now=NOW)
        assert (progress.runner, progress.runner_name) == (
            "running",
            f"process {os.getpid()} on {socket.gethostname()}",
        )
    lock = run.path / LOCK_NAME
    lock.write_text("process 99999999 on " + socket.gethostname(), encoding="utf-8")
    assert read_progress(run, now=NOW).runner == "gone"
    lock.write_text(f"process {os.getpid()} on {socket.gethostname()}", encoding="utf-8")
    os.utime(lock, (1.0, 1.0))  # written in 1970: this process cannot have done that
    assert read_progress(run, now=NOW).runner == "gone"
    lock.write_text("process 1 on another-machine", encoding="utf-8")
    assert read_progress(run, now=NOW).runner == "elsewhere"


def test_a_run_that_nothing_runs_is_idle_and_says_how_to_go_on(run: RunFolder) -> None:
    assert not read_progress(run, now=NOW).is_idle  # a trial was heard of 5 s ago: somebody started it by hand
    later = read_progress(run, now=NOW + 300)
    assert later.is_idle
    assert later.warnings[0] == "nothing runs this experiment now; `counterpoise run` continues it"
    TrialStatus("waiting").write(run.trial("b", 0).status)
    assert read_progress(run, now=NOW).heard_s == math.inf


def test_a_file_that_changed_is_read_again(run: RunFolder) -> None:
    assert read_progress(run, now=NOW).trials[1].status.epoch == 2
    before = TrialStatus.read(run.trial("b", 0).status)
    replace(before, epoch=3).write(run.trial("b", 0).status)
    assert read_progress(run, now=NOW).trials[1].status.epoch == 3


def test_a_damaged_status_is_told(run: RunFolder) -> None:
    file = run.trial("b", 0).status
    file.write_bytes(file.read_bytes().replace(b'"epoch": 2', b'"epoch": 3'))
    trial = read_progress(run, now=NOW).trials[1]
    assert (trial.status.state, trial.status.epoch) == ("waiting", 0)
    assert trial.warnings[0] == "status.json is damaged; `counterpoise run` finds out how far it is"


def test_before_any_epoch_the_time_left_is_unknown(tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "run")
    run.path.mkdir()
    ArmsRecord(("nuc",), "a", (0,), (ArmRecord("a", "", {"nuc": 1.0}, (), None, runs=True),), ()).write(run.weights)
    progress = read_progress(run, now=NOW)
    assert (progress.left_s, progress.done, progress.has_ended) == (None, 0.0, False)


def write_times(run: RunFolder, every: int, count: int) -> None:
    """Write epochs of 10 s that are validated every so often, for 4 s; and once, another 100 s were lost."""
    folder = run.trial("a", 0)
    for number in range(1, count + 1):
        validation = 4.0 if number % every == 0 else 0.0
        slow = 100.0 if number == 1 else 0.0
        record = EpochRecord(number, 0.5, 0.5, 0.5, {}, {}, 1e-4, 0, 0, 10.0 + slow, validation)
        append_line(folder.metrics, record.__dict__)
    TrialStatus("running", count, 40, 50, 50, updated=NOW - 5).write(folder.status)


@pytest.mark.parametrize(
    ("every", "count", "epoch_s"),
    [
        (1, 3, 14.0),
        (4, 3, 10.0),  # no validation yet: nobody knows how long one takes
        (4, 4, 11.0),  # 10 + 4 / 4
        (4, 5, 11.0),
        (4, 9, 11.0),
        (2, 5, 12.0),
    ],
)
def test_an_epoch_has_its_share_of_a_validation_that_comes_every_few_epochs(
    tmp_path: Path, every: int, count: int, epoch_s: float
) -> None:
    run = RunFolder(tmp_path / "run")
    run.trial("a", 0).path.mkdir(parents=True)
    ArmsRecord(("nuc",), "a", (0,), (ArmRecord("a", "", {"nuc": 1.0}, (), None, runs=True),), ()).write(run.weights)
    write_times(run, every, count)
    (trial,) = read_progress(run, now=NOW).trials
    assert trial.epoch_s == epoch_s
    assert trial.left_s == pytest.approx((40 - count) * epoch_s)
