"""Checkpoints that load without unpickling anything but tensors and plain values."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import torch

from counterpoise.records.atomic import write_atomically

__all__ = ["load_checkpoint", "save_checkpoint"]


def save_checkpoint(file: Path, content: dict[str, Any]) -> None:
    """Write a checkpoint atomically; whoever reads it meets the old one or the new one, never half of one."""
    buffer = io.BytesIO()  # torch's own writer says nothing useful when a disk is full
    torch.save(content, buffer)
    write_atomically(file, lambda stream: stream.write(buffer.getbuffer()))


def load_checkpoint(file: Path) -> dict[str, Any] | None:
    """Read a checkpoint onto the CPU with ``weights_only=True``; None if it is missing or damaged."""
    try:
        content = torch.load(file, map_location="cpu", weights_only=True)
    except Exception:  # noqa: BLE001 - damaged bytes make torch's unpickler raise almost anything (IndexError, ...)
        return None
    return content if isinstance(content, dict) else None
