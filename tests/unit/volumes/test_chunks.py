from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numcodecs
import numpy as np
import pytest
import zarr

from counterpoise.errors import DamagedChunkError, LayoutError
from counterpoise.volumes.geometry import IndexBox
from counterpoise.volumes.levels import ChunkedLevel
from counterpoise.volumes.omezarr import open_multiscale

VALUES = np.random.default_rng(0).integers(0, 256, (10, 12, 21)).astype(np.uint8)
CODECS: list[dict[str, Any]] = [
    {"id": "zstd", "level": 1},
    {"id": "blosc", "cname": "lz4", "clevel": 5, "shuffle": 2, "blocksize": 0},
    {"id": "gzip", "level": 1},
    {"id": "lz4", "acceleration": 1},
    {"id": "lzma", "format": 1, "check": -1, "preset": None, "filters": None},
]


def read(level: ChunkedLevel, block: IndexBox) -> np.ndarray:
    """Put the chunks that a block touches together."""
    voxels = np.full(block.shape, level.fill_value, level.dtype)
    for box, decoded in level.decoded_chunks(block):
        if decoded is not None:
            part = box.common(block)
            voxels[part.within(block)] = decoded[part.within(box)]
    return voxels


def write(folder: Path, values: np.ndarray, **changes: Any) -> ChunkedLevel:
    """Write an array by zarr's own words about it: ``changes`` go into ``.zarray``; return its level."""
    meta: dict[str, Any] = {
        "zarr_format": 2, "shape": values.shape, "chunks": [4, 5, 8], "dtype": values.dtype.str, "order": "C",
        "compressor": CODECS[0], "fill_value": 0, "filters": None, "dimension_separator": "/",
    } | changes  # fmt: skip
    codec = numcodecs.get_codec(dict(meta["compressor"])) if meta["compressor"] else None
    filters = [numcodecs.get_codec(dict(f)) for f in meta["filters"] or []]
    (folder / "s0").mkdir(parents=True)
    (folder / "s0" / ".zarray").write_text(json.dumps(meta))
    transforms = [{"type": "scale", "scale": [8, 8, 8]}]
    image = {"datasets": [{"path": "s0", "coordinateTransformations": transforms}]}
    (folder / ".zattrs").write_text(json.dumps({"multiscales": [image]}))
    for key in np.ndindex(3, 3, 3):
        chunk = np.zeros((4, 5, 8), values.dtype)
        inside = values[tuple(slice(k * c, k * c + c) for k, c in zip(key, chunk.shape, strict=True))]
        chunk[tuple(slice(0, n) for n in inside.shape)] = inside
        content: Any = np.asarray(chunk, order=meta["order"]).ravel(order="K")
        for step in filters:
            content = step.encode(content)
        content = codec.encode(content) if codec else content.tobytes()
        file = folder / "s0" / "/".join(map(str, key))
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(bytes(content))
    return open_multiscale(folder).levels[0]


@pytest.mark.parametrize("compressor", [*CODECS, None], ids=lambda c: c["id"] if c else "none")
@pytest.mark.parametrize("dtype", ["|u1", "<u2", ">u4", "<i2"])
def test_voxels_are_those_that_zarr_reads(tmp_path: Path, compressor: dict[str, Any] | None, dtype: str) -> None:
    values = VALUES.astype(dtype)
    level = write(tmp_path, values, compressor=compressor)
    by_zarr = np.asarray(zarr.open_array(str(level.path), mode="r")[...])
    np.testing.assert_array_equal(by_zarr, values)
    np.testing.assert_array_equal(read(level, level.whole()), values)
    box = IndexBox((3, 2, 7), (9, 12, 20))
    np.testing.assert_array_equal(read(level, box), values[box.slices])


@pytest.mark.parametrize(
    "changes", [{"order": "F"}, {"filters": [{"id": "delta", "dtype": "|u1"}]}], ids=["order F", "filter"]
)
def test_filters_and_the_other_order_are_read(tmp_path: Path, changes: dict[str, Any]) -> None:
    level = write(tmp_path, VALUES, **changes)
    (level.path / "0/1/2").unlink()
    expected = VALUES.copy()
    expected[:4, 5:10, 16:] = 0
    np.testing.assert_array_equal(read(level, level.whole()), expected)
    boxes = {box: voxels for box, voxels in level.decoded_chunks(level.whole(), as_stored=True) if voxels is None}
    assert list(boxes) == [IndexBox((0, 5, 16), (4, 10, 21))]


@pytest.mark.parametrize("value", [0, 0xA7])
@pytest.mark.parametrize("compressor", CODECS, ids=lambda c: str(c["id"]))
def test_every_last_byte_is_read_as_it_is(tmp_path: Path, compressor: dict[str, Any], value: int) -> None:
    values = np.full_like(VALUES, value)
    level = write(tmp_path, values, compressor=compressor, chunks=[4, 5, 8])
    np.testing.assert_array_equal(read(level, level.whole()), values)


@pytest.mark.parametrize("missing", [1, 7, 100])
@pytest.mark.parametrize("compressor", [*CODECS, None], ids=lambda c: c["id"] if c else "none")
def test_a_chunk_that_ends_early_never_passes(tmp_path: Path, compressor: dict[str, Any] | None, missing: int) -> None:
    level = write(tmp_path, VALUES, compressor=compressor)
    whole = np.arange(4 * 5 * 8, dtype=np.uint8)[:-missing]
    codec = numcodecs.get_codec(dict(compressor)) if compressor else None
    (level.path / "0/0/1").write_bytes(bytes(codec.encode(whole)) if codec else whole.tobytes())
    with pytest.raises(DamagedChunkError, match="chunk 0/0/1 of"):
        read(level, level.whole())


def test_chunks_as_stored_hold_what_lies_beyond_the_array(tmp_path: Path) -> None:
    level = write(tmp_path, VALUES)
    for box, voxels in level.decoded_chunks(level.whole(), as_stored=True):
        assert voxels is not None
        assert voxels.shape == (4, 5, 8)
        np.testing.assert_array_equal(voxels[tuple(slice(0, n) for n in box.shape)], VALUES[box.slices])


@pytest.mark.parametrize("fill", [1.5, 256, -1, "NaN", float("nan"), float("inf"), [0]])
def test_a_fill_value_that_is_no_voxel_is_refused(tmp_path: Path, fill: object) -> None:
    with pytest.raises(LayoutError, match="fill value that cannot be used"):
        write(tmp_path, VALUES, fill_value=fill)


@pytest.mark.parametrize(("fill", "expected"), [(None, 0), (7, 7), (3.0, 3)])
def test_a_missing_chunk_has_the_fill_value(
    tmp_path: Path, fill: float | None, expected: int, write_group: Callable[..., Path]
) -> None:
    level = write(tmp_path / "g", VALUES, fill_value=fill)
    (level.path / "1/1/1").unlink()
    assert (read(level, IndexBox((4, 5, 8), (8, 10, 16))) == expected).all()
