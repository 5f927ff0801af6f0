"""One process at a time per folder: a lock that the system drops when its holder dies, however it dies."""

from __future__ import annotations

import fcntl
import os
import re
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import psutil

from counterpoise.errors import RunFolderError

__all__ = ["LOCK_NAME", "Holder", "find_holder", "only_one_process", "refuse_if_held"]

LOCK_NAME = ".lock"
"""Of the file; it names the process that holds the lock, or died holding it."""

_POLL_S = 0.1
_CLOCK_S = 2.0
"""Clocks of processes and files agree this well."""


@dataclass(frozen=True)
class Holder:
    """The process that a folder's lock names: alive here, dead, or on another machine, where nothing is known of it."""

    process: int
    host: str
    state: Literal["running", "gone", "elsewhere"]

    def __str__(self) -> str:
        return f"process {self.process} on {self.host}"


def find_holder(folder: Path) -> Holder | None:
    """Look for the process that a folder's lock names; the lock itself is not touched. None if it names none."""
    lock = folder / LOCK_NAME
    try:
        said, written = lock.read_text(encoding="utf-8", errors="replace").strip(), lock.stat().st_mtime
    except OSError:
        return None
    found = re.fullmatch(r"process (\d+) on (\S+)", said)
    if found is None:
        return None
    process, host = int(found[1]), found[2]
    if host != socket.gethostname():
        return Holder(process, host, "elsewhere")
    return Holder(process, host, "running" if _wrote(process, written) else "gone")


def refuse_if_held(folder: Path, doing: str) -> None:
    """Refuse early, before anything is done, what :func:`only_one_process` would refuse later.

    Raises
    ------
    RunFolderError
        If the process that the folder's lock names is alive, and another one than this.
    """
    holder = find_holder(folder)
    if holder is not None and holder.state == "running" and holder.process != os.getpid():
        raise _held(folder, doing, str(holder))


def _held(folder: Path, doing: str, holder: str) -> RunFolderError:
    return RunFolderError(
        f"another process {doing} in {folder}",
        expected="one at a time",
        found=holder or "a process that holds its lock",
        remedy="wait for it, or stop it (its progress is kept)",
    )


def _wrote(process: int, written: float) -> bool:
    """Tell the process that wrote the lock from a later one that was given the same number."""
    try:
        found = psutil.Process(process)
        return found.create_time() <= written + _CLOCK_S and found.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


@contextmanager
def only_one_process(folder: Path, doing: str, *, patience_s: float = 0.0) -> Iterator[None]:
    """Hold a folder's lock while something is done in it.

    Parameters
    ----------
    folder : Path
        Existing folder; gets a file ``.lock`` that names the holder.
    doing : str
        What is done, for the error of whoever comes second ("runs this experiment").
    patience_s : float
        How long to wait for a holder to end.

    Raises
    ------
    RunFolderError
        If another process holds the lock; names it.
    OSError
        If the folder cannot be written.
    """
    descriptor = os.open(folder / LOCK_NAME, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        deadline = time.monotonic() + patience_s
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    holder = os.pread(descriptor, 200, 0).decode(errors="replace").strip()
                    raise _held(folder, doing, holder) from None
                time.sleep(_POLL_S)
        os.truncate(descriptor, 0)
        with suppress(OSError):  # on a full disk the lock holds without a name
            os.pwrite(descriptor, f"{Holder(os.getpid(), socket.gethostname(), 'running')}\n".encode(), 0)
        try:
            yield
        finally:
            os.truncate(descriptor, 0)  # a process may live on after what it did here
    finally:
        os.close(descriptor)
