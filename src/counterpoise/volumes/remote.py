"""Files behind ``s3://``, ``gs://`` and ``https://``, through fsspec: an optional part of the package.

What lies behind a URL is taken to stay as it is: metadata decide which store is made of it, and its chunks are not
asked for their times.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from counterpoise.errors import LayoutError

__all__ = ["remote_place"]

_Result = TypeVar("_Result")

_TRIES = 4
_FIRST_PAUSE_S = 0.5
"""Doubled before every further try."""
_FORBIDDEN, _FINAL = (401, 403), range(400, 429)
"""Answers after which asking again is of no use."""

_OF_WHOLE_STORES = ("/.zmetadata", "/zarr.json")
"""Files that many groups are described by: fetched once, also where there are none."""

_METADATA = (".zattrs", "zarr.json", "attributes.json", ".zgroup", ".zarray")
_PACKAGES = {"s3": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "az": "adlfs", "abfs": "adlfs"}


def _url(path: str) -> str:
    """Make a URL of what a ``Path`` made of it, which has one slash after the scheme."""
    scheme, _, rest = path.partition(":")
    return f"{scheme}://{rest.lstrip('/')}"


class _Remote:
    """Files that fsspec fetches."""

    at_once = 16
    can_list = False  # servers list no folders, and object stores only at length

    def __init__(self, system: Any) -> None:
        self._system = system
        self._kept: dict[str, bytes | OSError] = {}

    def fetch(self, file: str) -> bytes:
        if not file.endswith(_OF_WHOLE_STORES):
            return self._fetch(file)
        if file not in self._kept:
            try:
                self._kept[file] = self._fetch(file)
            except (FileNotFoundError, PermissionError) as error:
                self._kept[file] = error
        found = self._kept[file]
        if isinstance(found, OSError):
            raise type(found)(file)
        return found

    def _fetch(self, file: str) -> bytes:
        return _tried(lambda: bytes(self._system.cat_file(_url(file))), file)

    def fetch_part(self, file: str, start: int, length: int) -> bytes:
        if start < 0:
            size = _tried(lambda: int(self._system.size(_url(file))), file)
            start = max(size + start, 0)
        content = _tried(lambda: bytes(self._system.cat_file(_url(file), start=start, end=start + length)), file)
        return content if len(content) <= length else content[start : start + length]  # a server that knows no parts

    @staticmethod
    def names(_: str) -> Iterable[str]:
        """Return nothing."""
        return ()

    def holds(self, path: str) -> bool:
        """Tell whether there is a file, or a folder with metadata."""
        return any(self.has_file(file) for file in (path, *(f"{path}/{name}" for name in _METADATA)))

    def has_file(self, file: str) -> bool:
        """Ask for the first byte: fsspec's ``exists`` takes a network that fails for a file that is not there."""
        try:
            return bool(self.fetch_part(file, 0, 1))
        except FileNotFoundError:
            return False
        except OSError as error:
            raise LayoutError(
                f"nobody can tell whether {_url(file)} is there",
                expected="the file, or an answer that there is none",
                found=str(error),
                remedy="check the address, the network and, for a private place, your credentials; then start again",
            ) from error

    @staticmethod
    def state() -> str:
        return ""

    @staticmethod
    def watched() -> tuple[str, ...]:
        return ()


def _tried(call: Callable[[], _Result], file: str) -> _Result:
    """Try again what a network may fail at now and then; what is not there, or not allowed, stays so."""
    pause = _FIRST_PAUSE_S
    for number in range(1, _TRIES + 1):
        try:
            return call()
        except (FileNotFoundError, PermissionError):
            raise
        except Exception as error:  # every client has errors of its own
            status = getattr(error, "status", 0)
            if status in _FORBIDDEN:
                raise PermissionError(f"{_url(file)} cannot be fetched: {error}") from error
            if number == _TRIES or status in _FINAL:
                raise OSError(f"{_url(file)} cannot be fetched: {error or type(error).__name__}") from error
        time.sleep(pause)
        pause *= 2
    raise AssertionError


@lru_cache(maxsize=8)
def remote_place(scheme: str) -> _Remote:
    """Return what fetches files of a scheme.

    Raises
    ------
    LayoutError
        If a package for it is not installed.
    """
    try:
        import fsspec

        return _Remote(fsspec.filesystem(scheme, **_options(scheme)))
    except ImportError as error:
        raise LayoutError(
            f"{scheme}:// paths cannot be read by this installation",
            expected="the packages of the extra 'remote'",
            found=str(error),
            remedy="pip install 'counterpoise[remote]'" + (f" (or {_PACKAGES[scheme]})" if scheme in _PACKAGES else ""),
        ) from error


def _options(scheme: str) -> dict[str, Any]:
    """Ask a public bucket without a name, unless there are credentials."""
    if scheme == "s3":
        names = ("AWS_ACCESS_KEY_ID", "AWS_PROFILE", "AWS_WEB_IDENTITY_TOKEN_FILE", "FSSPEC_S3_ANON", "FSSPEC_S3_KEY")
        known = any(name in os.environ for name in names) or (Path.home() / ".aws" / "credentials").exists()
        return {} if known else {"anon": True}
    return {}
