"""Free space on the disk of a folder that may not exist yet."""

from __future__ import annotations

import shutil
from pathlib import Path

__all__ = ["existing_folder", "free_bytes"]


def existing_folder(folder: Path) -> Path:
    """Return a folder, or the nearest above it that exists."""
    return next(path for path in (folder, *folder.parents) if path.is_dir())


def free_bytes(folder: Path) -> int:
    """Return the free space on the disk where a folder is or will be."""
    return shutil.disk_usage(existing_folder(folder)).free
