"""Runs without a terminal, with a stand-in for ``counterpoise run`` that locks its folder and waits to be stopped."""

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from counterpoise.cli import attach
from counterpoise.cli.attach import show_until_end
from counterpoise.cli.background import start_detached
from counterpoise.cli.stop import stop
from counterpoise.errors import ConfigError, RunFolderError
from counterpoise.experiment.load import Source
from counterpoise.files.lock import LOCK_NAME, find_holder
from counterpoise.runs.arms import ArmRecord, ArmsRecord
from counterpoise.runs.layout import RunFolder
from counterpoise.runs.records import TrialStatus

# A detached process is meant to be left running.
pytestmark = pytest.mark.filterwarnings(
    "ignore:subprocess .* is still running", "ignore::pytest.PytestUnraisableExceptionWarning"
)

# Called as `stand-in -m counterpoise run EXPERIMENT`: does what its first line says.
STAND_IN = """#!{python} -S
import fcntl, os, pathlib, signal, socket, sys, time
act = pathlib.Path(sys.argv[4]).read_text().splitlines()[0].removeprefix("# ")
print("reading", flush=True)
if act == "refuse":
    print("ConfigError: no crops", file=sys.stderr); sys.exit(2)
if act == "finish":
    print("done"); sys.exit(0)
lock = open(pathlib.Path({run!r}) / ".lock", "w")
fcntl.flock(lock, fcntl.LOCK_EX)
def end(number, frame):
    lock.truncate(0); print("ended by", signal.Signals(number).name, flush=True); os._exit(130)
signal.signal(signal.SIGINT, end); signal.signal(signal.SIGTERM, end)
lock.write(f"process {{os.getpid()}} on {{socket.gethostname()}}\\n"); lock.flush()
while True:
    time.sleep(0.05)
"""
EXPERIMENT = '# {act}\n[data]\ndatasplit = "d.csv"\nclasses = ["nuc"]\n[run]\nfolder = "a run"\n'


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path / "a run")


@pytest.fixture
def write(tmp_path: Path, run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Path]]:
    program = tmp_path / "stand-in"
    program.write_text(STAND_IN.format(python=sys.executable, run=str(run.path)), encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))

    def write(act: str) -> Path:
        file = tmp_path / "experiment.toml"
        file.write_text(EXPERIMENT.format(act=act), encoding="utf-8")
        return file

    yield write
    for child in psutil.Process().children():
        child.kill()
        child.wait()


def plan(run: RunFolder, state: TrialStatus) -> None:
    """Write what a run folder has once trials start: one trial."""
    run.path.mkdir(exist_ok=True)
    arm = ArmRecord("weight_uniform", "all alike", {"nuc": 1.0}, (), None, runs=True)
    ArmsRecord(("nuc",), "weight_uniform", (0,), (arm,), ()).write(run.weights)
    trial = run.trial("weight_uniform", 0)
    trial.path.mkdir(parents=True, exist_ok=True)
    state.write(trial.status)


def test_a_detached_run_is_out_of_reach_of_the_terminal_and_stops_when_asked(
    write: Callable[[str], Path], run: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    assert start_detached(Source(write("begin"))) == 0
    holder = find_holder(run.path)
    assert holder is not None
    assert os.getsid(holder.process) == holder.process  # a session of its own
    shown = capsys.readouterr().out
    assert shown.startswith("reading\n")
    assert f"process {holder.process}" in shown
    plan(run, TrialStatus("running", epoch=1, epochs=3))
    reaper = threading.Thread(target=os.waitpid, args=(holder.process, 0))  # a shell would have let go of it
    reaper.start()
    stop(run.path, now=False)
    reaper.join()
    assert run.log.read_text(encoding="utf-8").splitlines()[-1] == "ended by SIGINT"
    with pytest.raises(RunFolderError, match="nothing runs"):
        stop(run.path, now=False)


def test_stop_now_ends_it_at_once(write: Callable[[str], Path], run: RunFolder) -> None:
    start_detached(Source(write("begin")))
    plan(run, TrialStatus("running", epoch=1, epochs=3))
    stop(run.path, now=True)
    deadline = time.monotonic() + 5.0
    while "ended by" not in run.log.read_text(encoding="utf-8") and time.monotonic() < deadline:
        time.sleep(0.02)
    assert run.log.read_text(encoding="utf-8").splitlines()[-1] == "ended by SIGTERM"


def test_a_run_that_is_refused_says_why_at_once_and_leaves_nothing(
    write: Callable[[str], Path], run: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    assert start_detached(Source(write("refuse"))) == 2
    assert capsys.readouterr().out.splitlines() == ["reading", "ConfigError: no crops"]
    assert not run.path.exists()


def test_a_run_that_ends_before_its_trials_hands_on_its_exit_code(
    write: Callable[[str], Path], run: RunFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    assert start_detached(Source(write("finish"))) == 0
    assert capsys.readouterr().out.splitlines() == ["reading", "done"]
    assert run.log.exists()


def test_a_configuration_that_cannot_be_read_starts_nothing(tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        start_detached(Source(tmp_path / "missing.toml"))
    assert list(tmp_path.iterdir()) == []


def test_only_a_run_on_this_machine_can_be_stopped_from_here(run: RunFolder) -> None:
    plan(run, TrialStatus("running"))
    (run.path / LOCK_NAME).write_text("process 1 on another-machine\n", encoding="utf-8")
    with pytest.raises(RunFolderError, match="not run on this machine") as caught:
        stop(run.path, now=False)
    assert "another-machine" in caught.value.remedy
    (run.path / LOCK_NAME).write_text(f"process 99999999 on {socket.gethostname()}\n", encoding="utf-8")
    with pytest.raises(RunFolderError, match="nothing runs"):
        stop(run.path, now=False)


def test_attach_waits_for_the_end_and_tells_of_trials_that_are_left(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plan(run, TrialStatus("running", epoch=1, epochs=3, updated=time.time()))
    looks = []

    def watch(watched: RunFolder, *, every_s: float) -> None:
        looks.append(watched)
        plan(run, TrialStatus("failed", reason="the loss is NaN"))

    monkeypatch.setattr(attach, "watch_run", watch)
    assert show_until_end(run) == 1
    assert looks == [run]
    assert "1 trial not finished" in capsys.readouterr().err


def test_ctrl_c_detaches_and_does_not_stop_the_run(
    write: Callable[[str], Path], run: RunFolder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    start_detached(Source(write("begin")))
    plan(run, TrialStatus("running"))

    def watch(watched: RunFolder, *, every_s: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(attach, "watch_run", watch)
    assert show_until_end(run) == 0
    assert capsys.readouterr().err.startswith("Detached.")
    holder = find_holder(run.path)
    assert holder is not None
    os.kill(holder.process, signal.SIGTERM)


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    for act in (lambda: show_until_end(RunFolder(tmp_path)), lambda: stop(tmp_path, now=False)):
        with pytest.raises(RunFolderError):
            act()
