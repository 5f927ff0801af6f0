"""TIFF: a stack of pages, with the voxel size of ImageJ or OME metadata."""

from __future__ import annotations

import logging
import math
import struct
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np

from counterpoise.errors import SourceError
from counterpoise.importing.source import (
    NO_CLAIM,
    Reading,
    SizeClaim,
    Source,
    colour,
    native,
    need,
    nm_per,
    place_axes,
    unreadable,
)

__all__ = ["TIFF_SUFFIXES", "open_tiff"]

TIFF_SUFFIXES = (".tif", ".tiff", ".btf", ".tf8")

_NO_NAME = {"I": "?", "Q": "?"}
"""What tifffile calls an axis without a name."""

_ERRORS = (OSError, ValueError, KeyError, IndexError, TypeError, RuntimeError, struct.error)
"""What tifffile and Pillow raise on files that are cut off or damaged."""


def open_tiff(path: Path, name: str, reading: Reading, stack: ExitStack) -> Source:
    """Open a TIFF whose pages are sections.

    Parameters
    ----------
    path, name
        The file, and how the user called it.
    reading : Reading
        Axes, where the user says them.
    stack : ExitStack
        Closes the file.

    Raises
    ------
    SourceError
        If it is no TIFF, has colours or several images, or pages of different size.
    """
    tifffile = need("tifffile")
    try:
        with _heeding_log():
            file = stack.enter_context(tifffile.TiffFile(path, _multifile=False))
            series = list(file.series)
            page = file.pages[0]
            len(file.pages)
    except (*_ERRORS, tifffile.TiffFileError) as error:
        raise unreadable(name, error) from error
    if len(series) != 1:
        shapes = ", ".join(" x ".join(map(str, one.shape)) for one in series[:5])
        raise SourceError(
            f"{name} holds {len(series)} images that are no stack",
            expected="pages of one size and type",
            found=shapes + (", ..." if series[5:] else "") or "no image",
            remedy="save the stack as one image, every section with the same size",
        )
    image = series[0]
    if "S" in image.axes and image.shape[image.axes.index("S")] > 1:
        raise colour(name, f"{image.shape[image.axes.index('S')]} samples per pixel")
    letters = "".join(_NO_NAME.get(letter, letter.lower()) for letter in image.axes)
    z, y, x = place_axes(name, image.shape, letters, reading.axes)
    if {y, x} != {len(image.shape) - 2, len(image.shape) - 1} or page.ndim != 2:  # noqa: PLR2004 - rows and columns
        raise SourceError(
            f"{name} does not have its sections as pages",
            expected="a TIFF whose pages are sections along z",
            found=f"axes {image.axes}, a page of {' x '.join(map(str, page.shape))}",
            remedy="save it with z as the first axis",
        )
    depth = 1 if z is None else image.shape[z]
    dtype = np.dtype(image.dtype)
    sections = _Sections(path, name, image, dtype.newbyteorder(file.byteorder), y > x)
    if image.dataoffset is None and (len(image.pages) < depth or any(one is None for one in image.pages[:depth])):
        raise SourceError(
            f"{name} does not hold all its sections",
            expected=f"{depth} pages",
            found=f"{len([one for one in image.pages if one is not None])} pages; others may be in other files",
            remedy="save the stack as one file",
        )
    return Source(
        name,
        path,
        (path,),
        (depth, image.shape[y], image.shape[x]),
        dtype.newbyteorder("="),
        sections.read,
        claim=_claim(file, page),
        is_indexed=page.photometric == tifffile.PHOTOMETRIC.PALETTE and _has_colours(page),
    )


@contextmanager
def _heeding_log() -> Iterator[None]:
    """Raise what tifffile only logs: of a file that was cut off it would otherwise return the pages that are left."""
    logger, heard = logging.getLogger("tifffile"), _Damage()
    handlers, propagate = logger.handlers, logger.propagate
    logger.handlers, logger.propagate = [heard], False
    try:
        yield
    finally:
        logger.handlers, logger.propagate = handlers, propagate
    if heard.message:
        raise ValueError(heard.message)


class _Damage(logging.Handler):
    """Keep the first message about a damaged file; others are about tags that nobody needs."""

    message = ""

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if not self.message and ("page offset" in text or "corrupted" in text):
            self.message = text


class _Sections:
    """Read pages: all at once where they lie one after the other as they are, else one by one."""

    def __init__(self, path: Path, name: str, image: Any, stored: np.dtype[Any], is_transposed: bool) -> None:
        self._path, self._name, self._image, self._stored = path, name, image, stored
        self._is_transposed = is_transposed

    def read(self, start: int, stop: int) -> np.ndarray:
        """Return the pages from one to another."""
        try:
            pages = self._plain(start, stop) if self._image.dataoffset is not None else self._pages(start, stop)
        except _ERRORS as error:
            raise unreadable(self._name, error) from error
        return pages.transpose(0, 2, 1) if self._is_transposed else pages

    def _plain(self, start: int, stop: int) -> np.ndarray:
        rows, columns = self._image.shape[-2:]
        voxels = np.fromfile(
            self._path,
            self._stored,
            count=(stop - start) * rows * columns,
            offset=self._image.dataoffset + start * rows * columns * self._stored.itemsize,
        )
        if voxels.size != (stop - start) * rows * columns:
            raise ValueError(f"the file ends within section {start + voxels.size // (rows * columns)}")
        return native(voxels).reshape(stop - start, rows, columns)

    def _pages(self, start: int, stop: int) -> np.ndarray:
        rows, columns = self._image.shape[-2:]
        block = np.empty((stop - start, rows, columns), self._stored.newbyteorder("="))
        for place, number in enumerate(range(start, stop)):
            block[place] = self._page(number)
        return block

    def _page(self, number: int) -> np.ndarray:
        page = self._image.pages[number]
        try:
            voxels: np.ndarray = page.asarray(maxworkers=1)
        except ValueError as error:
            if "imagecodecs" not in str(error):
                raise
            return self._by_pillow(page, error)
        return voxels.reshape(self._image.shape[-2:])

    def _by_pillow(self, page: Any, error: Exception) -> np.ndarray:
        """Decode a compression that tifffile leaves to imagecodecs with the codecs of libtiff in Pillow."""
        from PIL import Image

        voxels: np.ndarray | None = None
        # Pillow turns white-is-zero around, and knows fewer types than TIFF has.
        if page.photometric != 0:
            try:
                with Image.open(self._path) as image:
                    image.seek(page.index)
                    voxels = np.asarray(image)
            except OSError:
                voxels = None
        is_same = voxels is not None and voxels.shape == page.shape
        if voxels is None or not is_same or voxels.dtype.newbyteorder("=") != page.dtype.newbyteorder("="):
            raise SourceError(
                f"{self._name} is compressed in a way that cannot be read here",
                expected="no compression, deflate or, with whole numbers of 8 or 16 bits, LZW",
                found=str(error),
                remedy="pip install imagecodecs, or save the file without compression",
            ) from error
        return voxels


def _has_colours(page: Any) -> bool:
    """Tell whether a page's table of colours has any: one of greys from 0 on only says what is said anyway."""
    table = np.asarray(page.colormap)
    grey = bool((table == table[0]).all())
    return not (grey and bool((np.diff(table[0].astype(np.int64)) > 0).all()))


def _claim(file: Any, page: Any) -> SizeClaim:
    if file.is_ome and file.ome_metadata:
        return _ome_claim(file.ome_metadata)
    if file.is_imagej and file.imagej_metadata:
        return _imagej_claim(file.imagej_metadata, page)
    return NO_CLAIM


def _imagej_claim(metadata: dict[str, Any], page: Any) -> SizeClaim:
    """Read ``spacing`` and ``unit`` of ImageJ, and the pixels per unit from the resolution of the page."""
    unit = str(metadata.get("unit", ""))
    scales = [nm_per(str(metadata.get(key, unit))) for key in ("zunit", "yunit", "unit")]
    if scales[2] is None:
        return SizeClaim((None, None, None), f"its ImageJ unit is {unit!r}" if unit else "its ImageJ unit is missing")
    sizes = (_number(metadata.get("spacing")), _per_pixel(page, "YResolution"), _per_pixel(page, "XResolution"))
    z, y, x = (None if n is None or s is None else n * s for n, s in zip(sizes, scales, strict=True))
    return SizeClaim((z, y, x), "its ImageJ spacing and unit")


def _per_pixel(page: Any, tag: str) -> float | None:
    value: Sequence[int] | None = page.tags.valueof(tag)
    return value[1] / value[0] if value and value[0] and value[1] else None


def _ome_claim(xml: str) -> SizeClaim:
    try:
        root = ET.fromstring(xml)  # noqa: S314 - expat refuses entities that grow
    except ET.ParseError:
        return NO_CLAIM
    pixels = next((element for element in root.iter() if element.tag.rpartition("}")[2] == "Pixels"), None)
    if pixels is None:
        return NO_CLAIM
    sizes: list[float | None] = []
    for axis in "ZYX":
        value = _number(pixels.get(f"PhysicalSize{axis}"))
        scale = nm_per(pixels.get(f"PhysicalSize{axis}Unit", "um"))
        sizes.append(None if value is None or scale is None else value * scale)
    return SizeClaim((sizes[0], sizes[1], sizes[2]), "its OME PhysicalSize")


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) and number > 0 else None
