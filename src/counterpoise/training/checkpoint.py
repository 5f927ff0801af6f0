"""Checkpoints that load without unpickling anything but tensors and plain values."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import torch

from counterpoise.files.atomic import temporary_name, write_atomically

__all__ = ["load_checkpoint", "save_checkpoint"]


def save_checkpoint(file: Path, content: dict[str, Any], *, previous: Path | None = None) -> None:
    """Write a checkpoint atomically: a reader sees the old one or the new one, never half of one.

    Parameters
    ----------
    file : Path
        Where it goes.
    content : dict
        Tensors and plain values.
    previous : Path, optional
        Where the checkpoint that was there stays, should this one be damaged later.

    Raises
    ------
    DiskFullError
        If there is no space; the earlier checkpoint is kept.
    """
    buffer = io.BytesIO()  # torch's own writer says nothing useful when a disk is full
    torch.save(content, buffer)
    if previous is not None and file.exists():
        _give_second_name(file, previous)
    write_atomically(file, lambda stream: stream.write(buffer.getbuffer()))


def _give_second_name(file: Path, name: Path) -> None:
    """Let a file be found under another name as well; the first stays valid throughout."""
    temporary = temporary_name(name)
    temporary.unlink(missing_ok=True)
    try:
        temporary.hardlink_to(file)
    except OSError:  # a file system without hard links
        content = file.read_bytes()
        write_atomically(name, lambda stream: stream.write(content))
        return
    temporary.replace(name)
    temporary.unlink(missing_ok=True)  # renaming one name of a file to another name of it does nothing


def load_checkpoint(file: Path) -> dict[str, Any] | None:
    """Read a checkpoint onto the CPU with ``weights_only=True``; None if it is missing or damaged.

    A checkpoint is a zip archive with a CRC-32 per tensor. torch does not look at these when it reads: a flipped bit
    would become another weight.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            if archive.testzip() is not None:
                return None
        content = torch.load(file, map_location="cpu", weights_only=True)
    except Exception:  # noqa: BLE001 - damaged bytes make torch's unpickler raise almost anything (IndexError, ...)
        return None
    return content if isinstance(content, dict) else None
