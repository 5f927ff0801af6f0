"""Disks that are full: which one, how much is free, how much is needed."""

from __future__ import annotations

import errno
import math
import os
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Lack", "describe_lack", "is_lack_of_room"]

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT}
_MB = 1e6


@dataclass(frozen=True)
class Lack:
    """What a disk lacks, in words.

    Parameters
    ----------
    disk : str
        Where it is mounted.
    needed, free : str
        In MB: rounded up, rounded down.
    found : str
        What there is instead of the room needed.
    """

    disk: str
    needed: str
    free: str
    found: str


def is_lack_of_room(error: OSError) -> bool:
    """Tell a full disk, or a quota that is used up, from other errors."""
    return error.errno in _NO_ROOM


def describe_lack(folder: Path, needed_bytes: int, error: OSError) -> Lack:
    """Say what the disk of an existing folder lacks.

    Parameters
    ----------
    folder : Path
        Where something was to be written.
    needed_bytes : int
        Its size.
    error : OSError
        What the system said.
    """
    folder = folder.resolve()
    disk = os.statvfs(folder)
    free = f"{math.floor(disk.f_bavail * disk.f_frsize / _MB * 10) / 10:.1f} MB"
    found = f"{free} free"
    if error.errno == errno.EDQUOT:
        found = f"a quota that is used up (the disk has {found})"
    elif disk.f_files and not disk.f_favail:
        found = f"{found}, but no room for another file, however small"
    mount = next((path for path in (folder, *folder.parents) if path.is_mount()), folder)
    return Lack(str(mount), f"{math.ceil(needed_bytes / _MB * 10) / 10:.1f} MB", free, found)
