"""``store``: manage the cache of decoded crops that runs share."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from counterpoise.cli.options import EXIT_FAILED, Format, Json, TextOrJson, is_json
from counterpoise.cli.places import find_source
from counterpoise.cli.register import CONTEXT, Command, Group
from counterpoise.cli.screen import console, print_lines, print_table, progress_bar, side, working
from counterpoise.errors import StoreError
from counterpoise.experiment.load import load_experiment
from counterpoise.machine.hardware import usable_cores
from counterpoise.runs.layout import RunFolder
from counterpoise.store import open_store
from counterpoise.store.manage import StoreFolder, clear_store, describe_store, find_stores, require_store
from counterpoise.store.verification import find_damage
from counterpoise.text import counted, size

__all__ = ["commands"]

commands = typer.Typer(
    help="Manage the cache of decoded crops.",
    cls=Group,
    no_args_is_help=True,
    add_completion=False,
    context_settings=CONTEXT,
)

StorePath = Annotated[
    Path | None,
    typer.Argument(
        help="A store, or a folder of stores; or experiment.toml or its run folder. Default: the experiment of this "
        "folder.",
        metavar="PATH",
        show_default=False,
    ),
]


@commands.command(cls=Command)
def info(path: StorePath = None, output: TextOrJson = Format.text, as_json: Json = False) -> None:
    """Show what a store holds, what it was made from and its size on disk.

    Example: counterpoise store info counterpoise.store
    """
    with working("Reading the stores"):
        described = [_describe(store) for store in find_stores(_place_of(path))]
    if is_json(output, as_json):
        print(json.dumps(described, indent=1))
        return
    for number, document in enumerate(described):
        if number:
            console.print()
        _print(document)


@commands.command(cls=Command)
def verify(path: StorePath = None) -> None:
    """Compare every voxel with its checksum; exit code 1 if a crop is damaged.

    Example: counterpoise store verify counterpoise.store
    """
    damaged = [folder.path for folder in find_stores(_place_of(path)) if not _verify_one(folder)]
    if damaged:
        side.print("to fix: run the experiment again, which rebuilds a damaged store", soft_wrap=True)
        raise typer.Exit(EXIT_FAILED)


@commands.command(cls=Command)
def clear(
    path: Annotated[Path, typer.Argument(help="One store.", metavar="PATH")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Delete a store that no process uses; it can be built again from the crops.

    Example: counterpoise store clear counterpoise.store/0123456789abcdef --yes
    """
    folder = require_store(path)
    if not yes:
        if not sys.stdin.isatty():
            raise StoreError(
                f"{folder.path} is not deleted without confirmation",
                expected="a terminal to ask on, or --yes",
                found="input that is not a terminal",
                remedy="add --yes",
            )
        question = f"Delete {folder.path} ({size(folder.size_bytes())})? It can be built again from the crops."
        if not typer.confirm(question):
            raise typer.Exit(EXIT_FAILED)
    _say(f"freed {size(clear_store(path))}: {folder.path}")


def _place_of(path: Path | None) -> Path:
    """Find the folder of stores of an experiment or a run; another path stands for itself."""
    if path is None or path.is_file() or RunFolder(path).weights.is_file():
        return load_experiment(find_source(path)).data.store
    return path


def _verify_one(folder: StoreFolder) -> bool:
    """Verify one store and print what was found; return whether it can be used."""
    if not folder.is_finished:
        _say(f"{folder.path}: unfinished; the next run continues it, and checks each of its crops")
        return True
    try:
        store = open_store(folder.path)
    except StoreError as error:
        _say(f"{folder.path}: damaged: {error.found}")
        return False
    with progress_bar("Verifying", len(store.crops)) as advance:
        damaged = find_damage(store, workers=usable_cores(), on_crops=advance)
    found = f"{len(damaged)} of {counted(len(store.crops), 'crop')} damaged: {', '.join(damaged)}"
    _say(f"{folder.path}: {found if damaged else counted(len(store.crops), 'crop') + ' whole'}")
    return not damaged


def _describe(folder: StoreFolder) -> dict[str, Any]:
    total = folder.size_bytes()
    if not folder.is_finished:
        return {"path": str(folder.path), "state": "unfinished", "bytes": {"total": total}}
    try:
        return {"state": "finished", **describe_store(open_store(folder.path))}
    except StoreError as error:
        return {"path": str(folder.path), "state": "damaged", "found": error.found, "bytes": {"total": total}}


def _print(document: dict[str, Any]) -> None:
    console.print(document["path"], style="bold", soft_wrap=True)
    on_disk = size(document["bytes"]["total"])
    if document["state"] == "unfinished":
        _say(f"  unfinished, {on_disk}; the next run continues it")
        return
    if document["state"] == "damaged":
        _say(f"  damaged, {on_disk}: {document['found']}; the next run rebuilds it")
        return
    crops, voxel = document["crops"], " x ".join(f"{side_nm:g}" for side_nm in document["voxel_size_nm"])
    _say(f"  made from  {document['made_from'] or 'a list that was not recorded'}")
    _say(f"  for        {voxel} nm voxels (z, y, x)")
    _say(f"  holds      {crops['train']} train and {counted(crops['validate'], 'validation crop')}")
    _say(
        f"  on disk    {on_disk}: raw {document['raw_voxels']:,} voxels, labels {document['label_voxels']:,} voxels of "
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
    print_lines(document["notes"], to=side)


def _say(line: str) -> None:
    console.print(line, soft_wrap=True)
