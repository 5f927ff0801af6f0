"""``store info``, ``store verify``, ``store clear``: look after the voxel stores that runs leave behind."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import typer

from counterpoise.cli.screen import console, counted, print_notes, print_table, progress_bar, side
from counterpoise.errors import StoreError
from counterpoise.machine.hardware import find_processors
from counterpoise.store import open_store
from counterpoise.store.manage import StoreFolder, clear_store, describe_store, find_stores, require_store
from counterpoise.store.verification import find_damage

__all__ = ["clear", "show_info", "verify"]


def show_info(path: Path, *, as_json: bool) -> None:
    """Print what a store holds, or every store of a folder."""
    described = [_describe(store) for store in find_stores(path)]
    if as_json:
        print(json.dumps(described, indent=1))
        return
    for number, document in enumerate(described):
        if number:
            console.print()
        _print(document)


def verify(path: Path) -> bool:
    """Compare every voxel with its checksum, name the crops that are damaged, and return whether all are whole."""
    whole = True
    for folder in find_stores(path):
        if not folder.is_finished:
            _say(f"{folder.path}: unfinished; the next run continues it, and checks each of its crops")
            continue
        try:
            store = open_store(folder.path)
        except StoreError as error:
            _say(f"{folder.path}: damaged: {error.found}")
            whole = False
            continue
        with progress_bar("Verifying", len(store.crops)) as advance:
            damaged = find_damage(store, workers=find_processors().cores, on_crops=advance)
        if damaged:
            _say(f"{folder.path}: {len(damaged)} of {counted(len(store.crops), 'crop')} damaged: {', '.join(damaged)}")
            whole = False
        else:
            _say(f"{folder.path}: {counted(len(store.crops), 'crop')} whole")
    if not whole:
        side.print("to mend: run the experiment again, which rebuilds a damaged store", markup=False, soft_wrap=True)
    return whole


def clear(path: Path, *, yes: bool) -> bool:
    """Delete a store and say how much room that made; return whether it was done."""
    folder = require_store(path)
    size = _size(folder.size_bytes())
    if not yes:
        if not sys.stdin.isatty():
            raise StoreError(
                f"nobody can be asked whether to delete {folder.path}",
                expected="a terminal, or --yes",
                found="input that is not a terminal",
                remedy="add --yes",
            )
        if not typer.confirm(f"Delete {folder.path} ({size})? It can be built again from the crops."):
            return False
    _say(f"freed {_size(clear_store(path))}: {folder.path}")
    return True


def _describe(folder: StoreFolder) -> dict[str, Any]:
    size = folder.size_bytes()
    if not folder.is_finished:
        return {"path": str(folder.path), "state": "unfinished", "bytes": {"total": size}}
    try:
        return {"state": "finished", **describe_store(open_store(folder.path))}
    except StoreError as error:
        return {"path": str(folder.path), "state": "damaged", "found": error.found, "bytes": {"total": size}}


def _print(document: dict[str, Any]) -> None:
    console.print(document["path"], style="bold", markup=False, soft_wrap=True)
    size = _size(document["bytes"]["total"])
    if document["state"] == "unfinished":
        _say(f"  unfinished, {size}; the next run continues it")
        return
    if document["state"] == "damaged":
        _say(f"  damaged, {size}: {document['found']}; the next run rebuilds it")
        return
    crops, voxel = document["crops"], " x ".join(f"{side_nm:g}" for side_nm in document["voxel_size_nm"])
    _say(f"  made from  {document['made_from'] or 'a list that was not noted down'}")
    _say(f"  for        {voxel} nm voxels (z, y, x)")
    _say(f"  holds      {crops['train']} train and {counted(crops['validate'], 'validation crop')}")
    _say(
        f"  on disk    {size}: raw {document['raw_voxels']:,} voxels, labels {document['label_voxels']:,} voxels of "
        f"{document['bits_per_label_voxel']} bits"
    )
    _say(f"  contents   {'read in full and whole' if document['verified'] else 'not read since the last change'}")
    columns = [["class", *document["classes"]]]
    for split in ("train", "validate"):
        rows = [counts[split] for counts in document["classes"].values()]
        columns.append([f"{split}: present", *(f"{row['present']:,}" for row in rows)])
        columns.append(["known", *(f"{row['known']:,}" for row in rows)])
        columns.append(["crops", *(str(row["crops"]) for row in rows)])
    print_table(columns)
    print_notes(document["notes"], to=side)


def _say(line: str) -> None:
    console.print(line, markup=False, highlight=False, soft_wrap=True)


def _size(size_bytes: int) -> str:
    """Write bytes with the unit that fits."""
    size, unit = float(size_bytes), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if size < 1000:  # noqa: PLR2004 - the next unit begins there
            break
        size, unit = size / 1000, larger
    return f"{size:.3g} {unit}" if unit != "B" else f"{size_bytes} B"
