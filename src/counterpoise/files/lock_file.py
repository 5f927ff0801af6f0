"""A lock for file systems that have none (Lustre without ``flock``, NFS without its lock daemon): a file.

Only one process can create the file, on network file systems too. It names its holder, who touches it every few
seconds. The file of a process that ended without removing it is taken over: at once on the machine of that process,
where its number and start tell whether it runs; on other machines when nobody has touched the file for a while, by the
clock of the file system alone.
"""

from __future__ import annotations

import math
import os
import re
import socket
import threading
import time
from contextlib import suppress
from functools import cache
from pathlib import Path

import psutil

__all__ = ["LOCK_FILE_NAMES", "STALE_S", "LockFile"]

_NAME, _TAKEOVER_NAME = ".lock-file", ".lock-takeover"
LOCK_FILE_NAMES = (_NAME, _TAKEOVER_NAME)

STALE_S = 120.0
"""A file that was not touched for so long has no living holder: 24 touches, and twice what NFS caches a time for."""

_TOUCH_S = 5.0
_START_S = 1.0
"""What a process's start may differ by when it is asked for twice."""
_LINES = 3


class LockFile:
    """The lock file of one folder, as one process sees it."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / _NAME
        self._takeover = folder / _TAKEOVER_NAME
        start = psutil.Process().create_time()
        self._own = f"process {os.getpid()} on {socket.gethostname()}\n{start}\n{_place()}\n"
        self._released = threading.Event()

    def take(self) -> bool:
        """Take the lock if nobody holds it; tell whether it was taken."""
        if not (self._create() or self._take_over()):
            return False
        threading.Thread(target=self._keep_fresh, name="lock", daemon=True).start()
        return True

    def release(self) -> None:
        """Let the next one take it."""
        self._released.set()
        with suppress(OSError):
            if self._file.read_text(encoding="utf-8") == self._own:
                self._file.unlink()

    def _create(self) -> bool:
        try:
            descriptor = os.open(self._file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        except FileExistsError:
            return False
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(self._own)
        return True

    def _take_over(self) -> bool:
        """Replace the file of a holder that is gone. One at a time: two could each remove the other's new file."""
        if self._is_held(now=-math.inf):
            return False
        try:
            descriptor = os.open(self._takeover, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        except FileExistsError:
            with suppress(OSError):  # of one that was killed in the middle of this
                if time.time() - self._takeover.stat().st_mtime > STALE_S:
                    self._takeover.unlink()
            return False
        try:
            # The new file is dated by the clock that the holder's touches are dated by.
            if self._is_held(now=os.fstat(descriptor).st_mtime):
                return False
            self._file.unlink(missing_ok=True)
            return self._create()
        finally:
            os.close(descriptor)
            self._takeover.unlink(missing_ok=True)

    def _is_held(self, now: float) -> bool:
        """Tell whether the file's holder runs, as far as can be known at a time of the file system's clock.

        A holder on this machine is asked for, and its touches mean nothing; at minus infinity, only such a one counts.
        """
        try:
            with self._file.open(encoding="utf-8", errors="replace") as stream:  # opening asks the server for the time
                lines, touched = stream.read().splitlines(), os.fstat(stream.fileno()).st_mtime
        except FileNotFoundError:
            return False
        found = re.fullmatch(r"process (\d+) on .*", lines[0]) if len(lines) == _LINES else None
        if found is not None and lines[2] == _place():
            return _runs(int(found[1]), start=lines[1])
        return -math.inf < now <= touched + STALE_S

    def _keep_fresh(self) -> None:
        while not self._released.wait(_TOUCH_S):
            with suppress(OSError):
                os.utime(self._file)


def _runs(process: int, *, start: str) -> bool:
    try:
        found = psutil.Process(process)
        return abs(found.create_time() - float(start)) < _START_S and found.status() != psutil.STATUS_ZOMBIE
    except (psutil.NoSuchProcess, ValueError):
        return False
    except psutil.AccessDenied:
        return True


@cache
def _place() -> str:
    """Say where process numbers mean the same processes: this machine since its start, and this container on it."""
    parts = [socket.gethostname()]
    with suppress(OSError):
        parts += [Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()]
        parts += [str(Path("/proc/self/ns/pid").readlink())]
    return " ".join(parts)
