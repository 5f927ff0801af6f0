"""The process of a trial and the one that started it."""

import os
import subprocess
import sys
import threading

import pytest

from counterpoise.engines.engine import Reason
from counterpoise.engines.process import EXIT_HELD, EXIT_STOPPED, RUNNER_VARIABLE, end_with_runner, read_exit


def test_a_trial_whose_runner_was_killed_while_it_started_ends_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    runner = subprocess.Popen([sys.executable, "-S", "-c", ""])
    os.waitid(os.P_PID, runner.pid, os.WEXITED | os.WNOWAIT)  # it has ended, and nobody has asked how
    monkeypatch.setenv(RUNNER_VARIABLE, str(runner.pid))
    for _ in range(2):
        with pytest.raises(SystemExit, match="130"):
            end_with_runner()
        runner.wait()  # now there is no such process


def test_a_trial_watches_its_runner_and_nobody_if_it_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[str] = []
    monkeypatch.setattr(threading.Thread, "start", lambda thread: started.append(thread.name))
    monkeypatch.delenv(RUNNER_VARIABLE, raising=False)
    end_with_runner()
    assert started == []
    monkeypatch.setenv(RUNNER_VARIABLE, str(os.getppid()))
    end_with_runner()
    assert started == ["watch runner"]


@pytest.mark.parametrize(
    ("code", "reason"),
    [(0, None), (1, Reason.EXITED), (-15, Reason.KILLED), (EXIT_STOPPED, Reason.STOPPED), (EXIT_HELD, Reason.HELD)],
)
def test_an_exit_code_is_a_reason(code: int, reason: Reason | None) -> None:
    assert read_exit(code)[0] is reason
