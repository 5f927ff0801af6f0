"""What a result was made from: hashes of files and folders, counted while the voxels are being written."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from counterpoise.importing.request import CropRequest
from counterpoise.importing.source import Source

__all__ = ["Hashing", "source_entry"]

_BLOCK = 1 << 20


class Hashing:
    """Hash sources in a thread of its own; every file is read once."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1)
        self._is_over = threading.Event()
        self._found: dict[Path, Future[str]] = {}

    def begin(self, source: Source) -> None:
        """Hash a source, unless that has begun."""
        if source.path not in self._found:
            self._found[source.path] = self._pool.submit(self._hash, source.path, source.files)

    def result(self, path: Path) -> str:
        """Wait for the hash of a file or folder."""
        return self._found[path].result()

    def end(self) -> None:
        """Stop, finished or not."""
        self._is_over.set()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _hash(self, path: Path, files: Iterable[Path]) -> str:
        """Hash a file; of a folder, the lines that ``sha256sum`` prints for its files, in the order of their paths."""
        if path.is_file():
            return self._hash_file(path)
        lines = sorted(f"{file.relative_to(path).as_posix()}\0{self._hash_file(file)}" for file in files)
        text = "".join("{1}  {0}\n".format(*line.split("\0")) for line in lines)
        return hashlib.sha256(text.encode()).hexdigest()

    def _hash_file(self, file: Path) -> str:
        found = hashlib.sha256()
        with file.open("rb", buffering=0) as stream:
            while not self._is_over.is_set() and (block := stream.read(_BLOCK)):
                found.update(block)
        return found.hexdigest()


def source_entry(
    crop: CropRequest, source: Source, hashing: Hashing, *, crop_name: str | None, classes: list[str]
) -> dict[str, Any]:
    """Make the entry of one source in ``import.json``; ``crop_name`` is None for raw, which crops share."""
    return {
        "dataset": crop.dataset,
        "crop": crop_name,
        "classes": classes,
        "name": source.name,
        "path": str(source.path.absolute()),
        "sha256": hashing.result(source.path),
        "shape": list(source.shape),
        "dtype": str(source.dtype),
    }
