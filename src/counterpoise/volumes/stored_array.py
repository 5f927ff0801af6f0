"""What the metadata of an array say, read once from ``.zarray`` (zarr v2), ``zarr.json`` (v3) or N5's attributes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from counterpoise.errors import LayoutError
from counterpoise.volumes.chunk_files import Naming
from counterpoise.volumes.chunks import Decoder, N5Decoder, v2_decoder, v3_decoder
from counterpoise.volumes.metadata import Kind, Node

__all__ = ["StoredArray", "parse_array"]


@dataclass(frozen=True)
class StoredArray:
    """An array with its axes in the order in which they are stored, but those of N5, which are turned round.

    Parameters
    ----------
    node : Node
        The metadata.
    shape : tuple of int
        Voxels on each axis.
    files : tuple of int
        Voxels that a file covers: a chunk, or a shard of chunks.
    chunks : tuple of int
        Voxels of a chunk, which is decoded by itself.
    dtype : dtype
        As stored, byte order included.
    fill_value : number
        Of voxels whose chunk is not stored.
    naming : Naming
        Of the files.
    """

    node: Node
    shape: tuple[int, ...]
    files: tuple[int, ...]
    chunks: tuple[int, ...]
    dtype: np.dtype[Any]
    fill_value: Any
    naming: Naming

    def decoder(self) -> Decoder:
        """Make what decodes its chunks.

        Raises
        ------
        ValueError
            If a codec is not known.
        """
        if self.node.kind is Kind.V2:
            return v2_decoder(self.node.content, self.chunks, self.dtype)
        if self.node.kind is Kind.V3:
            return v3_decoder(self.node.content.get("codecs") or (), self.files, self.dtype)
        return N5Decoder.of(self.node.content, self.chunks, self.dtype)


def parse_array(node: Node, path: Path) -> StoredArray:
    """Read the metadata of an array.

    Raises
    ------
    LayoutError
        If they make no sense, or demand what cannot be read.
    """
    return _PARSERS[node.kind](node, path)


def _parse_v2(node: Node, path: Path) -> StoredArray:
    meta = node.content
    shape, chunks = _lengths(meta.get("shape")), _lengths(meta.get("chunks"))
    _check_lengths(shape, chunks, path, f"shape {meta.get('shape')}, chunks {meta.get('chunks')}")
    dtype, separator = _dtype(meta.get("dtype")), meta.get("dimension_separator", ".")
    if dtype is None or separator not in (".", "/"):
        raise LayoutError(
            f"{path} has array metadata that cannot be used",
            expected="a dtype such as '|u1' and a dimension_separator '.' or '/'",
            found=f"dtype {meta.get('dtype')!r}, dimension_separator {separator!r}",
            remedy="fetch the array again",
        )
    fill = _checked_fill(meta.get("fill_value"), dtype, path)
    return StoredArray(node, shape, chunks, chunks, dtype, fill, Naming("", separator))


def _parse_v3(node: Node, path: Path) -> StoredArray:
    meta = node.content
    grid, keys = _configured(meta.get("chunk_grid")), _configured(meta.get("chunk_key_encoding"))
    shape, files = _lengths(meta.get("shape")), _lengths(grid[1].get("chunk_shape"))
    _check_lengths(shape, files, path, f"shape {meta.get('shape')}, chunk grid {json.dumps(meta.get('chunk_grid'))}")
    dtype = _dtype(meta.get("data_type"))
    separator = keys[1].get("separator", "/" if keys[0] == "default" else ".")
    codecs = meta.get("codecs")
    known = keys[0] in {"default", "v2"} and separator in (".", "/") and grid[0] == "regular"
    if dtype is None or not known or not isinstance(codecs, list) or not all(isinstance(c, dict) for c in codecs):
        raise LayoutError(
            f"{path} has array metadata that cannot be used",
            expected="a data_type such as 'uint8', a regular chunk grid, chunk keys 'default' or 'v2', codecs",
            found=", ".join(f"{key} {json.dumps(meta.get(key))}" for key in ("data_type", "chunk_key_encoding")),
            remedy="write the array again with ordinary settings",
        )
    chunks = next(
        (_lengths(_configured(c)[1].get("chunk_shape")) for c in codecs if c.get("name") == "sharding_indexed"), files
    )
    if len(chunks) != len(files) or any(n % c for n, c in zip(files, chunks, strict=True)):
        raise LayoutError(
            f"{path} has shards that cannot be read",
            expected="shards of whole chunks",
            found=f"shards {files}, chunks {chunks}",
            remedy="write the array again with other shards",
        )
    fill = _checked_fill(meta.get("fill_value"), dtype, path)
    return StoredArray(node, shape, files, chunks, dtype, fill, Naming("c" if keys[0] == "default" else "", separator))


_N5_TYPES = frozenset({*(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)), "float32", "float64"})


def _parse_n5(node: Node, path: Path) -> StoredArray:
    meta = node.content
    shape, chunks = _lengths(meta.get("dimensions"))[::-1], _lengths(meta.get("blockSize"))[::-1]
    _check_lengths(shape, chunks, path, f"dimensions {meta.get('dimensions')}, blockSize {meta.get('blockSize')}")
    kind = meta.get("dataType")
    if kind not in _N5_TYPES:
        raise LayoutError(
            f"{path} has array metadata that cannot be used",
            expected="a dataType of N5 such as 'uint8'",
            found=json.dumps(kind),
            remedy="write the array again as numbers",
        )
    return StoredArray(node, shape, chunks, chunks, np.dtype(kind).newbyteorder(">"), 0, Naming("", "/"))


_PARSERS = {Kind.V2: _parse_v2, Kind.V3: _parse_v3, Kind.N5: _parse_n5}


def _configured(value: Any) -> tuple[str, dict[str, Any]]:
    """Take name and configuration of an extension point of zarr v3, which may be a name alone."""
    if isinstance(value, str):
        return value, {}
    content = value if isinstance(value, dict) else {}
    configuration = content.get("configuration")
    return str(content.get("name")), configuration if isinstance(configuration, dict) else {}


def _lengths(value: Any) -> tuple[int, ...]:
    return tuple(value) if isinstance(value, list) and all(isinstance(v, int) for v in value) else ()


def _check_lengths(shape: tuple[int, ...], chunks: tuple[int, ...], path: Path, found: str) -> None:
    if not shape or len(shape) != len(chunks) or min(*shape, *chunks) < 1:
        raise LayoutError(
            f"{path} is not a volume",
            expected="an array with axes z, y, x and at least one voxel",
            found=found,
            remedy="point the datasplit at 3-D arrays",
        )


def _checked_fill(value: Any, dtype: np.dtype[Any], path: Path) -> Any:
    if dtype.kind in "uibf" and not _fits(value, dtype):
        raise LayoutError(
            f"{path} has a fill value that cannot be used",
            expected=f"a {'' if dtype.kind == 'f' else 'whole '}number that fits {dtype}, or null",
            found=json.dumps(value),
            remedy="fetch the array again",
        )
    return value


def _fits(value: Any, dtype: np.dtype[Any]) -> bool:
    """Tell whether an array of a type can hold a fill value; None leaves it open."""
    if dtype.kind == "f":
        return value is None or isinstance(value, int | float) or value in ("NaN", "Infinity", "-Infinity")
    lowest, highest = (0, 1) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    return value is None or (isinstance(value, int | float) and value % 1 == 0 and lowest <= value <= highest)


def _dtype(value: Any) -> np.dtype[Any] | None:
    return _known_dtype(value) if isinstance(value, str) else None


@lru_cache(maxsize=64)
def _known_dtype(value: str) -> np.dtype[Any] | None:
    try:
        return np.dtype(value)
    except TypeError:
        return None
