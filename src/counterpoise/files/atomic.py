"""Write files so that no reader, crash or full disk ever meets or leaves half of one."""

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

import psutil

from counterpoise.errors import DiskFullError
from counterpoise.files.disk import Lack, describe_lack, is_lack_of_room

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
    """Name the file beside another in which its content is written first; the name says which process does so."""
    return file.with_name(f".{file.name}.{os.getpid()}.tmp")


def is_leftover(name: str) -> bool:
    """Tell a temporary name by its form."""
    return _LEFTOVER.fullmatch(name) is not None


def remove_leftovers(folder: Path) -> None:
    """Delete the temporary files of processes that were killed; those of living processes stay."""
    for file in folder.iterdir():
        found = _LEFTOVER.fullmatch(file.name)
        if found is not None and not _is_another_process(int(found[1])):
            file.unlink(missing_ok=True)


def _is_another_process(number: int) -> bool:
    if number == os.getpid():  # an earlier process had our number: in a container that is no rarity
        return False
    try:
        return psutil.Process(number).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


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
        If there is no room; says how much is needed. The file is as it was before.
    """
    temporary = temporary_name(file)
    with _telling_of_room(file) as need:
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
    """How much room a file takes, as far as is known."""

    size_bytes: int = 0


class _CountingWriter(io.BufferedWriter):
    """Notes down how much it was asked to write, whether or not there was room for it."""

    def __init__(self, file: Path, need: _Need) -> None:
        super().__init__(io.FileIO(file, "w"))
        self._need = need

    def write(self, buffer: Any, /) -> int:
        self._need.size_bytes += memoryview(buffer).nbytes
        return super().write(buffer)


@contextmanager
def _telling_of_room(file: Path) -> Iterator[_Need]:
    """Turn the system's word for a full disk into an error that says which disk, and how much it lacks."""
    need = _Need()
    try:
        yield need
    except OSError as error:
        if not is_lack_of_room(error):
            raise
        raise _full(file, describe_lack(file.parent, need.size_bytes, error), error) from error


def _full(file: Path, lack: Lack, error: OSError) -> DiskFullError:
    full = DiskFullError(
        f"no room for {file.name}: it needs {lack.needed}, the disk at {lack.disk} has {lack.free} left",
        expected=f"{lack.needed} free for {file}",
        found=lack.found,
        remedy="make room, then give the same command again: what was finished before is kept "
        "(`counterpoise check` says how much a whole run takes)",
    )
    full.errno, full.strerror = error.errno, f"{lack.needed} needed, {lack.found}"
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
        If there is no room; what was there before stays, and no part of the line.
    """
    line = json.dumps(content, allow_nan=False).encode() + b"\n"
    with _telling_of_room(file) as need, file.open("ab", buffering=0) as stream:
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
    """Read JSON lines; a torn last line (the writer was killed) is left out."""
    if not file.exists():
        return
    lines = [line for line in file.read_bytes().split(b"\n") if line]
    for number, line in enumerate(lines, start=1):
        try:
            yield json.loads(line)
        except ValueError:
            if number < len(lines):
                raise
