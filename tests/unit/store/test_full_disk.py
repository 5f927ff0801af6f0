"""A store meets a full disk: what is said, and that room is asked for before anything is decoded."""

import errno
import os
import re
from pathlib import Path

import numpy as np
import pytest

from counterpoise.errors import StoreError
from counterpoise.store.files import open_array, writing


def test_what_a_store_still_needs_is_told_with_the_disk_and_what_it_has(tmp_path: Path) -> None:
    building = tmp_path / "0123456789abcdef.building"
    building.mkdir()
    (building / "raw.npy").write_bytes(os.urandom(1 << 20))  # of an interrupted build: this much is there already
    with pytest.raises(StoreError) as told, writing(tmp_path / "0123456789abcdef", 5_000_000):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert told.value.expected == f"4.1 MB free at {tmp_path}"  # 5.0 - 1.05 and 0.1 for what is noted down, rounded up
    assert re.fullmatch(r"[\d.]+ [MGT]B free", told.value.found)
    mount = next(path for path in tmp_path.resolve().parents if os.path.ismount(path))
    assert f"the disk at {mount} has" in told.value.problem
    assert "data.store" in told.value.remedy


def test_other_errors_of_the_system_are_told_as_they_are(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot be written") as told, writing(tmp_path / "store", 5_000_000):
        raise PermissionError(errno.EACCES, "Permission denied")
    assert "Permission denied" in told.value.found


def test_room_is_asked_for_when_an_array_is_made_and_again_when_it_is_reopened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A build that met a full disk left files without room behind them."""
    asked: list[int] = []

    def refuse(descriptor: int, start: int, size: int) -> None:
        asked.append(size)
        if len(asked) < 3:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", refuse, raising=False)
    file = tmp_path / "raw.npy"
    for _ in range(2):
        with pytest.raises(OSError, match="No space left"):
            open_array(file, 1000, np.dtype("uint16"))
    array = open_array(file, 1000, np.dtype("uint16"))
    assert asked == [file.stat().st_size] * 3
    assert file.stat().st_size == array.first_byte + 2000
    assert not array.is_new
