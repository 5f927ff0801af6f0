"""The file that takes a lock's place: one holder, whoever dies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from counterpoise.files.lock_file import STALE_S, LockFile

TAKE = """
import sys, time
from pathlib import Path
from counterpoise.files.lock_file import LockFile
lock = LockFile(Path(sys.argv[1]))
print(lock.take(), flush=True)
sys.stdin.read()
lock.release()
"""
COUNT = """
import sys, time
from pathlib import Path
from counterpoise.files.lock_file import LockFile
folder = Path(sys.argv[1])
for _ in range(20):
    lock = LockFile(folder)
    while not lock.take():
        time.sleep(0.001)
    number = int((folder / "number").read_text())
    (folder / "number").write_text(str(number + 1))
    lock.release()
"""
ELSEWHERE = "process 7 on another-machine\n1.0\nanother-machine boot namespace\n"


def start(code: str, folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def first_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_one_holds_it_until_it_is_released(tmp_path: Path) -> None:
    with start(TAKE, tmp_path) as process:
        assert first_line(process) == "True"
        assert not LockFile(tmp_path).take()
        process.communicate("")
    lock = LockFile(tmp_path)
    assert lock.take()
    lock.release()
    assert list(tmp_path.iterdir()) == []


def test_a_killed_holder_is_followed_at_once(tmp_path: Path) -> None:
    with start(TAKE, tmp_path) as process:
        assert first_line(process) == "True"
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert LockFile(tmp_path).take()


def test_a_stopped_holder_on_this_machine_keeps_it_however_old_its_file_is(tmp_path: Path) -> None:
    with start(TAKE, tmp_path) as process:
        assert first_line(process) == "True"
        process.send_signal(signal.SIGSTOP)
        os.utime(tmp_path / ".lock-file", (0, 0))
        assert not LockFile(tmp_path).take()
        process.send_signal(signal.SIGCONT)
        process.communicate("")


def test_a_number_that_was_given_again_is_another_process(tmp_path: Path) -> None:
    lock = LockFile(tmp_path)
    assert lock.take()
    process, _, place = (tmp_path / ".lock-file").read_text(encoding="utf-8").splitlines()
    (tmp_path / ".lock-file").write_text(f"{process}\n1.0\n{place}\n", encoding="utf-8")  # began in 1970
    assert LockFile(tmp_path).take()


@pytest.mark.parametrize("content", [ELSEWHERE, "", "nonsense", "process x on y\n\n\n"])
@pytest.mark.parametrize(("age_s", "is_free"), [(0.0, False), (STALE_S - 20, False), (STALE_S + 20, True)])
def test_of_another_machine_only_the_touches_count(tmp_path: Path, content: str, age_s: float, is_free: bool) -> None:
    (tmp_path / ".lock-file").write_text(content, encoding="utf-8")
    os.utime(tmp_path / ".lock-file", (time.time() - age_s,) * 2)
    assert LockFile(tmp_path).take() is is_free


def test_its_holder_touches_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("counterpoise.files.lock_file._TOUCH_S", 0.01)
    lock = LockFile(tmp_path)
    assert lock.take()
    os.utime(tmp_path / ".lock-file", (0, 0))
    while (tmp_path / ".lock-file").stat().st_mtime == 0:
        time.sleep(0.01)
    lock.release()


def test_one_that_was_killed_while_taking_over_stands_in_nobodys_way_for_long(tmp_path: Path) -> None:
    (tmp_path / ".lock-file").write_text(ELSEWHERE, encoding="utf-8")
    for name in (".lock-file", ".lock-takeover"):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (0, 0))
    assert [LockFile(tmp_path).take(), LockFile(tmp_path).take()] == [False, True]


def test_what_another_one_holds_by_now_is_not_released(tmp_path: Path) -> None:
    lock = LockFile(tmp_path)
    assert lock.take()
    (tmp_path / ".lock-file").write_text(ELSEWHERE, encoding="utf-8")
    lock.release()
    assert (tmp_path / ".lock-file").read_text(encoding="utf-8") == ELSEWHERE


def test_several_at_once_take_turns_also_after_one_that_died(tmp_path: Path) -> None:
    (tmp_path / "number").write_text("0")
    with start(TAKE, tmp_path) as process:
        assert first_line(process) == "True"
        process.kill()
    with start(COUNT, tmp_path) as a, start(COUNT, tmp_path) as b, start(COUNT, tmp_path) as c:
        assert [process.wait() for process in (a, b, c)] == [0, 0, 0]
    assert (tmp_path / "number").read_text() == "60"
