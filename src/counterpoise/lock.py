"""One process at a time per folder: a lock that the system drops when its holder dies, however it dies."""

from __future__ import annotations

import fcntl
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from counterpoise.errors import RunFolderError

__all__ = ["LOCK_NAME", "only_one_process"]

LOCK_NAME = ".lock"
"""Of the file; it names the process that holds the lock, or held it last."""

_POLL_S = 0.1


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
                    raise RunFolderError(
                        f"another process {doing} in {folder}",
                        expected="one at a time",
                        found=holder or "a process that holds its lock",
                        remedy="wait for it, or stop it (its progress is kept)",
                    ) from None
                time.sleep(_POLL_S)
        os.truncate(descriptor, 0)
        os.pwrite(descriptor, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)
