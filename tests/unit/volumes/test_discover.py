from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from counterpoise.errors import DatasplitError
from counterpoise.volumes.crops import load_crops
from counterpoise.volumes.datasplit import read_datasplit, write_datasplit
from counterpoise.volumes.discover import datasplit_rows, find_crops, fold_crops, split_crops
from counterpoise.volumes.geometry import Box
from counterpoise.volumes.volume import FoundCrop

RAW, LABELS = "recon-1/em/fibsem-uint8", "recon-1/labels/groundtruth"
ONES = np.ones((4, 4, 4), np.uint8)
WriteGroup = Callable[..., Path]


def crop(start: float, classes: str = "ab", store: str = "s.zarr") -> FoundCrop:
    box = Box((0.0, 0.0, start), (100.0, 100.0, start + 100.0))
    return FoundCrop(Path(store), RAW, f"{LABELS}/crop1", tuple(classes), box)


def split(
    crops: list[FoundCrop], fraction: float = 0.3, classes: str = "ab", seed: int = 0, enough: int = 1
) -> tuple[str, ...]:
    generator = np.random.default_rng(seed)
    return split_crops(crops, classes, fraction=fraction, generator=generator, enough=enough).splits


@pytest.mark.real
def test_the_crops_of_the_real_data_are_those_of_its_datasplit(real_data: Path) -> None:
    listed = read_datasplit(real_data / "vnc" / "datasplit.csv")
    found = find_crops(real_data / "vnc" / "vnc_stack1")
    assert [c.labels for c in found] == [f"{LABELS}/crop{n}" for n in range(1, 13)]  # by number: crop2 before crop10
    assert [(c.store / c.labels).resolve() for c in found] == [row.label_path for row in listed]
    # By the README: level s0 of crop9 is (6, 200, 200) voxels of (50, 4.6, 4.6) nm at (700, 3220, 552).
    assert found[8].box == Box((675.0, 3217.7, 549.7), (975.0, 4137.7, 1469.7))
    assert [set(c.classes) for c in found] == [set(row.classes) for row in listed]


@pytest.mark.real
def test_labels_without_raw_next_to_them_are_not_found(real_data: Path) -> None:
    found = find_crops(real_data / "vnc" / "edge")
    assert [(c.store.name, c.labels, c.classes) for c in found] == [
        ("vnc_sparse.zarr", f"{LABELS}/crop107", ("mito", "pm"))
    ]


@pytest.mark.real
def test_neighbours_in_the_real_data_stay_together(real_data: Path) -> None:
    # Eight crops 6 voxels of 10 nm apart: one neighbourhood at 200 nm, which leaves nothing to validate on, so that
    # only overlap keeps crops together; at 50 nm they are eight neighbourhoods to begin with.
    found = find_crops(real_data / "fib25")
    wide = split_crops(found, ["pm"], fraction=0.25, generator=np.random.default_rng(0))
    assert (wide.splits.count("validate"), wide.gap_nm) == (3, 0.0)  # a quarter is 2; a verdict takes 3
    narrow = split_crops(found, ["pm"], fraction=0.25, generator=np.random.default_rng(0), gap_nm=50.0)
    assert (narrow.splits.count("validate"), narrow.gap_nm) == (3, 50.0)


@pytest.mark.real
def test_a_split_that_would_lack_classes_keeps_only_overlapping_crops_together(real_data: Path) -> None:
    # Within 200 nm, all crops of the stack are one neighbourhood; the copy in vnc_sparse has mito and pm alone.
    found = find_crops(real_data / "vnc")
    wanted = ["mito", "pm", "synapse", "ecs", "cyto"]
    made = split_crops(found, wanted, fraction=0.15, generator=np.random.default_rng(0))
    assert made.gap_nm == 0.0
    validated = {c for item, s in zip(found, made.splits, strict=True) if s == "validate" for c in item.classes}
    assert set(wanted) <= validated


def test_nothing_to_spare_is_refused() -> None:
    with pytest.raises(DatasplitError, match="no crop is left") as caught:
        split([crop(0.0), crop(50.0)])
    assert caught.value.found == "1 such neighbourhoods in 2 crops"


def test_the_phantom_is_found_and_its_split_can_be_used(phantom: Path, tmp_path: Path) -> None:
    found = find_crops(phantom.parent)
    assert [c.labels for c in found] == [f"{LABELS}/crop{n}" for n in range(1, 16)]
    wanted = ["nuc", "pm"]
    splits = split_crops(found, wanted, fraction=0.2, generator=np.random.default_rng(1)).splits
    write_datasplit(tmp_path / "made.csv", datasplit_rows(found, splits, wanted, tmp_path))
    loaded = load_crops(tmp_path / "made.csv", wanted)
    assert [c.split for c in loaded.crops] == list(splits)
    assert all(set(c.labels) == set(wanted) & set(f.classes) for c, f in zip(loaded.crops, found, strict=True))


def test_only_class_groups_count_and_all_is_none(tmp_path: Path, write_group: WriteGroup) -> None:
    recon = tmp_path / "deep" / "down" / "d.zarr" / "recon-2"
    write_group(recon / "em/fibsem-uint8", ONES)
    for name in ("nuc", "all", "er"):
        write_group(recon / "labels/groundtruth/crop12" / name, ONES)
    (recon / "labels/groundtruth/crop12/empty").mkdir()
    write_group(recon / "labels/groundtruth/crop13/all", ONES)  # nothing but 'all': no crop
    (recon / "labels/groundtruth/.zgroup").write_text("{}")
    (found,) = find_crops(tmp_path)
    assert (found.raw, found.labels) == ("recon-2/em/fibsem-uint8", "recon-2/labels/groundtruth/crop12")
    assert found.classes == ("er", "nuc")
    assert found.store == tmp_path / "deep" / "down" / "d.zarr"


@pytest.mark.parametrize(("folder", "found"), [("none", "no such folder"), (".", "no zarr store with both")])
def test_a_folder_without_crops_is_refused(tmp_path: Path, folder: str, found: str) -> None:
    with pytest.raises(DatasplitError, match="no crop below") as caught:
        find_crops(tmp_path / folder)
    assert caught.value.found == found


def test_rows_list_the_wanted_classes_of_each_crop_relative_to_the_csv(tmp_path: Path) -> None:
    crops = [crop(0, "abz", f"{tmp_path}/x/s.zarr"), crop(0, "z", f"{tmp_path}/x/s.zarr")]
    rows = list(datasplit_rows(crops, ("train", "train"), ["b", "a"], tmp_path / "csv"))
    labels = "recon-1/labels/groundtruth/crop1"
    assert rows == [("train", "../x/s.zarr", "recon-1/em/fibsem-uint8", "../x/s.zarr", labels, ["b", "a"])]


def test_the_share_is_met_and_another_seed_gives_another_split() -> None:
    crops = [crop(1000.0 * i) for i in range(20)]
    splits = {split(crops, 0.25, seed=seed) for seed in range(5)}
    assert {s.count("validate") for s in splits} == {5}
    assert len(splits) > 1
    assert split(crops, 0.25, seed=3) == split(crops, 0.25, seed=3)
    assert split(crops, 0.001).count("validate") == 1


def test_neighbours_of_neighbours_go_to_one_side() -> None:
    # Gaps of 100 nm make a chain of three; 250 nm is far enough, and so is another volume.
    chain = [crop(0.0), crop(200.0), crop(400.0)]
    others = [crop(750.0), crop(0.0, store="t.zarr"), replace(crop(200.0), raw="recon-2/em/fibsem-uint8")]
    for seed in range(20):
        found = split([*chain, *others], 0.2, seed=seed)
        assert found[:3] == ("train",) * 3  # half of all crops would be more than a fifth of them asks for
    assert {split([*chain, *others], 0.2, seed=seed)[3:] for seed in range(40)} == {
        ("validate", "train", "train"),
        ("train", "validate", "train"),
        ("train", "train", "validate"),
    }


def test_validation_gets_every_class_that_can_be_spared() -> None:
    crops = [crop(0.0, "a"), crop(1e3, "a"), crop(2e3, "a"), crop(3e3, "b"), crop(4e3, "b"), crop(5e3, "c")]
    for seed in range(20):
        found = split(crops, 0.34, classes="abc", seed=seed)
        validated = {c for item, side in zip(crops, found, strict=True) if side == "validate" for c in item.classes}
        assert validated == {"a", "b"}
        assert found[5] == "train"  # the only crop with c


def test_neighbours_are_not_parted_where_that_brings_no_class() -> None:
    # Class b is in two crops that overlap: validation cannot have it at any distance.
    crops = [crop(0.0, "b"), crop(50.0, "b"), *(crop(1000.0 + 150.0 * i, "a") for i in range(4)), crop(9000.0, "a")]
    for seed in range(20):
        made = split_crops(crops, "ab", fraction=0.15, generator=np.random.default_rng(seed))
        assert made.gap_nm == 200.0
        assert len(set(made.splits[2:6])) == 1


@given(
    st.lists(st.tuples(st.integers(0, 30), st.sets(st.sampled_from("abc"), min_size=1)), min_size=2, max_size=8),
    st.integers(0, 99),
)
def test_no_class_is_lost_to_validation_and_no_neighbours_are_parted(
    places: list[tuple[int, set[str]]], seed: int
) -> None:
    crops = [crop(100.0 * start, "".join(sorted(classes))) for start, classes in places]
    try:
        made = split_crops(crops, "abc", fraction=0.3, generator=np.random.default_rng(seed))
    except DatasplitError:
        return
    found = made.splits
    everywhere = {c for item in crops for c in item.classes}
    assert everywhere == {c for item, s in zip(crops, found, strict=True) if s == "train" for c in item.classes}
    assert "validate" in found
    for a, first in zip(crops, found, strict=True):
        for b, second in zip(crops, found, strict=True):
            apart = max(a.box.lower_nm[2], b.box.lower_nm[2]) - min(a.box.upper_nm[2], b.box.upper_nm[2])
            assert first == second or apart >= made.gap_nm


def labelled(store: Path, write_group: WriteGroup, raw: str | None = RAW, names: tuple[str, ...] = ("er",)) -> Path:
    """Write one crop, and a raw group of some name next to it."""
    for name in names:
        write_group(store / LABELS / "crop1" / name, ONES)
    if raw:
        write_group(store / raw, ONES)
    return store


def test_links_are_followed_each_real_folder_once_and_loops_end(tmp_path: Path, write_group: WriteGroup) -> None:
    labelled(tmp_path / "disk/dA/dA.zarr", write_group)
    data = tmp_path / "data"
    labelled(data / "dB/dB.zarr", write_group)
    (data / "dA").symlink_to("../disk/dA")
    (data / "again").symlink_to("../disk/dA")
    (data / "loop").symlink_to(".")
    (data / "itself").symlink_to("itself")
    (data / "gone").symlink_to("nowhere")
    assert sorted(found.store.name for found in find_crops(data)) == ["dA.zarr", "dB.zarr"]


@pytest.mark.parametrize("name", ["em/tem-uint8", "em/fibsem-uint16", "em/xray", "raw", "volumes/raw"])
def test_raw_of_other_names_is_found(tmp_path: Path, write_group: WriteGroup, name: str) -> None:
    labelled(tmp_path / "d.zarr", write_group, raw=f"recon-1/{name}")
    assert find_crops(tmp_path)[0].raw == f"recon-1/{name}"


def test_of_several_raw_groups_one_of_8_bits_is_taken_and_the_others_are_named(
    tmp_path: Path, write_group: WriteGroup
) -> None:
    store = labelled(tmp_path / "d.zarr", write_group, raw="recon-1/em/a-uint16")
    write_group(store / "recon-1/em/tem-uint8", ONES)
    notes: list[str] = []
    assert find_crops(tmp_path, on_note=notes.append)[0].raw == "recon-1/em/tem-uint8"
    assert "raw is tem-uint8; there are also a-uint16" in notes[0]


def test_labels_without_raw_are_counted_in_the_error(tmp_path: Path, write_group: WriteGroup) -> None:
    labelled(tmp_path / "d.zarr", write_group, raw=None)
    with pytest.raises(DatasplitError) as caught:
        find_crops(tmp_path)
    assert "labels of 1 crop below" in caught.value.found


@pytest.mark.parametrize("name", ["raw", "em", "image", "fibsem-uint8", "my_uint16"])
def test_an_image_is_no_class_by_its_name_unless_it_is_asked_for(
    tmp_path: Path, write_group: WriteGroup, name: str
) -> None:
    labelled(tmp_path / "d.zarr", write_group, names=("er", name))
    notes: list[str] = []
    assert find_crops(tmp_path, on_note=notes.append)[0].classes == ("er",)
    assert name in notes[0]
    assert find_crops(tmp_path, wanted=[name])[0].classes == tuple(sorted(("er", name)))


def test_an_image_of_any_name_is_no_class_by_its_values_and_many_objects_are(
    tmp_path: Path, write_group: WriteGroup
) -> None:
    labelled(tmp_path / "d.zarr", write_group)
    grey = np.random.default_rng(0).integers(60, 180, (16, 16, 16)).astype(np.uint8)
    objects = np.repeat(np.repeat(np.arange(64, dtype=np.uint8).reshape(4, 4, 4), 8, 2), 4, 1)
    write_group(tmp_path / "d.zarr" / LABELS / "crop1/tissue", grey)
    write_group(tmp_path / "d.zarr" / LABELS / "crop1/cell", objects)
    assert find_crops(tmp_path)[0].classes == ("cell", "er")


def test_classes_get_five_validation_crops_where_twice_as_many_are_there_else_half_of_them() -> None:
    crops = [crop(1e3 * i, "abc"[: 1 + (i < 10) + (i < 7)]) for i in range(20)]
    for seed in range(10):
        found = split_crops(crops, "abc", fraction=0.1, generator=np.random.default_rng(seed)).splits
        assert sum(s == "validate" for s in found[:7]) == 3
        assert sum(s == "validate" for s in found[:10]) == 5
        assert found.count("validate") == 5


@pytest.mark.real
@pytest.mark.parametrize("seed", range(5))
def test_three_folds_of_the_real_data_have_three_crops_of_every_class(real_data: Path, seed: int) -> None:
    # Of its twelve crops 9 annotate ecs and nuc each, so that three for every fold must be dealt out exactly.
    found = find_crops(real_data / "vnc" / "vnc_stack1")
    names = sorted({name for item in found for name in item.classes})
    folds = fold_crops(found, names, folds=3, generator=np.random.default_rng(seed))
    for made in folds:
        validated = [item.classes for item, s in zip(found, made.splits, strict=True) if s == "validate"]
        assert all(sum(name in classes for classes in validated) >= 3 for name in names)
