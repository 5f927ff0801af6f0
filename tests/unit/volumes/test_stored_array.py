"""zarr v3: what zarr-python 3 writes is read; and metadata that only stand at the root of a store."""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from counterpoise.errors import DamagedChunkError, LayoutError
from counterpoise.volumes.crops import load_crops
from counterpoise.volumes.formats import is_stored, open_volume
from counterpoise.volumes.geometry import Grid, IndexBox
from counterpoise.volumes.omezarr import open_multiscale

ReadLevel = Callable[[Any], np.ndarray]
VALUES = np.random.default_rng(11).integers(0, 256, (10, 12, 21)).astype(np.uint8)

v3 = pytest.mark.skipif(int(zarr.__version__.split(".")[0]) < 3, reason="only zarr-python 3 writes zarr v3")


def write_v3(group: Path, values: np.ndarray = VALUES, *, ome: bool = True, **options: Any) -> Path:
    """Write a group with one level by zarr-python."""
    root = zarr.create_group(str(group), zarr_format=3)
    options = {"chunks": (4, 4, 8)} | options
    array = root.create_array("s0", shape=values.shape, dtype=values.dtype, **options)
    array[...] = values
    transforms: list[Any] = [
        {"type": "scale", "scale": [0.04, 0.008, 0.008]},
        {"type": "translation", "translation": [0.1, 0, 0]},
    ]
    axes = [{"name": name, "type": "space", "unit": "micrometer"} for name in "zyx"]
    image: dict[str, Any] = {"axes": axes, "datasets": [{"path": "s0", "coordinateTransformations": transforms}]}
    root.attrs.update({"ome": {"version": "0.5", "multiscales": [image]}} if ome else {"multiscales": [image]})
    return group


def _codecs() -> Any:
    import zarr.codecs  # of zarr-python 3

    return zarr.codecs


def blosc() -> Any:
    return _codecs().BloscCodec(cname="zstd", shuffle="bitshuffle")


def codecs(name: str) -> dict[str, Any]:
    """Return the settings of an array, made when a test runs: zarr-python 2 has none of them."""
    made: dict[str, Callable[[], dict[str, Any]]] = {
        "default": dict,
        "none": lambda: {"compressors": None},
        "gzip": lambda: {"compressors": _codecs().GzipCodec(level=1)},
        "zstd": lambda: {"compressors": _codecs().ZstdCodec(level=3)},
        "zstd, checksum": lambda: {"compressors": _codecs().ZstdCodec(level=3, checksum=True)},
        "blosc": lambda: {"compressors": blosc()},
        "crc32c": lambda: {"compressors": [_codecs().ZstdCodec(), _codecs().Crc32cCodec()]},
        "crc32c alone": lambda: {"compressors": _codecs().Crc32cCodec()},
        "two": lambda: {"compressors": [blosc(), _codecs().GzipCodec()]},
        "big endian": lambda: {"serializer": _codecs().BytesCodec(endian="big")},
        "transpose": lambda: {"filters": _codecs().TransposeCodec(order=(2, 0, 1))},
        "two transpositions": lambda: {
            "filters": [_codecs().TransposeCodec(order=(2, 0, 1)), _codecs().TransposeCodec(order=(1, 0, 2))]
        },
        "v2 keys": lambda: {"chunk_key_encoding": {"name": "v2", "separator": "/"}},
        "v2 keys, dots": lambda: {"chunk_key_encoding": {"name": "v2", "separator": "."}},
        "default keys, dots": lambda: {"chunk_key_encoding": {"name": "default", "separator": "."}},
        "shards": lambda: {"shards": (8, 8, 16)},
        "shards, gzip": lambda: {"shards": (8, 4, 24), "compressors": _codecs().GzipCodec()},
        "shards, transpose": lambda: {"shards": (8, 8, 8), "filters": _codecs().TransposeCodec(order=(2, 1, 0))},
    }
    return made[name]()


NAMES = [
    "default", "none", "gzip", "zstd", "zstd, checksum", "blosc", "crc32c", "crc32c alone", "two", "big endian",
    "transpose", "two transpositions", "v2 keys", "v2 keys, dots", "default keys, dots", "shards", "shards, gzip",
    "shards, transpose",
]  # fmt: skip


@v3
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int32", "uint64"])
@pytest.mark.parametrize("name", NAMES)
def test_what_zarr_python_writes_is_read(tmp_path: Path, name: str, dtype: str, read_level: ReadLevel) -> None:
    values = (VALUES.astype(np.uint64) * (1 if dtype == "uint8" else 100)).astype(dtype)
    volume = open_multiscale(write_v3(tmp_path / "g", values, **codecs(name)))
    level = volume.levels[0]
    assert volume.notes == ()
    assert level.grid == Grid((10, 12, 21), (40.0, 8.0, 8.0), (100.0, 0.0, 0.0))
    assert level.chunks == (4, 4, 8)
    np.testing.assert_array_equal(read_level(level), values)
    files = {Path(file) for _, file in level.chunk_paths(level.whole())}
    stored = {file for file in (tmp_path / "g" / "s0").rglob("*") if file.is_file() and file.name != "zarr.json"}
    assert stored == files


@v3
@pytest.mark.parametrize("name", ["default", "shards"])
def test_what_is_not_stored_has_the_fill_value(tmp_path: Path, name: str, read_level: ReadLevel) -> None:
    values = np.full_like(VALUES, 7)
    values[5, 5, 17] = 9
    level = open_multiscale(write_v3(tmp_path / "g", values, fill_value=7, **codecs(name))).levels[0]
    np.testing.assert_array_equal(read_level(level), values)
    stored = [box for box, decoded in level.decoded_chunks(level.whole()) if decoded is not None]
    assert stored == [IndexBox((4, 4, 16), (8, 8, 21))]


@v3
@pytest.mark.parametrize("damage", ["shorter", "longer", "garbage", "empty"])
@pytest.mark.parametrize("name", ["default", "none", "blosc", "crc32c", "crc32c alone", "shards"])
def test_a_damaged_chunk_is_named(tmp_path: Path, name: str, damage: str, read_level: ReadLevel) -> None:
    level = open_multiscale(write_v3(tmp_path / "g", **codecs(name))).levels[0]
    file = level.path / "c/0/0/0"
    good = file.read_bytes()
    if damage == "longer" and name in {"default", "shards", "blosc"}:
        pytest.skip("bytes behind the end change no voxel")
    file.write_bytes({"shorter": good[:-20], "longer": good + b"x" * 9, "garbage": b"\x93" * 300, "empty": b""}[damage])
    with pytest.raises(DamagedChunkError, match="chunk c/0/0/0 of"):
        read_level(level)


@v3
def test_a_bit_that_fell_over_is_found_by_the_checksum(tmp_path: Path, read_level: ReadLevel) -> None:
    level = open_multiscale(write_v3(tmp_path / "g", **codecs("crc32c alone"))).levels[0]
    content = bytearray((level.path / "c/1/0/0").read_bytes())
    content[50] ^= 4
    (level.path / "c/1/0/0").write_bytes(content)
    with pytest.raises(DamagedChunkError, match="chunk c/1/0/0 of") as caught:
        read_level(level)
    assert "CRC-32C" in caught.value.found


@v3
def test_multiscales_without_ome_are_read_too(tmp_path: Path) -> None:
    assert open_multiscale(write_v3(tmp_path / "g", ome=False)).voxel_sizes_nm == [(40.0, 8.0, 8.0)]


@v3
@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"data_type": "complex999"}, "data_type"),
        ({"chunk_grid": {"name": "rectangular", "configuration": {"chunk_shape": [4, 4, 8]}}}, "regular chunk grid"),
        ({"chunk_key_encoding": {"name": "mine"}}, "chunk keys"),
        ({"codecs": "zstd"}, "codecs"),
        ({"shape": None}, "not a volume"),
        ({"fill_value": 300}, "fill value"),
    ],
)
def test_v3_metadata_that_make_no_sense_are_refused(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    group = write_v3(tmp_path / "g")
    file = group / "s0" / "zarr.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(LayoutError) as caught:
        open_multiscale(group)
    assert said in str(caught.value)
    assert str(group / "s0") in caught.value.problem


@v3
@pytest.mark.parametrize("codec", [{"name": "zfpy"}, {"name": "numcodecs.no-such"}, {"name": "sharding_indexed"}])
def test_an_unknown_codec_is_named(tmp_path: Path, codec: dict[str, Any], read_level: ReadLevel) -> None:
    group = write_v3(tmp_path / "g")
    file = group / "s0" / "zarr.json"
    content = json.loads(file.read_text())
    file.write_text(json.dumps(content | {"codecs": [{"name": "bytes"}, codec]}))
    with pytest.raises((DamagedChunkError, LayoutError), match=r"s0 (cannot be read|has shards)") as caught:
        read_level(open_multiscale(group).levels[0])
    assert codec["name"].removeprefix("numcodecs.") in str(caught.value) or "shards" in str(caught.value)


@v3
def test_a_migrated_group_with_the_metadata_of_both_versions_is_read(
    tmp_path: Path, write_group: Callable[..., Path], read_level: ReadLevel
) -> None:
    group = write_group(tmp_path / "g", VALUES)
    write_v3(tmp_path / "h")
    shutil.copy(tmp_path / "h" / "zarr.json", group)
    np.testing.assert_array_equal(read_level(open_multiscale(group).levels[0]), VALUES)


# --- metadata at the root alone --------------------------------------------------------------------------------------


def consolidate(store: Path) -> None:
    """Put every metadata file of a zarr v2 store into ``.zmetadata`` at its root, and delete them."""
    files = [file for file in store.rglob(".z*") if file.is_file()]
    content = {file.relative_to(store).as_posix(): json.loads(file.read_text()) for file in files}
    for file in files:
        file.unlink()
    (store / ".zmetadata").write_text(json.dumps({"metadata": content, "zarr_consolidated_format": 1}))


def test_a_store_with_consolidated_metadata_only_is_read(
    tmp_path: Path, write_group: Callable[..., Path], read_level: ReadLevel
) -> None:
    group = write_group(tmp_path / "v.zarr" / "recon-1" / "labels" / "a", [{"values": VALUES, "counts": {"absent": 1}}])
    consolidate(tmp_path / "v.zarr")
    volume = open_multiscale(group)
    np.testing.assert_array_equal(read_level(volume.levels[0]), VALUES)
    assert volume.levels[0].attributes["cellmap"]["annotation"]["complement_counts"] == {"absent": 1}
    assert f"{tmp_path}/v.zarr/.zmetadata" in volume.metadata_files()


def test_a_class_without_chunks_in_a_consolidated_store_is_annotated_as_absent(
    tmp_path: Path, add_crop: Callable[..., Path]
) -> None:
    ones = np.ones((8, 8, 8), np.uint8)
    table = add_crop(tmp_path, "crop1", {"a": ones, "b": ones * 0})
    (store,) = tmp_path.rglob("*.zarr")
    consolidate(store)
    for folder in sorted(store.rglob("crop1/b/**/"), reverse=True):
        folder.rmdir()  # nothing of it was stored, so a copy has no folder
    crops = load_crops(table, ["a", "b"])
    assert set(crops.crops[0].labels) == {"a", "b"}
    assert crops.crops[0].labels["b"][0].count().count.voxels == (0, 512, 0)


def test_a_group_that_no_metadata_describe_is_not_stored(tmp_path: Path, write_group: Callable[..., Path]) -> None:
    write_group(tmp_path / "v.zarr" / "a", VALUES)
    consolidate(tmp_path / "v.zarr")
    assert is_stored(tmp_path / "v.zarr" / "a")
    assert not is_stored(tmp_path / "v.zarr" / "b")


@v3
def test_v3_metadata_at_the_root_alone_are_read(tmp_path: Path, read_level: ReadLevel) -> None:
    store = tmp_path / "v.zarr"
    zarr.create_group(str(store), zarr_format=3)
    group = write_v3(store / "em")
    with warnings.catch_warnings(action="ignore"):  # of what is no part of the format
        zarr.consolidate_metadata(str(store))
    (group / "zarr.json").unlink()
    (group / "s0" / "zarr.json").unlink()
    np.testing.assert_array_equal(read_level(open_volume(group).levels[0]), VALUES)


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["info"], "precomputed"), (["header.wkw"], "wkw"), (["a.tif", "b.tif"], "TIFF"), (["x.h5"], "HDF5"),
        (["0001.png"], "PNG"), (["vol.nii.gz"], "compressed"), ([".zarray"], "single array"),
        ([], "the folder without"),
    ],
)  # fmt: skip
def test_other_formats_are_named_with_what_to_do(tmp_path: Path, names: list[str], said: str) -> None:
    (tmp_path / "em").mkdir()
    for name in names:
        (tmp_path / "em" / name).write_bytes(b"{}")
    with pytest.raises(LayoutError, match="no multiscale metadata") as caught:
        open_volume(tmp_path / "em")
    assert said in caught.value.found
    assert ("data import" in caught.value.remedy) == (said not in {"single array", "the folder without"})
