"""Find crops below a data root and split them into train and validate, so that neighbours stay together."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from counterpoise.data.datasplit import Split
from counterpoise.data.geometry import Box
from counterpoise.data.omezarr import open_multiscale
from counterpoise.errors import DatasplitError

__all__ = ["FoundCrop", "datasplit_rows", "find_crops", "split_crops"]

RAW_GROUP = "em/fibsem-uint8"
LABEL_GROUP = "labels/groundtruth"
NOT_A_CLASS = "all"
"""A sub-folder of a crop that holds every label in one array."""


@dataclass(frozen=True)
class FoundCrop:
    """A crop on disk: the store it is in, the alignment (``recon-1``), its name, its classes and its place."""

    store: Path
    alignment: str
    name: str
    classes: tuple[str, ...]
    box: Box


def find_crops(root: Path) -> tuple[FoundCrop, ...]:
    """Find every ``<dataset>.zarr/<alignment>/labels/groundtruth/crop<N>`` below a folder.

    Parameters
    ----------
    root : Path
        Searched downwards, not into zarr stores.

    Returns
    -------
    tuple of FoundCrop
        Ordered by path, crops by number. Crops without raw data beside them or without a class are left out.

    Raises
    ------
    DatasplitError
        If there is none.
    """
    found = []
    for store in _stores(root):
        for labels in sorted(store.glob(f"*/{LABEL_GROUP}")):
            alignment = labels.relative_to(store).parts[0]
            if not (store / alignment / RAW_GROUP).is_dir():
                continue
            for crop in sorted((p for p in labels.iterdir() if p.is_dir()), key=_natural):
                classes = tuple(
                    sorted(p.name for p in crop.iterdir() if (p / ".zattrs").exists() and p.name != NOT_A_CLASS)
                )
                if classes:
                    box = open_multiscale(crop / classes[0]).levels[0].grid.box
                    found.append(FoundCrop(store, alignment, crop.name, classes, box))
    if not found:
        raise DatasplitError(
            f"no crop below {root}",
            expected=f"<dataset>.zarr/recon-1/{LABEL_GROUP}/crop<N>/<class>, with {RAW_GROUP} beside the labels",
            found="no such folder" if not root.is_dir() else "no zarr store with both",
            remedy="name the folder that `csc fetch-data` filled",
        )
    return tuple(found)


def split_crops(
    crops: Sequence[FoundCrop],
    classes: Iterable[str],
    *,
    fraction: float,
    generator: np.random.Generator,
    gap_nm: float = 200.0,
) -> tuple[Split, ...]:
    """Choose validation crops at random, whole neighbourhoods at a time.

    Crops of one volume that lie within ``gap_nm`` of each other go to the same side: a network could otherwise be
    scored on what it has all but seen. Neighbourhoods are drawn until the share is reached, preferring ones that
    bring a class the validation crops do not have yet; one that would take the last train crop of a class stays.

    Parameters
    ----------
    crops : sequence of FoundCrop
        All of them.
    classes : iterable of str
        Classes that both sides should have.
    fraction : float
        Share of the crops to validate on, in (0, 1).
    generator : numpy Generator
        Decides the order.
    gap_nm : float
        Distance on every axis below which two crops are neighbours.

    Returns
    -------
    tuple of {"train", "validate"}
        One per crop.

    Raises
    ------
    DatasplitError
        If no crop can be spared for validation.
    """
    wanted = set(classes)
    groups = _neighbourhoods(crops, gap_nm)
    order = [groups[i] for i in generator.permutation(len(groups))]
    chosen: set[int] = set()
    target = max(round(fraction * len(crops)), 1)
    missing = set(wanted)
    while len(chosen) < target:
        fitting = [g for g in order if not chosen & set(g) and _leaves_train_whole(crops, chosen | set(g), wanted)]
        if not fitting:
            break
        best = max(fitting, key=lambda g: len(missing & {c for i in g for c in crops[i].classes}))
        chosen |= set(best)
        missing -= {c for i in best for c in crops[i].classes}
    if not chosen:
        raise DatasplitError(
            "no crop can be spared for validation",
            expected=f"two neighbourhoods of crops, more than {gap_nm:g} nm apart, that both annotate the classes",
            found=f"{len(groups)} in {len(crops)} crops",
            remedy="write the datasplit by hand, or fetch more crops",
        )
    return tuple("validate" if i in chosen else "train" for i in range(len(crops)))


def datasplit_rows(
    crops: Sequence[FoundCrop], splits: Sequence[Split], classes: Sequence[str], base: Path
) -> Iterator[tuple[Split, str, str, str, str, list[str]]]:
    """Make the rows of a datasplit whose paths are relative to ``base``; crops without a wanted class are left out."""
    for crop, split in zip(crops, splits, strict=True):
        listed = [name for name in classes if name in crop.classes]
        if listed:
            store = os.path.relpath(crop.store, base)
            labels = f"{crop.alignment}/{LABEL_GROUP}/{crop.name}"
            yield split, store, f"{crop.alignment}/{RAW_GROUP}", store, labels, listed


def _stores(root: Path) -> Iterator[Path]:
    for folder, names, _ in os.walk(root):
        stores = sorted(name for name in names if name.endswith(".zarr"))
        yield from (Path(folder) / name for name in stores)
        names[:] = sorted(set(names) - set(stores))


def _natural(path: Path) -> tuple[int, str]:
    digits = "".join(ch for ch in path.name if ch.isdigit())
    return (int(digits) if digits else 0, path.name)


def _neighbourhoods(crops: Sequence[FoundCrop], gap_nm: float) -> list[list[int]]:
    """Group crops that are connected by steps from neighbour to neighbour."""
    group = list(range(len(crops)))
    for i, first in enumerate(crops):
        grown = first.box.grow((gap_nm, gap_nm, gap_nm))
        for j in range(i):
            same_volume = (first.store, first.alignment) == (crops[j].store, crops[j].alignment)
            if same_volume and grown.overlaps(crops[j].box) and group[i] != group[j]:
                old, new = group[i], group[j]
                group = [new if g == old else g for g in group]
    return [[i for i, g in enumerate(group) if g == label] for label in dict.fromkeys(group)]


def _leaves_train_whole(crops: Sequence[FoundCrop], chosen: set[int], wanted: set[str]) -> bool:
    left = {c for i, crop in enumerate(crops) if i not in chosen for c in crop.classes}
    everywhere = {c for crop in crops for c in crop.classes}
    return wanted & everywhere <= left and len(chosen) < len(crops)
