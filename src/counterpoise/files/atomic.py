"""Write files so that no reader sees half of one, and no crash or full disk leaves half of one."""

from __future__ import annotations

import io
import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from counterpoise.errors import DiskFullError
from counterpoise.files.disk import DiskShortage, describe_shortage, is_disk_full
from counterpoise.files.lock import is_alive

__all__ = [
    "append_line",
    "is_leftover",
    "read_json",
    "read_lines",
    "remove_leftovers",
    "temporary_name",
    "write_atomically",
    "write_json",
    "write_text",
]

_LEFTOVER = re.compile(r"\..+\.(\d+)\.tmp")


def temporary_name(file: Path) -> Path:
    """Name the file that content is written to before it replaces another; the name contains the process number."""
    return file.with_name(f".{file.name}.{os.getpid()}.tmp")


def is_leftover(name: str) -> bool:
    """Tell whether a name has the form of :func:`temporary_name`."""
    return _LEFTOVER.fullmatch(name) is not None


def remove_leftovers(folder: Path) -> None:
    """Delete the temporary files of processes that were killed; those of running processes stay."""
    for file in folder.iterdir():
        found = _LEFTOVER.fullmatch(file.name)
        # An earlier process may have had our number, which is common in containers.
        if found is not None and (int(found[1]) == os.getpid() or not is_alive(int(found[1]))):
            file.unlink(missing_ok=True)


def write_atomically(file: Path, write: Callable[[BinaryIO], object], *, durable: bool = True) -> None:
    """Write under a temporary name, then rename.

    Parameters
    ----------
    file : Path
        Final name; its folder exists.
    write : callable
        Writes the content to the open binary file it is given, all of it in one call.
    durable : bool
        Whether to wait until the content is on disk (fsync) before renaming, and the new name after it.

    Raises
    ------
    DiskFullError
        If the disk is full; says how much is needed. The file is as it was before.
    """
    temporary = temporary_name(file)
    with _reporting_full_disk(file) as need:
        try:
            with _CountingWriter(temporary, need) as stream:
                write(stream)
                stream.flush()
                if durable:
                    os.fsync(stream.fileno())
            temporary.replace(file)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    if durable:
        _sync_names(file.parent)


def _sync_names(folder: Path) -> None:
    """Wait until the names in a folder are on disk, where the file system can do that."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@dataclass
class _Need:
    """How many bytes a file takes, as far as they were written."""

    size_bytes: int = 0


class _CountingWriter(io.BufferedWriter):
    """Records how much it was asked to write, whether or not that succeeded."""

    def __init__(self, file: Path, need: _Need) -> None:
        super().__init__(io.FileIO(file, "w"))
        self._need = need

    def write(self, buffer: Any, /) -> int:
        self._need.size_bytes += memoryview(buffer).nbytes
        return super().write(buffer)


@contextmanager
def _reporting_full_disk(file: Path) -> Iterator[_Need]:
    """Turn the system's error for a full disk into one that says which disk it is, and how much it lacks."""
    need = _Need()
    try:
        yield need
    except OSError as error:
        if not is_disk_full(error):
            raise
        raise _full(file, describe_shortage(file.parent, need.size_bytes, error), error) from error


def _full(file: Path, shortage: DiskShortage, error: OSError) -> DiskFullError:
    full = DiskFullError(
        f"no space for {file.name}: it needs {shortage.needed}, the disk at {shortage.disk} has {shortage.free} left",
        expected=f"{shortage.needed} free for {file}",
        found=shortage.found,
        remedy="free some space and run the same command again: finished work is kept "
        "(`counterpoise check` says how much a whole run needs)",
    )
    full.errno, full.strerror = error.errno, f"{shortage.needed} needed, {shortage.found}"
    return full


def write_text(file: Path, text: str) -> None:
    """Write a text file atomically."""
    write_atomically(file, lambda stream: stream.write(text.encode()))


def write_json(file: Path, content: object, *, durable: bool = True) -> None:
    """Write a JSON document atomically."""
    text = json.dumps(content, indent=1, allow_nan=False) + "\n"
    write_atomically(file, lambda stream: stream.write(text.encode()), durable=durable)


def read_json(file: Path) -> dict[str, Any]:
    """Read a JSON object."""
    content = json.loads(file.read_text(encoding="utf-8"))
    if not isinstance(content, dict):
        raise TypeError(f"{file} holds {type(content).__name__}, not an object")
    return content


def append_line(file: Path, content: object) -> None:
    """Append one JSON document as a line, and wait until it is on disk.

    Raises
    ------
    DiskFullError
        If the disk is full; the earlier lines stay, and no part of the new one.
    """
    line = json.dumps(content, allow_nan=False).encode() + b"\n"
    with _reporting_full_disk(file) as need, file.open("ab", buffering=0) as stream:
        need.size_bytes = len(line)
        before, left = stream.tell(), memoryview(line)
        try:
            while left:
                left = left[stream.write(left) :]
            os.fsync(stream.fileno())
        except OSError:
            if len(left) < len(line):
                stream.truncate(before)
            raise


def read_lines(file: Path) -> Iterator[dict[str, Any]]:
    """Read JSON lines; an incomplete last line (the writer was killed) is skipped."""
    if not file.exists():
        return
    lines = [line for line in file.read_bytes().split(b"\n") if line]
    for number, line in enumerate(lines, start=1):
        try:
            yield json.loads(line)
        except ValueError:
            if number < len(lines):
                raise
