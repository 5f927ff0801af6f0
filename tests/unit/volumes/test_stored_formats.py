"""The same voxels in every format and place: what is read is the NumPy array that was written."""

from __future__ import annotations

import functools
import gzip
import http.server
import json
import shutil
import struct
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numcodecs
import numpy as np
import pytest
import zarr

from counterpoise.errors import DamagedChunkError, LayoutError
from counterpoise.frequencies.count import count_crops
from counterpoise.store import StoreRequest, open_or_build
from counterpoise.volumes import remote
from counterpoise.volumes.crops import load_crops
from counterpoise.volumes.formats import is_stored
from counterpoise.volumes.geometry import Grid, IndexBox
from counterpoise.volumes.omezarr import Multiscale, open_multiscale
from counterpoise.volumes.placement import PatchReach

WriteGroup = Callable[..., Path]

VALUES = np.random.default_rng(5).integers(1, 250, (10, 12, 21)).astype(np.uint8)
needs_zarr_3 = pytest.mark.skipif(int(zarr.__version__.split(".")[0]) < 3, reason="writes zarr v3")


def read(volume: Multiscale, block: IndexBox | None = None) -> np.ndarray:
    """Put the chunks of the finest level together."""
    level = volume.levels[0]
    block = block or level.whole()
    voxels = np.full(block.shape, level.fill_value, level.dtype)
    for box, decoded in level.decoded_chunks(block):
        if decoded is not None:
            part = box.common(block)
            voxels[part.within(block)] = decoded[part.within(box)]
    return voxels


def image(*names: str, axes: str = "zyx", scale: list[float] | None = None) -> list[dict[str, Any]]:
    """Describe levels of 8 nm, or of ``scale``."""
    entries = [{"type": "scale", "scale": scale or [8.0] * len(axes)}]
    described = [{"name": a, "type": "space", "unit": "nanometer"} for a in axes]
    return [{"axes": described, "datasets": [{"path": name, "coordinateTransformations": entries} for name in names]}]


def put(file: Path, content: object) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content), encoding="utf-8")


def write_v3(folder: Path, values: np.ndarray, **options: Any) -> Path:
    attributes = {"ome": {"version": "0.5", "multiscales": image("s0")}, "cellmap": {"annotation": {"x": 1}}}
    put(folder / "zarr.json", {"zarr_format": 3, "node_type": "group", "attributes": attributes})
    chosen: dict[str, Any] = {"chunks": (4, 5, 8), "fill_value": 0, "zarr_format": 3} | options
    array: Any = zarr.create_array(str(folder / "s0"), shape=values.shape, dtype=values.dtype, **chosen)
    array[...] = values
    return folder


def v3_options() -> dict[str, dict[str, Any]]:
    if int(zarr.__version__.split(".")[0]) < 3:
        return {}
    from zarr.codecs import BloscCodec, Crc32cCodec, GzipCodec, TransposeCodec, ZstdCodec

    return {
        "zstd": {"compressors": ZstdCodec()},
        "gzip": {"compressors": GzipCodec()},
        "blosc": {"compressors": BloscCodec(cname="lz4")},
        "nothing": {"compressors": None},
        "checked": {"compressors": [ZstdCodec(), Crc32cCodec()]},
        "only checked": {"compressors": [Crc32cCodec()]},
        "turned": {"filters": [TransposeCodec(order=(2, 0, 1))]},
        "shards": {"shards": (8, 10, 16)},
        "checked shards": {"shards": (8, 10, 24), "compressors": [GzipCodec(), Crc32cCodec()]},
        "dots": {"chunk_key_encoding": {"name": "default", "separator": "."}},
        "keys of v2": {"chunk_key_encoding": {"name": "v2", "separator": "."}},
    }


@needs_zarr_3
@pytest.mark.parametrize("dtype", ["u1", "<u2", ">i4"])
@pytest.mark.parametrize("kind", list(v3_options()))
def test_zarr_v3_is_read_as_it_was_written(tmp_path: Path, kind: str, dtype: str) -> None:
    values = VALUES.astype(dtype)
    volume = open_multiscale(write_v3(tmp_path / "g", values, **v3_options()[kind]))
    assert volume.levels[0].grid == Grid((10, 12, 21), (8.0, 8.0, 8.0), (0.0, 0.0, 0.0))
    assert volume.notes == ()
    assert volume.attributes["cellmap"] == {"annotation": {"x": 1}}
    np.testing.assert_array_equal(read(volume), values)
    box = IndexBox((3, 2, 7), (9, 12, 20))
    np.testing.assert_array_equal(read(volume, box), values[box.slices])


@needs_zarr_3
@pytest.mark.parametrize("shards", [None, (8, 10, 16)])
def test_chunks_of_zarr_v3_that_are_not_stored_have_the_fill_value(tmp_path: Path, shards: Any) -> None:
    values = VALUES.copy()
    values[4:8, 5:10, 8:16] = 7  # a whole chunk
    values[8:, 10:, 16:] = 7  # and a whole shard
    volume = open_multiscale(write_v3(tmp_path / "g", values, fill_value=7, shards=shards))
    level = volume.levels[0]
    missing = {box.start for box, voxels in level.decoded_chunks(level.whole()) if voxels is None}
    assert missing == {(4, 5, 8), (8, 10, 16)}
    np.testing.assert_array_equal(read(volume), values)


@needs_zarr_3
@pytest.mark.parametrize("kind", ["checked", "checked shards", "shards"])
def test_a_damaged_chunk_of_zarr_v3_is_named(tmp_path: Path, kind: str) -> None:
    volume = open_multiscale(write_v3(tmp_path / "g", VALUES, **v3_options()[kind]))
    file = tmp_path / "g/s0/c/0/0/0"
    content = bytearray(file.read_bytes())
    content[-30] ^= 0xFF
    file.write_bytes(content[:-3] if kind == "shards" else content)
    with pytest.raises(DamagedChunkError, match="chunk c/0/0/0 of"):
        read(volume)


@needs_zarr_3
def test_an_unknown_codec_of_zarr_v3_is_named(tmp_path: Path) -> None:
    group = write_v3(tmp_path / "g", VALUES)
    meta = json.loads((group / "s0/zarr.json").read_text())
    meta["codecs"].append({"name": "my.codec"})
    put(group / "s0/zarr.json", meta)
    with pytest.raises(DamagedChunkError, match="cannot be read") as caught:
        read(open_multiscale(group))
    assert "my.codec" in caught.value.found


def test_consolidated_metadata_of_the_root_serve_where_the_others_are_missing(
    tmp_path: Path, write_group: WriteGroup
) -> None:
    group = write_group(tmp_path / "a.zarr/recon-1/g", [{"values": VALUES, "counts": {"absent": 1}}])
    metadata = {}
    for file in [p for p in group.parents[1].rglob(".z*") if p.is_file()]:
        metadata[file.relative_to(group.parents[1]).as_posix()] = json.loads(file.read_text())
        file.unlink()
    put(tmp_path / "a.zarr/.zmetadata", {"zarr_consolidated_format": 1, "metadata": metadata})
    volume = open_multiscale(group)
    np.testing.assert_array_equal(read(volume), VALUES)
    assert volume.levels[0].attributes["cellmap"]["annotation"]["complement_counts"] == {"absent": 1}
    assert str(tmp_path / "a.zarr/.zmetadata") in volume.metadata_files()


def zipped(folder: Path, compression: int = zipfile.ZIP_STORED) -> Path:
    file = folder.with_name(folder.name + ".zip")
    with zipfile.ZipFile(file, "w", compression) as archive:
        for path in sorted(folder.rglob("*")):
            archive.write(path, path.relative_to(folder).as_posix())
    shutil.rmtree(folder)
    return file


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_zipped_store_is_read_in_place(tmp_path: Path, write_group: WriteGroup, compression: int) -> None:
    write_group(tmp_path / "a.zarr/recon-1/g", VALUES)
    file = zipped(tmp_path / "a.zarr", compression)
    volume = open_multiscale(file / "recon-1/g")
    np.testing.assert_array_equal(read(volume), VALUES)
    assert is_stored(file / "recon-1")
    assert not is_stored(file / "recon-1/h")
    assert str(file) in volume.metadata_files()


def test_a_rewritten_archive_is_described_otherwise(tmp_path: Path, write_group: WriteGroup) -> None:
    write_group(tmp_path / "a.zarr/g", VALUES)
    file = zipped(tmp_path / "a.zarr")
    first = open_multiscale(file / "g").levels[0].description()
    write_group(tmp_path / "a.zarr/g", VALUES // 2)
    zipped(tmp_path / "a.zarr")
    volume = open_multiscale(file / "g")
    assert volume.levels[0].description() != first
    np.testing.assert_array_equal(read(volume), VALUES // 2)


def test_a_file_that_is_no_archive_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.zarr.zip").write_bytes(b"nothing")
    with pytest.raises(LayoutError, match="cannot be read"):
        open_multiscale(tmp_path / "a.zarr.zip/g")


def write_n5(folder: Path, values: np.ndarray, compression: dict[str, Any], encode: Callable[[bytes], Any]) -> None:
    """Write blocks of (4, 5, 8) as the specification of N5 says: x first, big-endian, cut at the end of the array."""
    blocks, shape = (4, 5, 8), values.shape
    meta = {
        "dimensions": shape[::-1],
        "blockSize": blocks[::-1],
        "dataType": values.dtype.name,
        "compression": compression,
    }
    old = json.loads((folder / "attributes.json").read_text()) if (folder / "attributes.json").exists() else {}
    put(folder / "attributes.json", old | meta)
    for z, y, x in np.ndindex(*[-(-n // b) for n, b in zip(shape, blocks, strict=True)]):
        block = values[tuple(slice(k * b, k * b + b) for k, b in zip((z, y, x), blocks, strict=True))]
        body = np.ascontiguousarray(block, block.dtype.newbyteorder(">")).tobytes()
        file = folder / str(x) / str(y) / str(z)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(struct.pack(">HHIII", 0, 3, *block.shape[::-1]) + bytes(encode(body)))


def lz4_of_java(body: bytes) -> bytes:
    content = bytes(numcodecs.LZ4().encode(body))[4:]
    return struct.pack("<8sBIII", b"LZ4Block", 0x26, len(content), len(body), 0) + content + struct.pack(
        "<8sBIII", b"LZ4Block", 0x16, 0, 0, 0)  # fmt: skip


N5_CODECS: dict[str, tuple[dict[str, Any], Callable[[bytes], Any]]] = {
    "raw": ({"type": "raw"}, bytes),
    "gzip": ({"type": "gzip", "level": -1, "useZlib": False}, gzip.compress),
    "zlib": ({"type": "gzip", "useZlib": True}, numcodecs.Zlib().encode),
    "bzip2": ({"type": "bzip2", "blockSize": 9}, numcodecs.BZ2().encode),
    "xz": ({"type": "xz", "preset": 6}, numcodecs.LZMA().encode),
    "zstd": ({"type": "zstd", "level": 3}, numcodecs.Zstd().encode),
    "blosc": ({"type": "blosc", "cname": "lz4"}, numcodecs.Blosc().encode),
    "lz4": ({"type": "lz4", "blockSize": 65536}, lz4_of_java),
}


@pytest.mark.parametrize("dtype", ["u1", "<u2", "<u8"])
@pytest.mark.parametrize("codec", list(N5_CODECS))
def test_n5_is_read_as_its_specification_says(tmp_path: Path, codec: str, dtype: str) -> None:
    transform = {"axes": ["z", "y", "x"], "scale": [5.0, 4.0, 3.0], "translate": [2.5, 2.0, 1.0], "units": ["nm"] * 3}
    group = tmp_path / "a.n5/em/g"
    put(group / "attributes.json", {"multiscales": [{"datasets": [{"path": "s0", "transform": transform}]}]})
    values = VALUES.astype(dtype)
    write_n5(group / "s0", values, *N5_CODECS[codec])
    volume = open_multiscale(group)
    assert volume.levels[0].grid == Grid((10, 12, 21), (5.0, 4.0, 3.0), (2.5, 2.0, 1.0))
    assert volume.notes == ()
    np.testing.assert_array_equal(read(volume), values)
    box = IndexBox((3, 2, 7), (9, 12, 20))
    np.testing.assert_array_equal(read(volume, box), values[box.slices])


@pytest.mark.parametrize(
    ("group", "array"),
    [
        ({"pixelResolution": {"dimensions": [3.0, 4.0, 5.0], "unit": "nm"}}, {}),
        ({"resolution": [3, 4, 5], "units": ["nm", "nm", "nm"]}, {}),
        ({}, {"pixelResolution": [0.003, 0.004, 0.005], "units": ["um"] * 3}),
        ({}, {"transform": {"axes": ["x", "y", "z"], "scale": [3, 4, 5], "units": ["nm"] * 3}}),
        ({"multiscales": image("s0", scale=[5.0, 4.0, 3.0])}, {}),
    ],
)
def test_the_voxel_size_of_n5_stands_in_one_of_several_places(
    tmp_path: Path, group: dict[str, Any], array: dict[str, Any]
) -> None:
    put(tmp_path / "attributes.json", {"n5": "2.0.0"} | group)
    put(tmp_path / "s0/attributes.json", array)
    write_n5(tmp_path / "s0", VALUES, *N5_CODECS["raw"])
    volume = open_multiscale(tmp_path)
    assert volume.levels[0].grid == Grid((10, 12, 21), (5.0, 4.0, 3.0), (0.0, 0.0, 0.0))
    np.testing.assert_array_equal(read(volume), VALUES)


def test_n5_levels_by_factors_start_where_their_voxels_have_their_centre(tmp_path: Path) -> None:
    put(tmp_path / "attributes.json", {"resolution": [4, 4, 40], "downsamplingFactors": [[1, 1, 1], [2, 2, 1]]})
    for name, values in (("s0", VALUES), ("s1", VALUES[:, ::2, ::2])):
        write_n5(tmp_path / name, values, *N5_CODECS["gzip"])
    coarse = open_multiscale(tmp_path).levels[1]
    assert coarse.grid.voxel_size_nm == (40.0, 8.0, 8.0)
    assert coarse.grid.translation_nm == (0.0, 2.0, 2.0)


def test_n5_without_a_voxel_size_is_refused(tmp_path: Path) -> None:
    write_n5(tmp_path / "s0", VALUES, *N5_CODECS["raw"])
    put(tmp_path / "attributes.json", {"n5": "2.0.0"})
    with pytest.raises(LayoutError, match="has no voxel size"):
        open_multiscale(tmp_path)


@pytest.mark.parametrize("axes", ["xyz", "tczyx", "czyx", "yzx"])
def test_axes_may_stand_in_any_order_and_others_must_have_length_1(tmp_path: Path, axes: str) -> None:
    letters = {"z": 0, "y": 1, "x": 2}
    stored = VALUES.transpose([letters[a] for a in axes if a in letters])
    stored = stored.reshape((1,) * (len(axes) - 3) + stored.shape)
    put(tmp_path / ".zattrs", {"multiscales": image("s0", axes=axes, scale=[10.0 + ord(a) - 119 for a in axes])})
    options: dict[str, Any] = {"zarr_format": 2} if int(zarr.__version__.split(".")[0]) >= 3 else {}
    array: Any = zarr.open_array(str(tmp_path / "s0"), mode="w", shape=stored.shape, chunks=(4,) * len(axes),
                                 dtype="u1", **options)  # fmt: skip
    array[...] = stored
    volume = open_multiscale(tmp_path)
    assert volume.levels[0].grid.voxel_size_nm == (13.0, 12.0, 11.0)
    np.testing.assert_array_equal(read(volume), VALUES)


def test_two_channels_are_refused(tmp_path: Path, write_group: WriteGroup) -> None:
    group = write_group(tmp_path, [{"values": np.ones((2, 8, 8, 8), np.uint8), "size": (1.0,) * 4, "origin": None}])
    with pytest.raises(LayoutError, match="is not a volume"):
        open_multiscale(group)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, list[str]]]:
    """Serve the folder; tell its URL and which paths were asked for."""
    asked: list[str] = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            asked.append(self.path)

    made = functools.partial(Handler, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), made) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}", asked
        running.shutdown()


def test_rows_of_a_list_may_lie_behind_a_url(
    tmp_path: Path, server: tuple[str, list[str]], add_crop: Callable[..., Path]
) -> None:
    pytest.importorskip("aiohttp")
    url, asked = server
    labels = (VALUES > 100).astype(np.uint8)
    for name, split in (("crop1", "train"), ("crop2", "validate")):
        datasplit = add_crop(tmp_path, name, {"a": labels}, raw=VALUES, split=split)
    text = datasplit.read_text(encoding="utf-8").replace('"d.zarr', f'"{url}/d.zarr')
    datasplit.write_text(text, encoding="utf-8")
    crop_set = load_crops(datasplit, ["a"])
    counts = count_crops(crop_set, workers=1).crops[0].classes["a"].voxels
    assert (counts.present, counts.known) == (int(labels.sum()), labels.size)
    reach = PatchReach((1.0, 1.0), stack_nm=0.0, rotation_degrees=0.0, transpose=False)
    request = StoreRequest(crop_set, (8.0, 8.0, 8.0), reach, max_upsampling=1.0)
    store = open_or_build(request, tmp_path / "stores", workers=2)
    np.testing.assert_array_equal(store.raw_of(store.crops[0]), VALUES)
    np.testing.assert_array_equal(store.present_of(store.crops[0]), labels)
    asked.clear()
    again = StoreRequest(load_crops(datasplit, ["a"]), (8.0, 8.0, 8.0), reach, max_upsampling=1.0)
    assert open_or_build(again, tmp_path / "stores", workers=2).fingerprint == store.fingerprint
    assert not [path for path in asked if path.endswith("/1/0/1")]  # no chunk is fetched twice


def test_a_server_that_does_not_answer_makes_no_class_missing(
    tmp_path: Path, add_crop: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("aiohttp")
    monkeypatch.setattr(remote, "_FIRST_PAUSE_S", 0.0)
    datasplit = add_crop(tmp_path, "crop1", {"a": VALUES}, raw=VALUES)
    text = datasplit.read_text(encoding="utf-8").replace('"d.zarr', '"http://127.0.0.1:9/d.zarr')
    datasplit.write_text(text, encoding="utf-8")
    with pytest.raises(LayoutError, match="nobody can tell whether") as caught:
        load_crops(datasplit, ["a"])
    assert "cannot be fetched" in caught.value.found


def test_without_the_extra_a_url_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fsspec", None)
    remote.remote_place.cache_clear()
    with pytest.raises(LayoutError, match="cannot be read by this installation") as caught:
        open_multiscale(Path("https://example.org/d.zarr/g"))
    assert "counterpoise[remote]" in caught.value.remedy
