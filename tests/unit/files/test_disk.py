"""What is said of a disk that is full."""

import errno
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from counterpoise.files.disk import describe_lack, is_lack_of_room


def disk(monkeypatch: pytest.MonkeyPatch, **values: int) -> None:
    usual = {"f_bavail": 1_299, "f_frsize": 1000, "f_files": 10, "f_favail": 5}
    monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(**usual | values))


def test_room_needed_is_rounded_up_and_room_free_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk(monkeypatch)
    lack = describe_lack(tmp_path, 1_300_001, OSError(errno.ENOSPC, ""))
    assert (lack.needed, lack.free, lack.found) == ("1.4 MB", "1.2 MB", "1.2 MB free")
    assert os.path.ismount(lack.disk)
    assert tmp_path.resolve().is_relative_to(lack.disk)


def test_a_quota_and_a_disk_without_room_for_names_are_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk(monkeypatch, f_favail=0)
    assert describe_lack(tmp_path, 1, OSError(errno.ENOSPC, "")).found.endswith(
        "no room for another file, however small"
    )
    assert describe_lack(tmp_path, 1, OSError(errno.EDQUOT, "")).found.startswith("a quota that is used up")
    disk(monkeypatch, f_files=0, f_favail=0)  # a file system that does not count files
    assert describe_lack(tmp_path, 1, OSError(errno.ENOSPC, "")).found == "1.2 MB free"


def test_only_a_lack_of_room_is_one() -> None:
    errors = [OSError(number, "") for number in (errno.ENOSPC, errno.EDQUOT, errno.EACCES)] + [OSError("no number")]
    assert [is_lack_of_room(error) for error in errors] == [True, True, False, False]
