from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from counterpoise.errors import ClassNameError, LayoutError, VoxelSizeError
from counterpoise.volumes.annotation import VoxelCount
from counterpoise.volumes.crops import CropSet, load_crops
from counterpoise.volumes.fit import FittedCrop, fit_crop
from counterpoise.volumes.geometry import Grid, IndexBox
from counterpoise.volumes.placement import PatchReach

AddCrop = Callable[..., Path]
Vector = tuple[float, float, float]

EDGE_CLASSES = ["mito", "pm", "synapse", "ecs", "cell", "er"]
SIZE_4: Vector = (50.0, 4.6, 4.6)
SIZE_9: Vector = (50.0, 9.2, 9.2)
ONES = np.ones((8, 8, 8), np.uint8)


def said(found: CropSet | FittedCrop) -> tuple[str, ...]:
    """Return the notes as they are shown."""
    return tuple(map(str, found.notes))


def fit(table: Path, classes: list[str], size: Vector = (8.0, 8.0, 8.0), **options: Any) -> FittedCrop:
    (crop,) = load_crops(table, classes).crops
    return fit_crop(crop, size, **options)


@pytest.mark.real
@pytest.mark.parametrize(
    ("size", "crop", "labels", "origin", "raw", "block"),
    [
        # By hand from the table in the data's README: where the crop starts, in voxels of the level of raw.
        (SIZE_4, "crop101", "s0", (700.0, 2355.2, 2355.2), "s0", ((14, 512, 512), (20, 1024, 1024))),
        (SIZE_4, "crop102", "s1", (100.0, 1380.0, 1518.0), "s0", ((2, 300, 330), (8, 450, 480))),
        (SIZE_4, "crop103", "s0", (0.0, 2.3, 2357.5), "s0", ((0, 0, 512), (6, 512, 1024))),
        (SIZE_4, "crop104", "s1", (350.0, 2394.3, 2.3), "s0", ((7, 520, 0), (13, 1024, 504))),
        (SIZE_4, "crop105", "s0", (0.0, 0.0, 0.0), "s0", ((0, 0, 0), (3, 400, 400))),
        (SIZE_4, "crop106", "s0", (0.0, 0.0, 0.0), "s0", ((0, 0, 0), (20, 1024, 1024))),
        (SIZE_4, "crop107", "s0", (0.0, 2.3, 2.3), "s1", ((0, 0, 0), (6, 256, 256))),
        (SIZE_9, "crop101", "s1", (700.0, 2357.5, 2357.5), "s1", ((14, 256, 256), (20, 512, 512))),
        (SIZE_9, "crop102", "s2", (100.0, 1382.3, 1520.3), "s1", ((2, 150, 165), (8, 225, 240))),
        (SIZE_9, "crop103", "s0", (0.0, 2.3, 2357.5), "s1", ((0, 0, 256), (6, 256, 512))),
        (SIZE_9, "crop104", "s1", (350.0, 2394.3, 2.3), "s1", ((7, 260, 0), (13, 512, 252))),
        # No translation at all: level s1 lies a quarter of a voxel before the raw of that size, and is cut there.
        (SIZE_9, "crop105", "s1", (0.0, 0.0, 0.0), "s1", ((0, 0, 0), (3, 200, 200))),
        (SIZE_9, "crop106", "s1", (0.0, 2.3, 2.3), "s1", ((0, 0, 0), (20, 512, 512))),
        (SIZE_9, "crop107", "s0", (0.0, 2.3, 2.3), "s1", ((0, 0, 0), (6, 256, 256))),
    ],
)
def test_awkward_crops_are_read_where_they_are(
    real_data: Path, size: Vector, crop: str, labels: str, origin: Vector, raw: str, block: tuple[Any, Any]
) -> None:
    crops = load_crops(real_data / "vnc" / "datasplit_edge.csv", EDGE_CLASSES[:5]).crops
    fitted = fit_crop(next(c for c in crops if c.crop_id.endswith(crop)), size)
    assert {label.level.name for label in fitted.labels.values()} == {labels}
    assert fitted.grid.translation_nm == origin
    assert (fitted.raw.name, fitted.raw_block) == (raw, IndexBox(*block))


@pytest.mark.real
def test_half_size_labels_coincide_with_raw_at_their_next_level(real_data: Path) -> None:
    crops = load_crops(real_data / "vnc" / "datasplit_edge.csv", ["mito", "pm", "cell"]).crops
    fitted = fit_crop(next(c for c in crops if c.crop_id.endswith("crop102")), SIZE_4)
    assert fitted.raw.grid.part(fitted.raw_block) == fitted.grid


@pytest.mark.real
def test_what_is_unusual_about_awkward_crops_is_noted(real_data: Path) -> None:
    # Everything asked for but 'er', which a line lists and no crop has.
    found = load_crops(real_data / "vnc" / "datasplit_edge.csv", EDGE_CLASSES[:5])
    assert found.notes == ()
    assert [c.crop_id for c in found.crops] == [
        *(f"vnc_edge/crop{n}" for n in range(101, 107)),
        "vnc_sparse/crop107",
    ]
    assert [c.split for c in found.crops] == ["train", "train", "train", "validate", "train", "validate", "train"]
    notes = {crop.crop_id[-3:]: said(fit_crop(crop, SIZE_9)) for crop in found.crops}
    lone = "vnc_sparse/crop107: raw level s0 has no data under the crop (not fetched)"
    assert notes == {"101": (), "102": (), "103": (), "104": (), "105": (), "106": (), "107": (lone,)}
    notes = {crop.crop_id[-3:]: said(fit_crop(crop, SIZE_4)) for crop in found.crops}
    coarse = "{}: {} is stored at (50, 9.2, 9.2) nm only, coarser than requested"
    assert notes == {
        "101": (),
        "102": (),
        "103": (coarse.format("vnc_edge/crop103", "mito"),),
        "104": (coarse.format("vnc_edge/crop104", "synapse"), coarse.format("vnc_edge/crop104", "ecs")),
        "105": (),
        "106": (),
        "107": (
            coarse.format("vnc_sparse/crop107", "mito"),
            coarse.format("vnc_sparse/crop107", "pm"),
            lone,
            "vnc_sparse/crop107: raw is available at (50, 9.2, 9.2) nm only, coarser than requested",
        ),
    }


@pytest.mark.real
def test_a_listed_class_without_a_group_is_noted_or_refused(real_data: Path, tmp_path: Path) -> None:
    table = real_data / "vnc" / "datasplit_edge.csv"
    with pytest.raises(ClassNameError, match="'er' is annotated nowhere") as caught:
        load_crops(table, EDGE_CLASSES)
    assert "its folder is missing in every crop" in caught.value.found


@pytest.mark.real
def test_which_value_is_unknown_is_decided_array_by_array(real_data: Path) -> None:
    crops = load_crops(real_data / "vnc" / "datasplit_edge.csv", EDGE_CLASSES[:5]).crops
    codes = {c.crop_id[-3:]: {n: [e.meaning.unknown for e in levels] for n, levels in c.labels.items()} for c in crops}
    assert codes["101"] == {"mito": [(255,)] * 3, "pm": [(255,)] * 3, "synapse": [(255,)] * 3}
    assert codes["106"] == {"mito": [()] * 3}
    assert codes["104"] == {"synapse": [(255,)] * 2, "ecs": [(255,)] * 2}
    assert codes["107"] == {"mito": [()] * 2, "pm": [(255,)] * 2}


def test_classes_keep_the_order_asked_for_and_splits_that_of_the_file(tmp_path: Path, add_crop: AddCrop) -> None:
    add_crop(tmp_path, "crop1", {"a": ONES, "b": ONES, "c": ONES})
    add_crop(tmp_path, "crop2", {"a": ONES}, split="validate")
    table = add_crop(tmp_path, "crop3", {"b": ONES})
    found = load_crops(table, ["c", "a", "b"])
    assert found.classes == ("c", "a", "b")
    assert [list(crop.labels) for crop in found.crops] == [["c", "a", "b"], ["a"], ["b"]]
    assert [crop.crop_id for crop in found.of("train")] == ["d/crop1", "d/crop3"]
    assert [crop.crop_id for crop in found.of("validate")] == ["d/crop2"]
    assert found.notes == ()


def test_a_crop_without_a_wanted_class_is_left_out_and_noted(tmp_path: Path, add_crop: AddCrop) -> None:
    add_crop(tmp_path, "crop1", {"a": ONES})
    table = add_crop(tmp_path, "crop2", {"b": ONES, "a": ONES}, listed=["b"])
    found = load_crops(table, ["a"])
    assert [crop.crop_id for crop in found.crops] == ["d/crop1"]
    assert said(found) == ("d/crop2: annotates none of the requested classes and is excluded",)


def test_a_listed_class_that_is_not_on_disk_is_not_annotated(tmp_path: Path, add_crop: AddCrop) -> None:
    add_crop(tmp_path, "crop1", {"a": ONES, "b": ONES})
    table = add_crop(tmp_path, "crop2", {"a": ONES}, listed=["a", "b"])
    found = load_crops(table, ["a", "b"])
    assert [list(crop.labels) for crop in found.crops] == [["a", "b"], ["a"]]
    assert said(found) == ("d/crop2: b is listed but has no group on disk; it is not annotated there",)


@pytest.mark.parametrize(
    ("classes", "problem", "remedy"),
    [
        ([], "no class is asked for", "known: mito, nuc"),
        (["nuc", "mito", "nuc"], "class 'nuc' is asked for twice", "known: mito, nuc"),
        (["nuc", "mitoo"], "class 'mitoo' is annotated nowhere", "did you mean 'mito'? known: mito, nuc"),
    ],
)
def test_impossible_lists_of_classes_are_refused(
    tmp_path: Path, add_crop: AddCrop, classes: list[str], problem: str, remedy: str
) -> None:
    table = add_crop(tmp_path, "crop1", {"nuc": ONES, "mito": ONES})
    with pytest.raises(ClassNameError) as caught:
        load_crops(table, classes)
    assert caught.value.problem == problem
    assert remedy in caught.value.remedy


def test_crops_of_equal_name_are_told_apart(tmp_path: Path, add_crop: AddCrop) -> None:
    text = ""
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        text += add_crop(tmp_path / folder, "crop1", {"a": ONES}).read_text().replace("d.zarr", f"{folder}/d.zarr")
    (tmp_path / "both.csv").write_text(text)
    ids = [crop.crop_id for crop in load_crops(tmp_path / "both.csv", ["a"]).crops]
    assert ids == ["one-d/crop1", "two-d/crop1"]


def test_labels_that_are_no_numbers_are_refused(tmp_path: Path, add_crop: AddCrop) -> None:
    table = add_crop(tmp_path, "crop1", {"a": ONES.astype(np.complex64)})
    with pytest.raises(LayoutError, match="does not hold numbers") as caught:
        load_crops(table, ["a"])
    assert caught.value.found == "complex64"


@pytest.mark.parametrize("start", [24 * 8.0, -8 * 8.0 - 0.1, 1e6])
def test_a_crop_outside_its_raw_volume_is_refused(tmp_path: Path, add_crop: AddCrop, start: float) -> None:
    table = add_crop(tmp_path, "crop1", {"a": [{"values": ONES, "origin": (0.0, start, 0.0)}]})
    with pytest.raises(LayoutError, match="lies outside its raw volume"):
        fit(table, ["a"])


def test_a_crop_partly_outside_keeps_the_raw_there_is(tmp_path: Path, add_crop: AddCrop) -> None:
    table = add_crop(tmp_path, "crop1", {"a": [{"values": ONES, "origin": (-16.0, 0.0, 20 * 8.0)}]})
    fitted = fit(table, ["a"])
    assert fitted.grid.shape == (8, 8, 8)
    assert fitted.raw_block == IndexBox((0, 0, 20), (6, 8, 24))


def test_a_thin_crop_at_the_end_that_coarse_raw_does_not_reach_is_read(tmp_path: Path, add_crop: AddCrop) -> None:
    raw = [
        {"values": np.ones((9, 8, 8), np.uint8)},
        {"values": np.ones((4, 4, 4), np.uint8), "size": (16.0, 16.0, 16.0), "origin": (4.0, 4.0, 4.0)},
    ]
    labels = {"a": [{"values": np.ones((1, 8, 8), np.uint8), "origin": (64.0, 0.0, 0.0)}]}
    fitted = fit(add_crop(tmp_path, "crop1", labels, raw), ["a"])
    assert (fitted.raw.name, fitted.raw_block) == ("s0", IndexBox((8, 0, 0), (9, 8, 8)))
    assert said(fitted) == ("d/crop1: raw level s1 does not reach the crop",)


@pytest.mark.parametrize("dtype", [np.uint32, np.float32, np.int64])
def test_raw_of_more_than_sixteen_bits_is_refused(tmp_path: Path, add_crop: AddCrop, dtype: Any) -> None:
    table = add_crop(tmp_path, "crop1", {"a": ONES}, np.ones((24, 24, 24), dtype))
    with pytest.raises(LayoutError, match="values that cannot be used") as caught:
        fit(table, ["a"])
    assert caught.value.found == np.dtype(dtype).name


def two_raw_levels() -> list[dict[str, Any]]:
    return [
        {"values": np.full((16, 16, 16), 5, np.uint8)},
        {"values": np.full((8, 8, 8), 6, np.uint8), "size": (16.0, 16.0, 16.0), "origin": (4.0, 4.0, 4.0)},
    ]


def test_raw_that_was_not_fetched_is_passed_over(tmp_path: Path, add_crop: AddCrop) -> None:
    table = add_crop(tmp_path, "crop1", {"a": ONES}, two_raw_levels())
    assert fit(table, ["a"]).raw.name == "s0"
    (tmp_path / "d.zarr/recon-1/em/crop1/s0/0/0/0").unlink()  # chunks elsewhere in the volume do not help
    fitted = fit(table, ["a"])
    assert fitted.raw.name == "s1"
    assert said(fitted) == (
        "d/crop1: raw level s0 has no data under the crop (not fetched)",
        "d/crop1: raw is available at (16, 16, 16) nm only, coarser than requested",
    )
    shutil.rmtree(tmp_path / "d.zarr/recon-1/em/crop1/s1/0")
    with pytest.raises(LayoutError, match="no raw data on disk under crop d/crop1") as caught:
        fit(table, ["a"])
    assert "s0, s1" in caught.value.found


def test_labels_or_raw_too_coarse_for_the_request_are_refused(tmp_path: Path, add_crop: AddCrop) -> None:
    table = add_crop(
        tmp_path, "crop1", {"a": ONES}, [{**level, "name": n} for n, level in zip("pq", two_raw_levels(), strict=True)]
    )
    assert fit(table, ["a"], (8.0, 8.0, 2.0)).labels["a"].level.name == "s0"
    with pytest.raises(VoxelSizeError, match=r"crop d/crop1, class a, has no level near \(8, 8, 1.9\) nm") as caught:
        fit(table, ["a"], (8.0, 8.0, 1.9))
    assert "above 4.21" in caught.value.remedy
    assert fit(table, ["a"], (8.0, 8.0, 1.9), max_upsampling=4.22).raw.name == "p"
    (tmp_path / "d.zarr/recon-1/em/crop1/p/0/0/0").unlink()
    with pytest.raises(VoxelSizeError, match="raw under crop d/crop1 has no level near"):
        fit(table, ["a"], (8.0, 8.0, 3.9))


def test_the_grid_of_a_crop_is_that_of_its_finest_class(tmp_path: Path, add_crop: AddCrop) -> None:
    coarse = [{"values": np.ones((4, 4, 4), np.uint8), "size": (16.0, 16.0, 16.0), "origin": (4.0, 4.0, 4.0)}]
    table = add_crop(tmp_path, "crop1", {"a": coarse, "b": ONES})
    fitted = fit(table, ["a", "b"])
    assert fitted.grid == Grid((8, 8, 8), (8.0, 8.0, 8.0), (0.0, 0.0, 0.0))
    assert said(fitted) == ("d/crop1: a is stored at (16, 16, 16) nm only, coarser than requested",)


def test_classes_that_cover_different_blocks_are_noted(tmp_path: Path, add_crop: AddCrop) -> None:
    table = add_crop(tmp_path, "crop1", {"a": np.ones((8, 8, 6), np.uint8), "b": ONES})
    assert "its classes cover different blocks" in said(fit(table, ["a", "b"]))[0]


def test_raw_is_kept_as_far_around_a_crop_as_patches_reach(tmp_path: Path, add_crop: AddCrop) -> None:
    labels = {"a": [{"values": np.ones((4, 8, 8), np.uint8), "origin": (8 * 8.0, 8 * 8.0, 8 * 8.0)}]}
    table = add_crop(tmp_path, "crop1", labels)
    # 10 pixels on 8 voxels: the patch may reach 2 voxels beyond the crop on either side; one section up and down.
    reach = PatchReach((80.0, 80.0), stack_nm=8.0, rotation_degrees=0.0, transpose=False)
    assert fit(table, ["a"], reach=reach).raw_block == IndexBox((7, 6, 6), (13, 18, 18))
    reach = PatchReach((80.0, 160.0), stack_nm=0.0, rotation_degrees=0.0, transpose=False)
    assert fit(table, ["a"], reach=reach).raw_block == IndexBox((8, 6, 0), (12, 18, 24))
    assert fit(table, ["a"]).raw_block == IndexBox((8, 8, 8), (12, 16, 16))


def test_counting_a_level_adds_up_its_blocks(tmp_path: Path, add_crop: AddCrop) -> None:
    values = np.random.default_rng(0).choice(np.array([0, 1, 255], np.uint8), (9, 20, 7))
    levels = [{"values": values, "size": (8.0, 4.0, 2.0)}]
    (crop,) = load_crops(add_crop(tmp_path, "crop1", {"a": levels}), ["a"]).crops
    count = crop.labels["a"][0].count().count
    expected = VoxelCount(int((values == 1).sum()), int((values == 0).sum()), int((values == 255).sum()))
    assert (count.voxels, count.voxel_size_nm) == (expected, (8.0, 4.0, 2.0))
