"""One process at a time per folder, and who it is."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from counterpoise.errors import RunFolderError
from counterpoise.files.lock import LOCK_NAME, Holder, find_holder, only_one_process, refuse_if_held

HOLD = """
import sys
from pathlib import Path
from counterpoise.files.lock import only_one_process
with only_one_process(Path(sys.argv[1]), "paints"):
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
            refuse_if_held(tmp_path, "paints")
        with pytest.raises(RunFolderError, match=named), only_one_process(tmp_path, "paints"):
            pytest.fail("two hold the lock")
        process.communicate("")
    assert find_holder(tmp_path) is None
    refuse_if_held(tmp_path, "paints")


def test_a_killed_holder_is_known_to_be_gone_and_stands_in_nobodys_way(tmp_path: Path) -> None:
    with hold(tmp_path) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
    found = find_holder(tmp_path)
    assert found == Holder(process.pid, socket.gethostname(), "gone")
    refuse_if_held(tmp_path, "paints")
    with only_one_process(tmp_path, "paints"):
        assert find_holder(tmp_path) == Holder(os.getpid(), socket.gethostname(), "running")
        refuse_if_held(tmp_path, "paints")  # one's own lock is no other process's


def test_an_error_gives_the_folder_free_too(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), only_one_process(tmp_path, "paints"):
        raise ZeroDivisionError
    assert find_holder(tmp_path) is None


@pytest.mark.parametrize("text", ["", "nonsense", "process on"])
def test_a_lock_that_names_nobody_has_no_holder(text: str, tmp_path: Path) -> None:
    (tmp_path / LOCK_NAME).write_text(text, encoding="utf-8")
    assert find_holder(tmp_path) is None


def test_of_a_process_on_another_machine_nothing_is_known(tmp_path: Path) -> None:
    (tmp_path / LOCK_NAME).write_text("process 1 on another-machine\n", encoding="utf-8")
    assert find_holder(tmp_path) == Holder(1, "another-machine", "elsewhere")
    refuse_if_held(tmp_path, "paints")  # the lock itself decides there
