"""Crops that share space: found as a brute-force count of voxels finds them, and reported so that they can be fixed."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from counterpoise.errors import DatasplitError
from counterpoise.notes import NoteKind
from counterpoise.volumes.annotation import LabelMeaning
from counterpoise.volumes.chunk_files import Naming
from counterpoise.volumes.crops import Crop, load_crops
from counterpoise.volumes.datasplit import Split
from counterpoise.volumes.discover import find_crops, split_crops
from counterpoise.volumes.geometry import Grid
from counterpoise.volumes.labels import LabelLevel
from counterpoise.volumes.levels import ChunkedLevel
from counterpoise.volumes.metadata import Kind, Node
from counterpoise.volumes.omezarr import Multiscale
from counterpoise.volumes.overlap import CropPair, describe_leaks, describe_repeats, find_pairs, leak_errors
from counterpoise.volumes.stored_array import StoredArray

AddCrop = Callable[..., Path]
ONES = np.ones((8, 8, 8), np.uint8)
SIZE = 8.0


def crop_at(
    name: str,
    split: Split,
    start: tuple[float, ...],
    shape: tuple[int, ...],
    *,
    raw: str = "/d/em",
    size: float = SIZE,
) -> Crop:
    """Make a crop whose first voxel lies ``start`` voxels of 8 nm from the origin; nothing of it is on disk."""
    z, y, x = (SIZE * place + (size - SIZE) / 2 for place in start)
    grid = Grid((shape[0], shape[1], shape[2]), (size, size, size), (z, y, x))
    array = StoredArray(Node(Kind.V2, {}, {}), grid.shape, (8, 8, 8), (8, 8, 8), np.dtype("uint8"), 0, Naming("", "/"))
    level = ChunkedLevel("s0", Path(f"/d/{name}/s0"), grid, array, array.naming)
    labels = {"a": (LabelLevel(level, LabelMeaning()),)}
    return Crop(name, split, Multiscale(Path(raw), (level,), {}), labels, looked_for=())


blocks = st.tuples(
    st.sampled_from(["train", "validate"]),
    st.tuples(*[st.integers(0, 6)] * 3),
    st.tuples(*[st.integers(1, 5)] * 3),
    st.sampled_from(["/d/em", "/d/em", "/e/em"]),
)


def voxels(start: tuple[int, ...], shape: tuple[int, ...]) -> set[tuple[int, ...]]:
    return {tuple(np.add(start, index)) for index in np.ndindex(*shape)}


@given(st.lists(blocks, max_size=7))
def test_pairs_and_shares_are_those_of_a_count_of_common_voxels(
    crops: list[tuple[Split, tuple[int, ...], tuple[int, ...], str]],
) -> None:
    expected: dict[tuple[str, str], float] = {}
    for j, (split_j, start_j, shape_j, raw_j) in enumerate(crops):
        for i, (split_i, start_i, shape_i, raw_i) in enumerate(crops[:j]):
            common = len(voxels(start_i, shape_i) & voxels(start_j, shape_j))
            if raw_i != raw_j or not common:
                continue
            i_is_second = (split_i, split_j) == ("validate", "train")
            second_shape = shape_i if i_is_second else shape_j
            names = (f"c{j}", f"c{i}") if i_is_second else (f"c{i}", f"c{j}")
            expected[names] = common / np.prod(second_shape)
    made = [crop_at(f"c{k}", split, start, shape, raw=raw) for k, (split, start, shape, raw) in enumerate(crops)]
    found = {(pair.first.crop_id, pair.second.crop_id): pair.share for pair in find_pairs(made)}
    assert found == pytest.approx(expected)
    assert {p.is_leak for p in find_pairs(made) if p.first.split != p.second.split} <= {True}


@given(st.lists(blocks, max_size=6), st.randoms(use_true_random=False))
def test_the_order_of_the_list_does_not_matter_to_leaks(
    crops: list[tuple[Split, tuple[int, ...], tuple[int, ...], str]], random: object
) -> None:
    made = [crop_at(f"c{k}", split, start, shape, raw=raw) for k, (split, start, shape, raw) in enumerate(crops)]

    def leaks(order: list[Crop]) -> set[tuple[str, str, float]]:
        return {(p.first.crop_id, p.second.crop_id, round(p.share, 9)) for p in find_pairs(order) if p.is_leak}

    shuffled = list(made)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert leaks(shuffled) == leaks(made)


def test_up_to_half_a_voxel_is_a_touch() -> None:
    train = crop_at("t", "train", (0, 0, 0), (4, 4, 4))
    for shift, is_leak in [(4.0, False), (3.5, False), (3.49, True), (3.0, True)]:
        (pair,) = find_pairs([train, crop_at("v", "validate", (shift, 0, 0), (4, 4, 4))], gap_nm=100.0)
        assert pair.is_leak == is_leak, shift
    # Half a voxel of the larger ones: whoever took a corner for a centre is off by that much.
    coarse = crop_at("v", "validate", (3.0, 0, 0), (2, 2, 2), size=16.0)
    assert not any(pair.is_leak for pair in find_pairs([train, coarse]))


def test_neighbours_are_listed_with_their_distance_only_across_splits() -> None:
    crops = [
        crop_at("t", "train", (0, 0, 0), (4, 4, 4)),
        crop_at("u", "train", (0, 0, 5), (4, 4, 4)),
        crop_at("v", "validate", (7, 6, 0), (4, 4, 4)),
    ]
    # v lies 3 voxels behind t in z and 2 in y; in x it lies next to t.
    near = {(p.first.crop_id, p.second.crop_id): p.gap_nm for p in find_pairs(crops, gap_nm=25.0)}
    assert near == {("t", "v"): 24.0, ("u", "v"): 24.0}
    assert find_pairs(crops, gap_nm=24.0) == ()
    assert find_pairs(crops) == ()


def pairs_of_three() -> tuple[CropPair, ...]:
    return find_pairs(
        [
            crop_at("d/t1", "train", (0, 0, 0), (4, 4, 4)),
            crop_at("d/t2", "train", (0, 3, 0), (4, 4, 4)),
            crop_at("d/v", "validate", (2, 2, 2), (4, 4, 8)),
        ]
    )


def test_an_error_names_both_crops_the_block_and_its_share() -> None:
    (error,) = leak_errors(pairs_of_three(), Path("/data/mine.csv"))
    assert isinstance(error, DatasplitError)
    # By hand: v and t1 share 2 x 2 x 2 of v's 128 voxels, v and t2 share 2 x 3 x 2.
    assert error.problem == "validation crop d/v shares voxels with train crop d/t2 (and 1 more)"
    assert error.found == (
        "with d/t2 16 x 24 x 16 nm (z, y, x), 9.4 % of d/v; with d/t1 16 x 16 x 16 nm (z, y, x), 6.2 % of d/v"
    )
    assert "mine.csv" in error.remedy
    assert "allow_overlap = true" in error.remedy


def test_notes_say_what_leaks_and_what_counts_twice() -> None:
    (note,) = describe_leaks(pairs_of_three())
    assert note.kind == NoteKind.LEAK
    assert "d/v (9.4 % of it in d/t2)" in note.text
    (repeat,) = describe_repeats(pairs_of_three())
    assert repeat.kind == NoteKind.DATA
    assert str(repeat).startswith("d/t2: overlaps d/t1 of the same split (train; 32 x 8 x 32 nm")
    assert describe_leaks(()) == describe_repeats(()) == ()


def test_classes_of_a_crop_may_have_blocks_of_their_own() -> None:
    train, validate = crop_at("t", "train", (0, 0, 0), (4, 4, 4)), crop_at("v", "validate", (10, 0, 0), (4, 4, 4))
    elsewhere = crop_at("x", "validate", (2, 0, 0), (4, 4, 4)).labels["a"]
    both = replace(validate, labels={**validate.labels, "b": elsewhere})
    (pair,) = find_pairs([train, both])
    assert pair.is_leak
    assert pair.share == pytest.approx(0.5)


def test_a_linked_raw_volume_is_the_same_volume(add_crop: AddCrop, tmp_path: Path) -> None:
    levels = [{"values": ONES, "origin": (32.0, 32.0, 32.0)}]
    add_crop(tmp_path, "crop1", {"a": levels})
    table = add_crop(tmp_path, "crop2", {"a": levels}, split="validate")
    assert find_pairs(load_crops(table, ["a"]).crops) == (), "each has a raw volume of its own"
    raw = tmp_path / "d.zarr" / "recon-1" / "em"
    shutil.rmtree(raw / "crop2")
    (raw / "crop2").symlink_to("crop1")
    (pair,) = find_pairs(load_crops(table, ["a"]).crops)
    assert (pair.first.crop_id, pair.second.crop_id, pair.share) == ("d/crop1", "d/crop2", 1.0)


def test_a_crop_in_both_splits_is_the_plainest_leak(add_crop: AddCrop, tmp_path: Path) -> None:
    table = add_crop(tmp_path, "crop1", {"a": [{"values": ONES, "origin": (32.0, 32.0, 32.0)}]})
    table.write_text(table.read_text().replace("train", "validate") + table.read_text(), encoding="utf-8")
    with pytest.raises(DatasplitError, match="a second time"):
        load_crops(table, ["a"])
    (pair,) = find_pairs(load_crops(table, ["a"], allow_overlap=True).crops)
    assert pair.is_leak
    assert pair.share == 1.0


@pytest.mark.parametrize("seed", range(4))
def test_the_split_that_init_makes_has_no_leak(phantom: Path, seed: int) -> None:
    found = find_crops(phantom.parent)
    made = split_crops(found, ["nuc", "pm"], fraction=0.3, generator=np.random.default_rng(seed))
    at = {(crop.store.stem, Path(crop.labels).name): split for crop, split in zip(found, made.splits, strict=True)}
    crops = [
        replace(crop, split=at[crop.crop_id.split("/")[0], crop.crop_id.split("/")[1]])
        for crop in load_crops(phantom, ["nuc", "pm"]).crops
    ]
    assert {crop.split for crop in crops} == {"train", "validate"}
    assert not any(pair.is_leak for pair in find_pairs(crops))


@pytest.mark.real
@pytest.mark.parametrize(
    ("table", "classes"),
    [
        ("vnc/datasplit.csv", ["pm", "cell"]),
        ("fib25/datasplit.csv", ["cell", "pm"]),
    ],
)
def test_the_real_splits_have_no_leak(real_data: Path, table: str, classes: list[str]) -> None:
    crops = load_crops(real_data / table, classes).crops
    assert len(crops) > 4
    assert not any(pair.is_leak for pair in find_pairs(crops))


@pytest.mark.real
def test_a_crop_of_the_whole_stack_leaks_into_all_others_of_its_volume(real_data: Path) -> None:
    """The list of awkward crops is for reading, not for training; shares by hand from its README (voxels of s0)."""
    crops = load_crops(real_data / "vnc" / "datasplit_edge.csv", ["mito", "pm", "ecs"]).crops
    stack = 20 * 1024 * 1024
    expected = {
        "vnc_edge/crop101": 6 * 512 * 512 / stack,
        "vnc_edge/crop102": 6 * 150 * 150 / stack,
        "vnc_edge/crop103": 6 * 512 * 512 / stack,
        "vnc_edge/crop105": 3 * 400 * 400 / stack,
    }
    found = {pair.first.crop_id: pair.share for pair in find_pairs(crops) if pair.is_leak}
    assert {pair.second.crop_id for pair in find_pairs(crops) if pair.is_leak} == {"vnc_edge/crop106"}
    assert found == pytest.approx(expected)
