"""Compare a store's contents with its checksums, and remember that this was done.

Reading a whole store takes seconds to minutes. A stamp next to it says in which state (size, times, identity of every
file) its contents were found whole; as long as the files are in that state, a start need not read them again. Writing
to a file changes its state. What changes no state (a disk that loses bits), ``store verify`` finds.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from counterpoise.store.files import sync, writing
from counterpoise.store.store import VoxelStore

__all__ = ["SETTLED_NS", "STAMP", "find_damage", "was_verified"]

STAMP = "verified.json"
SETTLED_NS = 2_000_000_000
"""A file written to within this time before the stamp could have been written again in the same tick of its clock."""


def find_damage(
    store: VoxelStore, *, workers: int = 1, on_crops: Callable[[int], object] = lambda _: None
) -> list[str]:
    """Read a store in full and name the crops that differ from their checksums; stamp it if there is none.

    A stamp that says otherwise is taken away.

    Parameters
    ----------
    store : VoxelStore
        Opened, so that its index is whole.
    workers : int
        Crops read at the same time.
    on_crops : callable
        Told how many crops were just read.

    Raises
    ------
    StoreError
        If the stamp cannot be written.
    """
    state = _state(store.path)
    with ThreadPoolExecutor(max_workers=max(workers, 1)) as pool:
        names = []
        for crop, is_damaged in zip(store.crops, pool.map(store.is_damaged, store.crops), strict=True):
            on_crops(1)
            if is_damaged:
                names.append(crop.crop_id)
    if names:
        with writing(store.path):
            (store.path / STAMP).unlink(missing_ok=True)
    elif os.access(store.path, os.W_OK):  # a store that may only be read is read in full every time
        with writing(store.path):
            for file in state:
                sync(store.path / file)  # what a crash of the machine could still take back was not found whole
            (store.path / STAMP).write_text(json.dumps(state, indent=1), encoding="utf-8")
    return names


def was_verified(store: VoxelStore) -> bool:
    """Tell whether the files are in the state in which their contents were last found whole."""
    stamp = store.path / STAMP
    try:
        stamped = json.loads(stamp.read_text(encoding="utf-8"))
        stamped_at = stamp.stat().st_mtime_ns
    except (OSError, ValueError):  # none, or torn: read the store again
        return False
    state = _state(store.path)
    settled = all(stamped_at - entry["changed_ns"] > SETTLED_NS for entry in state.values())
    return settled and stamped == state


def _state(path: Path) -> dict[str, dict[str, int]]:
    state = {}
    for file in sorted([*path.glob("*.npy"), path / "index.json"]):
        status = file.stat()
        state[file.name] = {
            "bytes": status.st_size,
            "changed_ns": status.st_ctime_ns,
            "written_ns": status.st_mtime_ns,
            "inode": status.st_ino,
        }
    return state
