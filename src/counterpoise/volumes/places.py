"""Where the files of a volume are: in folders, in a zip archive, or behind a URL.

Files are named by plain strings, ``store.zarr.zip/recon-1/...`` inside an archive, and ``s3:/bucket/...`` as a ``Path``
makes it of a URL: everything that takes a path takes these as well.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Protocol
from zipfile import BadZipFile, ZipFile

from counterpoise.errors import LayoutError

__all__ = ["LOCAL", "Place", "is_there", "is_url", "place_of", "read_file"]

_URL = re.compile(r"(s3|gs|gcs|az|abfs|https?):/+(?=[^/])")
_LISTED_AT_MOST = 10_000
"""Names of a folder that are looked at: a volume of a terabyte may have a million chunks in one folder."""


class Place(Protocol):
    """A way to get at files."""

    @property
    def at_once(self) -> int:
        """How many files are best fetched at the same time."""

    @property
    def can_list(self) -> bool:
        """Whether :meth:`names` tells what lies in a folder."""

    def fetch(self, file: str) -> bytes:
        """Read a file.

        Raises
        ------
        FileNotFoundError
            If there is none.
        OSError
            If it cannot be read.
        """

    def fetch_part(self, file: str, start: int, length: int) -> bytes:
        """Read a part of a file; a negative start counts from its end."""

    def names(self, folder: str) -> Iterable[str]:
        """List a folder, or the beginning of a very long list; empty where it is not there or cannot be listed."""

    def has_file(self, file: str) -> bool:
        """Tell whether there is such a file."""

    def holds(self, path: str) -> bool:
        """Tell whether there is such a file or, where folders exist, such a folder."""

    def state(self) -> str:
        """Return what stands for the states of the files in a fingerprint, where they have none of their own."""

    def watched(self) -> tuple[str, ...]:
        """Name local files that hold the others."""


def read_file(file: str) -> bytes:
    """Read a file with as few calls to the system as can be: at each, a thread may have to wait for its turn."""
    descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    try:
        size = os.fstat(descriptor).st_size
        content = os.read(descriptor, size)
        while len(content) < size and (more := os.read(descriptor, size - len(content))):
            content += more
        return content
    finally:
        os.close(descriptor)


class _Folders:
    """Files of this machine."""

    at_once = 1
    can_list = True
    fetch = staticmethod(read_file)

    @staticmethod
    def fetch_part(file: str, start: int, length: int) -> bytes:
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
        try:
            begin = start if start >= 0 else max(os.fstat(descriptor).st_size + start, 0)
            return os.pread(descriptor, length, begin)
        finally:
            os.close(descriptor)

    @staticmethod
    def names(folder: str) -> Iterable[str]:
        try:
            with os.scandir(folder) as entries:
                return [entry.name for entry in islice(entries, _LISTED_AT_MOST)]
        except OSError:
            return ()

    @staticmethod
    def has_file(file: str) -> bool:
        return os.path.exists(file)  # noqa: PTH110 - asked for very many files

    @staticmethod
    def holds(path: str) -> bool:
        return os.path.exists(path)  # noqa: PTH110 - asked for very many paths

    @staticmethod
    def state() -> str:
        return ""

    @staticmethod
    def watched() -> tuple[str, ...]:
        return ()


LOCAL: Place = _Folders()


class _Archive:
    """A zip file, whose table of contents is read once."""

    at_once = 1
    can_list = True

    def __init__(self, path: str, state: str) -> None:
        self._path, self._state = path, state
        self._prefix = f"{path}/"
        try:
            self._zip = ZipFile(path)
        except (OSError, BadZipFile) as error:
            raise LayoutError(
                f"{path} cannot be read",
                expected="a zip archive of a zarr store",
                found=str(error),
                remedy="fetch or pack it again",
            ) from error
        self._folders: dict[str, dict[str, None]] = {"": {}}
        self._files = {info.filename: info for info in self._zip.infolist() if not info.is_dir()}
        for name in self._zip.namelist():
            parts = name.strip("/").split("/")
            for depth, part in enumerate(parts):
                self._folders.setdefault("/".join(parts[:depth]), {})[part] = None

    def _inner(self, path: str) -> str:
        return path.removeprefix(self._prefix) if path != self._path else ""

    def fetch(self, file: str) -> bytes:
        info = self._files.get(self._inner(file))
        if info is None:
            raise FileNotFoundError(file)
        try:
            return self._zip.read(info)
        except (BadZipFile, NotImplementedError) as error:
            raise OSError(str(error)) from error

    def fetch_part(self, file: str, start: int, length: int) -> bytes:
        content = self.fetch(file)
        begin = start if start >= 0 else max(len(content) + start, 0)
        return content[begin : begin + length]

    def names(self, folder: str) -> Iterable[str]:
        return self._folders.get(self._inner(folder), ())

    def has_file(self, file: str) -> bool:
        return self._inner(file) in self._files

    def holds(self, path: str) -> bool:
        inner = self._inner(path)
        return inner in self._files or inner in self._folders

    def state(self) -> str:
        return self._state

    def watched(self) -> tuple[str, ...]:
        return (self._path,)


@lru_cache(maxsize=64)
def _archive(path: str, state: str) -> _Archive:
    return _Archive(path, state)


def is_url(path: Path | str) -> bool:
    """Tell whether a path stands for something behind a URL."""
    return _URL.match(str(path)) is not None


def place_of(path: Path | str) -> Place:
    """Find out how to get at the files below a path.

    Raises
    ------
    LayoutError
        If what is needed for URLs is not installed, or an archive is damaged.
    """
    text = str(path)
    if ".zip" in text and not is_url(text):
        end = text.find(".zip")
        while end >= 0:
            file = text[: end + 4]
            if text[end + 4 : end + 5] in {"", "/"} and os.path.isfile(file):  # noqa: PTH113
                status = os.stat(file)  # noqa: PTH116
                return _archive(file, f"{status.st_size}:{status.st_mtime_ns}")
            end = text.find(".zip", end + 1)
    if ":/" in text and (scheme := _URL.match(text)):
        from counterpoise.volumes.remote import remote_place  # needs packages that few have

        return remote_place(scheme[1])
    return LOCAL


def is_there(file: str) -> bool:
    """Tell whether a file that a volume names is stored, wherever that is."""
    return os.path.exists(file) or ((place := place_of(file)) is not LOCAL and place.has_file(file))  # noqa: PTH110
