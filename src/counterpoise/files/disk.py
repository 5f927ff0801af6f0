"""Full disks: which one, how much is free, how much is needed."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path

from counterpoise.errors import CounterpoiseError
from counterpoise.text import size

__all__ = ["DiskShortage", "ShortageCause", "describe_shortage", "is_disk_full", "refuse_unwritable"]

_FULL = {errno.ENOSPC, errno.EDQUOT}


class ShortageCause(Enum):
    """Why a file cannot be written although the folder exists and may be written to."""

    SPACE = auto()
    QUOTA = auto()
    FILE_COUNT = auto()
    """The file system has no free entry for another file (inode)."""


@dataclass(frozen=True)
class DiskShortage:
    """What a disk lacks.

    Parameters
    ----------
    disk : Path
        Where it is mounted.
    needed_bytes, free_bytes : int
        Size of what was to be written; what is free.
    cause : ShortageCause
        Why writing failed.
    """

    disk: Path
    needed_bytes: int
    free_bytes: int
    cause: ShortageCause

    @property
    def needed(self) -> str:
        """Return what is needed as text, rounded up."""
        return size(-_rounded_down(-self.needed_bytes))

    @property
    def free(self) -> str:
        """Return what is free as text, rounded down."""
        return size(_rounded_down(self.free_bytes))

    @property
    def found(self) -> str:
        """Return what was found, for an error."""
        return {
            ShortageCause.SPACE: f"{self.free} free",
            ShortageCause.QUOTA: f"the quota is used up (the disk has {self.free} free)",
            ShortageCause.FILE_COUNT: f"{self.free} free, but no free inode for another file",
        }[self.cause]


@contextmanager
def refuse_unwritable(
    kind: type[CounterpoiseError],
    problem: str,
    *,
    remedy: str,
    expected: str = "a folder where you may create files",
) -> Iterator[None]:
    """Turn the system's error about a place that cannot be written into one that says which place is meant.

    Raises
    ------
    CounterpoiseError
        Of the kind asked for, where the body raises an ``OSError``.
    """
    try:
        yield
    except OSError as error:
        raise kind(problem, expected=expected, found=error.strerror or str(error), remedy=remedy) from error


def is_disk_full(error: OSError) -> bool:
    """Tell a full disk, or a quota that is used up, from other errors."""
    return error.errno in _FULL


def describe_shortage(folder: Path, needed_bytes: int, error: OSError) -> DiskShortage:
    """Describe what the disk of a folder lacks.

    Parameters
    ----------
    folder : Path
        Existing folder in which the file was to be written.
    needed_bytes : int
        Size of the file.
    error : OSError
        The system's error, one for which :func:`is_disk_full` holds.
    """
    folder = folder.resolve()
    disk = os.statvfs(folder)
    cause = ShortageCause.SPACE
    if error.errno == errno.EDQUOT:
        cause = ShortageCause.QUOTA
    elif disk.f_files and not disk.f_favail:  # file systems that do not count files say 0 and 0
        cause = ShortageCause.FILE_COUNT
    mount = next((path for path in (folder, *folder.parents) if path.is_mount()), folder)
    return DiskShortage(mount, needed_bytes, disk.f_bavail * disk.f_frsize, cause)


def _rounded_down(size_bytes: int) -> int:
    """Round to the last digit that :func:`counterpoise.text.size` shows."""
    unit = (len(str(abs(size_bytes))) - 1) // 3
    step = 10 ** (3 * unit - (unit > 1))
    return int(size_bytes // step * step)
