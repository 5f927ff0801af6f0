"""One process at a time per folder, and which one it is."""

import errno
import os
import shlex
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from counterpoise.errors import FolderInUseError, RunFolderError
from counterpoise.files.lock import LOCK_NAME, Holder, LockKind, Purpose, find_holder, only_one_process, refuse_if_held

HOLD = """
import sys
from pathlib import Path
from counterpoise.files.lock import Purpose, only_one_process
with only_one_process(Path(sys.argv[1]), Purpose.TRAIN_TRIAL):
    print("held", flush=True)
    sys.stdin.read()
"""


def hold(folder: Path) -> subprocess.Popen[str]:
    """Hold a folder's lock in another process."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_folder_is_held_by_one_process_that_is_named_until_it_is_done(tmp_path: Path) -> None:
    assert find_holder(tmp_path) is None
    with hold(tmp_path) as process:
        assert find_holder(tmp_path) == Holder(process.pid, socket.gethostname(), "running")
        named = f"process {process.pid} on {socket.gethostname()}"
        with pytest.raises(RunFolderError, match=named):
            refuse_if_held(tmp_path, Purpose.TRAIN_TRIAL)
        with pytest.raises(RunFolderError, match=named), only_one_process(tmp_path, Purpose.TRAIN_TRIAL):
            pytest.fail("two hold the lock")
        process.communicate("")
    assert find_holder(tmp_path) is None
    refuse_if_held(tmp_path, Purpose.TRAIN_TRIAL)


def test_a_held_run_is_refused_with_the_two_commands_for_it(tmp_path: Path) -> None:
    run = tmp_path / "a run"
    run.mkdir()
    with hold(run) as process:
        with pytest.raises(RunFolderError) as refused:
            refuse_if_held(run, Purpose.RUN_EXPERIMENT)
        with pytest.raises(RunFolderError) as trial:
            refuse_if_held(run, Purpose.TRAIN_TRIAL)
        process.communicate("")
    for command in ("attach", "stop"):
        assert f"`counterpoise {command} {shlex.quote(str(run))}`" in refused.value.remedy
    assert "counterpoise" not in trial.value.remedy  # a trial can be neither attached to nor stopped by itself


@pytest.mark.parametrize(("umask", "mode"), [(0o002, 0o664), (0o022, 0o644), (0o077, 0o600)])
def test_the_mode_of_the_lock_follows_the_umask(umask: int, mode: int, tmp_path: Path) -> None:
    before = os.umask(umask)
    try:
        with only_one_process(tmp_path, Purpose.RUN_EXPERIMENT):
            assert (tmp_path / LOCK_NAME).stat().st_mode & 0o777 == mode
    finally:
        os.umask(before)


def test_a_killed_holder_is_gone_and_holds_nothing(tmp_path: Path) -> None:
    with hold(tmp_path) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
    found = find_holder(tmp_path)
    assert found == Holder(process.pid, socket.gethostname(), "gone")
    refuse_if_held(tmp_path, Purpose.TRAIN_TRIAL)
    with only_one_process(tmp_path, Purpose.TRAIN_TRIAL):
        assert find_holder(tmp_path) == Holder(os.getpid(), socket.gethostname(), "running")
        refuse_if_held(tmp_path, Purpose.TRAIN_TRIAL)  # one's own lock is no other process's


def test_an_error_releases_the_folder_too(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), only_one_process(tmp_path, Purpose.TRAIN_TRIAL):
        raise ZeroDivisionError
    assert find_holder(tmp_path) is None


@pytest.mark.parametrize("text", ["", "nonsense", "process on"])
def test_a_lock_that_names_nobody_has_no_holder(text: str, tmp_path: Path) -> None:
    (tmp_path / LOCK_NAME).write_text(text, encoding="utf-8")
    assert find_holder(tmp_path) is None


def test_the_state_of_a_process_on_another_machine_is_unknown(tmp_path: Path) -> None:
    (tmp_path / LOCK_NAME).write_text("process 1 on another-machine\n", encoding="utf-8")
    assert find_holder(tmp_path) == Holder(1, "another-machine", "elsewhere")
    refuse_if_held(tmp_path, Purpose.TRAIN_TRIAL)  # the lock itself decides there


def test_a_lock_of_the_system_is_preferred_and_leaves_no_other_file(tmp_path: Path) -> None:
    with only_one_process(tmp_path, Purpose.TRAIN_TRIAL) as kind:
        assert kind is LockKind.SYSTEM
    assert [file.name for file in tmp_path.iterdir()] == [LOCK_NAME]


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_without_locks_a_file_takes_their_place(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("counterpoise.files.lock.fcntl.flock", refuse)
    with only_one_process(tmp_path, Purpose.RUN_EXPERIMENT) as kind:
        assert kind is LockKind.FILE
        assert find_holder(tmp_path) == Holder(os.getpid(), socket.gethostname(), "running")
        named = pytest.raises(FolderInUseError, match=f"process {os.getpid()} on")
        with named, only_one_process(tmp_path, Purpose.RUN_EXPERIMENT):
            pytest.fail("two hold the lock")
    with only_one_process(tmp_path, Purpose.RUN_EXPERIMENT):
        pass
    assert [file.name for file in tmp_path.iterdir()] == [LOCK_NAME]
