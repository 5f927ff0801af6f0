"""``data split``: divide crops into train and validate, once or into folds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from counterpoise.cli.options import DataRoot, split_names
from counterpoise.cli.screen import console, print_lines, print_table, side, working
from counterpoise.errors import ClassNameError, ConfigError, suggest
from counterpoise.files.disk import refuse_unwritable
from counterpoise.statistics.verdict_types import Settings
from counterpoise.text import counted, percent
from counterpoise.volumes.datasplit import write_datasplit
from counterpoise.volumes.discover import CropSplit, datasplit_rows, find_crops, fold_crops, split_crops
from counterpoise.volumes.listed import find_listed_crops
from counterpoise.volumes.volume import FoundCrop

__all__ = ["split", "write_splits"]

_MOST_FOLDS = 100
_MOST_OFF = 0.05
"""What the share of validation crops may differ by from the one asked for, without a word."""


def split(
    place: Annotated[
        Path, typer.Argument(help="A folder of crops, or a list of crops (csv) to divide anew.", metavar="PLACE")
    ],
    validate: Annotated[
        float | None,
        typer.Option(help="Share of the crops to validate on, above 0 and below 1. Default: 0.2.", metavar="SHARE"),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Another seed gives another split.", metavar="N")] = 0,
    folds: Annotated[
        int | None,
        typer.Option(
            min=2, max=_MOST_FOLDS, help="Write as many lists; each crop validates in one of them.", metavar="N"
        ),
    ] = None,
    classes: Annotated[
        str | None, typer.Option(help="Classes to list, with commas between. Default: all.", metavar="A,B,...")
    ] = None,
    to: Annotated[
        Path, typer.Option(help="The list to write; with --folds, _fold1 and so on are added.", metavar="FILE")
    ] = Path("datasplit.csv"),
    data_root: DataRoot = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite existing lists.")] = False,
) -> None:
    """Divide crops into train and validate as `init` does: neighbours stay together, classes are on both sides.

    Example: counterpoise data split crops --folds 5
    """
    if folds is not None and validate is not None:
        raise typer.BadParameter("Name --validate or --folds: of K folds, each validates on one crop in K.")
    share = 0.2 if validate is None else validate
    if not 0 < share < 1:  # also refuses NaN
        raise ConfigError(
            "--validate cannot be used",
            expected="a number above 0 and below 1",
            found=str(share),
            remedy="0.2 puts one crop in five into validation",
        )
    write_splits(
        place, to, share=share, seed=seed, folds=folds, classes=split_names(classes), root=data_root, force=force
    )


def write_splits(
    place: Path,
    to: Path,
    *,
    share: float,
    seed: int,
    folds: int | None,
    classes: Sequence[str],
    root: Path | None = None,
    force: bool,
) -> None:
    """Divide the crops of a folder or a list, write one list or one per fold, and say what could not be done.

    Raises
    ------
    ConfigError
        If a list exists already, or cannot be written.
    ClassNameError
        If no crop annotates a class that is asked for.
    DatasplitError, LayoutError
        If crops cannot be read, or not be divided.
    """
    files = [to] if folds is None else [to.with_stem(f"{to.stem}_fold{fold}") for fold in range(1, folds + 1)]
    there = [file for file in files if file.exists()]
    if there and not force:
        raise ConfigError(
            f"{there[0]} exists",
            expected="a new file",
            found=f"{counted(len(there), 'file')} of that name" if folds is None else f"{len(there)} of {folds} lists",
            remedy="name another one with --to, or overwrite it with --force",
        )
    notes: list[str] = []
    with working(f"Reading the crops of {place}"):
        if place.is_dir():
            found = list(find_crops(place, wanted=classes, on_note=notes.append))
        else:
            found = find_listed_crops(place, root=root, on_note=lambda note: notes.append(str(note)))
        names = _choose(classes, found)
        crops = [crop for crop in found if not names.isdisjoint(crop.classes)]
    ordered = list(classes) or sorted(names)
    generator = np.random.default_rng(seed)
    if folds is None:
        splits: tuple[CropSplit, ...] = (split_crops(crops, ordered, fraction=share, generator=generator),)
    else:
        splits = fold_crops(crops, ordered, folds=folds, generator=generator)
    with refuse_unwritable(ConfigError, f"{to} cannot be written", remedy="name another place with --to"):
        to.parent.mkdir(parents=True, exist_ok=True)
        for file, made in zip(files, splits, strict=True):
            write_datasplit(file, datasplit_rows(crops, made.splits, ordered, file.resolve().parent))
    print_lines(notes, to=side)
    if left_out := len(found) - len(crops):
        print_lines([f"{counted(left_out, 'crop')} annotate none of these classes and are left out"], to=side)
    for file, made in zip(files, splits, strict=True):
        console.print(f"{file}: {describe_split(made)}", soft_wrap=True)
    counts = [_Counts.of(crops, made, ordered) for made in splits]
    _print_counts(ordered, counts, folds)
    asked = share if folds is None else 1 / folds
    told: dict[str, list[str]] = {}
    for file, made, count in zip(files, splits, counts, strict=True):
        for line in _shortfalls(ordered, made, count, asked):
            told.setdefault(line, []).append(file.name)
    for line, names_of in told.items():
        side.print(line if len(names_of) == len(files) else f"{line} ({', '.join(names_of)})", soft_wrap=True)


def describe_split(made: CropSplit) -> str:
    """Say how many crops are on each side, and how far apart."""
    train, validate = made.splits.count("train"), made.splits.count("validate")
    apart = f"{made.gap_nm:g} nm or more apart" if made.gap_nm else "no overlap, some adjacent"
    return f"{train} train and {counted(validate, 'validate crop')}, {apart}"


@dataclass(frozen=True)
class _Counts:
    """Crops with each class, on both sides."""

    train: tuple[int, ...]
    validate: tuple[int, ...]

    @classmethod
    def of(cls, crops: Sequence[FoundCrop], made: CropSplit, names: Sequence[str]) -> _Counts:
        sides = {
            side: [crop for crop, own in zip(crops, made.splits, strict=True) if own == side]
            for side in ("train", "validate")
        }
        return cls(*(tuple(sum(name in crop.classes for crop in own) for name in names) for own in sides.values()))


def _choose(asked: Sequence[str], crops: Sequence[FoundCrop]) -> set[str]:
    known = {name for crop in crops for name in crop.classes}
    unknown = [name for name in asked if name not in known]
    if unknown:
        raise ClassNameError(
            f"class {unknown[0]!r} is annotated nowhere",
            expected="classes that a crop annotates",
            found=", ".join(asked),
            remedy=suggest(unknown[0], sorted(known)),
        )
    return set(asked) or known


def _print_counts(names: Sequence[str], counts: Sequence[_Counts], folds: int | None) -> None:
    if folds is None:
        columns = [("train", counts[0].train), ("validate", counts[0].validate)]
    else:
        columns = [(f"fold {fold}", own.validate) for fold, own in enumerate(counts, start=1)]
    title = "Crops with each class" if folds is None else "Validation crops with each class"
    print_table([["class", *names], *([head, *map(str, numbers)] for head, numbers in columns)], title=title)


def _shortfalls(names: Sequence[str], made: CropSplit, counts: _Counts, asked: float) -> Iterator[str]:
    """Say what this split does not have that one would want."""
    lone = [name for name, t, v in zip(names, counts.train, counts.validate, strict=True) if t + v == 1]
    absent = [n for n, v in zip(names, counts.validate, strict=True) if not v and n not in lone]
    untrained = [name for name, t in zip(names, counts.train, strict=True) if not t]
    few = [name for name, v in zip(names, counts.validate, strict=True) if 0 < v < Settings.min_crops]
    if lone:
        yield f"warning: only one crop annotates {', '.join(lone)}: it cannot be on both sides"
    if absent:
        yield f"warning: no validation crop annotates {', '.join(absent)}: no Dice there"
    if untrained:
        yield f"warning: no train crop annotates {', '.join(untrained)}: nothing is learnt of it"
    if few:
        yield (
            f"warning: fewer than {Settings.min_crops} validation crops annotate {', '.join(few)}: too few for a "
            "verdict on them"
        )
    got = made.splits.count("validate") / len(made.splits)
    if abs(got - asked) > _MOST_OFF:
        yield (
            f"note: {percent(round(got, 3))} of the crops validate, not {percent(round(asked, 3))}: "
            "neighbours stay together, and classes need enough crops on both sides"
        )
    if not made.gap_nm:
        yield "note: neighbours had to be parted: some train and validation crops are adjacent"
