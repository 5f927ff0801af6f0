"""Write files so that a reader, or a crash, never meets half of one."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

__all__ = ["append_line", "read_json", "read_lines", "write_atomically", "write_json", "write_text"]


def write_atomically(file: Path, write: Callable[[BinaryIO], object], *, durable: bool = True) -> None:
    """Write under a temporary name, then rename.

    Parameters
    ----------
    file : Path
        Final name; its folder exists.
    write : callable
        Writes the content to the open binary file it is given.
    durable : bool
        Whether to wait until the content is on disk (fsync) before renaming.
    """
    temporary = file.with_name(f".{file.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as stream:
            write(stream)
            stream.flush()
            if durable:
                os.fsync(stream.fileno())
        temporary.replace(file)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


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
    """Append one JSON document as a line, and wait until it is on disk."""
    with file.open("ab") as stream:
        stream.write(json.dumps(content, allow_nan=False).encode() + b"\n")
        stream.flush()
        os.fsync(stream.fileno())


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
