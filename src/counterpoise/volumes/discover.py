"""Find crops below a data root and split them into train and validate, so that neighbours stay together."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from counterpoise.errors import DatasplitError
from counterpoise.volumes.datasplit import Split
from counterpoise.volumes.formats import FORMATS
from counterpoise.volumes.volume import FoundCrop

__all__ = ["CropSplit", "datasplit_rows", "find_crops", "split_crops"]


def find_crops(root: Path) -> tuple[FoundCrop, ...]:
    """Find every crop below a folder, in the layouts that the input formats know.

    Parameters
    ----------
    root : Path
        Searched downwards, not into stores.

    Returns
    -------
    tuple of FoundCrop
        Ordered by path, crops by number. Crops without raw data next to them or without a class are left out.

    Raises
    ------
    DatasplitError
        If there is none.
    """
    layouts = [known.layout for known in FORMATS if known.layout]
    found = tuple(crop for layout in layouts for crop in layout.find(root))
    if not found:
        missing = "; ".join(layout.missing for layout in layouts)
        raise DatasplitError(
            f"no crop below {root}",
            expected=" or ".join(layout.expected for layout in layouts),
            found=missing if root.is_dir() else "no such folder",
            remedy="name the folder that `csc fetch-data` filled",
        )
    return found


@dataclass(frozen=True)
class CropSplit:
    """Which crops train and which validate, and how far apart the two sides are kept.

    ``gap_nm`` is 0 where keeping the asked-for distance would have left validation without some class.
    """

    splits: tuple[Split, ...]
    gap_nm: float


def split_crops(
    crops: Sequence[FoundCrop],
    classes: Iterable[str],
    *,
    fraction: float,
    generator: np.random.Generator,
    gap_nm: float = 200.0,
) -> CropSplit:
    """Choose validation crops at random, whole neighbourhoods at a time.

    Crops of one volume that lie within ``gap_nm`` of each other go to the same side: a network could otherwise be
    scored on what it has all but seen. Neighbourhoods are drawn until the share is reached, preferring ones that
    bring a class the validation crops do not have yet; one that would take the last train crop of a class stays.
    If validation then lacks a class that it gets when only crops that overlap are kept together, that is done.

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
    CropSplit
        One split per crop.

    Raises
    ------
    DatasplitError
        If no crop is left for validation.
    """
    wanted = set(classes)
    crops_with = Counter(name for crop in crops for name in wanted & set(crop.classes))
    sharable = {name for name, times in crops_with.items() if times > 1}
    order = generator.permutation(len(crops))
    choices = {
        gap: _choose_validation(crops, wanted, _neighbourhoods(crops, gap), order, fraction) for gap in (gap_nm, 0.0)
    }

    def gain(gap: float) -> tuple[int, bool]:
        return len(sharable & {name for i in choices[gap] for name in crops[i].classes}), bool(choices[gap])

    gap = 0.0 if gain(0.0) > gain(gap_nm) else gap_nm  # neighbours are parted only if that brings a class
    chosen = choices[gap]
    if not chosen:
        raise DatasplitError(
            "no crop is left for validation",
            expected="two crops that do not overlap, both with the classes",
            found=f"{len(_neighbourhoods(crops, 0.0))} such neighbourhoods in {len(crops)} crops",
            remedy="write the datasplit by hand, or fetch more crops",
        )
    return CropSplit(tuple("validate" if i in chosen else "train" for i in range(len(crops))), gap)


def _choose_validation(
    crops: Sequence[FoundCrop], wanted: set[str], groups: list[list[int]], order: np.ndarray, fraction: float
) -> set[int]:
    place = {int(index): position for position, index in enumerate(order)}
    groups = sorted(groups, key=lambda group: place[group[0]])
    chosen: set[int] = set()
    missing = set(wanted)
    target = max(round(fraction * len(crops)), 1)
    while len(chosen) < target:
        fitting = [g for g in groups if not chosen & set(g) and _leaves_train_whole(crops, chosen | set(g), wanted)]
        if not fitting:
            break
        # A neighbourhood much larger than what is still wanted would turn the shares round.
        small = [g for g in fitting if len(g) <= 2 * (target - len(chosen))] or fitting
        best = max(small, key=lambda g: len(missing & {c for i in g for c in crops[i].classes}))
        chosen |= set(best)
        missing -= {c for i in best for c in crops[i].classes}
    return chosen


def datasplit_rows(
    crops: Sequence[FoundCrop], splits: Sequence[Split], classes: Sequence[str], base: Path
) -> Iterator[tuple[Split, str, str, str, str, list[str]]]:
    """Make the rows of a datasplit whose paths are relative to ``base``; crops without a wanted class are left out."""
    for crop, split in zip(crops, splits, strict=True):
        listed = [name for name in classes if name in crop.classes]
        if listed:
            store = os.path.relpath(crop.store, base)
            yield split, store, crop.raw, store, crop.labels, listed


def _neighbourhoods(crops: Sequence[FoundCrop], gap_nm: float) -> list[list[int]]:
    """Group crops that are connected by steps from neighbour to neighbour."""
    group = list(range(len(crops)))
    for i, first in enumerate(crops):
        grown = first.box.grow((gap_nm, gap_nm, gap_nm))
        for j in range(i):
            same_volume = (first.store, first.raw) == (crops[j].store, crops[j].raw)
            if same_volume and grown.overlaps(crops[j].box) and group[i] != group[j]:
                old, new = group[i], group[j]
                group = [new if g == old else g for g in group]
    return [[i for i, g in enumerate(group) if g == label] for label in dict.fromkeys(group)]


def _leaves_train_whole(crops: Sequence[FoundCrop], chosen: set[int], wanted: set[str]) -> bool:
    left = {c for i, crop in enumerate(crops) if i not in chosen for c in crop.classes}
    everywhere = {c for crop in crops for c in crop.classes}
    return wanted & everywhere <= left and len(chosen) < len(crops)
