"""Files are whole or as they were before."""

import errno
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import BinaryIO

import pytest

from counterpoise.errors import DiskFullError
from counterpoise.files.atomic import (
    append_line,
    is_leftover,
    read_json,
    read_lines,
    remove_leftovers,
    temporary_name,
    write_atomically,
    write_json,
    write_text,
)


def test_a_write_replaces_the_file_and_leaves_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "a file.json"
    for durable in (True, False):
        write_atomically(file, lambda s, durable=durable: s.write(str(durable).encode()), durable=durable)  # type: ignore[misc]
        assert file.read_text(encoding="utf-8") == str(durable)
    assert list(tmp_path.iterdir()) == [file]


def test_an_error_while_writing_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    file = tmp_path / "status.json"
    write_text(file, "old")

    def torn(stream: BinaryIO) -> None:
        stream.write(b"new and half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_atomically(file, torn)
    with pytest.raises(ValueError, match="JSON"):
        write_json(file, {"dice": float("nan")})  # NaN is no JSON
    assert file.read_text(encoding="utf-8") == "old"
    assert list(tmp_path.iterdir()) == [file]


def test_a_reader_sees_the_old_content_until_the_new_one_is_complete(tmp_path: Path) -> None:
    file = tmp_path / "status.json"
    write_text(file, "old")

    def look(stream: BinaryIO) -> None:
        stream.write(b"new")
        stream.flush()
        assert file.read_text(encoding="utf-8") == "old"

    write_atomically(file, look)
    assert file.read_text(encoding="utf-8") == "new"


def test_durable_content_is_on_disk_before_it_gets_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    sync, rename = os.fsync, Path.replace

    def note_sync(descriptor: int) -> None:
        order.append("sync")
        sync(descriptor)

    def note_rename(self: Path, target: Path) -> Path:
        order.append("rename")
        return rename(self, target)

    monkeypatch.setattr(os, "fsync", note_sync)
    monkeypatch.setattr(Path, "replace", note_rename)
    write_json(tmp_path / "a.json", {})
    write_json(tmp_path / "b.json", {}, durable=False)
    assert order == ["sync", "rename", "sync", "rename"]  # of what is durable, the name as well


def test_json_comes_back_as_it_was(tmp_path: Path) -> None:
    content = {"a": 0.1 + 0.2, "b": [None, True, "ü"], "c": 2**53 + 1}
    write_json(tmp_path / "x.json", content)
    assert read_json(tmp_path / "x.json") == content


def test_json_that_is_no_object_is_refused(tmp_path: Path) -> None:
    write_json(tmp_path / "x.json", [1])
    with pytest.raises(TypeError, match="list"):
        read_json(tmp_path / "x.json")


def test_lines_are_appended_and_read_in_order(tmp_path: Path) -> None:
    file = tmp_path / "metrics.jsonl"
    assert list(read_lines(file)) == []
    for epoch in (1, 2, 3):
        append_line(file, {"epoch": epoch, "name": "a\nb"})
    assert [line["epoch"] for line in read_lines(file)] == [1, 2, 3]
    assert file.read_bytes().count(b"\n") == 3


def test_a_line_that_is_no_json_is_not_begun(tmp_path: Path) -> None:
    file = tmp_path / "metrics.jsonl"
    with pytest.raises(ValueError, match="JSON"):
        append_line(file, {"loss": float("inf")})
    assert list(read_lines(file)) == []


WHOLE = json.dumps({"epoch": 1}).encode()


@pytest.mark.parametrize("length", range(1, len(WHOLE)))
@pytest.mark.parametrize("end", [b"", b"\n"])
def test_a_torn_last_line_is_left_out_wherever_it_is_torn(length: int, end: bytes, tmp_path: Path) -> None:
    file = tmp_path / "metrics.jsonl"
    file.write_bytes(WHOLE + b"\n" + WHOLE[:length] + end)
    assert list(read_lines(file)) == [{"epoch": 1}]


@pytest.mark.parametrize("content", [b'{"a": 1}\n{"a"\n{"a": 3}\n', b'{"a"\n{"a": 3}\n', b'{"a"\n{"a": 3}'])
def test_a_torn_line_before_the_last_is_damage_and_raised(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_bytes(content)
    with pytest.raises(ValueError, match="delimiter"):
        list(read_lines(tmp_path / "metrics.jsonl"))


full = pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")


def fill_disk_of(file: Path) -> None:
    """Let what is written to a file meet a full disk: the system says so, not a stand-in."""
    file.symlink_to("/dev/full")


@full
def test_a_full_disk_is_told_with_what_is_needed_and_what_is_free_and_the_file_stays(tmp_path: Path) -> None:
    file = tmp_path / "last.pt"
    write_text(file, "old")
    fill_disk_of(temporary_name(file))
    with pytest.raises(DiskFullError) as told:
        write_atomically(file, lambda stream: stream.write(bytes(12_340_001)))
    assert told.value.expected == f"12.4 MB free for {file}"  # rounded up: 12.3 would not be enough
    assert re.fullmatch(r"[\d.]+ \w?B free", told.value.found)
    mount = next(path for path in file.parents if os.path.ismount(path))
    assert f"the disk at {mount} has " in told.value.problem
    assert (told.value.errno, isinstance(told.value, OSError)) == (errno.ENOSPC, True)
    assert file.read_text(encoding="utf-8") == "old"
    assert list(tmp_path.iterdir()) == [file]


@full
def test_a_full_disk_is_reported_for_an_appended_line_too(tmp_path: Path) -> None:
    fill_disk_of(tmp_path / "metrics.jsonl")
    with pytest.raises(DiskFullError, match=r"no space for metrics\.jsonl: it needs 13 B"):
        append_line(tmp_path / "metrics.jsonl", {"epoch": 1})


def test_of_a_line_that_was_half_written_when_the_disk_was_full_nothing_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "metrics.jsonl"
    append_line(file, {"epoch": 1})

    def fail(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(DiskFullError):
        append_line(file, {"epoch": 2})
    monkeypatch.undo()
    append_line(file, {"epoch": 3})
    assert file.read_bytes() == b'{"epoch": 1}\n{"epoch": 3}\n'


def test_another_error_of_the_system_is_no_full_disk(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_text(tmp_path / "missing" / "x.json", "")
    with pytest.raises(FileNotFoundError):
        append_line(tmp_path / "missing" / "x.jsonl", {})


def test_what_killed_processes_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-S", "-c", ""])
    dead.wait()
    zombie = subprocess.Popen([sys.executable, "-S", "-c", ""])
    os.waitid(os.P_PID, zombie.pid, os.WEXITED | os.WNOWAIT)  # it has ended, and nobody has asked how
    names = {
        f".last.pt.{dead.pid}.tmp": False,
        f".last.pt.{zombie.pid}.tmp": False,
        f".best.pt.{os.getpid()}.tmp": False,  # of an earlier process with our number
        f".status.json.{os.getppid()}.tmp": True,
        "last.pt": True,
        "notes.tmp": True,
        ".hidden.tmp": True,
        ".lock": True,
    }
    for name in names:
        (tmp_path / name).write_bytes(b"x")
    remove_leftovers(tmp_path)
    zombie.wait()
    assert {f.name for f in tmp_path.iterdir()} == {name for name, stays in names.items() if stays}
    assert [is_leftover(name) for name in names] == [True] * 4 + [False] * 4
