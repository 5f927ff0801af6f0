"""Checkpoints that load without unpickling anything but tensors and plain values."""

from __future__ import annotations

import io
import os
import shutil
from pathlib import Path
from typing import Any

import torch

from counterpoise.records.atomic import write_atomically

__all__ = ["load_checkpoint", "save_checkpoint"]


def save_checkpoint(file: Path, content: dict[str, Any], *, previous: Path | None = None) -> None:
    """Write a checkpoint atomically; whoever reads it meets the old one or the new one, never half of one.

    Parameters
    ----------
    file : Path
        Where it goes.
    content : dict
        Tensors and plain values.
    previous : Path, optional
        Where the checkpoint that was there stays, should this one be damaged later.
    """
    buffer = io.BytesIO()  # torch's own writer says nothing useful when a disk is full
    torch.save(content, buffer)
    if previous is not None and file.exists():
        _give_second_name(file, previous)
    write_atomically(file, lambda stream: stream.write(buffer.getbuffer()))


def _give_second_name(file: Path, name: Path) -> None:
    """Let a file be found under another name as well; the first stays valid throughout."""
    temporary = name.with_name(f".{name.name}.{os.getpid()}.tmp")
    temporary.unlink(missing_ok=True)
    try:
        temporary.hardlink_to(file)
    except OSError:  # a file system without hard links
        shutil.copyfile(file, temporary)
    temporary.replace(name)


def load_checkpoint(file: Path) -> dict[str, Any] | None:
    """Read a checkpoint onto the CPU with ``weights_only=True``; None if it is missing or damaged."""
    try:
        content = torch.load(file, map_location="cpu", weights_only=True)
    except Exception:  # noqa: BLE001 - damaged bytes make torch's unpickler raise almost anything (IndexError, ...)
        return None
    return content if isinstance(content, dict) else None
