"""What is reported about a full disk."""

import errno
import os
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from counterpoise.files.disk import DiskShortage, ShortageCause, describe_shortage, is_disk_full


def disk(monkeypatch: pytest.MonkeyPatch, **values: int) -> None:
    usual = {"f_bavail": 1_299, "f_frsize": 1000, "f_files": 10, "f_favail": 5}
    monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(**usual | values))


def test_a_shortage_names_the_disk_and_both_sizes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk(monkeypatch)
    shortage = describe_shortage(tmp_path, 1_300_001, OSError(errno.ENOSPC, ""))
    assert (shortage.needed_bytes, shortage.free_bytes) == (1_300_001, 1_299_000)
    assert shortage.disk.is_mount()
    assert tmp_path.resolve().is_relative_to(shortage.disk)
    assert (shortage.needed, shortage.free, shortage.found) == ("1.4 MB", "1.2 MB", "1.2 MB free")


@pytest.mark.parametrize(
    ("number", "values", "cause"),
    [
        (errno.ENOSPC, {}, ShortageCause.SPACE),
        (errno.ENOSPC, {"f_favail": 0}, ShortageCause.FILE_COUNT),
        (errno.ENOSPC, {"f_files": 0, "f_favail": 0}, ShortageCause.SPACE),  # a file system that counts no files
        (errno.EDQUOT, {}, ShortageCause.QUOTA),
        (errno.EDQUOT, {"f_favail": 0}, ShortageCause.QUOTA),
    ],
)
def test_space_quotas_and_numbers_of_files_are_told_apart(
    number: int, values: dict[str, int], cause: ShortageCause, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk(monkeypatch, **values)
    assert describe_shortage(tmp_path, 1, OSError(number, "")).cause is cause


def test_every_cause_is_described_in_its_own_words() -> None:
    texts = [DiskShortage(Path("/"), 1, 1, cause).found for cause in ShortageCause]
    assert len(set(texts)) == len(texts)
    assert all("1 B free" in text for text in texts)


@given(st.integers(0, 10**15))
def test_needed_is_rounded_up_and_free_is_rounded_down(size_bytes: int) -> None:
    shortage = DiskShortage(Path("/"), size_bytes, size_bytes, ShortageCause.SPACE)
    assert read(shortage.free) <= size_bytes <= read(shortage.needed)
    assert read(shortage.needed) <= max(size_bytes * 2, 1)


def read(text: str) -> float:
    number, unit = text.split()
    thousands = ("B", "kB", "MB", "GB", "TB", "PB").index(unit)
    return round(float(number) * 10) * 1000.0**thousands / 10


@pytest.mark.parametrize(
    ("error", "is_full"),
    [
        (OSError(errno.ENOSPC, ""), True),
        (OSError(errno.EDQUOT, ""), True),
        (OSError(errno.EACCES, ""), False),
        (OSError("no number"), False),
    ],
)
def test_only_missing_space_counts_as_a_full_disk(error: OSError, is_full: bool) -> None:
    assert is_disk_full(error) == is_full
