from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from counterpoise.errors import DamagedChunkError, LayoutError
from counterpoise.volumes.chunk_files import Naming
from counterpoise.volumes.geometry import Grid, IndexBox
from counterpoise.volumes.levels import ChunkedLevel
from counterpoise.volumes.metadata import Kind, Node
from counterpoise.volumes.omezarr import open_multiscale
from counterpoise.volumes.places import LOCAL
from counterpoise.volumes.stored_array import StoredArray

WriteGroup = Callable[..., Path]

VALUES = np.random.default_rng(3).integers(1, 200, (10, 12, 21)).astype(np.uint8)


def read(level: ChunkedLevel, block: IndexBox) -> np.ndarray:
    """Put the chunks that a block touches together."""
    voxels = np.full(block.shape, level.fill_value, level.dtype)
    for box, decoded in level.decoded_chunks(block):
        if decoded is not None:
            part = box.common(block)
            voxels[part.within(block)] = decoded[part.within(box)]
    return voxels


def edit(file: Path, change: Callable[[dict[str, Any]], object]) -> None:
    content = json.loads(file.read_text(encoding="utf-8"))
    change(content)
    file.write_text(json.dumps(content), encoding="utf-8")


def set_scale(group: Path, scale: object) -> None:
    def change(content: dict[str, Any]) -> None:
        content["multiscales"][0]["datasets"][0]["coordinateTransformations"][0]["scale"] = scale

    edit(group / ".zattrs", change)


@pytest.fixture
def group(tmp_path: Path, write_group: WriteGroup) -> Path:
    return write_group(tmp_path / "g", VALUES)


@pytest.mark.parametrize("separator", [".", "/", None])
def test_blocks_of_voxels_are_read_whatever_the_separator(
    tmp_path: Path, write_group: WriteGroup, separator: str | None
) -> None:
    group = write_group(tmp_path / "g", VALUES, separator=separator)
    level = open_multiscale(group).levels[0]
    block = IndexBox((3, 0, 7), (10, 12, 18))
    np.testing.assert_array_equal(read(level, block), VALUES[3:10, 0:12, 7:18])
    np.testing.assert_array_equal(read(level, level.whole()), VALUES)
    files = {Path(file) for _, file in level.chunk_paths(level.whole())}
    assert files == {f for f in (group / "s0").rglob("*") if f.is_file() and f.name[0] != "."}
    assert len(files) == 2 * 2 * 3


def test_chunks_under_a_block_are_named_and_cut_to_the_array(group: Path) -> None:
    level = open_multiscale(group).levels[0]
    touched = level.chunk_paths(IndexBox((7, 8, 8), (9, 9, 17)))
    found = {str(Path(file).relative_to(level.path)): box for box, file in touched}
    assert found == {
        "0/1/1": IndexBox((0, 8, 8), (8, 12, 16)),
        "0/1/2": IndexBox((0, 8, 16), (8, 12, 21)),
        "1/1/1": IndexBox((8, 8, 8), (10, 12, 16)),
        "1/1/2": IndexBox((8, 8, 16), (10, 12, 21)),
    }


def test_a_missing_chunk_reads_as_the_fill_value(tmp_path: Path, write_group: WriteGroup) -> None:
    group = write_group(tmp_path / "g", [{"values": VALUES, "fill": 7}])
    (group / "s0" / "0" / "1" / "2").unlink()
    expected = VALUES.copy()
    expected[0:8, 8:12, 16:21] = 7
    level = open_multiscale(group).levels[0]
    np.testing.assert_array_equal(read(level, level.whole()), expected)


def test_levels_come_from_the_metadata_and_keep_their_order(tmp_path: Path, write_group: WriteGroup) -> None:
    group = write_group(
        tmp_path / "g",
        [
            {"values": VALUES, "size": (5.24, 4.0, 4.0), "origin": (3.0, 2.0, 1.0), "name": "s1"},
            {"values": VALUES[:5], "size": (10.48, 8.0, 8.0), "origin": None, "name": "s2"},
        ],
        annotation={"class_name": "mito"},
    )
    (group / "s0").mkdir()  # a folder that no metadata names
    found = open_multiscale(group)
    assert [level.name for level in found.levels] == ["s1", "s2"]
    assert found.levels[0].grid == Grid((10, 12, 21), (5.24, 4.0, 4.0), (3.0, 2.0, 1.0))
    assert found.levels[1].grid == Grid((5, 12, 21), (10.48, 8.0, 8.0), (0.0, 0.0, 0.0))
    assert found.voxel_sizes_nm == [(5.24, 4.0, 4.0), (10.48, 8.0, 8.0)]
    assert found.attributes["cellmap"] == {"annotation": {"class_name": "mito"}}
    assert found.levels[0].dtype == np.uint8


def test_a_transformation_of_the_whole_group_comes_after_that_of_the_level(
    tmp_path: Path, write_group: WriteGroup
) -> None:
    group = write_group(
        tmp_path / "g",
        [{"values": VALUES, "size": (5.0, 4.0, 4.0), "origin": (3.0, 2.0, 1.0)}],
        transforms=[{"type": "scale", "scale": [2, 1, 0.5]}, {"type": "translation", "translation": [100, 0, -1]}],
    )
    assert open_multiscale(group).levels[0].grid == Grid((10, 12, 21), (10.0, 4.0, 2.0), (106.0, 2.0, -0.5))


def test_attributes_of_an_array_are_optional(tmp_path: Path, write_group: WriteGroup) -> None:
    counts = {"absent": 3, "unknown": 0}
    group = write_group(tmp_path / "g", [{"values": VALUES, "counts": counts}, {"values": VALUES[:5, :6, :10]}])
    levels = open_multiscale(group).levels
    assert levels[0].attributes["cellmap"]["annotation"]["complement_counts"] == counts
    assert levels[1].attributes == {}


def test_groups_above_need_no_zgroup(tmp_path: Path, write_group: WriteGroup) -> None:
    group = write_group(tmp_path / "v.zarr" / "recon-1" / "em" / "fibsem-uint8", VALUES)
    assert not list(tmp_path.glob("v.zarr/.z*"))
    assert not list(tmp_path.glob("v.zarr/recon-1/.z*"))
    (group / ".zgroup").unlink()
    level = open_multiscale(group).levels[0]
    np.testing.assert_array_equal(read(level, level.whole()), VALUES)


COMPRESSORS: list[dict[str, Any]] = [
    {"id": "zstd", "level": 1},
    {"id": "blosc", "cname": "zstd", "clevel": 5, "shuffle": 1, "blocksize": 0},
    {"id": "zlib", "level": 1},
    {"id": "gzip", "level": 1},
    {"id": "lzma", "format": 1, "check": -1, "preset": None, "filters": None},
    {"id": "bz2", "level": 1},
    {"id": "lz4", "acceleration": 1},
]


@pytest.mark.parametrize("damage", ["truncated", "garbage", "empty", "shorter array"])
@pytest.mark.parametrize("compressor", COMPRESSORS, ids=lambda c: str(c["id"]))
def test_a_damaged_chunk_is_named(
    tmp_path: Path, write_group: WriteGroup, compressor: dict[str, Any], damage: str
) -> None:
    group = write_group(tmp_path / "g", VALUES, compressor=compressor)
    chunk = group / "s0" / "1" / "0" / "2"
    good = chunk.read_bytes()
    other = write_group(tmp_path / "other", [{"values": VALUES, "chunks": (2, 3, 5)}], compressor=compressor)
    chunk.write_bytes(
        {
            "truncated": good[: len(good) // 2],
            "garbage": b"\x93not a chunk at all" * 5,
            "empty": b"",
            "shorter array": (other / "s0" / "0" / "0" / "0").read_bytes(),
        }[damage]
    )
    level = open_multiscale(group).levels[0]
    with pytest.raises(DamagedChunkError) as caught:
        read(level, level.whole())
    assert caught.value.problem == f"chunk 1/0/2 of {group / 's0'} cannot be decoded"
    assert f"{chunk.stat().st_size} bytes" in caught.value.found
    again = pickle.loads(pickle.dumps(caught.value))  # noqa: S301 - our own bytes
    assert (type(again), str(again)) == (DamagedChunkError, str(caught.value))
    # The chunks next to it can still be read.
    block = IndexBox((0, 0, 0), (8, 12, 21))
    np.testing.assert_array_equal(read(level, block), VALUES[:8])


def test_a_chunk_that_vanishes_after_it_could_not_be_decoded_is_named_all_the_same(
    group: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    level = open_multiscale(group).levels[0]
    fetch = LOCAL.fetch

    def fail(file: str) -> bytes:
        if not Path(file).exists():
            return fetch(file)
        Path(file).unlink()
        raise OSError("the disk is going")

    monkeypatch.setattr(LOCAL, "fetch", fail)
    with pytest.raises(DamagedChunkError, match="chunk 0/0/0 of") as caught:
        read(level, level.whole())
    assert "the disk is going" in caught.value.found
    assert "No such file" in caught.value.found


def test_an_array_with_an_unknown_codec_cannot_be_read(group: Path) -> None:
    edit(group / "s0" / ".zarray", lambda meta: meta.update(compressor={"id": "no-such-codec"}))
    level = open_multiscale(group).levels[0]
    with pytest.raises((DamagedChunkError, LayoutError), match=r"s0 cannot be read") as caught:
        read(level, level.whole())
    assert "no-such-codec" in caught.value.found


@pytest.mark.parametrize(
    "scale", [[0, 8, 8], [8, -8, 8], [8, 8, float("nan")], [8, float("inf"), 8], [2e6, 8, 8], [1e-9, 8, 8]]
)
def test_an_impossible_voxel_size_is_refused(group: Path, scale: list[float]) -> None:
    set_scale(group, scale)
    with pytest.raises(LayoutError, match=r"voxel size|coordinate transformation"):
        open_multiscale(group)


@pytest.mark.parametrize("scale", [[8, 8], [8, 8, 8, "8"], ["8", "8", "8"], 8, None, "8", {}])
def test_a_scale_of_another_form_is_refused(group: Path, scale: object) -> None:
    set_scale(group, scale)
    with pytest.raises(LayoutError, match="coordinate transformation that cannot be used") as caught:
        open_multiscale(group)
    assert json.dumps(scale) in caught.value.found


@pytest.mark.parametrize("entries", [[], None])
def test_a_level_without_a_voxel_size_is_refused(group: Path, entries: object) -> None:
    edit(group / ".zattrs", lambda c: c["multiscales"][0]["datasets"][0].update(coordinateTransformations=entries))
    with pytest.raises(LayoutError, match="coordinate transformation that cannot be used"):
        open_multiscale(group)


@pytest.mark.parametrize("entry", [{"type": "affine", "affine": [1, 2, 3]}, {}, "scale", None, {"type": ["scale"]}])
def test_another_kind_of_transformation_is_refused(tmp_path: Path, write_group: WriteGroup, entry: Any) -> None:
    group = write_group(tmp_path / "g", VALUES, transforms=[entry])
    with pytest.raises(LayoutError, match="coordinate transformation that cannot be used"):
        open_multiscale(group)


@pytest.mark.parametrize(
    "multiscales",
    [None, [], {}, "s0", ["s0"], [None], [{}], [{"datasets": []}], [{"datasets": ["s0"]}], [{"datasets": [{}]}]],
)
def test_metadata_without_levels_is_refused(group: Path, multiscales: object) -> None:
    edit(group / ".zattrs", lambda content: content.update(multiscales=multiscales))
    with pytest.raises(LayoutError, match="is not a multiscale group"):
        open_multiscale(group)


@pytest.mark.parametrize("axes", ["yx", "zy", "zyy", "zyxx", "abc", "cyx"])
def test_axes_without_each_of_z_y_x_once_are_refused(group: Path, axes: str) -> None:
    described = [{"name": name, "type": "space", "unit": "nanometer"} for name in axes]
    edit(group / ".zattrs", lambda content: content["multiscales"][0].update(axes=described))
    with pytest.raises(LayoutError, match="axes") as caught:
        open_multiscale(group)
    assert axes[0] in caught.value.found


def test_a_unit_that_is_no_length_is_refused(group: Path) -> None:
    described = [{"name": name, "type": "space", "unit": "second"} for name in "zyx"]
    edit(group / ".zattrs", lambda content: content["multiscales"][0].update(axes=described))
    with pytest.raises(LayoutError, match="axes") as caught:
        open_multiscale(group)
    assert "second" in caught.value.found


@pytest.mark.parametrize("unit", [{"unit": "nanometer"}, {}])
def test_axes_in_nanometres_are_accepted(group: Path, unit: dict[str, str]) -> None:
    described = [{"name": name, "type": "space", **unit} for name in "zyx"]
    edit(group / ".zattrs", lambda content: content["multiscales"][0].update(axes=described))
    assert open_multiscale(group).voxel_sizes_nm == [(8.0, 8.0, 8.0)]


@pytest.mark.parametrize(("file", "what"), [(".zattrs", "multiscale metadata"), ("s0/.zarray", "array metadata")])
@pytest.mark.parametrize("content", ["{", "[1]", "\xff\xfe"])
def test_broken_metadata_is_reported_with_its_place(group: Path, file: str, what: str, content: str) -> None:
    (group / file).write_bytes(content.encode("latin-1"))
    with pytest.raises(LayoutError, match=what) as caught:
        open_multiscale(group)
    assert str((group / file).parent) in caught.value.problem


def test_a_folder_that_is_not_there_names_what_is(tmp_path: Path) -> None:
    with pytest.raises(LayoutError) as caught:
        open_multiscale(tmp_path / "crop1" / "mito")
    assert caught.value.found == f"nothing below {tmp_path}"


@pytest.mark.parametrize("shape", [(12, 21), (2, 10, 12, 21)])
def test_an_array_that_is_no_volume_is_refused(tmp_path: Path, write_group: WriteGroup, shape: tuple[int, ...]) -> None:
    group = write_group(tmp_path / "g", np.ones(shape, np.uint8))
    with pytest.raises(LayoutError, match="not a volume") as caught:
        open_multiscale(group)
    assert str(list(shape)) in caught.value.found


@pytest.mark.parametrize(
    "change",
    [
        {"shape": [0, 4, 4]},
        {"chunks": [8, 0, 8]},
        {"shape": None},
        {"shape": ["a", 4, 4]},
        {"chunks": 8},
        {"dtype": "nonsense"},
        {"dtype": None},
        {"dtype": [["a", "<i4"]]},
        {"dimension_separator": 3},
    ],
)
def test_array_metadata_that_makes_no_sense_is_refused(group: Path, change: dict[str, Any]) -> None:
    edit(group / "s0" / ".zarray", lambda meta: meta.update(change))
    with pytest.raises(LayoutError) as caught:
        open_multiscale(group)
    assert str(group / "s0") in caught.value.problem


shapes = st.tuples(*[st.integers(1, 30)] * 3)


@given(shapes, shapes, st.data())
def test_the_chunks_under_a_block_are_those_that_share_a_voxel_with_it(
    shape: tuple[int, int, int], chunks: tuple[int, int, int], data: st.DataObject
) -> None:
    start = [data.draw(st.integers(0, n - 1)) for n in shape]
    stop = [data.draw(st.integers(a + 1, n)) for a, n in zip(start, shape, strict=True)]
    block = IndexBox((start[0], start[1], start[2]), (stop[0], stop[1], stop[2]))
    array = StoredArray(Node(Kind.V2, {}, {}), shape, chunks, chunks, np.dtype("uint8"), 0, Naming("", "."))
    level = ChunkedLevel("s0", Path(), Grid(shape, (1.0,) * 3, (0.0,) * 3), array, array.naming)
    touched = {
        ".".join(str(i // c) for i, c in zip(index, chunks, strict=True))
        for index in np.argwhere(np.ones(block.shape)) + block.start
    }
    named = [Path(file).name for _, file in level.chunk_paths(block)]
    assert len(named) == len(set(named))
    assert set(named) == touched
