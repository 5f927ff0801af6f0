"""Folders of images, one section each, in the natural order of the numbers in their names."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from counterpoise.errors import SourceError
from counterpoise.importing.source import NO_CLAIM, Reading, SizeClaim, Source, colour, native, unreadable
from counterpoise.importing.tiff import TIFF_SUFFIXES, open_tiff
from counterpoise.text import counted, plural

__all__ = ["IMAGE_SUFFIXES", "natural_key", "open_images"]

_KINDS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG"} | dict.fromkeys(TIFF_SUFFIXES, "TIFF")
IMAGE_SUFFIXES = tuple(_KINDS)

_MODES = {"1", "L", "P", "I", "F", "I;16", "I;16B", "I;16L", "I;16N"}
"""Pillow's names for images with one value per pixel."""

_STRETCHED = {"L;2": 85, "L;4": 17}
"""What Pillow multiplies greys of 2 and 4 bits with."""

_THREADS = 2


@dataclass(frozen=True)
class _Section:
    """What the head of an image's file says."""

    path: Path
    shape: tuple[int, int]
    dtype: np.dtype[Any]
    is_indexed: bool = False
    claim: SizeClaim = NO_CLAIM


def natural_key(name: str) -> tuple[tuple[int, int | str], ...]:
    """Return what a name is sorted by: numbers in it count as numbers, so that 9 comes before 10."""
    parts = re.split(r"(\d+)", name.lower())
    return tuple((0, int(part)) if part.isdecimal() else (1, part) for part in parts if part)


def open_images(path: Path, name: str) -> Source:
    """Open a folder whose images are sections, or one image.

    Raises
    ------
    SourceError
        If there is no image, their order is not clear, they are of several kinds, sizes or types, or have colours.
    """
    files, notes = ([path], ()) if path.is_file() else _files_of(path, name)
    sections = [_look(file) for file in files]
    first = sections[0]
    for section in sections[1:]:
        if (section.shape, section.dtype) != (first.shape, first.dtype):
            raise SourceError(
                f"sections of {name} differ",
                expected=f"{_words(first)}, as in {first.path.name}",
                found=f"{_words(section)} in {section.path.name}",
                remedy="save all sections with the same size and type (pad them, never stretch them)",
            )

    def read(start: int, stop: int) -> np.ndarray:
        block = np.empty((stop - start, *first.shape), first.dtype)

        def load(place: int) -> None:
            voxels = _read(files[start + place])
            if (voxels.shape, voxels.dtype) != (first.shape, first.dtype):
                raise unreadable(str(files[start + place]), ValueError(f"{voxels.shape} pixels of {voxels.dtype}"))
            block[place] = voxels

        with ThreadPoolExecutor(_THREADS) as pool:
            list(pool.map(load, range(stop - start)))
        return block

    return Source(
        name,
        path,
        tuple(files),
        (len(files), *first.shape),
        first.dtype,
        read,
        claim=first.claim,
        is_indexed=any(section.is_indexed for section in sections),
        notes=notes,
    )


def _files_of(folder: Path, name: str) -> tuple[list[Path], tuple[str, ...]]:
    """List the images of a folder in order, and say what is odd about them."""
    visible = [file for file in folder.iterdir() if not file.name.startswith(".") and file.is_file()]
    files = sorted((f for f in visible if f.suffix.lower() in _KINDS), key=lambda f: natural_key(f.stem))
    kinds = sorted({_KINDS[file.suffix.lower()] for file in files})
    if not files or len(kinds) > 1:
        raise SourceError(
            f"{name} is not a folder of sections",
            expected="images of one kind (PNG, TIFF or JPEG), one per section",
            found=f"images of several kinds: {', '.join(kinds)}"
            if files
            else f"{counted(len(visible), 'file')}, none of them an image",
            remedy="name the folder that holds the sections and nothing else",
        )
    for one, other in pairwise(files):
        if natural_key(one.stem) == natural_key(other.stem):
            raise SourceError(
                f"the order of the sections in {name} is not clear",
                expected="names with different numbers",
                found=f"{one.name} and {other.name}",
                remedy="rename or remove one of them",
            )
    notes = []
    if others := len(visible) - len(files):
        notes.append(f"{name}: {counted(others, 'file')} in it that {'is' if others == 1 else 'are'} no image")
    if gap := _gap(files):
        notes.append(f"{name}: {gap}; sections are taken as neighbours all the same")
    return files, tuple(notes)


def _gap(files: Sequence[Path]) -> str:
    """Say in words which section numbers are missing; nothing if they go up in equal steps."""
    keys = [natural_key(file.stem) for file in files]
    lengths = {len(key) for key in keys}
    if len(files) < 3 or len(lengths) != 1:  # noqa: PLR2004 - two have no steps to compare
        return ""
    columns = [column for column in zip(*keys, strict=True) if len(set(column)) > 1]
    if len(columns) != 1 or not all(kind == 0 for kind, _ in columns[0]):
        return ""
    numbers = [int(number) for _, number in columns[0]]
    steps = [b - a for a, b in pairwise(numbers)]
    usual = min(steps)
    missing = sum(step // usual - 1 for step in steps)
    if not missing:
        return ""
    place = next(k for k, step in enumerate(steps) if step != usual)
    verb = "is" if missing == 1 else "are"
    return (
        f"{missing} {'number' if missing == 1 else plural('number')} {verb} missing in its names, the first between "
        f"{files[place].name} and {files[place + 1].name}"
    )


def _words(section: _Section) -> str:
    return f"{section.shape[0]} x {section.shape[1]} pixels (y, x) of {section.dtype}"


def _look(file: Path) -> _Section:
    state = file.stat()
    return _look_once(file, state.st_mtime_ns, state.st_size)


@cache
def _look_once(file: Path, _mtime_ns: int, _size_bytes: int) -> _Section:
    """Read the head of a file, once for all times that its folder is opened."""
    if file.suffix.lower() in TIFF_SUFFIXES:
        with ExitStack() as stack:
            source = _one_page(file, stack)
            return _Section(file, source.shape[1:], source.dtype, source.is_indexed, source.claim)
    with _opened(file) as image:
        dtype = np.dtype({"1": "bool", "I": "int32", "F": "float32"}.get(image.mode, "uint8"))
        if image.mode.startswith("I;16"):
            dtype = np.dtype(np.uint16)
        return _Section(file, (image.height, image.width), dtype, image.mode == "P" and _has_colours(image))


def _read(file: Path) -> np.ndarray:
    if file.suffix.lower() in TIFF_SUFFIXES:
        with ExitStack() as stack:
            return np.asarray(_one_page(file, stack).read(0, 1)[0])
    with _opened(file) as image:
        tiles: Any = getattr(image, "tile", ())
        stretched = _STRETCHED.get(str(tiles[0][3]), 1) if tiles else 1
        voxels: np.ndarray = np.asarray(image)
        return np.asarray(voxels // np.uint8(stretched)) if stretched > 1 else native(voxels)


def _one_page(file: Path, stack: ExitStack) -> Source:
    source = open_tiff(file, str(file), Reading(), stack)
    if source.shape[0] != 1:
        raise SourceError(
            f"{file} has {source.shape[0]} pages",
            expected="one section per file in a folder of images",
            found=f"{source.shape[0]} pages",
            remedy="name the file itself if it is the whole stack",
        )
    return source


@contextmanager
def _opened(file: Path) -> Iterator[Image.Image]:
    """Open an image however large it is; refuse colours."""
    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None  # whole sections have more than Pillow expects
    try:
        with Image.open(file) as image:
            if image.mode not in _MODES:
                raise colour(str(file), f"an image of the kind {image.mode} ({len(image.getbands())} values per pixel)")
            yield image
    except (OSError, ValueError, SyntaxError, EOFError) as error:
        raise unreadable(str(file), error) from error
    finally:
        Image.MAX_IMAGE_PIXELS = limit


def _has_colours(image: Image.Image) -> bool:
    """Tell whether a table of colours has any: greys that equal their place in it are no colours."""
    table = np.asarray(image.getpalette() or [], np.int64).reshape(-1, 3)
    return not bool((table == np.arange(len(table))[:, None]).all())
