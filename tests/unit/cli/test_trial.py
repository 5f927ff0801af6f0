"""A trial's process and the one that runs the experiment; a log without room."""

import errno
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from counterpoise.cli import trial
from counterpoise.engines.local import RUNNER_VARIABLE
from counterpoise.runs.records import TrialStatus


def test_a_trial_whose_runner_was_killed_while_it_started_ends_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    runner = subprocess.Popen([sys.executable, "-S", "-c", ""])
    os.waitid(os.P_PID, runner.pid, os.WEXITED | os.WNOWAIT)  # it has ended, and nobody has asked how
    monkeypatch.setenv(RUNNER_VARIABLE, str(runner.pid))
    for _ in range(2):
        with pytest.raises(SystemExit, match="130"):
            trial._end_with_runner()
        runner.wait()  # now there is no such process


def test_a_trial_watches_its_runner_and_nobody_if_it_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[str] = []
    monkeypatch.setattr(threading.Thread, "start", lambda thread: started.append(thread.name))
    monkeypatch.delenv(RUNNER_VARIABLE, raising=False)
    trial._end_with_runner()
    assert started == []
    monkeypatch.setenv(RUNNER_VARIABLE, str(os.getppid()))
    trial._end_with_runner()
    assert started == ["watch runner"]


@pytest.mark.parametrize(("number", "goes_on"), [(errno.ENOSPC, True), (errno.EDQUOT, True), (errno.EIO, False)])
def test_a_log_on_a_full_disk_lacks_a_line_and_the_training_no_step(
    number: int, goes_on: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    class FullLog:
        def write(self, _: str) -> int:
            raise OSError(number, os.strerror(number))

    def run_trial(*_: object, say: object, **__: object) -> TrialStatus:
        with monkeypatch.context() as log:
            log.setattr(sys, "stdout", FullLog())
            say("Epoch 1/3")  # type: ignore[operator]
        return TrialStatus("finished")

    monkeypatch.delenv(RUNNER_VARIABLE, raising=False)
    monkeypatch.setattr(trial, "run_trial", run_trial)
    monkeypatch.setattr(trial, "_StopAfterCheckpoint", lambda: None)  # leaves pytest its Ctrl-C
    if goes_on:
        assert trial.run_one_trial(Path("nowhere"), "cpu", 1) == 0
    else:
        with pytest.raises(OSError, match=os.strerror(number)):
            trial.run_one_trial(Path("nowhere"), "cpu", 1)
