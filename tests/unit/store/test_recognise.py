from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from counterpoise.notes import Note, NoteKind
from counterpoise.store import StoreRequest, VoxelStore, open_or_build, verification
from counterpoise.store import recognise as module
from counterpoise.store.manage import clear_store
from counterpoise.store.recognise import RecognisedStore, Sources, StoreKey, recognise, remember
from counterpoise.store.verification import find_damage
from counterpoise.volumes.crops import load_crops
from counterpoise.volumes.placement import PatchReach

AddCrop = Callable[..., Path]
LABELS = np.random.default_rng(0).choice(np.array([0, 1], np.uint8), (16, 16, 16))
REACH = PatchReach((150.0, 150.0), stack_nm=0.0, rotation_degrees=0.0, transpose=False)
NOTES = (Note(NoteKind.LEAK, "d/crop1: something to know"),)
A_TICK_S = 0.02
"""File systems stamp with the clock of the last tick: what is written sooner may have the same times."""


@pytest.fixture(autouse=True)
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take files that were written just now for old ones."""
    for place in (module, verification):
        monkeypatch.setattr(place, "SETTLED_NS", -(10**12))


def key_of(table: Path, **changes: Any) -> StoreKey:
    return replace(StoreKey(table, ("a", "b"), (8.0, 8.0, 8.0), REACH, 4.0, None, allow_overlap=False), **changes)


def request_for(key: StoreKey) -> StoreRequest:
    crop_set = load_crops(key.datasplit, key.classes)
    return StoreRequest(crop_set, key.voxel_size_nm, key.reach, key.max_upsampling)


def answer(key: StoreKey, folder: Path) -> VoxelStore:
    """Open the crops, open or build their store, and remember it."""
    request = request_for(key)
    sources = Sources.of(request)
    store = open_or_build(request, folder, workers=1)
    assert find_damage(store) == []
    remember(key, sources, store, NOTES)
    return store


@pytest.fixture
def root(tmp_path: Path, add_crop: AddCrop) -> Path:
    """Write two crops: raw in two levels, one chunk of raw and one of labels missing, class b absent from the second.

    ``crop1`` is reached through a link; the labels of its class b through another.
    """
    raw = np.full((24, 24, 24), 90, np.uint8)
    levels = [{"values": raw}, {"values": raw[::2, ::2, ::2], "size": (16.0,) * 3, "origin": (4.0,) * 3}]
    sparse = LABELS.copy()
    sparse[:8, :8, :8] = 0
    data = tmp_path / "data"
    data.mkdir()
    add_crop(data, "crop1", {"a": sparse, "b": LABELS}, raw=levels)
    table = add_crop(data, "crop2", {"a": LABELS}, raw=levels, split="validate", listed=["a", "b"])
    (data / "d.zarr/recon-1/em/crop1/s0/1/2/2").unlink()
    labels = data / "d.zarr/recon-1/labels/groundtruth/crop1"
    (labels / "b").rename(data / "b-1")
    (labels / "b").symlink_to(data / "b-1")
    (data / "d.zarr").rename(data / "d-1.zarr")
    (data / "d.zarr").symlink_to(data / "d-1.zarr")
    table.rename(tmp_path / "datasplit.csv")
    (tmp_path / "datasplit.csv").write_text((tmp_path / "datasplit.csv").read_text().replace("d.zarr", "data/d.zarr"))
    return tmp_path


def test_a_store_whose_sources_are_as_they_were_is_known_without_its_crops(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = key_of(root / "datasplit.csv")
    assert recognise(key, root / "s") is None
    store = answer(key, root / "s")
    monkeypatch.setattr("counterpoise.volumes.metadata._read", None)  # no metadata is read
    monkeypatch.setattr("counterpoise.volumes.datasplit._parse", None)
    found = recognise(key, root / "s")
    assert found is not None
    assert (found.store.path, found.store.crops, found.notes) == (store.path, store.crops, NOTES)


def rewrite(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert text.count(old) == 1
    file.write_text(text.replace(old, new))


def write_again(file: Path, content: bytes) -> None:
    """Write in place, and set the times back, so that only the time of the change tells."""
    before = file.stat()
    file.write_bytes(content)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def turn(link: Path, copy: Path) -> None:
    """Let a link lead to a copy with the same times."""
    shutil.copytree(link, copy, symlinks=True, copy_function=shutil.copy2)
    link.unlink()
    link.symlink_to(copy)


def group(root: Path, name: str) -> Path:
    return root / "data/d.zarr/recon-1/labels/groundtruth" / name


def raw(root: Path, name: str) -> Path:
    return root / "data/d.zarr/recon-1/em" / name


CHANGES: dict[str, Callable[[Path], object]] = {
    "a label chunk has other content": lambda d: shutil.copy(
        group(d, "crop1") / "b/s0/0/0/0", group(d, "crop1") / "a/s0/1/1/1"
    ),
    "a label chunk was touched": lambda d: os.utime(group(d, "crop1") / "a/s0/1/1/1", ns=(1, 1)),
    "a label chunk is there": lambda d: shutil.copy(group(d, "crop1") / "a/s0/1/1/1", group(d, "crop1") / "a/s0/0/0/0"),
    "a label chunk is gone": lambda d: (group(d, "crop1") / "b/s0/1/1/1").unlink(),
    "a raw chunk was touched": lambda d: os.utime(raw(d, "crop2") / "s0/0/0/0", ns=(1, 1)),
    "a raw chunk was fetched": lambda d: shutil.copy(raw(d, "crop1") / "s0/0/0/0", raw(d, "crop1") / "s0/1/2/2"),
    "a raw chunk is gone": lambda d: (raw(d, "crop2") / "s0/1/1/1").unlink(),
    "the fill value is another": lambda d: rewrite(group(d, "crop1") / "a/s0/.zarray", '_value": 0', '_value": 1'),
    "a position is another": lambda d: rewrite(raw(d, "crop1") / ".zattrs", "[0.0, 0.0, 0.0]", "[0.0, 0.0, 2.0]"),
    "an unknown code is another": lambda d: rewrite(
        group(d, "crop1") / "a/.zattrs",
        '"multiscales"',
        '"cellmap": {"annotation": {"annotation_type": {"encoding": {"unknown": 1}}}}, "multiscales"',
    ),
    "a class group is there": lambda d: shutil.copytree(group(d, "crop2") / "a", group(d, "crop2") / "b"),
    "a class group is gone": lambda d: shutil.rmtree(group(d, "crop1") / "a"),
    "a crop changes sides": lambda d: rewrite(d / "datasplit.csv", '"validate"', '"train"'),
    "a crop is listed no more": lambda d: rewrite(d / "datasplit.csv", '"validate"', '# "validate"'),
    "a link of the list leads elsewhere": lambda d: turn(d / "data/d.zarr", d / "data/d-2.zarr"),
}
"""What makes another fingerprint."""

MORE_CHANGES: dict[str, Callable[[Path], object]] = {
    "a label chunk was written in place": lambda d: write_again(
        group(d, "crop2") / "a/s0/0/0/0", (group(d, "crop2") / "a/s0/0/0/0").read_bytes()
    ),
    "a raw chunk was written in place": lambda d: write_again(
        raw(d, "crop1") / "s0/1/1/1", (raw(d, "crop1") / "s0/1/1/1").read_bytes()
    ),
    "a link of a class leads elsewhere": lambda d: turn(group(d, "crop1") / "b", d / "data/b-2"),
    "an array has attributes": lambda d: (group(d, "crop1") / "a/s0/.zattrs").write_text("{}"),
    "a raw level is another": lambda d: rewrite(raw(d, "crop2") / "s1/.zarray", "[12, 12, 12]", "[12, 12, 11]"),
    "the list was written again": lambda d: (d / "datasplit.csv").write_text((d / "datasplit.csv").read_text()),
}
"""What the fingerprint does not see, or what is of no account: it costs time, and no wrong store."""


@pytest.mark.parametrize("change", CHANGES | MORE_CHANGES)
def test_a_change_of_any_source_is_noticed_and_the_new_answer_is_known(root: Path, change: str) -> None:
    key = key_of(root / "datasplit.csv")
    before = answer(key, root / "s")
    assert recognise(key, root / "s") is not None
    time.sleep(A_TICK_S)
    (CHANGES | MORE_CHANGES)[change](root)
    assert recognise(key, root / "s") is None
    after = answer(key, root / "s")
    assert (after.fingerprint != before.fingerprint) == (change in CHANGES)
    found = recognise(key, root / "s")
    assert found is not None
    assert found.store.path == after.path


def test_a_raw_level_that_is_fetched_later_is_noticed(tmp_path: Path, add_crop: AddCrop) -> None:
    values = np.full((24, 24, 24), 90, np.uint8)
    levels = [{"values": values}, {"values": values[::2, ::2, ::2], "size": (16.0,) * 3, "origin": (4.0,) * 3}]
    table = add_crop(tmp_path, "crop1", {"a": LABELS}, raw=levels)
    fetched = tmp_path / "d.zarr/recon-1/em/crop1/s0/1/1/1"
    content = fetched.read_bytes()
    for file in (tmp_path / "d.zarr/recon-1/em/crop1/s0").rglob("[0-9]"):
        if file.is_file():
            file.unlink()
    key = key_of(table, classes=("a",))
    assert answer(key, tmp_path / "s").crops[0].raw_grid.voxel_size_nm == (16.0, 16.0, 16.0)
    fetched.write_bytes(content)
    assert recognise(key, tmp_path / "s") is None
    assert answer(key, tmp_path / "s").crops[0].raw_grid.voxel_size_nm == (8.0, 8.0, 8.0)


def test_a_folder_beside_the_list_goes_before_one_in_the_working_directory(
    tmp_path: Path, add_crop: AddCrop, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    table = add_crop(here, "crop1", {"a": LABELS})
    (tmp_path / "lists").mkdir()
    key = key_of(Path(shutil.move(table, tmp_path / "lists" / "datasplit.csv")), classes=("a",))
    monkeypatch.chdir(here)
    before = answer(key, tmp_path / "s")
    monkeypatch.chdir(tmp_path)
    assert recognise(key, tmp_path / "s") is None  # from here, the list leads nowhere
    monkeypatch.chdir(here)
    assert recognise(key, tmp_path / "s") is not None
    shutil.copytree(here / "d.zarr", tmp_path / "lists" / "d.zarr", copy_function=shutil.copy2)
    assert recognise(key, tmp_path / "s") is None
    assert answer(key, tmp_path / "s").fingerprint != before.fingerprint


@pytest.mark.parametrize(
    "changes",
    [
        {"classes": ("b", "a")},
        {"classes": ("a",)},
        {"voxel_size_nm": (8.0, 8.0, 8.1)},
        {"reach": replace(REACH, stack_nm=8.0)},
        {"max_upsampling": 2.0},
        {"allow_overlap": True},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_another_key_has_no_answer_yet(root: Path, changes: dict[str, Any]) -> None:
    key = key_of(root / "datasplit.csv")
    answer(key, root / "s")
    other = replace(key, **changes)
    assert recognise(other, root / "s") is None
    store = answer(other, root / "s")
    found = [recognise(q, root / "s") for q in (key, other)]
    assert all(isinstance(one, RecognisedStore) for one in found)  # two experiments may share a folder of stores
    assert found[1] is not None
    assert found[1].store.classes == other.classes == store.classes


def test_other_code_asks_anew(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = key_of(root / "datasplit.csv")
    answer(key, root / "s")
    package = Path(module.__file__).parents[1]
    for name in ("store", "volumes"):
        shutil.copytree(package / name, tmp_path / "package" / name)
    monkeypatch.setattr(module, "__file__", str(tmp_path / "package" / "store" / "recognise.py"))
    module._code_version.cache_clear()
    assert recognise(key, root / "s") is not None
    with (tmp_path / "package" / "volumes" / "crops.py").open("a") as stream:
        stream.write("# another rule\n")
    module._code_version.cache_clear()
    assert recognise(key, root / "s") is None
    monkeypatch.undo()
    module._code_version.cache_clear()


def the_list(folder: Path) -> Path:
    (file,) = folder.glob("known-*")
    return file


def test_no_flipped_byte_of_a_list_gives_another_answer(root: Path) -> None:
    key = key_of(root / "datasplit.csv")
    answer(key, root / "s")
    file = the_list(root / "s")
    good = file.read_bytes()
    rng = np.random.default_rng(0)
    for place in {0, 63, 64, 65, len(good) - 1, *rng.integers(0, len(good), 200).tolist()}:
        damaged = bytearray(good)
        damaged[place] ^= 1 << int(rng.integers(0, 8))
        file.write_bytes(bytes(damaged))
        assert recognise(key, root / "s") is None, f"byte {place}"
    for size in (0, 1, 64, 65, 200, len(good) // 2, len(good) - 1):
        file.write_bytes(good[:size])
        assert recognise(key, root / "s") is None, f"the first {size} bytes"
    file.write_bytes(good)
    assert recognise(key, root / "s") is not None


def test_the_list_of_one_key_is_none_of_another(root: Path) -> None:
    key, other = (key_of(root / "datasplit.csv", classes=c) for c in (("a", "b"), ("b", "a")))
    answer(key, root / "s")
    first = the_list(root / "s")
    answer(other, root / "s")
    (second,) = set((root / "s").glob("known-*")) - {first}
    shutil.copy(first, second)
    assert recognise(other, root / "s") is None


def test_a_store_that_is_gone_or_changed_is_not_known(root: Path) -> None:
    key = key_of(root / "datasplit.csv")
    store = answer(key, root / "s")
    time.sleep(A_TICK_S)
    (store.path / "raw.npy").touch()  # not known to be whole any more
    assert recognise(key, root / "s") is None
    answer(key, root / "s")
    assert recognise(key, root / "s") is not None
    index = json.loads((store.path / "index.json").read_text())
    (store.path / "index.json").write_text(json.dumps(index))
    assert recognise(key, root / "s") is None
    shutil.rmtree(store.path)
    assert recognise(key, root / "s") is None


def test_the_lists_of_a_store_that_is_cleared_go_with_it(root: Path) -> None:
    key, other = (key_of(root / "datasplit.csv", classes=c) for c in (("a", "b"), ("b", "a")))
    cleared, kept = answer(key, root / "s"), answer(other, root / "s")
    assert len(list((root / "s").glob("known-*"))) == 2
    clear_store(cleared.path)
    the_list(root / "s")
    found = recognise(other, root / "s")
    assert found is not None
    assert found.store.path == kept.path


def test_what_was_written_a_moment_ago_is_not_remembered(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SETTLED_NS", 2 * 10**9)
    key = key_of(root / "datasplit.csv")
    answer(key, root / "s")
    assert not list((root / "s").glob("known-*"))


def test_what_changed_while_the_store_was_built_is_noticed(root: Path) -> None:
    key = key_of(root / "datasplit.csv")
    request = request_for(key)
    sources = Sources.of(request)
    time.sleep(A_TICK_S)
    os.utime(group(root, "crop2") / "a/s0/0/0/0")
    store = open_or_build(request, root / "s", workers=1)
    assert find_damage(store) == []
    remember(key, sources, store, ())
    assert recognise(key, root / "s") is None


def test_beside_stores_that_may_only_be_read_nothing_is_written(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = key_of(root / "datasplit.csv")
    request = request_for(key)
    sources = Sources.of(request)
    store = open_or_build(request, root / "s", workers=1)
    before = sorted((root / "s").iterdir())
    monkeypatch.setattr(os, "access", lambda *_: False)
    remember(key, sources, store, ())
    assert sorted((root / "s").iterdir()) == before
