"""Recognise a store without opening a crop, by the state of every file it was made from.

Opening a thousand crops takes seconds, only to find the fingerprint of a store that exists. So a list is kept next to
the stores, one per key: all files and folders that the store depends on, and one hash over their states (size, times
and identity, or that they do not exist). As long as each is in that state, the key leads to the same store. Writing to
a file changes its state, even if it sets the file's times back.

A list that is torn, or that is wrong in any way, does not have its hash: the crops are opened then. What was written to
shortly before it was looked at is not listed, because it could be written to again within one tick of its clock.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path

from counterpoise.arrays import Vector3
from counterpoise.files.concurrent import map_concurrently
from counterpoise.notes import Note
from counterpoise.store.build import StoreRequest, open_if_same
from counterpoise.store.files import writing
from counterpoise.store.fingerprint import sources_of
from counterpoise.store.store import VoxelStore
from counterpoise.store.verification import SETTLED_NS, was_verified
from counterpoise.volumes.encoding import StatedValues
from counterpoise.volumes.placement import PatchReach

__all__ = ["RecognisedStore", "Sources", "StoreKey", "forget", "recognise", "remember"]

_PREFIX = "known-"

_AT_ONCE = 32
"""Files whose states are asked for in one go, which is short even if each takes a millisecond."""

_STATE = struct.Struct("=QqqQ")
"""Size, time of the last write, time of the last change, and inode of a file or folder."""

_NOT_THERE = bytes(_STATE.size)
"""No file has inode 0."""


@dataclass(frozen=True)
class StoreKey:
    """What decides which store an experiment gets, but for the state of the files.

    Parameters
    ----------
    datasplit : Path
        The list of crops.
    classes : tuple of str
        Classes, in the order of their bits.
    voxel_size_nm : (z, y, x)
        Voxel size to train at.
    reach : PatchReach
        The patches that will be cut.
    max_upsampling : float
        How many times coarser than requested a level may be.
    raw_window : (int, int) or None
        Stored values that become 0 and 255 where raw has more than 8 bits.
    allow_overlap : bool
        Whether train and validation crops may share voxels: crops that do are refused before a store is made of them.
    root : Path, optional
        Where the data are, for a list from another machine.
    values : mapping
        What the user says about the stored values of classes.
    """

    datasplit: Path
    classes: tuple[str, ...]
    voxel_size_nm: Vector3
    reach: PatchReach
    max_upsampling: float
    raw_window: tuple[int, int] | None
    allow_overlap: bool
    root: Path | None = None
    values: Mapping[str, StatedValues] = field(default_factory=dict)

    def digest(self) -> str:
        """Hash the key.

        Paths in a list of crops may start at the working directory, so that is a part of it, and so is the code: other
        rules may lead to another store.
        """
        plain = asdict(self) | {"datasplit": str(self.datasplit.resolve()), "root": str(self.root)}
        content = json.dumps([_code_version(), str(Path.cwd()), plain], sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()


@dataclass(frozen=True)
class RecognisedStore:
    """A store, and what was noted about its crops when they were last opened."""

    store: VoxelStore
    notes: tuple[Note, ...]


@dataclass(frozen=True)
class Sources:
    """The files and folders that a store is made from, there or not, and the states of all of them."""

    files: tuple[bytes, ...]
    states: bytes
    opened_ns: int

    @classmethod
    def of(cls, request: StoreRequest) -> Sources:
        """Look at the sources of opened crops.

        To be called before the store is opened or built: what changes afterwards then has another state than here.
        """
        files = tuple(os.fsencode(file) for file in sources_of(request.crop_set, request.fit()))
        return cls(files, _states(files), request.crop_set.opened_ns)

    @property
    def are_settled(self) -> bool:
        """Return whether nothing was written from shortly before the crops were opened on."""
        newest: int = max(max(written, changed) for _, written, changed, _ in _STATE.iter_unpack(self.states))
        return newest < self.opened_ns - SETTLED_NS


def recognise(key: StoreKey, folder: Path) -> RecognisedStore | None:
    """Find the store that a key led to before, if its sources are as they were.

    Parameters
    ----------
    key : StoreKey
        What decides which store it is.
    folder : Path
        Where stores are kept.

    Returns
    -------
    RecognisedStore or None
        None if the key is new, a file the store depends on has changed, or the store does not exist or was not
        verified since it changed: then its crops must be opened.
    """
    try:
        content = _list_of(key, folder).read_bytes()
        digest, header, *files = content.split(b"\0")
        if digest != _digest(key, header, files, _states(files)):
            return None
        entry = json.loads(header)
    except (OSError, ValueError):  # no list, or one that is torn
        return None
    store = open_if_same(folder / entry["fingerprint"][:16], entry["fingerprint"])
    if store is None or not was_verified(store):
        return None
    return RecognisedStore(store, tuple(map(Note.of_plain, entry["notes"])))


def remember(key: StoreKey, sources: Sources, store: VoxelStore, notes: Sequence[Note]) -> None:
    """Write down that a key leads to a store, as long as its sources are as they were.

    Nothing is written for sources that have just been written to, or into a folder that may only be read: the crops
    are then opened the next time, too.

    Parameters
    ----------
    key : StoreKey
        What decides which store it is.
    sources : Sources
        Looked at before the store was opened or built.
    store : VoxelStore
        The store.
    notes : sequence of Note
        What to know about the crops, in addition to the notes of the store.

    Raises
    ------
    StoreError
        If the list cannot be written.
    """
    folder = store.path.parent
    if not sources.are_settled or not os.access(folder, os.W_OK):
        return
    header = json.dumps({"fingerprint": store.fingerprint, "notes": [note.plain() for note in notes]}).encode()
    digest = _digest(key, header, sources.files, sources.states)
    with writing(folder):
        _list_of(key, folder).write_bytes(b"\0".join([digest, header, *sources.files]))


def forget(path: Path) -> None:
    """Delete the lists that lead to a store which is gone.

    Parameters
    ----------
    path : Path
        The folder that the store was in.
    """
    for file in path.parent.glob(f"{_PREFIX}*"):
        with file.open("rb") as stream:
            start = stream.read(256)
        if f'"fingerprint": "{path.name}'.encode() in start:
            file.unlink()


def _list_of(key: StoreKey, folder: Path) -> Path:
    return folder / f"{_PREFIX}{key.digest()[:16]}"


@cache
def _code_version() -> str:
    """Hash the code that lists, opens and fits crops, and decides what a store holds: no number to forget to raise."""
    digest = hashlib.sha256()
    here = Path(__file__).parent
    for file in sorted([*here.glob("*.py"), *(here.parent / "volumes").glob("*.py")]):
        digest.update(file.read_bytes())
    return digest.hexdigest()


def _digest(key: StoreKey, header: bytes, files: Sequence[bytes], states: bytes) -> bytes:
    content = b"\0".join([key.digest().encode(), header, *files, states])
    return hashlib.sha256(content).hexdigest().encode()


def _states(files: Sequence[bytes]) -> bytes:
    parts = [files[start : start + _AT_ONCE] for start in range(0, len(files), _AT_ONCE)]
    return b"".join(map_concurrently(_states_of_some, parts))


def _states_of_some(files: Sequence[bytes]) -> bytes:
    states = []
    for file in files:
        try:
            found = os.stat(file)  # noqa: PTH116 - a thousand crops have 50 000 of them
        except OSError:
            states.append(_NOT_THERE)
        else:
            states.append(_STATE.pack(found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino))
    return b"".join(states)
