"""Manage the stores on disk: find, describe and delete them."""

from __future__ import annotations

import json
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from counterpoise.errors import StoreError
from counterpoise.files.lock import LOCK_NAME, Purpose, only_one_process
from counterpoise.store.build import BUILDING
from counterpoise.store.files import writing
from counterpoise.store.recognise import forget
from counterpoise.store.store import ARRAYS, VoxelStore
from counterpoise.store.verification import STAMP, was_verified

__all__ = ["StoreFolder", "clear_store", "describe_store", "find_stores", "require_store", "using_processes"]

_FILES = frozenset({"index.json", STAMP, *(f"{name}.npy" for name in ARRAYS)})


@dataclass(frozen=True)
class StoreFolder:
    """A folder that holds nothing but a store, finished or not, whole or damaged."""

    path: Path

    @property
    def is_finished(self) -> bool:
        """Return whether the store was built to its end."""
        return not self.path.name.endswith(BUILDING)

    def size_bytes(self) -> int:
        """Return the space its files take on disk."""
        return sum(file.stat().st_blocks * 512 for file in self.path.rglob("*") if file.is_file())


def find_stores(path: Path) -> tuple[StoreFolder, ...]:
    """Find the store at a path, or those in a folder of stores.

    Parameters
    ----------
    path : Path
        A store, or what ``data.store`` names in an experiment.

    Returns
    -------
    tuple of StoreFolder
        In the order of their names; unfinished ones too.

    Raises
    ------
    StoreError
        If there is no store.
    """
    path = path.resolve()
    if _is_store(path):
        return (StoreFolder(path),)
    inside = sorted(p for p in path.iterdir() if _is_store(p)) if path.is_dir() else []
    if not inside:
        raise StoreError(
            f"there is no voxel store at {path}",
            expected="a store, or the folder that data.store names in an experiment",
            found=_what_is_at(path),
            remedy="check the path; data.store in the experiment says where its stores are",
        )
    return tuple(StoreFolder(p) for p in inside)


def require_store(path: Path) -> StoreFolder:
    """Return the one store at a path.

    Raises
    ------
    StoreError
        If it is no store, or a folder of stores (whose names are listed).
    """
    stores = find_stores(path)
    if stores[0].path != path.resolve():
        raise StoreError(
            f"{path} is a folder of stores, not a store",
            expected="one store",
            found=f"{len(stores)} in it: " + ", ".join(store.path.name for store in stores),
            remedy=f"name one: {path / stores[0].path.name}",
        )
    return stores[0]


def describe_store(store: VoxelStore) -> dict[str, Any]:
    """Collect what a store holds and what it was made from, as plain values.

    Returns
    -------
    dict
        ``present`` and ``known`` are voxels at the finest listed level, per class and split; ``bytes`` the space that
        each array takes; ``verified`` whether the files are in the state in which their contents were last found whole.
    """
    table = store.frequencies()
    files = {file.name: file.stat().st_blocks * 512 for file in sorted(store.path.iterdir()) if file.name in _FILES}
    return {
        "path": str(store.path),
        "fingerprint": store.fingerprint,
        "made_from": store.source or None,
        "voxel_size_nm": list(store.voxel_size_nm),
        "classes": {
            name: {
                split: {
                    "present": table.total(name, split).present,
                    "known": table.total(name, split).known,
                    "crops": len(table.counts(name, split)),
                }
                for split in ("train", "validate")
            }
            for name in store.classes
        },
        "crops": {split: len(store.of(split)) for split in ("train", "validate")},
        "raw_voxels": int(store.raw.size),
        "label_voxels": int(store.present.size),
        "bits_per_label_voxel": 8 * store.present.dtype.itemsize * (2 if store.unknown.size else 1),
        "bytes": {"total": sum(files.values()), **files},
        "verified": was_verified(store),
        "notes": list(map(str, store.notes)),
    }


def clear_store(path: Path) -> int:
    """Delete a store, and only a store.

    Parameters
    ----------
    path : Path
        The store; one whose build was interrupted ends in ``.building``.

    Returns
    -------
    int
        Bytes freed.

    Raises
    ------
    StoreError
        If there is something else at the path, or a process has the store open.
    RunFolderError
        If a process builds a store in the same folder.
    """
    store = require_store(path)
    with writing(store.path):
        locked = (store.path.parent / LOCK_NAME).exists()
    if locked:
        with only_one_process(store.path.parent, Purpose.BUILD_STORE):
            return _delete(store)
    return _delete(store)


def _delete(store: StoreFolder) -> int:
    users = using_processes(store.path)
    if users:
        raise StoreError(
            f"the voxel store at {store.path} is in use",
            expected="no process that has it open",
            found=", ".join(f"process {number}" for number in users),
            remedy="wait until the run that uses it has ended, or stop it",
        )
    freed = store.size_bytes()
    with writing(store.path):
        shutil.rmtree(store.path)
        forget(store.path)
    return freed


def using_processes(path: Path) -> list[int]:
    """Find processes on this machine that have files of a folder mapped or open, as far as we may see.

    Processes of other users, on other machines, and on systems without ``/proc`` stay unseen.
    """
    found = []
    inside = f"{path}{os.sep}"
    for process in Path("/proc").glob("[0-9]*"):
        try:
            maps = (process / "maps").read_text(encoding="utf-8", errors="replace")
        except OSError:  # it has just ended, or is another user's
            continue
        if inside in maps and int(process.name) != os.getpid():
            found.append(int(process.name))
    return sorted(found)


def _is_store(path: Path) -> bool:
    """Tell a store by its files, of which it has no others, and by its name or its index."""
    if not path.is_dir() or path.is_symlink():
        return False
    names = {entry.name for entry in path.iterdir()}
    stem = path.name.removesuffix(BUILDING)
    if stem != path.name:
        names.discard("crops")
    if not names or not names <= _FILES:
        return False
    return re.fullmatch("[0-9a-f]{16}", stem) is not None or _has_index(path)


def _has_index(path: Path) -> bool:
    try:
        index = json.loads((path / "index.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(index, dict) and {"version", "fingerprint", "crops"} <= index.keys()


def _what_is_at(path: Path) -> str:
    if not path.exists():
        return "nothing"
    if not path.is_dir():
        return "a file"
    names = sorted(entry.name for entry in path.iterdir())
    return "an empty folder" if not names else "a folder with " + ", ".join(names[:5]) + (", ..." if names[5:] else "")
