"""What turns the bytes of a stored chunk into the bytes of its voxels: one step per codec, in the order of decoding.

Descriptions come from ``.zarray`` (zarr v2), ``zarr.json`` (v3) or ``attributes.json`` (N5); the codecs are those of
numcodecs, with which zarr itself decodes.
"""

from __future__ import annotations

import importlib
import struct
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, cast

import numcodecs
import numpy as np

__all__ = ["Step", "n5_steps", "v2_steps", "v3_steps"]

Step = Callable[..., Any]
"""Takes bytes and, if it is a compressor's, memory for what it returns; returns that or new bytes."""

_PLAIN = frozenset({"zstd", "blosc", "lz4"})
"""Codecs whose module has the function that decodes, ``decompress``. The codec's own ``decode`` calls it after looking
at its arguments in Python, as the function does again itself, while other threads wait for the interpreter's lock."""

_CRC_BYTES = 4


def _decode_of(description: Mapping[str, Any]) -> Step:
    """Find what decodes the bytes of a codec of numcodecs."""
    codec = numcodecs.get_codec(dict(description))
    if codec.codec_id not in _PLAIN:
        return cast("Step", codec.decode)
    decode = cast("Step", importlib.import_module(type(codec).__module__).decompress)
    return partial(_blosc, decode) if codec.codec_id == "blosc" else decode


_BLOSC_HEADER = 16
_BLOSC_LENGTH = slice(12, 16)


def _blosc(decode: Step, content: bytes, *memory: np.ndarray) -> Any:
    """Decode with Blosc, which reads on behind bytes that end early."""
    if len(content) < _BLOSC_HEADER or len(content) < int.from_bytes(content[_BLOSC_LENGTH], "little"):
        raise ValueError("the compressed bytes end early")
    return decode(content, *memory)


def v2_steps(metadata: Mapping[str, Any]) -> tuple[Step, ...]:
    """Read the compressor and the filters of ``.zarray``.

    Raises
    ------
    ValueError
        If one of them is not known.
    """
    compressor = metadata.get("compressor")
    filters = [_decode_of(entry) for entry in reversed(metadata.get("filters") or [])]
    return (*([_decode_of(compressor)] if compressor else []), *filters)


def v3_steps(codecs: Sequence[Mapping[str, Any]]) -> tuple[Step, ...]:
    """Read what ``zarr.json`` lists behind the codec that makes bytes of an array.

    Raises
    ------
    ValueError
        If one of them is not known.
    """
    return tuple(_v3_step(str(entry.get("name"))) for entry in reversed(codecs))


def _v3_step(name: str) -> Step:
    if name == "crc32c":
        return _without_crc
    codec_id = name.removeprefix("numcodecs.")
    if codec_id == name and name not in {"gzip", "zstd", "blosc"}:
        raise ValueError(f"the codec {name!r} of zarr v3 is not known")
    return _decode_of({"id": codec_id})  # what decoding needs stands in the bytes


def _without_crc(content: bytes) -> bytes:
    """Take off a CRC-32C after comparing it with the bytes before it."""
    body, stored = content[:-_CRC_BYTES], content[-_CRC_BYTES:]
    if len(stored) != _CRC_BYTES or _crc32c(body) != int.from_bytes(stored, "little"):
        raise ValueError("the checksum (CRC-32C) is another one")
    return body


def _crc32c(content: bytes) -> int:
    import google_crc32c  # comes with zarr-python 3

    return int(google_crc32c.value(bytes(content)))


_N5_CODECS = {"bzip2": "bz2", "xz": "lzma", "zstd": "zstd", "zstandard": "zstd", "blosc": "blosc"}


def n5_steps(metadata: Mapping[str, Any]) -> tuple[Step, ...]:
    """Read the compression of ``attributes.json``: ``compression``, or ``compressionType`` of older versions.

    Raises
    ------
    ValueError
        If it is not known.
    """
    described = metadata.get("compression", {"type": metadata.get("compressionType", "raw")})
    kind = described.get("type") if isinstance(described, Mapping) else described
    if kind == "raw":
        return ()
    if kind == "gzip":
        uses_zlib = isinstance(described, Mapping) and described.get("useZlib")
        return (_decode_of({"id": "zlib" if uses_zlib else "gzip"}),)
    if kind == "lz4":
        return (_lz4_blocks,)
    if kind not in _N5_CODECS:
        raise ValueError(f"the compression {kind!r} of N5 is not known")
    return (_decode_of({"id": _N5_CODECS[kind]}),)


_LZ4_MAGIC = b"LZ4Block"
_LZ4_HEADER = struct.Struct("<8sBIII")
"""Magic, method, compressed and decompressed size, checksum: what lz4-java writes before every piece."""
_LZ4_STORED, _LZ4_METHOD = 0x10, 0xF0


def _lz4_blocks(content: bytes) -> bytes:
    """Decode the stream of lz4-java, which N5 uses: pieces with a header of their own."""
    decode = _decode_of({"id": "lz4"})
    pieces, at = [], 0
    while at + _LZ4_HEADER.size <= len(content):
        magic, token, size, decoded, _ = _LZ4_HEADER.unpack_from(content, at)
        if magic != _LZ4_MAGIC:
            raise ValueError("no stream of LZ4 blocks")
        at += _LZ4_HEADER.size
        piece = bytes(content[at : at + size])
        at += size
        if not decoded:
            break
        stored = token & _LZ4_METHOD == _LZ4_STORED
        pieces.append(piece if stored else bytes(decode(decoded.to_bytes(4, "little") + piece)))
    return b"".join(pieces)
