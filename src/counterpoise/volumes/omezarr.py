"""OME-Zarr: an OME-NGFF 0.4 multiscale group on zarr v2, its levels, their place in space, blocks of voxels.

This is the only module that reads through zarr. Metadata is parsed here once, into frozen objects; groups are
opened by their own path, because a downloaded copy may lack the ``.zgroup`` files above it. Chunks of ordinary arrays
are decoded by :mod:`counterpoise.volumes.chunks`; zarr (2.18 and 3.x) reads those with filters or in another order.
"""

from __future__ import annotations

import json
import lzma
import math
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from io import FileIO
from pathlib import Path
from typing import Any

import numpy as np

from counterpoise.arrays import Vector3
from counterpoise.errors import DamagedChunkError, LayoutError
from counterpoise.volumes.cellmap import cellmap_layout
from counterpoise.volumes.chunks import ChunkDecoder
from counterpoise.volumes.encoding import Annotation, read_annotation
from counterpoise.volumes.geometry import Grid, IndexBox, round_nm
from counterpoise.volumes.volume import Format

__all__ = ["OME_ZARR", "Multiscale", "ZarrLevel", "open_multiscale"]

_AXES = 3
_DECODER_ERRORS = (OSError, EOFError, RuntimeError, ValueError, TypeError, zlib.error, lzma.LZMAError)
"""What the codecs of numcodecs raise on bytes they cannot decode."""

_MAX_VOXEL_SIZE_NM = 1e6
"""A voxel of a millimetre is not electron microscopy: a unit was mistaken."""


@dataclass(frozen=True)
class ZarrLevel:
    """One resolution of a multiscale group, as :class:`~counterpoise.volumes.volume.Level` says.

    ``metadata`` is the content of ``.zarray``, ``attributes`` that of ``.zattrs``.
    """

    name: str
    path: Path
    grid: Grid
    chunks: tuple[int, int, int]
    dtype: np.dtype[Any]
    separator: str
    attributes: Mapping[str, Any]
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def fill_value(self) -> float:
        """Return the value of voxels whose chunk is not on disk (0 where the metadata leave it open)."""
        value = self.metadata.get("fill_value") or 0
        return float(value) if self.dtype.kind == "f" else int(value)

    def decoded_chunks(
        self, block: IndexBox, *, as_stored: bool = False
    ) -> Iterator[tuple[IndexBox, np.ndarray | None]]:
        """Decode the chunks that a block touches, each of them whole; the next one takes the memory of the last."""
        read = self._reader(block)
        for box, file in self.chunk_paths(block):
            try:
                voxels = read(box, file)
            except _DECODER_ERRORS as error:
                raise self._damage(Path(file), error) from error
            if voxels is not None and not as_stored and box.shape != self.chunks:
                depth, height, width = box.shape
                voxels = voxels[:depth, :height, :width]
            yield box, voxels

    def _reader(self, block: IndexBox) -> Callable[[IndexBox, str], np.ndarray | None]:
        """Return what decodes one chunk, as it is stored."""
        try:
            decoder = ChunkDecoder.of(self.metadata, self.chunks, self.dtype)
            if decoder is not None:
                memory = decoder.memory()
                return lambda _, file: decoder.read(file, memory)
            import zarr  # rarely needed, and it takes a fifth of a second of every trial's start

            array = zarr.open_array(str(self.path), mode="r")
        except _DECODER_ERRORS as error:
            raise self._unreadable(block, error) from error

        def read(box: IndexBox, file: str) -> np.ndarray | None:
            if not Path(file).exists():
                return None
            voxels = np.zeros(self.chunks, self.dtype)
            voxels[tuple(slice(0, n) for n in box.shape)] = array[box.slices]
            return voxels

        return read

    def chunk_paths(self, block: IndexBox) -> Iterator[tuple[IndexBox, str]]:
        """Walk over the chunks that a block touches: the voxels of each (cut to the array), and its file.

        Files are plain strings: a store of a thousand crops has 100 000 chunks.
        """
        if not block.voxels:
            return
        z, y, x = (
            [(str(k), k * c, min(k * c + c, n)) for k in range(a // c, -(-b // c))]
            for a, b, c, n in zip(block.start, block.stop, self.chunks, self.grid.shape, strict=True)
        )
        folder, between = f"{self.path}/", self.separator
        for key_z, start_z, stop_z in z:
            for key_y, start_y, stop_y in y:
                prefix = f"{folder}{key_z}{between}{key_y}{between}"
                for key_x, start_x, stop_x in x:
                    yield IndexBox((start_z, start_y, start_x), (stop_z, stop_y, stop_x)), prefix + key_x

    def whole(self) -> IndexBox:
        """Return the block of all voxels."""
        return IndexBox((0, 0, 0), self.grid.shape)

    def description(self) -> bytes:
        """Return ``.zarray`` as it is: its fill value and compressor decide what is read, too."""
        return (self.path / ".zarray").read_bytes()

    def _damage(self, file: Path, error: Exception) -> DamagedChunkError:
        return DamagedChunkError(
            f"chunk {file.relative_to(self.path)} of {self.path} cannot be decoded",
            expected=f"{math.prod(self.chunks)} voxels of {self.dtype} in a compressed chunk",
            found=f"{_size_in_words(file)}; the decoder says: {error or type(error).__name__}",
            remedy="fetch the file again, or leave this crop out of the datasplit",
        )

    def _unreadable(self, block: IndexBox, error: Exception) -> DamagedChunkError:
        return DamagedChunkError(
            f"{self.path} cannot be read",
            expected=f"voxels {block.start} to {block.stop}",
            found=str(error) or type(error).__name__,
            remedy="check the file system and fetch the array again",
        )


@dataclass(frozen=True)
class Multiscale:
    """A multiscale group: its levels in the order of the metadata (the first is the finest)."""

    path: Path
    levels: tuple[ZarrLevel, ...]
    attributes: Mapping[str, Any]

    @property
    def voxel_sizes_nm(self) -> list[Vector3]:
        """Return the voxel size of every level."""
        return [level.grid.voxel_size_nm for level in self.levels]

    def annotations(self) -> list[Annotation]:
        """Return what the attributes of every level, and of the group, say about its values."""
        return [read_annotation(self.attributes, level.attributes, level.path) for level in self.levels]

    def metadata_files(self) -> list[str]:
        """Name the files that :func:`open_multiscale` looked for, there or not."""
        names = [f"{level.path}/{name}" for level in self.levels for name in (".zarray", ".zattrs")]
        return [f"{self.path}/.zattrs", *names]


def open_multiscale(path: Path) -> Multiscale:
    """Read the metadata of a multiscale group and of all its levels.

    Parameters
    ----------
    path : Path
        Folder of the group, such as ``.../recon-1/em/fibsem-uint8`` or ``.../crop1/mito``.

    Returns
    -------
    Multiscale
        Levels as the ``datasets`` list names them, never as folders happen to lie there.

    Raises
    ------
    LayoutError
        If the folder, its metadata or an array is missing or breaks OME-NGFF 0.4.
    """
    attributes = _read_json(path, ".zattrs", what="multiscale metadata")
    image, datasets = _image(attributes, path)
    _check_axes(image, path)
    scale0, shift0 = _transforms(image.get("coordinateTransformations") or [], path)
    levels = []
    for dataset in datasets:
        scale, shift = _transforms(dataset.get("coordinateTransformations") or None, path)
        size = round_nm([a * b for a, b in zip(scale, scale0, strict=True)])
        centre = round_nm([a + b for a, b in zip(shift, shift0, strict=True)])
        levels.append(_open_level(path / dataset["path"], dataset["path"], size, centre))
    return Multiscale(path, tuple(levels), attributes)


OME_ZARR = Format(
    "OME-Zarr", Path.is_dir, open_multiscale, suffixes=(".zarr", ".n5"), layout=cellmap_layout(open_multiscale)
)


def _size_in_words(file: Path) -> str:
    try:
        return f"{file.stat().st_size} bytes"
    except OSError as error:  # gone meanwhile, or a disk that fails
        return f"a file whose size cannot be read ({error.strerror})"


def _image(attributes: Mapping[str, Any], path: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Take the first image of a group's metadata, and its list of levels, each of which has a path."""
    entries = attributes.get("multiscales")
    image = entries[0] if isinstance(entries, list) and entries else None
    datasets = image.get("datasets") if isinstance(image, dict) else None
    named = isinstance(datasets, list) and all(isinstance(d, dict) and isinstance(d.get("path"), str) for d in datasets)
    if not isinstance(image, dict) or not isinstance(datasets, list) or not datasets or not named:
        raise LayoutError(
            f"{path} is not a multiscale group",
            expected="'multiscales' with a list of 'datasets' in .zattrs (OME-NGFF 0.4)",
            found=f"keys {sorted(attributes)}",
            remedy="name the group that holds s0, s1, ... in the datasplit",
        )
    return image, datasets


def _check_axes(image: Mapping[str, Any], path: Path) -> None:
    """Refuse axes in another order or unit, which would be read as another place; nothing said is z, y, x in nm."""
    described = image.get("axes") or [{"name": name} for name in "zyx"]
    axes = [axis if isinstance(axis, dict) else {"name": axis} for axis in described]
    in_order = [axis.get("name") for axis in axes] == ["z", "y", "x"]
    if not in_order or not all((axis.get("unit") or "nanometer") == "nanometer" for axis in axes):
        raise LayoutError(
            f"{path} has axes that cannot be used",
            expected="z, y, x in nanometer",
            found=json.dumps(described),
            remedy="rewrite the group with its axes in this order, scale and translation in nanometers",
        )


def _open_level(path: Path, name: str, voxel_size_nm: Vector3, translation_nm: Vector3) -> ZarrLevel:
    if not all(0.0 < s < _MAX_VOXEL_SIZE_NM for s in voxel_size_nm):
        raise LayoutError(
            f"{path} has an impossible voxel size",
            expected=f"three numbers of nm above 0 and below {_MAX_VOXEL_SIZE_NM:.0f}",
            found=f"{voxel_size_nm} (z, y, x)",
            remedy="correct the scale in the group's .zattrs (unit: nanometer)",
        )
    meta = _read_json(path, ".zarray", what="zarr v2 array metadata")
    shape, chunks = _integers(meta.get("shape")), _integers(meta.get("chunks"))
    if len(shape) != _AXES or len(chunks) != _AXES or min(*shape, *chunks) < 1:
        raise LayoutError(
            f"{path} is not a volume",
            expected="an array with three axes z, y, x and at least one voxel",
            found=f"shape {meta.get('shape')}, chunks {meta.get('chunks')}",
            remedy="point the datasplit at 3-D arrays",
        )
    dtype, separator = _dtype(meta.get("dtype")), meta.get("dimension_separator", ".")
    if dtype is None or separator not in (".", "/"):
        raise LayoutError(
            f"{path} has array metadata that cannot be used",
            expected="a dtype such as '|u1' and a dimension_separator '.' or '/'",
            found=f"dtype {meta.get('dtype')!r}, dimension_separator {separator!r}",
            remedy="fetch the array again",
        )
    if dtype.kind in "uibf" and not _fits(meta.get("fill_value"), dtype):
        raise LayoutError(
            f"{path} has a fill value that cannot be used",
            expected=f"a {'number' if dtype.kind == 'f' else 'whole number'} that fits {dtype}, or null",
            found=json.dumps(meta.get("fill_value")),
            remedy="fetch the array again",
        )
    attributes = _read_json(path, ".zattrs", what="attributes", is_optional=True)
    return ZarrLevel(
        name=name,
        path=path,
        grid=Grid((shape[0], shape[1], shape[2]), voxel_size_nm, translation_nm),
        chunks=(chunks[0], chunks[1], chunks[2]),
        dtype=dtype,
        separator=separator,
        attributes=attributes,
        metadata=meta,
    )


def _integers(value: Any) -> tuple[int, ...]:
    return tuple(value) if isinstance(value, list) and all(isinstance(v, int) for v in value) else ()


def _fits(value: Any, dtype: np.dtype[Any]) -> bool:
    """Tell whether an array of a type can hold a fill value; None leaves it open."""
    if dtype.kind == "f":
        return value is None or isinstance(value, int | float) or value in ("NaN", "Infinity", "-Infinity")
    limits = (0, 1) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    return value is None or (isinstance(value, int | float) and value % 1 == 0 and limits[0] <= value <= limits[1])


def _dtype(value: Any) -> np.dtype[Any] | None:
    try:
        return np.dtype(value) if isinstance(value, str) else None
    except TypeError:
        return None


def _transforms(entries: Any, path: Path) -> tuple[Vector3, Vector3]:
    """Return scale and translation of a list of OME-NGFF transformations; a missing one is the identity."""
    scale: list[float] = [1.0, 1.0, 1.0]
    translation: list[float] = [0.0, 0.0, 0.0]
    for entry in entries if isinstance(entries, list) else [entries]:
        kind = entry.get("type") if isinstance(entry, dict) else None
        values = entry.get(kind) if kind in ("scale", "translation") else None
        numbers = values if isinstance(values, list) and len(values) == _AXES else []
        if not numbers or not all(isinstance(v, int | float) and math.isfinite(v) for v in numbers):
            raise LayoutError(
                f"{path} has a coordinate transformation that cannot be used",
                expected="a scale and at most one translation, three finite numbers each (z, y, x in nm)",
                found=json.dumps(entry),
                remedy="rewrite the transformation as scale + translation",
            )
        if kind == "scale":
            scale = numbers
        else:
            translation = numbers
    return (scale[0], scale[1], scale[2]), (translation[0], translation[1], translation[2])


def _read_json(folder: Path, name: str, *, what: str, is_optional: bool = False) -> dict[str, Any]:
    try:
        with FileIO(f"{folder}/{name}") as stream:  # as plainly as can be: a thousand crops have 30 000 such files
            content = json.loads(stream.readall())
    except FileNotFoundError:
        if is_optional:
            return {}
        nearest = next((p for p in (folder, *folder.parents) if p.exists()), Path("/"))
        raise LayoutError(
            f"no {what} at {folder}",
            expected=f"the file {name} of a zarr v2 store",
            found="the folder without it" if nearest == folder else f"nothing below {nearest}",
            remedy="check the path in the datasplit, or fetch the data again",
        ) from None
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise LayoutError(
            f"{what} at {folder / name} cannot be read",
            expected="a JSON object",
            found=str(error),
            remedy="fetch the file again",
        ) from error
    if not isinstance(content, dict):
        raise LayoutError(
            f"{what} at {folder / name} is not an object",
            expected="a JSON object",
            found=type(content).__name__,
            remedy="fetch the file again",
        )
    return content
