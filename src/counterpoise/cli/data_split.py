"""``data split``: which crops train and which validate, as ``init`` decides it, once or in folds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from counterpoise.cli.options import DataRoot, split_names
from counterpoise.cli.screen import console, print_lines, side, working
from counterpoise.cli.shortfalls import UNSEEN, listed_crops, shortfalls
from counterpoise.errors import ClassNameError, DatasplitError, RunFolderError, suggest
from counterpoise.files.disk import refuse_unwritable
from counterpoise.notes import Note
from counterpoise.text import counted, percent
from counterpoise.volumes.datasplit import read_datasplit, write_datasplit
from counterpoise.volumes.discover import CropSplit, datasplit_rows, find_crops, fold_crops, split_crops
from counterpoise.volumes.formats import dataset_suffixes, is_stored, open_volume
from counterpoise.volumes.positives import narrow_to_positives
from counterpoise.volumes.volume import FoundCrop

__all__ = ["split", "write_splits"]

_SHARE = 0.2
"""Of the crops, for validation."""


def split(
    crops: Annotated[
        Path,
        typer.Argument(help="A folder of crops, or a list of them (csv) to split anew.", metavar="ROOT|DATASPLIT.CSV"),
    ],
    validate: Annotated[
        float | None,
        typer.Option(help="Share of the crops to validate on, above 0 and below 1. Default: 0.2.", metavar="SHARE"),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Another seed gives another split.", metavar="N")] = 0,
    folds: Annotated[
        int | None,
        typer.Option(min=2, help="Write so many lists instead: each crop validates in one of them.", metavar="K"),
    ] = None,
    classes: Annotated[
        str | None, typer.Option(help="Class names, with commas between. Default: all.", metavar="A,B,...")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder to write to. Default: this one.", metavar="FOLDER"),
    ] = None,
    data_root: DataRoot = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite existing lists.")] = False,
) -> None:
    """Choose crops for training and for validation, so that neighbours stay together and no class is missing.

    Writes datasplit.csv, or datasplit_fold1.csv and so on.

    Example: counterpoise data split ./data --validate 0.2 --seed 0
    """
    if folds is not None and validate is not None:
        raise typer.BadParameter(
            "--folds with --validate: each crop validates in one fold, there is no share to choose."
        )
    names, validate = split_names(classes), _SHARE if validate is None else validate
    write_splits(crops, asked=names, validate=validate, seed=seed, folds=folds, out=out, root=data_root, force=force)


def write_splits(
    source: Path,
    *,
    asked: Sequence[str] = (),
    validate: float = _SHARE,
    seed: int = 0,
    folds: int | None = None,
    out: Path | None = None,
    root: Path | None = None,
    force: bool = False,
) -> None:
    """Split the crops of a folder or of a list, and write one list, or one per fold.

    Raises
    ------
    DatasplitError
        If there are no crops, or too few to split, or the share is none.
    RunFolderError
        If a list exists, or none can be written.
    ClassNameError
        If a class is asked for that no crop annotates.
    """
    if not 0 < validate < 1:  # also refuses NaN
        raise DatasplitError(
            "--validate cannot be used",
            expected="a number above 0 and below 1",
            found=str(validate),
            remedy="0.2 puts one crop in five into validation",
        )
    folder = out or Path()  # never next to the crops by itself: data are only read
    names = [f"datasplit_fold{number}.csv" for number in range(1, folds + 1)] if folds else ["datasplit.csv"]
    _require_free([folder / name for name in names], force=force)
    notes: list[str] = []
    with working(f"Opening the crops of {source}"):
        wanted = frozenset(asked)
        found = (
            find_crops(source, wanted=wanted, on_note=notes.append) if source.is_dir() else _listed(source, root, notes)
        )
        known = {name for crop in found for name in crop.classes}
        for name in asked:
            if name not in known:
                raise ClassNameError(
                    f"class {name!r} is annotated nowhere",
                    expected="classes that a crop annotates",
                    found=", ".join(asked),
                    remedy=suggest(name, sorted(known)),
                )
        classes = list(dict.fromkeys(asked)) or sorted(known)
        crops = [crop for crop in found if not wanted or wanted & set(crop.classes)]
        if left_out := len(found) - len(crops):
            notes.append(f"left out, as they annotate none of these classes: {counted(left_out, 'crop')}")
    with working("Looking for classes without a voxel"):
        held, is_complete = narrow_to_positives(crops, classes)
        if not is_complete:
            notes.append(UNSEEN)
        generator = np.random.default_rng(seed)
        made = (
            fold_crops(held, classes, folds=folds, generator=generator)
            if folds
            else (split_crops(held, classes, fraction=validate, generator=generator),)
        )
    with refuse_unwritable(RunFolderError, f"no list can be written to {folder}", remedy="name a folder with --out"):
        folder.mkdir(parents=True, exist_ok=True)
        for name, one in zip(names, made, strict=True):
            write_datasplit(folder / name, datasplit_rows(crops, one.splits, classes, folder.resolve()))
    print_lines(notes, to=side)
    lacking: dict[str, list[str]] = {}
    for name, one in zip(names, made, strict=True):
        console.print(f"{folder / name}: {_describe(one, None if folds else validate)}", soft_wrap=True)
        for line in shortfalls(listed_crops(one.splits, crops, held), classes):
            lacking.setdefault(line, []).append(name)
    for line, where in lacking.items():
        side.print(f"warning: {line}" + (f" ({', '.join(where)})" if where != names else ""), soft_wrap=True)


def _require_free(files: Sequence[Path], *, force: bool) -> None:
    there = [file for file in files if file.exists()]
    # Whoever took the write permission away meant it, and the administrator's account is not stopped by it.
    kept = [file for file in there if not file.stat().st_mode & 0o222]
    if kept:
        raise RunFolderError(
            f"{kept[0]} is read-only",
            expected="a new file, or one that may be written",
            found="a list of crops without write permission",
            remedy="name another folder with --out",
        )
    if there and not force:
        raise RunFolderError(
            f"{there[0]} exists",
            expected="a new file",
            found=f"{counted(len(there), 'list')} of crops",
            remedy="overwrite with --force, or name another folder with --out",
        )


def _listed(file: Path, root: Path | None, notes: list[str]) -> tuple[FoundCrop, ...]:
    """Open the crops of a list, as far as their place and their classes go."""
    told: list[Note] = []
    # Which side a crop is on is decided anew, so that a crop on both is one crop.
    rows = read_datasplit(file, root=root, allow_overlap=True, on_note=told.append)
    notes += map(str, told)
    crops: dict[tuple[Path, Path], FoundCrop] = {}
    for row in rows:
        classes = tuple(name for name in row.classes if is_stored(row.class_path(name)))
        if row.suffix:
            raise DatasplitError(
                f"line {row.line} of {file} cannot be written anew",
                expected="a label group that ends with its class list",
                found=f"{row.suffix} after the bracket",
                remedy="split this list by hand",
            )
        if not classes:
            notes.append(f"line {row.line} of {file.name} is left out: none of its classes has a group")
            continue
        (raw_store, raw), (label_store, labels) = map(_within_store, row.written)
        box = open_volume(row.class_path(classes[0])).levels[0].grid.box
        known = crops.get((row.raw_path, row.label_path))
        classes = tuple(dict.fromkeys((*(known.classes if known else ()), *classes)))
        crops[row.raw_path, row.label_path] = FoundCrop(raw_store, raw, labels, classes, box, label_store)
    return tuple(crops.values())


def _within_store(path: Path) -> tuple[Path, str]:
    suffixes = dataset_suffixes()
    store = next((parent for parent in path.parents if parent.suffix in suffixes), path.parent)
    return store, str(path.relative_to(store))


def _describe(made: CropSplit, share: float | None) -> str:
    train, validate = made.splits.count("train"), made.splits.count("validate")
    apart = f"{made.gap_nm:g} nm or more apart" if made.gap_nm else "no overlap, some adjacent"
    text = f"{train} train and {counted(validate, 'validate crop')}, {apart}"
    crops = train + validate
    if share is None or validate == max(round(share * crops), 1):
        return text
    why = "whole neighbourhoods, and enough crops of each class"
    return f"{text}; {percent(round(validate / crops, 2))} validate and not {percent(share)}: {why}"
