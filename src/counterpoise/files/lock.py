"""One process at a time per folder, by a lock that the system releases when its holder ends, however it ends.

Where the file system has no such locks, :mod:`counterpoise.files.lock_file` takes their place.
"""

from __future__ import annotations

import fcntl
import math
import os
import re
import shlex
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Literal

import psutil

from counterpoise.errors import FolderInUseError
from counterpoise.files.lock_file import LOCK_FILE_NAMES, STALE_S, LockFile

__all__ = [
    "LOCK_NAME", "LOCK_NAMES", "Holder", "LockKind", "Purpose", "find_holder", "is_alive", "only_one_process",
    "refuse_if_held",
]  # fmt: skip

LOCK_NAME = ".lock"
"""Name of the file; it names the process that holds the lock, or died holding it."""

LOCK_NAMES = frozenset({LOCK_NAME, *LOCK_FILE_NAMES})
"""All files that a lock may leave in its folder."""

_POLL_S = 0.1
_CLOCK_S = 2.0
"""Clocks of processes and file systems agree this well."""


class Purpose(Enum):
    """What a folder is locked for; the value completes "another process ..."."""

    RUN_EXPERIMENT = "runs the experiment"
    TRAIN_TRIAL = "trains the trial"
    BUILD_STORE = "builds a voxel store"


class LockKind(Enum):
    """What holds a folder."""

    SYSTEM = "the system's lock"
    FILE = "a lock file"


@dataclass(frozen=True)
class Holder:
    """The process that a folder's lock names: alive here, dead, or on another machine, whose processes are unknown."""

    process: int
    host: str
    state: Literal["running", "gone", "elsewhere"]

    def __str__(self) -> str:
        return f"process {self.process} on {self.host}"


def find_holder(folder: Path) -> Holder | None:
    """Return the process that a folder's lock names, without touching the lock; None if it names none."""
    lock = folder / LOCK_NAME
    try:
        content, written = lock.read_text(encoding="utf-8", errors="replace").strip(), lock.stat().st_mtime
    except OSError:
        return None
    found = re.fullmatch(r"process (\d+) on (\S+)", content)
    if found is None:
        return None
    process, host = int(found[1]), found[2]
    if host != socket.gethostname():
        return Holder(process, host, "elsewhere")
    return Holder(process, host, "running" if is_alive(process, since=written + _CLOCK_S) else "gone")


def refuse_if_held(folder: Path, purpose: Purpose) -> None:
    """Refuse early, before any work, what :func:`only_one_process` would refuse later.

    Raises
    ------
    FolderInUseError
        If the process that the folder's lock names is alive, and is not this one.
    """
    holder = find_holder(folder)
    if holder is not None and holder.state == "running" and holder.process != os.getpid():
        raise _held(folder, purpose, str(holder))


@contextmanager
def only_one_process(folder: Path, purpose: Purpose, *, patience_s: float = 0.0) -> Iterator[LockKind]:
    """Hold a folder's lock.

    Parameters
    ----------
    folder : Path
        Existing folder; gets a file ``.lock`` that names the holder.
    purpose : Purpose
        What the lock is for, named in the error.
    patience_s : float
        How long to wait for another holder to end.

    Yields
    ------
    LockKind
        By what it is held: a lock of the system, or a file where the file system has no locks.

    Raises
    ------
    FolderInUseError
        If another process holds the lock; names it.
    OSError
        If the folder cannot be written to.
    """
    # The mode follows the umask, so that members of a group may continue each other's runs.
    descriptor = os.open(folder / LOCK_NAME, os.O_RDWR | os.O_CREAT, 0o666)
    lock_file = None
    try:
        deadline = time.monotonic() + patience_s
        while not (taken := lock_file.take() if lock_file else _take(descriptor)):
            if taken is None:
                lock_file = LockFile(folder)
                continue
            if time.monotonic() >= deadline:
                holder = os.pread(descriptor, 200, 0).decode(errors="replace").strip()
                raise _held(folder, purpose, holder, lock_file)
            time.sleep(_POLL_S)
        try:
            os.truncate(descriptor, 0)
            with suppress(OSError):  # on a full disk the lock holds without a name
                os.pwrite(descriptor, f"{Holder(os.getpid(), socket.gethostname(), 'running')}\n".encode(), 0)
            try:
                yield LockKind.FILE if lock_file else LockKind.SYSTEM
            finally:
                os.truncate(descriptor, 0)  # the process may live on after this
        finally:
            if lock_file:
                lock_file.release()
    finally:
        os.close(descriptor)


def _take(descriptor: int) -> bool | None:
    """Take the system's lock; tell whether that worked, None if there is no such lock: ENOLCK, ENOSYS and others."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _held(folder: Path, purpose: Purpose, holder: str, lock_file: LockFile | None = None) -> FolderInUseError:
    remedy = "wait until it ends, or stop it (its progress is kept)"
    if purpose is Purpose.RUN_EXPERIMENT:
        run = shlex.quote(str(folder))
        remedy = f"`counterpoise attach {run}` shows it, `counterpoise stop {run}` stops it (its progress is kept)"
    if lock_file is not None and not holder.endswith(f" on {socket.gethostname()}"):
        remedy += f"; if it was killed on another machine, its lock counts for {STALE_S:.0f} s more: try again then"
    return FolderInUseError(
        f"another process {purpose.value} in {folder}",
        expected="one process at a time",
        found=holder or "a process that holds its lock",
        remedy=remedy,
    )


def is_alive(process: int, *, since: float = math.inf) -> bool:
    """Tell whether a process runs, and began no later than a time: numbers of processes are given again."""
    try:
        found = psutil.Process(process)
        return found.create_time() <= since and found.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True
