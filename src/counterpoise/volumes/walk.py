"""Every folder below a place once, links followed: what ``init --data`` searches."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from counterpoise.text import counted

__all__ = ["walk_folders"]

_SYSTEM = frozenset({"/proc", "/sys", "/dev", "/run"})
"""What a kernel shows as files. No data lie there, and links in it lead everywhere."""

_MOST_NAMED = 3


def walk_folders(
    root: Path,
    *,
    enter: Callable[[Path, Collection[str]], bool],
    on_folder: Callable[[], object] = lambda: None,
    on_note: Callable[[str], object] = lambda _: None,
) -> Iterator[Path]:
    """Walk over the folders below a place, top down, in the order of their names.

    Links are followed, and a folder that several of them lead to is visited once. Hidden folders, the system's own
    ones, and other disks that are mounted below the place are left out; a link to another disk is followed.

    Parameters
    ----------
    root : Path
        Existing folder.
    enter : callable
        Given a folder and the names in it, says whether those below are visited.
    on_folder : callable
        Called at each folder.
    on_note : callable
        Told what could not be read, and which disks were left out.
    """
    seen = {(status.st_dev, status.st_ino) for status in map(os.stat, filter(os.path.isdir, _SYSTEM))}
    unreadable: list[str] = []
    mounted: list[str] = []
    left = [(str(root), False)]
    disks: dict[str, int] = {}
    while left:
        folder, is_link = left.pop()
        try:
            status = os.stat(folder)  # noqa: PTH116 - a home folder has a hundred thousand of them
            disk = disks.pop(folder, status.st_dev)
            if (status.st_dev, status.st_ino) in seen:
                continue
            if status.st_dev != disk and not is_link:
                mounted.append(folder)
                continue
            with os.scandir(folder) as found:
                entries = list(found)
        except OSError:
            unreadable.append(folder)
            continue
        seen.add((status.st_dev, status.st_ino))
        on_folder()
        yield Path(folder)
        if not enter(Path(folder), {entry.name for entry in entries}):
            continue
        for entry in sorted(entries, key=lambda entry: entry.name, reverse=True):
            if not entry.name.startswith(".") and _is_folder(entry):
                disks[entry.path] = status.st_dev
                left.append((entry.path, entry.is_symlink()))
    if unreadable:
        on_note(f"{counted(len(unreadable), 'folder')} cannot be read: {_some(unreadable)}")
    if mounted:
        on_note(f"not searched, because they are other disks: {_some(mounted)}; name one with --data, or a link to it")


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself
        return False


def _some(names: list[str]) -> str:
    return ", ".join(names[:_MOST_NAMED]) + (", ..." if names[_MOST_NAMED:] else "")
