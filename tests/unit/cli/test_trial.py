"""The trial's command: its exit codes, and a log without room."""

import errno
import os
import sys
from pathlib import Path

import pytest

from counterpoise.cli import trial
from counterpoise.cli.trial import run_one_trial
from counterpoise.engines.process import EXIT_HELD, EXIT_STOPPED, RUNNER_VARIABLE
from counterpoise.errors import ConfigError, CounterpoiseError, FolderInUseError, RunFolderError
from counterpoise.runs.records import TrialState, TrialStatus


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(RUNNER_VARIABLE, raising=False)
    monkeypatch.setattr(trial, "StopAfterCheckpoint", lambda: None)  # leaves pytest its Ctrl-C


@pytest.mark.parametrize(("state", "code"), [("finished", 0), ("waiting", EXIT_STOPPED)])
def test_a_trial_that_was_stopped_has_another_exit_code(
    state: TrialState, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("counterpoise.training.trial.run_trial", lambda *_, **__: TrialStatus(state))
    assert run_one_trial(Path("nowhere"), "cpu", 1) == code


@pytest.mark.parametrize(("kind", "is_held"), [(FolderInUseError, True), (RunFolderError, False), (ConfigError, False)])
def test_only_a_folder_that_is_in_use_may_be_tried_again_later(
    kind: type[CounterpoiseError], is_held: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run_trial(*_: object, **__: object) -> TrialStatus:
        raise kind("no way", expected="a", found="process 7", remedy="b")

    monkeypatch.setattr("counterpoise.training.trial.run_trial", run_trial)
    if is_held:
        assert run_one_trial(Path("nowhere"), "cpu", 1) == EXIT_HELD
        assert "process 7" in capsys.readouterr().err
    else:
        with pytest.raises(kind):
            run_one_trial(Path("nowhere"), "cpu", 1)


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

    monkeypatch.setattr("counterpoise.training.trial.run_trial", run_trial)
    if goes_on:
        assert run_one_trial(Path("nowhere"), "cpu", 1) == 0
    else:
        with pytest.raises(OSError, match=os.strerror(number)):
            run_one_trial(Path("nowhere"), "cpu", 1)
