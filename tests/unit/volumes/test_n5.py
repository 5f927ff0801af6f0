"""N5, written by hand after its specification: headers, big-endian voxels, x first everywhere."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import struct
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numcodecs
import numpy as np
import pytest

from counterpoise.errors import DamagedChunkError, LayoutError
from counterpoise.volumes.formats import open_volume
from counterpoise.volumes.geometry import Grid

ReadLevel = Callable[[Any], np.ndarray]
VALUES = np.random.default_rng(12).integers(0, 256, (10, 12, 21)).astype(np.uint8)


def lz4_stream(content: bytes) -> bytes:
    """Return what lz4-java's LZ4BlockOutputStream writes: pieces with headers, and an empty one at the end."""
    codec, made = numcodecs.LZ4(), b""
    for start in range(0, len(content), 64):
        piece = content[start : start + 64]
        packed = bytes(codec.encode(piece))[4:]
        token, body = (0x20, packed) if len(packed) < len(piece) else (0x10, piece)
        made += struct.pack("<8sBIII", b"LZ4Block", token | 6, len(body), len(piece), 0) + body
    return made + struct.pack("<8sBIII", b"LZ4Block", 0x16, 0, 0, 0)


ENCODERS: dict[str, tuple[Mapping[str, Any], Callable[[bytes], bytes]]] = {
    "raw": ({"type": "raw"}, bytes),
    "gzip": ({"type": "gzip", "level": -1}, gzip.compress),
    "zlib": ({"type": "gzip", "useZlib": True}, zlib.compress),
    "bzip2": ({"type": "bzip2", "blockSize": 9}, bz2.compress),
    "xz": ({"type": "xz", "preset": 6}, lzma.compress),
    "lz4": ({"type": "lz4", "blockSize": 64}, lz4_stream),
    "blosc": ({"type": "blosc", "cname": "zstd"}, lambda content: bytes(numcodecs.Blosc().encode(content))),
    "zstd": ({"type": "zstd", "level": 3}, lambda content: bytes(numcodecs.Zstd().encode(content))),
}


def write_array(
    folder: Path,
    values: np.ndarray = VALUES,
    attributes: Mapping[str, Any] | None = None,
    *,
    compression: str = "gzip",
    block: tuple[int, int, int] = (4, 5, 8),
    mode: int = 0,
) -> Path:
    """Write an array; ``block`` is z, y, x, the files say x first."""
    described, encode = ENCODERS[compression]
    folder.mkdir(parents=True)
    content = {
        "dimensions": values.shape[::-1], "blockSize": block[::-1], "dataType": values.dtype.name,
        "compression": described,
    } | dict(attributes or {})  # fmt: skip
    (folder / "attributes.json").write_text(json.dumps(content))
    for key in np.ndindex(*[-(-n // c) for n, c in zip(values.shape, block, strict=True)]):
        part = values[tuple(slice(k * c, k * c + c) for k, c in zip(key, block, strict=True))]
        header = struct.pack(">HHIII", mode, 3, *part.shape[::-1])
        header += struct.pack(">I", part.size) if mode else b""
        file = folder / "/".join(str(k) for k in reversed(key))
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(header + encode(part.astype(values.dtype.newbyteorder(">")).tobytes()))
    return folder


def write_attributes(folder: Path, **attributes: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "attributes.json").write_text(json.dumps(attributes))
    return folder


RESOLUTION = {"pixelResolution": {"dimensions": [4.0, 8.0, 40.0], "unit": "nm"}}


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32", "uint64"])
@pytest.mark.parametrize("compression", list(ENCODERS))
def test_blocks_of_every_compression_are_read(
    tmp_path: Path, compression: str, dtype: str, read_level: ReadLevel
) -> None:
    values = (VALUES.astype(np.uint64) * (1 if dtype == "uint8" else 200)).astype(dtype)
    array = write_array(tmp_path / "v.n5" / "s0", values, RESOLUTION, compression=compression)
    volume = open_volume(array)
    level = volume.levels[0]
    assert level.grid == Grid((10, 12, 21), (40.0, 8.0, 4.0), (0.0, 0.0, 0.0))
    assert level.chunks == (4, 5, 8)
    assert volume.notes == ()
    np.testing.assert_array_equal(read_level(level), values)
    files = {Path(file) for _, file in level.chunk_paths(level.whole())}
    assert files == {file for file in array.rglob("*") if file.is_file() and file.suffix != ".json"}


def test_blocks_that_name_their_length_are_read(tmp_path: Path, read_level: ReadLevel) -> None:
    array = write_array(tmp_path / "a", attributes=RESOLUTION, mode=1)
    np.testing.assert_array_equal(read_level(open_volume(array).levels[0]), VALUES)


def test_a_block_that_is_not_there_is_0(tmp_path: Path, read_level: ReadLevel) -> None:
    array = write_array(tmp_path / "a", attributes=RESOLUTION)
    (array / "2" / "1" / "0").unlink()  # x, y, z
    expected = VALUES.copy()
    expected[:4, 5:10, 16:] = 0
    np.testing.assert_array_equal(read_level(open_volume(array).levels[0]), expected)


def test_compression_type_of_old_versions_is_read(tmp_path: Path, read_level: ReadLevel) -> None:
    array = write_array(tmp_path / "a", attributes=RESOLUTION)
    content = json.loads((array / "attributes.json").read_text())
    del content["compression"]
    write_attributes(array, **content, compressionType="gzip")
    np.testing.assert_array_equal(read_level(open_volume(array).levels[0]), VALUES)


@pytest.mark.parametrize("damage", ["shorter", "empty", "garbage", "another shape", "larger"])
def test_a_damaged_block_is_named(tmp_path: Path, damage: str, read_level: ReadLevel) -> None:
    array = write_array(tmp_path / "a", attributes=RESOLUTION, compression="raw")
    file = array / "0" / "1" / "0"
    good = file.read_bytes()
    file.write_bytes(
        {
            "shorter": good[:-1],
            "empty": b"",
            "garbage": b"\x93" * 100,
            "another shape": struct.pack(">HHII", 0, 2, 8, 5) + good[16:],
            "larger": struct.pack(">HHIII", 0, 3, 8, 5, 5) + bytes(200),
        }[damage]
    )
    with pytest.raises(DamagedChunkError, match="chunk 0/1/0 of"):
        read_level(open_volume(array).levels[0])


# --- groups ----------------------------------------------------------------------------------------------------------


def levels(group: Path, attributes: Callable[[int], Mapping[str, Any]]) -> None:
    for k in range(3):
        step = 2**k
        write_array(group / f"s{k}", VALUES[::step, ::step, ::step], attributes(k))


PLACES = [
    Grid((10, 12, 21), (40.0, 8.0, 4.0), (0.0, 0.0, 0.0)),
    Grid((5, 6, 11), (80.0, 16.0, 8.0), (20.0, 4.0, 2.0)),
    Grid((3, 3, 6), (160.0, 32.0, 16.0), (60.0, 12.0, 6.0)),
]
"""Of averages over 2 and 4 voxels: centres lie between those of the fine ones."""


def test_levels_with_transforms_as_cellmap_writes_them_lie_where_these_say(tmp_path: Path) -> None:
    def transform(k: int) -> dict[str, Any]:
        step = 2**k
        return {"transform": {"axes": ["z", "y", "x"], "units": ["nm"] * 3, "scale": [40 * step, 8 * step, 4 * step],
                              "translate": [20 * (step - 1), 4 * (step - 1), 2 * (step - 1)]}}  # fmt: skip

    levels(tmp_path / "em", transform)
    write_attributes(tmp_path / "em", multiscales=[{"datasets": [{"path": f"s{k}"} for k in (2, 0, 1)]}])
    found = open_volume(tmp_path / "em")
    assert [level.name for level in found.levels] == ["s0", "s1", "s2"]
    assert [level.grid for level in found.levels] == PLACES


@pytest.mark.parametrize("where", ["scales", "downsamplingFactors", "arrays"])
def test_levels_with_factors_are_averages_of_the_fine_ones(tmp_path: Path, where: str) -> None:
    group = tmp_path / "em"
    factors = [[2**k] * 3 for k in range(3)]
    levels(group, lambda k: {"downsamplingFactors": factors[k]} if where == "arrays" and k else {})
    write_attributes(group, **RESOLUTION, **({} if where == "arrays" else {where: factors}))
    assert [level.grid for level in open_volume(group).levels] == PLACES


def test_resolution_in_micrometres_is_converted(tmp_path: Path) -> None:
    levels(tmp_path / "em", lambda _: {})
    write_attributes(
        tmp_path / "em", resolution=[0.004, 0.008, 0.04], units=["um"] * 3, scales=[[2**k] * 3 for k in range(3)]
    )
    assert [level.grid for level in open_volume(tmp_path / "em").levels] == PLACES


def test_a_listed_level_that_is_not_there_is_passed_over(tmp_path: Path) -> None:
    group = tmp_path / "em"
    levels(group, lambda _: {})
    (group / "s1").rename(tmp_path / "away")
    write_attributes(group, **RESOLUTION, scales=[[2**k] * 3 for k in range(3)])
    found = open_volume(group)
    assert [level.grid for level in found.levels] == [PLACES[0], PLACES[2]]
    assert found.notes == ("level s1 is listed but not there; it is passed over",)


@pytest.mark.parametrize(
    ("group", "array"),
    [({}, {}), ({"resolution": [4, 8]}, {}), ({"resolution": [4, 8, 40], "units": ["px"] * 3}, {})],
)
def test_a_voxel_size_is_never_guessed(tmp_path: Path, group: dict[str, Any], array: dict[str, Any]) -> None:
    write_array(tmp_path / "em" / "s0", attributes=array)
    write_attributes(tmp_path / "em", **group)
    with pytest.raises(LayoutError, match="no voxel size"):
        open_volume(tmp_path / "em")


def test_a_size_without_unit_that_cannot_be_nm_is_refused(tmp_path: Path) -> None:
    write_array(tmp_path / "em", attributes={"resolution": [0.004, 0.008, 0.04]})
    with pytest.raises(LayoutError, match="impossible voxel size") as caught:
        open_volume(tmp_path / "em")
    assert "micrometer" in caught.value.remedy


@pytest.mark.parametrize(
    ("change", "said"),
    [({"dataType": "string"}, "dataType"), ({"blockSize": [0, 5, 8]}, "blockSize"), ({"dimensions": [4, 4]}, "volume")],
)
def test_metadata_that_make_no_sense_are_refused(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    array = write_array(tmp_path / "em", attributes=RESOLUTION | change)
    with pytest.raises(LayoutError) as caught:
        open_volume(array)
    assert said in str(caught.value)


def test_an_unknown_compression_is_named(tmp_path: Path, read_level: ReadLevel) -> None:
    array = write_array(tmp_path / "em", attributes=RESOLUTION | {"compression": {"type": "jpeg"}})
    with pytest.raises((DamagedChunkError, LayoutError), match="cannot be read") as caught:
        read_level(open_volume(array).levels[0])
    assert "'jpeg'" in caught.value.found
