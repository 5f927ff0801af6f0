import json
from collections import Counter
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import zarr

from counterpoise.writing.cellmap import (
    LabelVolume,
    create_raw,
    write_crop,
    write_raw_block,
)
from counterpoise.writing.levels import MultiscaleGeometry, downsample_mean, downsample_mode

CROP = "recon-1/labels/groundtruth/crop3"


def read(folder: Path) -> npt.NDArray[Any]:
    return np.asarray(zarr.open_array(str(folder), mode="r")[...])


def attributes(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / ".zattrs").read_text(encoding="utf-8"))
    return content


def brute_force_mode(labels: npt.NDArray[Any], factor: tuple[int, int, int]) -> npt.NDArray[Any]:
    shape = tuple(length // step for length, step in zip(labels.shape, factor, strict=True))
    result = np.zeros(shape, labels.dtype)
    for place in product(*map(range, shape)):
        window = labels[tuple(slice(i * f, i * f + f) for i, f in zip(place, factor, strict=True))]
        result[place] = max((count, value) for value, count in Counter(window.ravel().tolist()).items())[1]
    return result


@pytest.mark.parametrize("factor", [(2, 2, 2), (1, 2, 2), (2, 3, 1)])
@pytest.mark.parametrize(
    ("values", "dtype"), [((0, 1), np.uint8), ((0, 1, 255), np.uint8), ((0, 255, 256, 700), np.uint16)]
)
def test_mode_is_what_a_loop_finds_and_ties_go_to_the_larger(
    factor: tuple[int, int, int], values: Any, dtype: Any
) -> None:
    labels = np.random.default_rng(1).choice(np.array(values, dtype), (7, 8, 9))
    coarse = downsample_mode(labels, factor)
    assert coarse.dtype == dtype
    np.testing.assert_array_equal(coarse, brute_force_mode(labels, factor))


def test_mean_is_rounded_half_up() -> None:
    image = np.zeros((2, 2, 4), np.uint8)
    image[0, 0, :] = (4, 0, 3, 0)  # means 0.5 and 0.375
    np.testing.assert_array_equal(downsample_mean(image), [[[1, 0]]])
    assert downsample_mean(np.full((4, 4, 4), 255, np.uint8)).min() == 255


def test_a_volume_thinner_than_the_window_cannot_be_downsampled() -> None:
    with pytest.raises(ValueError, match="too small"):
        downsample_mode(np.zeros((1, 4, 4), np.uint8))


def test_coarser_levels_move_by_half_the_difference_of_the_voxel_sizes() -> None:
    levels = MultiscaleGeometry((2.62, 2.0, 2.0), (3132.21, 899.0, 25863.0)).attributes()["multiscales"][0]["datasets"]
    found = [
        [
            transform[kind]
            for transform, kind in zip(level["coordinateTransformations"], ("scale", "translation"), strict=True)
        ]
        for level in levels
    ]
    assert found == [
        [[2.62, 2.0, 2.0], [3132.21, 899.0, 25863.0]],
        [[5.24, 4.0, 4.0], [3133.52, 900.0, 25864.0]],
        [[10.48, 8.0, 8.0], [3136.14, 902.0, 25866.0]],
    ]
    assert [level["path"] for level in levels] == ["s0", "s1", "s2"]


def test_the_pyramid_from_the_second_level_on_lies_where_it_lay() -> None:
    full = MultiscaleGeometry((10.48, 8.0, 8.0), (1.0, 2.0, 3.0))
    coarser = full.coarser()
    assert (coarser.scale_nm(0), coarser.offset_nm(1)) == (full.scale_nm(1), full.offset_nm(2))
    assert coarser.levels == 2


@pytest.mark.parametrize("change", [{"voxel_size_nm": (0.0, 8.0, 8.0)}, {"levels": 0}, {"factor": (0, 2, 2)}])
def test_an_impossible_geometry_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="found"):
        MultiscaleGeometry(**({"voxel_size_nm": (8.0, 8.0, 8.0)} | change))


def test_labels_come_back_as_written_with_true_counts(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    semantic = rng.choice(np.array([0, 1, 255], np.uint8), (9, 70, 130))
    instances = rng.integers(0, 300, semantic.shape).astype(np.uint16)
    labels = {"er_mem": LabelVolume(semantic), "mito": LabelVolume(instances, is_instance=True)}
    crop = write_crop(tmp_path / "a.zarr", CROP, labels, MultiscaleGeometry((8.0, 8.0, 8.0)), chunk=(4, 64, 64))
    np.testing.assert_array_equal(read(crop / "er_mem" / "s0"), semantic)
    np.testing.assert_array_equal(read(crop / "mito" / "s0"), instances)
    for level in ("s0", "s1", "s2"):
        stored = read(crop / "er_mem" / level)
        counts = attributes(crop / "er_mem" / level)["cellmap"]["annotation"]["complement_counts"]
        values = dict(zip(*np.unique(stored, return_counts=True), strict=True))
        assert counts == {
            "absent": values.get(0, 0),
            "unknown": values.get(255, 0),
            "present": values.get(1, 0),
        }
    # 255 is an object here: with more than 254 of them nothing can be unknown.
    counts = attributes(crop / "mito" / "s0")["cellmap"]["annotation"]["complement_counts"]
    assert counts == {"absent": int((instances == 0).sum()), "unknown": 0}
    assert (instances == 255).any()


def test_a_crop_says_what_it_is(tmp_path: Path) -> None:
    volume = LabelVolume(np.ones((4, 4, 4), np.uint8))
    ids = np.full((4, 4, 4), 35, np.uint8)
    crop = write_crop(tmp_path, CROP, {"nuc": volume}, MultiscaleGeometry((8.0, 8.0, 8.0)), all_ids=ids)
    annotation = attributes(crop)["cellmap"]["annotation"]
    assert (annotation["name"], annotation["class_names"]) == ("crop3", ["nuc"])
    assert attributes(crop / "nuc")["cellmap"]["annotation"]["annotation_type"]["encoding"]["unknown"] == 255
    assert (read(crop / "all" / "s1") == 35).all()
    folders = [
        tmp_path,
        *(tmp_path / part for part in ("recon-1", "recon-1/labels", "recon-1/labels/groundtruth")),
        crop,
        crop / "nuc",
    ]
    assert all(json.loads((folder / ".zgroup").read_text(encoding="utf-8")) == {"zarr_format": 2} for folder in folders)


def test_chunks_without_a_label_are_not_on_disk(tmp_path: Path) -> None:
    values = np.zeros((8, 8, 8), np.uint8)
    values[0, 0, 7] = 1
    crop = write_crop(tmp_path, CROP, {"pm": LabelVolume(values)}, MultiscaleGeometry((8.0,) * 3), chunk=(4, 4, 4))
    assert [
        path.relative_to(crop / "pm" / "s0").as_posix()
        for path in (crop / "pm" / "s0").rglob("[0-9]")
        if path.is_file()
    ] == ["0/0/1"]
    np.testing.assert_array_equal(read(crop / "pm" / "s0"), values)
    assert not list((crop / "pm" / "s2").glob("[0-9]"))


def test_raw_blocks_meet_within_a_chunk_and_leave_the_rest_empty(tmp_path: Path) -> None:
    geometry = MultiscaleGeometry((16.0, 16.0, 16.0))
    folder = create_raw(tmp_path / "b.zarr", "recon-1/em/fibsem-uint8", (41, 50, 60), geometry, chunk=(16, 16, 16))
    volume = np.zeros((41, 50, 60), np.uint8)
    for start, value in (((4, 8, 0), 10), ((4, 8, 20), 20)):
        block = np.full((20, 16, 20), value, np.uint8)
        block[0, 0, 0] = 200
        write_raw_block(folder, start, block, geometry)
        volume[tuple(slice(a, a + n) for a, n in zip(start, block.shape, strict=True))] = block
    np.testing.assert_array_equal(read(folder / "s0"), volume)
    np.testing.assert_array_equal(read(folder / "s1"), downsample_mean(volume))
    assert read(folder / "s2").shape == (10, 12, 15)
    description = json.loads((folder / "s0" / ".zarray").read_text(encoding="utf-8"))
    assert (description["dimension_separator"], description["dtype"], description["fill_value"]) == (
        "/",
        "|u1",
        0,
    )


@pytest.mark.parametrize(("start", "match"), [((2, 0, 0), "coarsest grid"), ((40, 0, 0), "leaves the array")])
def test_a_raw_block_that_does_not_fit_is_refused(tmp_path: Path, start: tuple[int, int, int], match: str) -> None:
    geometry = MultiscaleGeometry((16.0, 16.0, 16.0))
    folder = create_raw(tmp_path, "em", (40, 40, 40), geometry)
    with pytest.raises(ValueError, match=match):
        write_raw_block(folder, start, np.ones((8, 8, 8), np.uint8), geometry)


@pytest.mark.parametrize(
    ("values", "is_instance"),
    [
        (np.zeros((2, 2), np.uint8), False),
        (np.zeros((2, 2, 2), np.uint16), False),
        (np.zeros((2, 2, 2), np.int32), True),
    ],
)
def test_labels_of_the_wrong_kind_are_refused(values: Any, is_instance: bool) -> None:
    with pytest.raises(ValueError, match="found"):
        LabelVolume(values, is_instance=is_instance)


def test_classes_of_one_crop_have_one_shape_and_none_is_called_all(tmp_path: Path) -> None:
    small, large = (LabelVolume(np.zeros((n, n, n), np.uint8)) for n in (4, 8))
    for labels in ({"nuc": small, "pm": large}, {"all": small}, {}):
        with pytest.raises(ValueError, match="one shape"):
            write_crop(tmp_path, CROP, labels, MultiscaleGeometry((8.0, 8.0, 8.0)))
