from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from counterpoise.store import StoreRequest, VoxelStore, open_or_build, open_store
from counterpoise.store import verification as module
from counterpoise.store.verification import STAMP, find_damage, was_verified
from counterpoise.volumes.crops import load_crops
from counterpoise.volumes.placement import PatchReach

AddCrop = Callable[..., Path]
LABELS = np.random.default_rng(0).choice(np.array([0, 1, 255], np.uint8), (5, 6, 7))
AGES_NS = -10 * 10**9


def request(table: Path) -> StoreRequest:
    reach = PatchReach((8.0, 8.0), stack_nm=0.0, rotation_degrees=0.0, transpose=False)
    return StoreRequest(load_crops(table, ("a",)), (8.0, 8.0, 8.0), reach, 4.0)


@pytest.fixture
def table(tmp_path: Path, add_crop: AddCrop) -> Path:
    add_crop(tmp_path, "crop1", {"a": LABELS})
    return add_crop(tmp_path, "crop2", {"a": LABELS[:3]})


@pytest.fixture
def store(tmp_path: Path, table: Path) -> VoxelStore:
    return open_or_build(request(table), tmp_path / "s", workers=1)


def settle(store: VoxelStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Verify a store as if its files had been written long ago: their change times cannot be set back."""
    monkeypatch.setattr(module, "SETTLED_NS", AGES_NS)
    assert find_damage(store) == []
    assert was_verified(store)


def test_a_store_is_not_trusted_before_it_was_read(store: VoxelStore) -> None:
    assert not was_verified(store)


def test_a_store_written_a_moment_ago_is_not_trusted(store: VoxelStore) -> None:
    assert find_damage(store) == []
    assert not was_verified(store)  # it could have been written to again within one tick of the file system's clock


def test_a_verified_store_is_opened_without_reading_it(
    tmp_path: Path, table: Path, store: VoxelStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    settle(store, monkeypatch)
    monkeypatch.setattr(VoxelStore, "is_damaged", None)
    assert open_or_build(request(table), tmp_path / "s", workers=1).crops == store.crops


@pytest.mark.parametrize("name", ["raw.npy", "present.npy", "unknown.npy", "index.json"])
def test_a_file_that_was_written_to_is_read_again(
    store: VoxelStore, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    settle(store, monkeypatch)
    file = store.path / name
    before = file.stat()
    file.write_bytes(file.read_bytes())
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))  # the change time still tells
    assert not was_verified(store)


@pytest.mark.parametrize("content", ["", "{", "[]", "null", "{}", "7"])
def test_a_stamp_of_another_form_is_no_stamp(store: VoxelStore, monkeypatch: pytest.MonkeyPatch, content: str) -> None:
    settle(store, monkeypatch)
    (store.path / STAMP).write_text(content)
    assert not was_verified(store)


def test_a_damaged_store_gets_no_stamp(store: VoxelStore) -> None:
    content = bytearray((store.path / "present.npy").read_bytes())
    content[-1] ^= 1  # of the second crop
    (store.path / "present.npy").write_bytes(bytes(content))
    seen: list[int] = []
    assert find_damage(open_store(store.path), workers=2, on_crops=seen.append) == ["d/crop2"]
    assert seen == [1, 1]
    assert not (store.path / STAMP).exists()


def test_damage_that_changed_no_state_takes_the_stamp_away(store: VoxelStore, monkeypatch: pytest.MonkeyPatch) -> None:
    settle(store, monkeypatch)
    monkeypatch.setattr(VoxelStore, "is_damaged", lambda *_: True)  # as if the disk had lost bits
    assert find_damage(store) == ["d/crop1", "d/crop2"]
    assert not was_verified(store)
