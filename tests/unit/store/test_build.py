from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numcodecs
import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st

from counterpoise.errors import DamagedChunkError, StoreError
from counterpoise.frequencies.count import count_crops
from counterpoise.store import StoredCrop, StoreRequest, VoxelStore, open_or_build
from counterpoise.store.bars import bars
from counterpoise.store.build import voxels_to_decode
from counterpoise.store.verification import find_damage
from counterpoise.volumes.crops import load_crops
from counterpoise.volumes.geometry import Grid, IndexBox
from counterpoise.volumes.levels import ChunkedLevel
from counterpoise.volumes.placement import PatchReach

AddCrop = Callable[..., Path]
Vector = tuple[float, float, float]

VNC = ("mito", "pm", "synapse", "ecs", "cyto", "cell", "nuc")
EDGE = ("mito", "pm", "synapse", "ecs", "cell")
SMALL = PatchReach((1.0, 1.0), stack_nm=0.0, rotation_degrees=0.0, transpose=False)  # no raw beyond a crop
WIDE = PatchReach((2400.0, 2400.0), stack_nm=50.0, rotation_degrees=30.0, transpose=True)
PHANTOM = ("nuc", "mito_mem", "er_mem", "pm", "golgi_mem")


def request(
    table: Path, classes: tuple[str, ...], size: Vector = (8.0, 8.0, 8.0), reach: PatchReach = SMALL
) -> StoreRequest:
    return StoreRequest(load_crops(table, classes), size, reach, max_upsampling=4.0)


def build(table: Path, folder: Path, classes: tuple[str, ...], workers: int = 2, **options: Any) -> VoxelStore:
    return open_or_build(request(table, classes, **options), folder, workers=workers)


def the(store: VoxelStore, name: str) -> StoredCrop:
    (found,) = [crop for crop in store.crops if crop.crop_id.split("/")[-1] == name]
    return found


def plain(folder: Path) -> np.ndarray:
    return np.asarray(zarr.open_array(str(folder), mode="r")[...])


def contents(store: VoxelStore) -> list[Any]:
    return [
        store.classes,
        store.crops,
        store.notes,
        store.raw_mean,
        *(a.tobytes() for c in store.crops for a in (store.raw_of(c), store.present_of(c), store.known_of(c))),
    ]


def assert_bits(store: VoxelStore, crop: StoredCrop, name: str, stored: np.ndarray, unknown: int | None) -> None:
    """Compare one class of a crop, voxel by voxel, with the stored values of its level."""
    bit = 1 << store.classes.index(name)
    known = np.ones(stored.shape, bool) if unknown is None else stored != unknown
    np.testing.assert_array_equal((store.known_of(crop) & bit) != 0, known)
    np.testing.assert_array_equal((store.present_of(crop) & bit) != 0, (stored != 0) & known)


# --- the real data ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def stores(real_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[Vector], VoxelStore]:
    folder, made = tmp_path_factory.mktemp("edge"), dict[Vector, VoxelStore]()

    def get(size: Vector) -> VoxelStore:
        if size not in made:
            made[size] = build(real_data / "vnc" / "datasplit_edge.csv", folder, EDGE, size=size)
        return made[size]

    return get


SIZE_4: Vector = (50.0, 4.6, 4.6)
SIZE_9: Vector = (50.0, 9.2, 9.2)
EDGE_STORE = "edge/vnc_edge/vnc_edge.zarr/recon-1/labels/groundtruth"
SPARSE = "edge/vnc_sparse/vnc_sparse.zarr/recon-1"
RAW = "vnc_stack1/vnc_stack1.zarr/recon-1/em/fibsem-uint8"


@pytest.mark.real
@pytest.mark.parametrize(
    ("size", "crop", "classes", "labels", "raw", "block"),
    [
        # From the README of the data: where each crop lies in the stack, in voxels of the raw level.
        (SIZE_4, "crop101", "mito synapse pm", "s0", f"{RAW}/s0", np.s_[14:20, 512:1024, 512:1024]),
        (SIZE_4, "crop102", "mito pm cell", "s1", f"{RAW}/s0", np.s_[2:8, 300:450, 330:480]),
        (SIZE_4, "crop103", "mito", "s0", f"{RAW}/s0", np.s_[0:6, 0:512, 512:1024]),
        (SIZE_4, "crop104", "ecs synapse", "s1", f"{RAW}/s0", np.s_[7:13, 520:1024, 0:504]),
        (SIZE_4, "crop105", "mito pm", "s0", f"{RAW}/s0", np.s_[0:3, 0:400, 0:400]),
        (SIZE_4, "crop106", "mito", "s0", f"{RAW}/s0", np.s_[0:20, 0:1024, 0:1024]),
        (SIZE_4, "crop107", "mito pm", "s0", f"{SPARSE}/em/fibsem-uint8/s1", np.s_[0:6, 0:256, 0:256]),
        (SIZE_9, "crop101", "mito synapse pm", "s1", f"{RAW}/s1", np.s_[14:20, 256:512, 256:512]),
        (SIZE_9, "crop102", "mito pm cell", "s2", f"{RAW}/s1", np.s_[2:8, 150:225, 165:240]),
        (SIZE_9, "crop103", "mito", "s0", f"{RAW}/s1", np.s_[0:6, 0:256, 256:512]),
        (SIZE_9, "crop104", "ecs synapse", "s1", f"{RAW}/s1", np.s_[7:13, 260:512, 0:252]),
        (SIZE_9, "crop105", "mito pm", "s1", f"{RAW}/s1", np.s_[0:3, 0:200, 0:200]),
        (SIZE_9, "crop106", "mito", "s1", f"{RAW}/s1", np.s_[0:20, 0:512, 0:512]),
        (SIZE_9, "crop107", "mito pm", "s0", f"{SPARSE}/em/fibsem-uint8/s1", np.s_[0:6, 0:256, 0:256]),
    ],
)
def test_awkward_crops_are_stored_voxel_by_voxel_as_they_are_on_disk(
    real_data: Path,
    stores: Callable[[Vector], VoxelStore],
    size: Vector,
    crop: str,
    classes: str,
    labels: str,
    raw: str,
    block: tuple[slice, ...],
) -> None:
    store, data = stores(size), real_data / "vnc"
    stored = the(store, crop)
    np.testing.assert_array_equal(store.raw_of(stored), plain(data / raw)[block])
    assert store.raw_of(stored).any()  # never the zeros of a level that was not fetched
    annotated = classes.split()
    folder = data / (f"{SPARSE}/labels/groundtruth" if crop == "crop107" else EDGE_STORE) / crop
    for name in annotated:
        # 255 means unknown in the semantic arrays, and in the one instance array that counts unknown voxels.
        unknown = 255 if name != "mito" or crop == "crop101" else None
        assert_bits(store, stored, name, plain(folder / name / labels), unknown)
    absent = sum(1 << i for i, name in enumerate(store.classes) if name not in annotated)
    assert not (store.known_of(stored) & absent).any()
    assert not (store.present_of(stored) & absent).any()


@pytest.mark.real
def test_unknown_voxels_are_unknown_for_their_class_alone(stores: Callable[[Vector], VoxelStore]) -> None:
    store = stores(SIZE_4)
    crop = the(store, "crop101")
    known = store.known_of(crop)
    bit = {name: 1 << i for i, name in enumerate(EDGE)}
    # By the README: 1938 unknown voxels of mito; the whole last section of synapse, and only that; none of pm.
    assert int(((known & bit["mito"]) == 0).sum()) == 1938
    assert ((known & bit["synapse"]) == 0).any(axis=(1, 2)).tolist() == [False] * 5 + [True]
    assert not (known[5] & bit["synapse"]).any()
    assert ((known & bit["pm"]) != 0).all()
    assert [c.crop_id for c in store.crops if c.has_unknown] == ["vnc_edge/crop101"]


@pytest.mark.real
def test_an_object_with_id_255_is_present(real_data: Path, stores: Callable[[Vector], VoxelStore]) -> None:
    store = stores(SIZE_4)
    ids = plain(real_data / "vnc" / EDGE_STORE / "crop106" / "mito" / "s0")
    assert (ids == 255).sum() > 100
    assert ((store.present_of(the(store, "crop106")) & 1) != 0)[ids == 255].all()


@pytest.mark.real
@pytest.mark.parametrize(
    ("dataset", "datasplit", "classes", "size"),
    [
        ("vnc", "datasplit.csv", VNC, SIZE_9),
        ("vnc", "datasplit_edge.csv", EDGE, SIZE_9),
        ("fib25", "datasplit.csv", ("cell", "pm", "cyto"), (10.0, 10.0, 10.0)),
    ],
)
def test_counts_are_exact_at_the_finest_level_whatever_level_is_stored(
    real_data: Path,
    counted: Callable[[str, str], dict[str, Any]],
    tmp_path: Path,
    dataset: str,
    datasplit: str,
    classes: tuple[str, ...],
    size: Vector,
) -> None:
    store = build(real_data / dataset / datasplit, tmp_path, classes, size=size, reach=WIDE)
    found = {c.crop_id.split("/")[-1]: {n: tuple(v.voxels) for n, v in c.counts.items()} for c in store.crops}
    expected = counted(dataset, datasplit)
    assert found == expected["crops"]
    table = store.frequencies()
    assert table == count_crops(load_crops(real_data / dataset / datasplit, classes), workers=2)
    for name in classes:
        fraction = expected["train"][name]["fraction_of_known_by_volume"]
        assert np.isnan(table.frequency(name)) if fraction is None else table.frequency(name) == pytest.approx(fraction)


@pytest.mark.real
def test_raw_around_a_crop_is_the_raw_that_is_there(real_data: Path, tmp_path: Path) -> None:
    classes = ("pm",)
    store = build(real_data / "vnc" / "datasplit.csv", tmp_path, classes, size=SIZE_9, reach=WIDE)
    volume = plain(real_data / "vnc" / RAW / "s1")
    margin = {}
    for crop in store.crops:
        start = [
            round((t - o) / s) for t, o, s in zip(crop.raw_grid.translation_nm, (0.0, 2.3, 2.3), SIZE_9, strict=True)
        ]
        part = tuple(slice(a, a + n) for a, n in zip(start, crop.raw_grid.shape, strict=True))
        np.testing.assert_array_equal(store.raw_of(crop), volume[part])
        margin[crop.crop_id.split("/")[-1]] = start
    # crop9 lies at voxel (14, 350, 60) and is 100 voxels wide; patches of 2400 nm at 30 degrees reach far beyond it:
    # half their bounding box, 2400 (cos 30 + sin 30) / 2 = 1639 nm, less half the crop, plus half the room inside.
    assert margin["crop9"][0] == 13
    assert margin["crop9"][1] < 350 - (1639 - 460) / 9.2
    assert margin["crop9"][2] == 0


# --- made crops ------------------------------------------------------------------------------------------------------


def test_the_store_does_not_depend_on_workers(phantom: Path, tmp_path: Path) -> None:
    one = build(phantom, tmp_path / "one", PHANTOM, workers=1, reach=WIDE)
    four = build(phantom, tmp_path / "four", PHANTOM, workers=4, reach=WIDE)
    assert one.fingerprint == four.fingerprint
    assert contents(one) == contents(four)
    assert one.frequencies() == count_crops(load_crops(phantom, PHANTOM), workers=1)
    assert any(crop.has_unknown for crop in one.crops)
    assert not all(crop.has_unknown for crop in one.crops)


@pytest.mark.parametrize("room", [1, 300, 2000])
def test_the_store_does_not_depend_on_the_size_of_bars(
    tmp_path: Path, add_crop: AddCrop, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    rng = np.random.default_rng(3)
    for number in (1, 2):
        odd = rng.choice(np.array([0, 1, 255], np.uint8), (19, 17, 21))
        coarse = [{"values": COARSE, "size": (16.0, 16.0, 16.0), "origin": (4.0, 4.0, 4.0), "chunks": (2, 3, 4)}]
        other_chunks = [{"values": odd, "chunks": (5, 4, 7)}]
        table = add_crop(
            tmp_path, f"crop{number}", {"a": odd, "b": coarse, "c": other_chunks, "d": (odd == 1).astype(np.uint8)}
        )
    (tmp_path / "d.zarr/recon-1/em/crop1/s0/0/1/1").unlink()
    whole = build(table, tmp_path / "one", ("a", "b", "c", "d"), reach=WIDE)
    monkeypatch.setattr("counterpoise.store.bars._BAR_BYTES", room)
    assert contents(build(table, tmp_path / "many", ("a", "b", "c", "d"), reach=WIDE)) == contents(whole)


boxes = st.tuples(*[st.integers(0, 9)] * 3, *[st.integers(1, 12)] * 3)


@given(boxes, st.tuples(*[st.integers(1, 7)] * 3), st.integers(1, 300))
def test_bars_cover_a_block_once_and_end_where_chunks_end(
    sides: tuple[int, ...], chunks: tuple[int, int, int], room: int
) -> None:
    start, shape = sides[:3], sides[3:]
    stop = [a + n for a, n in zip(start, shape, strict=True)]
    block = IndexBox((start[0], start[1], start[2]), (stop[0], stop[1], stop[2]))
    seen = np.zeros(stop, np.int64)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("counterpoise.store.bars._BAR_BYTES", room)
        for bar in bars(block, chunks, 1):
            seen[bar.slices] += 1
            assert (bar.start[2], bar.stop[2]) == (block.start[2], block.stop[2])
            for axis in (0, 1):
                for edge, end in ((bar.start, block.start), (bar.stop, block.stop)):
                    assert edge[axis] == end[axis] or edge[axis] % chunks[axis] == 0
            one_row = chunks[0] * chunks[1] * shape[2]
            assert bar.voxels <= max(room, one_row)
    assert (seen[block.slices] == 1).all()
    assert seen.sum() == block.voxels


def test_a_finished_store_is_opened_and_nothing_decoded(
    phantom: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = build(phantom, tmp_path, PHANTOM)
    monkeypatch.setattr(ChunkedLevel, "decoded_chunks", None)
    again = build(phantom, tmp_path, PHANTOM)
    assert contents(again) == contents(first)
    assert [path.name for path in tmp_path.glob("[!.]*")] == [first.fingerprint[:16]]


@pytest.mark.parametrize("size", [(8.0, 8.0, 8.0), (16.0, 16.0, 16.0)])
def test_progress_ends_at_its_full_length(phantom: Path, tmp_path: Path, size: Vector) -> None:
    wanted = request(phantom, PHANTOM, size)
    seen: list[int] = []
    open_or_build(wanted, tmp_path, workers=2, on_voxels=seen.append)
    assert sum(seen) == voxels_to_decode(wanted)
    seen.clear()
    open_or_build(wanted, tmp_path, workers=2, on_voxels=seen.append)
    assert seen == []


COARSE = np.random.default_rng(5).choice(np.array([0, 1, 255], np.uint8), (3, 4, 4))
FINE = np.random.default_rng(6).choice(np.array([0, 1], np.uint8), (8, 8, 8))


def two_grids(root: Path, add_crop: AddCrop) -> Path:
    """Write class a in 16 nm voxels that cover all but the last 2 of 8 planes of class b in 8 nm voxels."""
    coarse = [{"values": COARSE, "size": (16.0, 16.0, 16.0), "origin": (4.0, 4.0, 4.0)}]
    return add_crop(root, "crop1", {"a": coarse, "b": FINE})


def test_a_class_on_another_grid_takes_the_nearest_voxel_and_is_unknown_outside_its_block(
    tmp_path: Path, add_crop: AddCrop
) -> None:
    store = build(two_grids(tmp_path, add_crop), tmp_path / "s", ("a", "b"))
    (crop,) = store.crops
    assert crop.label_grid == Grid((8, 8, 8), (8.0, 8.0, 8.0), (0.0, 0.0, 0.0))
    repeated = COARSE.repeat(2, 0).repeat(2, 1).repeat(2, 2)
    whole = np.full((8, 8, 8), 255, np.uint8)
    whole[:6] = repeated
    assert_bits(store, crop, "a", whole, 255)
    assert_bits(store, crop, "b", FINE, 255)
    values = COARSE.ravel().tolist()
    assert tuple(crop.counts["a"].voxels) == (values.count(1), values.count(0), values.count(255))
    assert crop.counts["a"].voxel_size_nm == (16.0, 16.0, 16.0)


def test_progress_counts_a_class_on_another_grid_as_often_as_it_is_read(tmp_path: Path, add_crop: AddCrop) -> None:
    wanted = request(two_grids(tmp_path, add_crop), ("a", "b"))
    seen: list[int] = []
    open_or_build(wanted, tmp_path / "s", workers=1, on_voxels=seen.append)
    assert sum(seen) == voxels_to_decode(wanted) == 8**3 + 8**3 + 2 * COARSE.size


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32])
@pytest.mark.parametrize("beyond", [0, 1, 255])
def test_what_lies_beyond_an_array_in_its_last_chunks_changes_nothing(
    tmp_path: Path, add_crop: AddCrop, dtype: type, beyond: int
) -> None:
    rng = np.random.default_rng(beyond)
    values = rng.choice(np.array([0, 1, 7, 255], dtype), (11, 18, 13), p=[0.5, 0.2, 0.2, 0.1])
    values[8:, :8, :8] = 0  # a chunk with nothing inside
    table = add_crop(tmp_path, "crop1", {"a": values, "b": values // 255})
    codec = numcodecs.get_codec({"id": "zstd", "level": 1})
    for name in "ab":
        for file in (tmp_path / "d.zarr/recon-1/labels/groundtruth/crop1" / name / "s0").rglob("[0-9]"):
            if file.is_file():
                key = [int(part) for part in file.parts[-3:]]
                chunk: np.ndarray = np.frombuffer(codec.decode(file.read_bytes()), dtype).reshape(8, 8, 8)
                inside = tuple(slice(0, n - 8 * k) for n, k in zip(values.shape, key, strict=True))
                padded = np.full_like(chunk, beyond)
                padded[inside] = chunk[inside]
                file.write_bytes(codec.encode(padded))
    store = build(table, tmp_path / "s", ("a", "b"))
    (crop,) = store.crops
    assert_bits(store, crop, "a", values, 255)
    assert_bits(store, crop, "b", values // 255, 255)
    found = values.ravel().tolist()
    present, unknown = found.count(1) + found.count(7), found.count(255)
    assert tuple(crop.counts["a"].voxels) == (present, len(found) - present - unknown, unknown)
    assert tuple(crop.counts["b"].voxels) == (unknown, len(found) - unknown, 0)
    assert store.frequencies() == count_crops(load_crops(table, ("a", "b")), workers=1)


@pytest.mark.parametrize(("count", "bits"), [(1, 8), (8, 8), (9, 16), (17, 32), (33, 64), (64, 64)])
def test_words_are_as_wide_as_the_classes_need(tmp_path: Path, add_crop: AddCrop, count: int, bits: int) -> None:
    names = tuple(f"c{i}" for i in range(count))
    values = {
        name: np.random.default_rng(i).choice(np.array([0, 1, 255], np.uint8), (2, 3, 4))
        for i, name in enumerate(names)
    }
    store = build(add_crop(tmp_path, "crop1", values), tmp_path / "s", names)
    (crop,) = store.crops
    assert store.present.dtype == store.unknown.dtype == np.dtype(f"uint{bits}")
    assert crop.known_word == 2**count - 1
    for name in names:
        stored = values[name]
        shift = np.array(names.index(name), store.present.dtype)
        known, present = ((w(crop) >> shift) & 1 for w in (store.known_of, store.present_of))
        np.testing.assert_array_equal(known, stored != 255)
        np.testing.assert_array_equal(present, stored == 1)


def test_more_than_64_classes_are_refused(tmp_path: Path, add_crop: AddCrop) -> None:
    names = tuple(f"c{i}" for i in range(65))
    table = add_crop(tmp_path, "crop1", {name: np.ones((1, 1, 1), np.uint8) for name in names})
    with pytest.raises(StoreError, match="65 classes do not fit"):
        build(table, tmp_path / "s", names)


def test_without_unknown_voxels_no_unknown_words_are_kept(tmp_path: Path, add_crop: AddCrop) -> None:
    add_crop(tmp_path, "crop1", {"a": FINE, "b": FINE})
    store = build(add_crop(tmp_path, "crop2", {"b": FINE}), tmp_path / "s", ("a", "b"))
    assert not (store.path / "unknown.npy").exists()
    assert store.unknown.size == 0
    assert [int(word) for crop in store.crops for word in np.unique(store.known_of(crop))] == [0b11, 0b10]


def test_raw_that_is_partly_missing_makes_labels_unknown_and_is_reported(tmp_path: Path, add_crop: AddCrop) -> None:
    # A crop of voxels 4..15 along x, on raw chunks 0..7 and 8..15, of which the second is gone in half of z.
    labels = {"a": [{"values": np.ones((16, 8, 12), np.uint8), "origin": (0.0, 0.0, 32.0)}]}
    table = add_crop(tmp_path, "crop1", labels)
    (tmp_path / "d.zarr/recon-1/em/crop1/s0/1/0/1").unlink()
    store = build(table, tmp_path / "s", ("a",))
    (crop,) = store.crops
    expected = np.ones((16, 8, 12), bool)
    expected[8:, :, 4:] = False
    np.testing.assert_array_equal(store.known_of(crop) == 1, expected)
    np.testing.assert_array_equal(store.present_of(crop) == 1, expected)
    assert tuple(crop.counts["a"].voxels) == (16 * 8 * 12, 0, 0)  # annotated all the same
    assert tuple(map(str, store.notes)) == (
        "d/crop1: raw level s0 is missing under 33.3 % of the crop; those voxels are treated as unknown",
    )


def test_raw_that_is_missing_shows_the_mean_of_what_is_there(tmp_path: Path, add_crop: AddCrop) -> None:
    generator = np.random.default_rng(0)
    raws = [generator.integers(low, 200, (16, 16, 16)).astype(np.uint8) for low in (10, 100)]
    for number, raw in enumerate(raws):
        table = add_crop(tmp_path, f"crop{number}", {"a": np.ones((16, 16, 16), np.uint8)}, raw)
    (tmp_path / "d.zarr/recon-1/em/crop0/s0/1/0/1").unlink()
    store = build(table, tmp_path / "s", ("a",))
    is_there = np.ones((16, 16, 16), bool)
    is_there[8:, :8, 8:] = False
    mean = round((raws[0][is_there].sum(dtype=int) + raws[1].sum(dtype=int)) / (is_there.sum() + 16**3))
    assert store.raw_mean == mean
    first, second = store.crops
    np.testing.assert_array_equal(store.raw_of(first), np.where(is_there, raws[0], mean))
    np.testing.assert_array_equal(store.raw_of(second), raws[1])
    assert (first.raw_missing, second.raw_missing) == ((IndexBox((8, 0, 8), (16, 8, 16)),), ())
    assert find_damage(store) == []


@pytest.mark.parametrize("dtype", [np.uint16, np.int16, ">u2", np.int8])
def test_raw_of_other_whole_numbers_becomes_8_bits_by_one_window_per_volume(
    tmp_path: Path, add_crop: AddCrop, dtype: Any
) -> None:
    """0.1 % of all values lie below the window and 0.1 % above; NumPy's percentiles say where that is."""
    generator = np.random.default_rng(0)
    limits = np.iinfo(np.dtype(dtype))
    values = generator.normal(limits.max * 0.3, limits.max * 0.1, (40, 40, 40)).clip(limits.min, limits.max)
    raw = values.round().astype(dtype)
    table = add_crop(tmp_path, "crop1", {"a": np.ones((40, 40, 40), np.uint8)}, raw)
    store = build(table, tmp_path / "s", ("a",))
    lower, upper = (int(np.percentile(raw.astype(int), q)) for q in (0.1, 99.9))
    ((found_lower, found_upper),) = store.raw_windows.values()
    assert abs(found_lower - lower) <= 0.01 * (upper - lower) + 1
    assert abs(found_upper - upper) <= 0.01 * (upper - lower) + 1
    share = (raw.astype(float) - found_lower) / (found_upper - found_lower)
    np.testing.assert_array_equal(store.raw_of(store.crops[0]), np.rint(share.clip(0, 1) * 255).astype(np.uint8))
    became = f"raw is stored as {np.dtype(dtype)}; {found_lower} to {found_upper} became 0 to 255"
    assert str(store.notes[0]) == f"d: {became}, for every crop of this volume (data.raw_window sets other values)"


def test_a_window_that_is_given_is_used_and_makes_another_store(tmp_path: Path, add_crop: AddCrop) -> None:
    raw = np.arange(4096, dtype=np.uint16).reshape(16, 16, 16)
    table = add_crop(tmp_path, "crop1", {"a": np.ones((16, 16, 16), np.uint8)}, raw)
    found = build(table, tmp_path / "s", ("a",))
    given = open_or_build(replace(request(table, ("a",)), raw_window=(1000, 1510)), tmp_path / "s", workers=1)
    assert given.path != found.path
    np.testing.assert_array_equal(
        given.raw_of(given.crops[0]).ravel()[[0, 1000, 1002, 1255, 1508, 1510, 4000]], [0, 0, 1, 128, 254, 255, 255]
    )


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (np.zeros((16, 16, 16), np.uint8), "its raw is 0 everywhere"),
        (np.full((16, 16, 16), 77, np.uint8), "its raw is 77 everywhere"),
        (np.repeat(np.array([0, 0, 0, 9], np.uint8), 1024).reshape(16, 16, 16), "75 % of its raw is stored as 0"),
        (np.repeat(np.array([0, 0, 8, 9], np.uint8), 1024).reshape(16, 16, 16), ""),
    ],
)
def test_raw_that_shows_nothing_is_named(tmp_path: Path, add_crop: AddCrop, raw: np.ndarray, said: str) -> None:
    # The fill value is another, so that every chunk is on disk.
    table = add_crop(tmp_path, "crop1", {"a": np.ones((16, 16, 16), np.uint8)}, [{"values": raw, "fill": 255}])
    notes = build(table, tmp_path / "s", ("a",)).notes
    assert [str(note)[: len(said) + 9] for note in notes] == ([f"d/crop1: {said}"] if said else [])


def test_what_was_unknown_until_an_array_was_seen_whole_leaves_nothing_behind(
    tmp_path: Path, add_crop: AddCrop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """255 is taken for unknown at first; the ids up to 254, found in a later bar, make it an object."""
    monkeypatch.setattr("counterpoise.store.bars._BAR_BYTES", 1024)  # a bar per layer of chunks
    ids = np.zeros((16, 16, 16), np.uint8)
    ids[0, :4, :4] = 255
    ids[8:].ravel()[:254] = np.arange(1, 255)
    other = np.zeros((16, 16, 16), np.uint8)
    other[11], other[12:] = 1, 255  # really unknown, so that the crop has unknown words
    table = add_crop(tmp_path, "crop1", {"er": ids, "b": other})
    store = build(table, tmp_path / "s", ("er", "b"))
    (crop,) = store.crops
    assert tuple(crop.counts["er"].voxels) == (16 + 254, 16**3 - 16 - 254, 0)
    np.testing.assert_array_equal(store.known_of(crop) & 1, 1)
    np.testing.assert_array_equal(store.present_of(crop) & 1, ids != 0)
    np.testing.assert_array_equal((store.known_of(crop) & 2) != 0, other != 255)
    assert find_damage(store) == []


def test_labels_outside_the_raw_volume_are_unknown(tmp_path: Path, add_crop: AddCrop) -> None:
    labels = {"a": [{"values": np.ones((8, 8, 8), np.uint8), "origin": (-16.0, 0.0, 20 * 8.0)}]}
    store = build(add_crop(tmp_path, "crop1", labels), tmp_path / "s", ("a",))
    expected = np.ones((8, 8, 8), bool)
    expected[:2] = False
    expected[:, :, 4:] = False
    np.testing.assert_array_equal(store.known_of(store.crops[0]) == 1, expected)
    assert "missing under 62.5 % of the crop" in store.notes[0].text


# --- what a store was made from --------------------------------------------------------------------------------------


def touch(file: Path) -> None:
    os.utime(file, ns=(1, 1))


CHANGES: dict[str, Callable[[Path], object]] = {
    "a label chunk is touched": lambda d: touch(d / "labels/groundtruth/crop1/a/s0/0/0/0"),
    "a raw chunk is touched": lambda d: touch(d / "em/crop1/s0/0/0/0"),
    "a raw chunk is fetched": lambda d: shutil.copy(d / "em/crop1/s0/0/0/0", d / "em/crop1/s0/0/0/1"),
    "a label chunk is gone": lambda d: (d / "labels/groundtruth/crop1/b/s0/0/0/0").unlink(),
    "the fill value is another": lambda d: rewrite(
        d / "labels/groundtruth/crop1/a/s0/.zarray", '_value": 0', '_value": 1'
    ),
    "a position is another": lambda d: rewrite(d / "em/crop1/.zattrs", "[0.0, 0.0, 0.0]", "[0.0, 0.0, 2.0]"),
    "an unknown code is another": lambda d: rewrite(
        d / "labels/groundtruth/crop1/a/.zattrs",
        '"multiscales"',
        '"cellmap": {"annotation": {"annotation_type": {"encoding": {"unknown": 1}}}}, "multiscales"',
    ),
    "the crop changes sides": lambda d: rewrite(d.parents[1] / "datasplit.csv", '"train"', '"validate"'),
}


def rewrite(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert text.count(old) == 1
    file.write_text(text.replace(old, new))


@pytest.mark.parametrize("change", CHANGES)
def test_another_source_is_another_store(tmp_path: Path, add_crop: AddCrop, change: str) -> None:
    table = add_crop(tmp_path, "crop1", {"a": FINE, "b": FINE})
    (tmp_path / "d.zarr/recon-1/em/crop1/s0/0/0/1").unlink()
    options: dict[str, Any] = {"reach": PatchReach((150.0, 150.0), 0.0, 0.0, transpose=False)}
    before = build(table, tmp_path / "s", ("a", "b"), **options)
    assert build(table, tmp_path / "s", ("a", "b"), **options).fingerprint == before.fingerprint
    CHANGES[change](tmp_path / "d.zarr" / "recon-1")
    after = build(table, tmp_path / "s", ("a", "b"), **options)
    assert after.fingerprint != before.fingerprint
    assert after.path != before.path


def test_another_question_is_another_store(tmp_path: Path, add_crop: AddCrop) -> None:
    table = add_crop(tmp_path, "crop1", {"a": FINE, "b": FINE})
    stores = [
        build(table, tmp_path / "s", ("a", "b")),
        build(table, tmp_path / "s", ("b", "a")),
        build(table, tmp_path / "s", ("a",)),
        build(table, tmp_path / "s", ("a", "b"), size=(8.0, 8.0, 8.5)),
        build(table, tmp_path / "s", ("a", "b"), reach=WIDE),
    ]
    assert len({store.fingerprint for store in stores}) == len(stores)


def code_is_zero(group: Path) -> None:
    rewrite(
        group / ".zattrs",
        '"multiscales"',
        '"cellmap": {"annotation": {"annotation_type": {"type": "semantic_segmentation", "encoding": {"unknown": 0}}}},'
        ' "multiscales"',
    )


def test_a_missing_chunk_is_unknown_where_zero_means_unknown(tmp_path: Path, add_crop: AddCrop) -> None:
    ones = np.ones((8, 8, 16), np.uint8)
    ones[..., 8:] = 0  # such a chunk is not written
    table = add_crop(tmp_path, "crop1", {"a": ones, "b": np.ones((8, 8, 16), np.uint8), "c": ones})
    labels = tmp_path / "d.zarr/recon-1/labels/groundtruth/crop1"
    assert [chunk.name for chunk in (labels / "a/s0/0/0").iterdir()] == ["0"]
    code_is_zero(labels / "a")
    store = build(table, tmp_path / "s", ("a", "b", "c"))
    (crop,) = store.crops
    half = 8 * 8 * 8
    assert {name: tuple(count.voxels) for name, count in crop.counts.items()} == {
        "a": (half, 0, half),
        "b": (2 * half, 0, 0),
        "c": (half, half, 0),
    }
    assert crop.has_unknown
    assert np.unique(store.known_of(crop)[..., :8]).tolist() == [0b111]
    assert np.unique(store.known_of(crop)[..., 8:]).tolist() == [0b110]
    assert np.unique(store.present_of(crop)[..., 8:]).tolist() == [0b010]
    assert store.frequencies() == count_crops(load_crops(table, ("a", "b", "c")), workers=1)


# --- interrupted and failed builds -----------------------------------------------------------------------------------


class Decoded:
    """Notes which crops' raw was read, and stops after so many."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.crops: set[str] = set()
        self.stop_after: int | None = None
        decode = ChunkedLevel.decoded_chunks

        def spy(level: ChunkedLevel, block: Any, **options: Any) -> Any:
            if "/em/" in str(level.path):
                if self.stop_after is not None and len(self.crops) >= self.stop_after:
                    raise KeyboardInterrupt
                self.crops.add(level.path.parent.name)
            return decode(level, block, **options)

        monkeypatch.setattr(ChunkedLevel, "decoded_chunks", spy)


@pytest.fixture
def interrupted(tmp_path: Path, add_crop: AddCrop, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Decoded, Path]:
    """Build three crops and stop after two; return the datasplit, the spy and the unfinished folder."""
    for number, unknown in ((1, 255), (2, 1), (3, 255)):
        table = add_crop(tmp_path, f"crop{number}", {"a": np.where(FINE == 1, unknown, number != 2).astype(np.uint8)})
    decoded = Decoded(monkeypatch)
    decoded.stop_after = 2
    with pytest.raises(KeyboardInterrupt):
        build(table, tmp_path / "s", ("a",), workers=1)
    decoded.stop_after = None
    assert decoded.crops == {"crop1", "crop2"}
    decoded.crops.clear()
    (unfinished,) = (tmp_path / "s").glob("[!.]*")
    assert unfinished.name.endswith(".building")
    return table, decoded, unfinished


def test_a_finished_crop_of_an_interrupted_build_is_not_decoded_again(
    tmp_path: Path, interrupted: tuple[Path, Decoded, Path]
) -> None:
    table, decoded, unfinished = interrupted
    wanted = request(table, ("a",))
    seen: list[int] = []
    store = open_or_build(wanted, tmp_path / "s", workers=1, on_voxels=seen.append)
    assert decoded.crops == {"crop3"}
    assert sum(seen) == voxels_to_decode(wanted)
    assert not unfinished.exists()
    whole = build(table, tmp_path / "t", ("a",))
    assert contents(store) == contents(whole)


@pytest.mark.parametrize(
    "marker", ["", "{", '{"crop": {}}', "[]", '{"crop": [], "notes": []}', '{"crop": {"counts": 1}}']
)
def test_a_torn_marker_makes_its_crop_decoded_again(
    tmp_path: Path, interrupted: tuple[Path, Decoded, Path], marker: str
) -> None:
    table, decoded, unfinished = interrupted
    (unfinished / "crops" / "1.json").write_text(marker)
    store = build(table, tmp_path / "s", ("a",))
    assert decoded.crops == {"crop2", "crop3"}
    assert contents(store) == contents(build(table, tmp_path / "t", ("a",)))


@pytest.mark.parametrize("array", ["raw", "present", "unknown"])
def test_a_changed_block_makes_its_crop_decoded_again(
    tmp_path: Path, interrupted: tuple[Path, Decoded, Path], array: str
) -> None:
    table, decoded, unfinished = interrupted
    voxels = np.lib.format.open_memmap(unfinished / f"{array}.npy", mode="r+")
    voxels[7] ^= 1  # in the first crop
    voxels.flush()
    store = build(table, tmp_path / "s", ("a",))
    assert decoded.crops == {"crop1", "crop3"}
    assert contents(store) == contents(build(table, tmp_path / "t", ("a",)))


@pytest.mark.parametrize("size", [0, 40, 200, 900])
@pytest.mark.parametrize("array", ["raw", "present", "unknown"])
def test_a_torn_array_is_written_again(
    tmp_path: Path, interrupted: tuple[Path, Decoded, Path], array: str, size: int
) -> None:
    table, decoded, unfinished = interrupted
    os.truncate(unfinished / f"{array}.npy", size)
    store = build(table, tmp_path / "s", ("a",))
    assert decoded.crops >= {"crop3"}
    assert contents(store) == contents(build(table, tmp_path / "t", ("a",)))


def test_leftovers_in_a_block_do_not_shine_through(tmp_path: Path, interrupted: tuple[Path, Decoded, Path]) -> None:
    table, _, unfinished = interrupted
    for name in ("raw", "present", "unknown"):
        voxels = np.lib.format.open_memmap(unfinished / f"{name}.npy", mode="r+")
        voxels[...] = 255
        voxels.flush()
    store = build(table, tmp_path / "s", ("a",))
    assert contents(store) == contents(build(table, tmp_path / "t", ("a",)))


def test_a_damaged_chunk_leaves_no_store_until_it_is_mended(tmp_path: Path, add_crop: AddCrop) -> None:
    add_crop(tmp_path, "crop1", {"a": FINE})
    table = add_crop(tmp_path, "crop2", {"a": FINE})
    chunk = tmp_path / "d.zarr/recon-1/labels/groundtruth/crop2/a/s0/0/0/0"
    good, status = chunk.read_bytes(), chunk.stat()
    chunk.write_bytes(b"x" * len(good))
    os.utime(chunk, ns=(status.st_atime_ns, status.st_mtime_ns))
    for _ in range(2):
        with pytest.raises(DamagedChunkError, match="crop2/a/s0 cannot be decoded"):
            build(table, tmp_path / "s", ("a",))
        assert not list((tmp_path / "s").glob("*/index.json"))
        assert all(path.name.endswith(".building") for path in (tmp_path / "s").glob("[!.]*"))
    chunk.write_bytes(good)
    os.utime(chunk, ns=(status.st_atime_ns, status.st_mtime_ns))
    store = build(table, tmp_path / "s", ("a",))
    assert_bits(store, the(store, "crop2"), "a", FINE, 255)


def test_a_place_that_cannot_be_written_is_an_error_of_the_store(tmp_path: Path, add_crop: AddCrop) -> None:
    table = add_crop(tmp_path, "crop1", {"a": FINE})
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StoreError, match="cannot be written at") as caught:
        build(table, tmp_path / "file" / "s", ("a",))
    assert "data.store" in caught.value.remedy


def test_a_file_in_the_place_of_a_store_is_an_error_of_the_store(tmp_path: Path, add_crop: AddCrop) -> None:
    table = add_crop(tmp_path, "crop1", {"a": FINE})
    store = build(table, tmp_path / "s", ("a",))
    shutil.rmtree(store.path)
    store.path.write_text("in the way")
    with pytest.raises(StoreError, match="cannot be written at"):
        build(table, tmp_path / "s", ("a",))


# --- damage ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def small(tmp_path: Path, add_crop: AddCrop) -> tuple[Path, VoxelStore]:
    add_crop(tmp_path, "crop1", {"a": COARSE, "b": FINE[:3, :4, :4]})
    table = add_crop(tmp_path, "crop2", {"b": FINE[:2, :2, :2]}, split="validate")
    return table, build(table, tmp_path / "s", ("a", "b"))


@pytest.mark.parametrize("name", ["raw.npy", "present.npy", "unknown.npy", "index.json"])
def test_no_flipped_byte_changes_what_is_read(tmp_path: Path, small: tuple[Path, VoxelStore], name: str) -> None:
    table, store = small
    expected = contents(store)
    wanted = request(table, ("a", "b"))
    good = (store.path / name).read_bytes()
    rng = np.random.default_rng(0)
    places = np.unique(np.r_[1 : min(len(good), 128) : 3, rng.integers(0, len(good), 30), len(good) - 1])
    for place in places:
        damaged = bytearray(good)
        damaged[place] ^= 1 << int(rng.integers(0, 8))
        (store.path / name).write_bytes(bytes(damaged))
        again = open_or_build(wanted, tmp_path / "s", workers=1)
        assert contents(again) == expected, f"byte {place} of {name}"
        assert again.fingerprint == store.fingerprint


@pytest.mark.parametrize("name", ["raw.npy", "present.npy", "unknown.npy", "index.json"])
@pytest.mark.parametrize("size", [None, 0, 1, 100])
def test_a_missing_or_torn_file_is_made_again(
    tmp_path: Path, small: tuple[Path, VoxelStore], name: str, size: int | None
) -> None:
    table, store = small
    expected = contents(store)
    if size is None:
        (store.path / name).unlink()
    else:
        os.truncate(store.path / name, size)
    assert contents(build(table, tmp_path / "s", ("a", "b"))) == expected


def test_a_store_of_another_version_is_made_again(tmp_path: Path, small: tuple[Path, VoxelStore]) -> None:
    table, store = small
    expected = contents(store)
    index = json.loads((store.path / "index.json").read_text())
    (store.path / "index.json").write_text(json.dumps(index | {"version": 0, "notes": ["old"]}))
    assert contents(build(table, tmp_path / "s", ("a", "b"))) == expected


# --- shared, and read-only -------------------------------------------------------------------------------------------


def test_experiments_that_ask_at_the_same_time_build_once(
    tmp_path: Path, add_crop: AddCrop, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in (1, 2):
        table = add_crop(tmp_path, f"crop{number}", {"a": FINE, "b": FINE})
    decoded, starts = Decoded(monkeypatch), list[str]()
    spy = ChunkedLevel.decoded_chunks

    def count(level: ChunkedLevel, block: Any, **options: Any) -> Any:
        if "/em/" in str(level.path):
            starts.append(level.path.parent.name)
        return spy(level, block, **options)

    monkeypatch.setattr(ChunkedLevel, "decoded_chunks", count)
    with ThreadPoolExecutor(4) as pool:
        stores = list(pool.map(lambda _: build(table, tmp_path / "s", ("a", "b"), workers=1), range(4)))
    assert sorted(starts) == ["crop1", "crop2"]
    assert decoded.crops == {"crop1", "crop2"}
    assert all(contents(store) == contents(stores[0]) for store in stores)


def test_two_experiments_share_a_folder_of_stores(tmp_path: Path, add_crop: AddCrop) -> None:
    table = add_crop(tmp_path, "crop1", {"a": FINE, "b": np.ones((8, 8, 8), np.uint8)})
    both, one = build(table, tmp_path / "s", ("a", "b")), build(table, tmp_path / "s", ("b",))
    assert both.path.parent == one.path.parent
    assert both.path != one.path
    again = [build(table, tmp_path / "s", classes) for classes in (("a", "b"), ("b",))]
    assert [store.path for store in again] == [both.path, one.path]
    assert contents(again[0]) == contents(both)
    assert (again[1].present_of(again[1].crops[0]) == 1).all()


def read_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse to write, as a read-only file system does (a test that runs as root may write everywhere)."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr("counterpoise.store.build.os.access", lambda *_: False)
    monkeypatch.setattr("counterpoise.store.build.only_one_process", refuse)
    monkeypatch.setattr("counterpoise.store.build.shutil.rmtree", refuse)


def test_a_store_that_may_only_be_read_is_read_in_full_and_used(
    tmp_path: Path, small: tuple[Path, VoxelStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    table, store = small
    expected, files = contents(store), sorted((tmp_path / "s").rglob("*"))
    read: list[str] = []
    is_damaged = VoxelStore.is_damaged

    def spy(store: VoxelStore, crop: StoredCrop) -> bool:
        read.append(crop.crop_id)
        return is_damaged(store, crop)

    monkeypatch.setattr(VoxelStore, "is_damaged", spy)
    read_only(monkeypatch)
    assert contents(build(table, tmp_path / "s", ("a", "b"))) == expected
    assert sorted(read) == ["d/crop1", "d/crop2"]
    assert sorted((tmp_path / "s").rglob("*")) == files


def test_a_damaged_store_that_may_only_be_read_is_an_error(
    tmp_path: Path, small: tuple[Path, VoxelStore], monkeypatch: pytest.MonkeyPatch
) -> None:
    table, store = small
    content = bytearray((store.path / "raw.npy").read_bytes())
    content[-1] ^= 1
    (store.path / "raw.npy").write_bytes(bytes(content))
    read_only(monkeypatch)
    with pytest.raises(StoreError, match="cannot be written at") as caught:
        build(table, tmp_path / "s", ("a", "b"))
    assert "Read-only" in caught.value.found
