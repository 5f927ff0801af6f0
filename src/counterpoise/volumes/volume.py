"""What the rest of the package needs of an array in space, whatever format it is stored in.

A format is one module that reads its files into a :class:`Volume`, and one line in
:mod:`counterpoise.volumes.formats`. Nothing else knows how voxels are stored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from counterpoise.volumes.geometry import Box, Grid, IndexBox, Shape3

__all__ = ["CropLayout", "Format", "FoundCrop", "Level", "Search", "Volume"]


class Level(Protocol):
    """One resolution of a volume: an array of integers in space, stored in chunks of equal shape."""

    @property
    def name(self) -> str:
        """Its name within the volume, for messages."""

    @property
    def path(self) -> Path:
        """Where it is stored; no two levels have the same path."""

    @property
    def grid(self) -> Grid:
        """Its voxels in space."""

    @property
    def chunks(self) -> Shape3:
        """Voxels of a chunk (z, y, x); those at the end of the array may be cut off by it."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the stored voxels."""

    @property
    def fill_value(self) -> int:
        """Value of voxels whose chunk does not exist."""

    def decoded_chunks(
        self, block: IndexBox, *, as_stored: bool = False
    ) -> Iterator[tuple[IndexBox, np.ndarray | None]]:
        """Decode the chunks that a block touches, one after the other, each of them whole.

        Parameters
        ----------
        block : IndexBox
            Voxels inside the array.
        as_stored : bool
            Chunks at the end of the array have the full shape, whatever lies beyond the array: such an array has no
            gaps between its rows.

        Yields
        ------
        box : IndexBox
            Voxels of the chunk, cut to the array.
        voxels : array, shape ``box.shape`` (``chunks`` if ``as_stored``), or None
            To be read before the next chunk is asked for, which may take its memory; None where the chunk does not
            exist, so that every voxel has the fill value.

        Raises
        ------
        DamagedChunkError
            If a chunk cannot be decoded; the error names its file.
        """

    def chunk_paths(self, block: IndexBox) -> Iterator[tuple[IndexBox, str]]:
        """Walk over the chunks that a block touches: the voxels of each (cut to the array), and its file.

        A chunk whose file does not exist has not been fetched. Size and time of every file are part of the store's
        fingerprint.
        """

    def whole(self) -> IndexBox:
        """Return the block of all voxels."""

    def description(self) -> bytes:
        """Return what decides, next to the files of the chunks, which voxels are read: part of the fingerprint."""


class Volume(Protocol):
    """An array in space at one or more resolutions."""

    @property
    def path(self) -> Path:
        """Where it is stored. Crops whose raw volumes have the same path lie in the same space."""

    @property
    def levels(self) -> Sequence[Level]:
        """Its levels, the first is the finest; at least one."""

    @property
    def notes(self) -> Sequence[str]:
        """What is odd about it and was dealt with, each a sentence without its full stop that names no path."""

    def unknown_codes(self, class_name: str) -> Sequence[int | None]:
        """Say for every level which stored value means "not annotated here"; None where no voxel is unknown.

        Asked of the labels of a class only.
        """

    def metadata_files(self) -> Sequence[str]:
        """Name the files that opening it depended on, whether they exist or not."""


@dataclass(frozen=True)
class FoundCrop:
    """A crop on disk: the dataset's store, raw and label group in it, the crop's classes and its place.

    ``label_store`` is named only if the labels are in another store than the raw.
    """

    store: Path
    raw: str
    labels: str
    classes: tuple[str, ...]
    box: Box
    label_store: Path | None = None


@dataclass(frozen=True)
class Search:
    """Where to search for crops, and whom to tell.

    Parameters
    ----------
    root : Path
        Existing folder.
    wanted : frozenset of str
        Classes that were asked for by name: they are taken for classes even if they look like something else.
    on_folder : callable
        Called at each folder.
    on_note : callable
        Told what was left out, and why.
    """

    root: Path
    wanted: frozenset[str] = frozenset()
    on_folder: Callable[[], object] = lambda: None
    on_note: Callable[[str], object] = lambda _: None


@dataclass(frozen=True)
class CropLayout:
    """Where a format's crops lie below a folder, for ``init --data``.

    Parameters
    ----------
    find : callable
        Returns every crop that a search finds.
    expected, missing : str
        For the error message where there is none: the layout, and what is not there.
    """

    find: Callable[[Search], Iterable[FoundCrop]]
    expected: str
    missing: str


@dataclass(frozen=True)
class Format:
    """One input format.

    Parameters
    ----------
    name : str
        For messages.
    holds : callable
        Whether a volume, or a crop with one volume per class, of this format may be stored at a path. Asked of every
        path of a list of crops, so it should look at names and existence only.
    open : callable
        Reads the metadata of a volume.
    suffixes : tuple of str
        Endings of the folder or file that holds a whole dataset: crops are named after it.
    layout : CropLayout, optional
        How ``init --data`` finds crops of this format.
    """

    name: str
    holds: Callable[[Path], bool]
    open: Callable[[Path], Volume]
    suffixes: tuple[str, ...] = ()
    layout: CropLayout | None = None
