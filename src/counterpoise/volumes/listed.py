"""The crops of a list as if they had been found below a folder: what ``data split`` divides anew."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

from counterpoise.errors import DatasplitError
from counterpoise.files.concurrent import map_concurrently
from counterpoise.notes import Note
from counterpoise.volumes.datasplit import CropRow, read_datasplit
from counterpoise.volumes.formats import dataset_suffixes, is_stored, open_volume
from counterpoise.volumes.identity import store_of
from counterpoise.volumes.volume import FoundCrop

__all__ = ["find_listed_crops"]


def find_listed_crops(
    datasplit: Path, *, root: Path | None = None, on_note: Callable[[Note], object] = lambda _: None
) -> list[FoundCrop]:
    """Open the crops of a list, each once, whatever split the list has it in.

    Parameters
    ----------
    datasplit : Path
        The csv file.
    root : Path, optional
        Where the data are on this machine, as for :func:`~counterpoise.volumes.datasplit.read_datasplit`.
    on_note : callable
        Told of lines that say the same.

    Returns
    -------
    list of FoundCrop
        In the order of the list, with the classes that are listed.

    Raises
    ------
    DatasplitError, LayoutError
        If the list or a group in it cannot be read, or a list that is written could not say the same.
    """
    rows: dict[tuple[Path, Path], CropRow] = {}
    listed: dict[tuple[Path, Path], dict[str, None]] = {}
    for row in read_datasplit(datasplit, root=root, allow_overlap=True, on_note=on_note):
        if row.suffix:
            raise DatasplitError(
                f"line {row.line} of {datasplit} cannot be written into another list",
                expected="nothing after the class list",
                found=f"/{row.suffix}",
                remedy="change the first column of the list by hand",
            )
        key = (row.raw_path, row.label_path)
        rows.setdefault(key, row)
        listed.setdefault(key, {}).update(dict.fromkeys(row.classes))
    return map_concurrently(partial(_open, datasplit), [(row, tuple(listed[key])) for key, row in rows.items()])


def _open(datasplit: Path, listed: tuple[CropRow, tuple[str, ...]]) -> FoundCrop:
    row, classes = listed
    stored = next((path for path in map(row.class_path, classes) if is_stored(path)), None)
    if stored is None:
        raise DatasplitError(
            f"line {row.line} of {datasplit}: no class has a group below {row.label_path}",
            expected="the labels of at least one listed class",
            found=", ".join(classes) + ", none of them there",
            remedy="fetch the labels, or leave the line out",
        )
    raw, labels = row.written
    store = Path(store_of(raw, labels, dataset_suffixes()))
    if not raw.is_relative_to(store):  # raw and labels have stores of their own
        store = Path(os.path.commonpath([raw, labels]))
    box = open_volume(stored).levels[0].grid.box
    return FoundCrop(store, str(raw.relative_to(store)), str(labels.relative_to(store)), classes, box)
