from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from counterpoise.cli.app import app
from counterpoise.errors import CounterpoiseError, RunFolderError, StoreError
from counterpoise.files.lock import Purpose, only_one_process
from counterpoise.store import StoreRequest, VoxelStore, open_or_build
from counterpoise.volumes.crops import load_crops
from counterpoise.volumes.placement import PatchReach

AddCrop = Callable[..., Path]
LABELS = np.array([0, 1, 1, 255], np.uint8).repeat(6).reshape(4, 2, 3)  # 12 present, 6 absent, 6 unknown


@pytest.fixture
def store(tmp_path: Path, add_crop: AddCrop) -> VoxelStore:
    add_crop(tmp_path, "crop1", {"er": LABELS, "pm": LABELS})
    table = add_crop(tmp_path, "crop2", {"pm": (LABELS > 0).astype(np.uint8)}, split="validate")
    reach = PatchReach((16.0, 24.0), stack_nm=8.0, rotation_degrees=0.0, transpose=False)
    request = StoreRequest(load_crops(table, ("pm", "er")), (8.0, 8.0, 8.0), reach, 4.0)
    return open_or_build(request, tmp_path / "s", workers=1)


def call(*arguments: str, answer: str | None = None) -> tuple[int, str]:
    """Run a command; an error of ours is raised, as `main` gets it."""
    result = CliRunner().invoke(app, ["store", *arguments], input=answer)
    if isinstance(result.exception, CounterpoiseError):
        raise result.exception
    return result.exit_code, result.output


def flip(store: VoxelStore, name: str, place: int) -> None:
    content = bytearray((store.path / name).read_bytes())
    content[place] ^= 1
    (store.path / name).write_bytes(bytes(content))


def test_info_says_what_a_store_holds(store: VoxelStore, tmp_path: Path) -> None:
    code, shown = call("info", str(store.path))
    assert code == 0
    assert f"made from  {tmp_path / 'datasplit.csv'}" in shown
    assert "8 x 8 x 8 nm voxels" in shown
    assert "1 train and 1 validation crop" in shown
    rows = {line.split()[0]: line.split()[1:] for line in shown.splitlines() if line.startswith(("pm", "er"))}
    assert rows == {"pm": ["12", "18", "1", "18", "24", "1"], "er": ["12", "18", "1", "0", "0", "0"]}


def test_info_as_json_is_complete(store: VoxelStore, tmp_path: Path) -> None:
    code, shown = call("info", str(tmp_path / "s"), "--json")
    (document,) = json.loads(shown)
    assert code == 0
    assert document["state"] == "finished"
    assert document["fingerprint"] == store.fingerprint
    assert document["made_from"] == str(tmp_path / "datasplit.csv")
    assert document["classes"]["pm"]["validate"] == {"present": 18, "known": 24, "crops": 1}
    assert document["label_voxels"] == 48
    assert document["raw_voxels"] == store.raw.size
    assert document["bits_per_label_voxel"] == 16
    on_disk = sum(file.stat().st_blocks * 512 for file in store.path.iterdir())
    assert document["bytes"]["total"] == on_disk > 0


def test_info_lists_unfinished_and_damaged_stores(store: VoxelStore, tmp_path: Path) -> None:
    building = tmp_path / "s" / f"{'0' * 16}.building"
    (building / "crops").mkdir(parents=True)
    (building / "raw.npy").write_bytes(b"x")
    (store.path / "index.json").write_text("{")
    _, shown = call("info", str(tmp_path / "s"), "--json")
    assert [(Path(d["path"]).name, d["state"]) for d in json.loads(shown)] == [
        (building.name, "unfinished"),
        (store.path.name, "damaged"),
    ]
    assert call("verify", str(building))[0] == 0
    assert call("verify", str(tmp_path / "s"))[0] == 1


def test_verify_names_the_damaged_crop(store: VoxelStore) -> None:
    code, shown = call("verify", str(store.path))
    assert (code, "2 crops whole" in shown) == (0, True)
    flip(store, "raw.npy", -1)
    code, shown = call("verify", str(store.path))
    assert code == 1
    assert "1 of 2 crops damaged: d/crop2" in shown


def test_clear_deletes_the_store_and_nothing_else(store: VoxelStore, tmp_path: Path) -> None:
    path, others = store.path, sorted(tmp_path.iterdir())
    code, shown = call("clear", str(path), "--yes")
    assert code == 0
    assert "freed" in shown
    assert not path.exists()
    assert sorted(tmp_path.iterdir()) == others


def test_clear_asks_nobody_where_nobody_is(store: VoxelStore) -> None:
    with pytest.raises(StoreError, match="without confirmation") as caught:
        call("clear", str(store.path))
    assert "--yes" in caught.value.remedy
    assert store.path.exists()


@pytest.mark.parametrize(("answer", "is_gone"), [("y\n", True), ("n\n", False)])
def test_clear_asks_on_a_terminal(
    store: VoxelStore, monkeypatch: pytest.MonkeyPatch, answer: str, *, is_gone: bool
) -> None:
    class Terminal:
        @staticmethod
        def isatty() -> bool:
            return True

    monkeypatch.setattr("counterpoise.cli.store.sys.stdin", Terminal())
    monkeypatch.setattr("typer.confirm", lambda _: answer == "y\n")
    from counterpoise.cli.store import clear

    with nullcontext() if is_gone else pytest.raises(typer.Exit):
        clear(store.path, yes=False)
    assert store.path.exists() is not is_gone


def make_other_things(root: Path, store: VoxelStore) -> dict[str, Path]:
    """Make folders that are no stores, some of them nearly."""
    empty, notes, alike, link = (root / name for name in ("empty", "notes", "alike", "link"))
    for folder in (empty, notes, alike):
        folder.mkdir()
    (notes / "index.json").write_text('{"version": 1}')
    (alike / "raw.npy").write_bytes((store.path / "raw.npy").read_bytes())
    (store.path / "thesis.tex").write_text("years of work")
    link.symlink_to(root)
    return {"empty": empty, "notes": notes, "alike": alike, "extra": store.path, "data": root / "d.zarr", "link": link}


@pytest.mark.parametrize("kind", ["empty", "notes", "alike", "extra", "data", "link", "file", "missing"])
def test_clear_refuses_what_is_no_store(store: VoxelStore, tmp_path: Path, kind: str) -> None:
    places = make_other_things(tmp_path, store)
    places |= {"file": tmp_path / "datasplit.csv", "missing": tmp_path / "none"}
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(StoreError, match="no voxel store at"):
        call("clear", str(places[kind]), "--yes")
    assert sorted(tmp_path.rglob("*")) == before


def test_clear_wants_one_store_not_a_folder_of_them(store: VoxelStore, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="folder of stores") as caught:
        call("clear", str(tmp_path / "s"), "--yes")
    assert store.path.name in caught.value.found
    assert store.path.exists()


def test_clear_waits_for_no_builder(store: VoxelStore) -> None:
    with (
        only_one_process(store.path.parent, Purpose.BUILD_STORE),
        pytest.raises(RunFolderError, match="builds a voxel store"),
    ):
        call("clear", str(store.path), "--yes")
    assert store.path.exists()


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="users are found through /proc")
def test_clear_refuses_a_store_that_another_process_has_open(store: VoxelStore) -> None:
    program = "import sys, numpy; a = numpy.load(sys.argv[1], mmap_mode='r'); print('open', flush=True); input()"
    holder = subprocess.Popen(
        [sys.executable, "-c", program, str(store.path / "raw.npy")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ,
        text=True,
    )
    assert holder.stdout is not None
    try:
        assert holder.stdout.readline() == "open\n"
        with pytest.raises(StoreError, match="is in use") as caught:
            call("clear", str(store.path), "--yes")
        assert f"process {holder.pid}" in caught.value.found
        assert store.path.exists()
    finally:
        holder.communicate("\n")
    assert call("clear", str(store.path), "--yes")[0] == 0
    assert not store.path.exists()
