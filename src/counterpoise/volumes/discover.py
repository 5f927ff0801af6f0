"""Find crops below a data root and split them into train and validate, so that neighbours stay together."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int

from counterpoise.errors import DatasplitError
from counterpoise.volumes.datasplit import Split, written_path
from counterpoise.volumes.formats import FORMATS
from counterpoise.volumes.volume import FoundCrop, Search

__all__ = ["CropSplit", "datasplit_rows", "find_crops", "fold_crops", "split_crops"]

ENOUGH = 5
"""Validation crops that a class should have: with fewer, a verdict on it holds for these crops only."""

GAP_NM = 200.0
"""Distance on every axis below which two crops are neighbours."""

_MOST_SWAPPED = 200
"""Among more neighbourhoods, dealing them out is even enough, and swapping takes long."""

_NOTHING = 1e-9


def find_crops(
    root: Path,
    *,
    wanted: Iterable[str] = (),
    on_note: Callable[[str], object] = lambda _: None,
    on_folder: Callable[[], object] = lambda: None,
) -> tuple[FoundCrop, ...]:
    """Find every crop below a folder, in the layouts that the input formats know.

    Parameters
    ----------
    root : Path
        Searched downwards, links included, not into stores.
    wanted : iterable of str
        Classes that were asked for by name.
    on_note : callable
        Told what was left out, and why.
    on_folder : callable
        Called at each folder that is looked into.

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
    notes: list[str] = []
    search = Search(Path(os.path.normpath(root)), frozenset(wanted), on_folder, notes.append)
    found = tuple(crop for layout in layouts for crop in layout.find(search)) if root.is_dir() else ()
    if not found:
        missing = "\n".join([*(layout.missing for layout in layouts), *notes])
        raise DatasplitError(
            f"no crop below {root}",
            expected=" or ".join(layout.expected for layout in layouts),
            found=missing if root.is_dir() else "no such folder",
            remedy="name the folder that `csc fetch-data` filled",
        )
    for note in notes:
        on_note(note)
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
    gap_nm: float = GAP_NM,
    enough: int = ENOUGH,
) -> CropSplit:
    """Choose validation crops at random, whole neighbourhoods at a time.

    Crops of one volume that lie within ``gap_nm`` of each other go to the same side: a network could otherwise be
    scored on what it has all but seen. Neighbourhoods are drawn until the share is reached, preferring ones that
    bring a class of which validation has too few crops; one that would take the last train crop of a class stays. More
    are drawn if that gives each class ``enough`` validation crops, as long as train keeps as many of it as validation
    gets. If validation then lacks a class that it gets when only crops that overlap are kept together, that is done.

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
    enough : int
        Validation crops that each class should have, if there are twice as many of it.

    Returns
    -------
    CropSplit
        One split per crop.

    Raises
    ------
    DatasplitError
        If no crop is left for validation.
    """
    has = _has(crops, classes)
    order = generator.permutation(len(crops))
    target = max(round(fraction * len(crops)), 1)
    gap, chosen = gap_nm, _choose_validation(has, _neighbourhoods(crops, gap_nm), order, target, enough)
    sharable = has.sum(0) > 1
    if not chosen or (sharable & ~has[chosen].any(0)).any():  # neighbours are parted only if that brings a class
        parted = _choose_validation(has, _neighbourhoods(crops, 0.0), order, target, enough)
        if (has[parted].any(0) & sharable).sum() > (has[chosen].any(0) & sharable).sum() or not chosen:
            gap, chosen = 0.0, parted
    if not chosen:
        raise DatasplitError(
            "no crop is left for validation",
            expected="two crops that do not overlap, both with the classes",
            found=f"{len(_neighbourhoods(crops, 0.0))} such neighbourhoods in {len(crops)} crops",
            remedy="write the datasplit by hand, or fetch more crops",
        )
    validated = set(chosen)
    return CropSplit(tuple("validate" if i in validated else "train" for i in range(len(crops))), gap)


def fold_crops(
    crops: Sequence[FoundCrop],
    classes: Iterable[str],
    *,
    folds: int,
    generator: np.random.Generator,
    gap_nm: float = GAP_NM,
) -> tuple[CropSplit, ...]:
    """Deal crops out to folds, whole neighbourhoods at a time: each crop validates in one and trains in the others.

    The rarest classes are dealt out first, each neighbourhood to the fold that has fewest crops of its classes; then
    neighbourhoods are swapped as long as that makes the folds more alike.

    Parameters
    ----------
    crops, classes, generator, gap_nm
        As for :func:`split_crops`.
    folds : int
        How many, 2 or more.

    Raises
    ------
    DatasplitError
        If there are fewer neighbourhoods than folds, even if only crops that overlap are kept together.
    """
    has = _has(crops, classes)
    gaps = [(gap, _neighbourhoods(crops, gap)) for gap in (gap_nm, 0.0)]
    fitting = [(gap, groups) for gap, groups in gaps if len(groups) >= folds]
    if not fitting:
        raise DatasplitError(
            f"the crops cannot be divided into {folds} folds",
            expected="at least one crop for each, none of which overlaps one of another",
            found=f"{len(gaps[1][1])} such neighbourhoods in {len(crops)} crops",
            remedy="ask for fewer folds",
        )
    gap, groups = fitting[0]
    place = generator.permutation(len(groups))
    rarity = has.sum(0)
    own = np.array([[*has[group].sum(0), len(group)] for group in groups])  # crops of each class, and all crops
    rarest = [min(rarity[counts > 0], default=len(crops)) for counts in own[:, :-1]]
    order = sorted(range(len(groups)), key=lambda g: (rarest[g], -len(groups[g]), place[g]))
    held = np.zeros((folds, own.shape[1]), np.int64)
    fold_of = np.zeros(len(groups), np.int64)
    for g in order:
        mine = held[:, :-1][:, own[g, :-1] > 0]
        # An empty fold comes first; then the class that is rarest decides, then the number of crops.
        by_rarity = mine[:, np.argsort(rarity[own[g, :-1] > 0], kind="stable")]
        fold = min(range(folds), key=lambda f: (held[f, -1] > 0 and not held[:, -1].all(), *by_rarity[f], held[f, -1]))
        held[fold] += own[g]
        fold_of[g] = fold
    if len(groups) <= _MOST_SWAPPED:
        _even_out(fold_of, held, own)
    validates = np.zeros(len(crops), np.int64)
    for group, chosen in zip(groups, fold_of, strict=True):
        validates[group] = chosen
    return tuple(
        CropSplit(tuple("validate" if f == fold else "train" for f in validates), gap) for fold in range(folds)
    )


def _even_out(
    fold_of: Int[np.ndarray, " group"], held: Int[np.ndarray, "fold count"], own: Int[np.ndarray, "group count"]
) -> None:
    """Swap neighbourhoods of two folds, in place, as long as that makes the folds more alike.

    The sum of ``held**2 / total`` over folds and classes falls with every swap, so that this ends.
    """
    weight = 1.0 / np.maximum(own.sum(0), 1)
    apart = own[None] - own[:, None]
    while True:
        between = held[fold_of][:, None] - held[fold_of][None]
        change = (weight * apart * (between + apart)).sum(2) * (fold_of[:, None] != fold_of[None])
        g, h = np.unravel_index(change.argmin(), change.shape)
        if change[g, h] > -_NOTHING:
            return
        held[fold_of[g]] += apart[g, h]
        held[fold_of[h]] -= apart[g, h]
        fold_of[g], fold_of[h] = fold_of[h], fold_of[g]


def _has(crops: Sequence[FoundCrop], classes: Iterable[str]) -> Int[np.ndarray, "crop class_"]:
    """Say which crop annotates which class: 1, else 0."""
    names = list(dict.fromkeys(classes))
    return np.array([[name in crop.classes for name in names] for crop in crops], np.int64).reshape(len(crops), -1)


def _choose_validation(
    has: Int[np.ndarray, "crop class_"], groups: list[list[int]], order: np.ndarray, target: int, enough: int
) -> list[int]:
    place = np.argsort(order)
    groups = sorted(groups, key=lambda group: int(place[group[0]]))
    crops_of = has.sum(0)
    wanted = np.minimum(enough, np.maximum(crops_of // 2, np.minimum(crops_of - 1, 1)))
    own = np.array([has[group].sum(0) for group in groups]).reshape(len(groups), -1)
    size = np.array([len(group) for group in groups])
    taken = np.zeros(len(groups), bool)
    held = np.zeros_like(wanted)
    number = 0
    while True:
        lacking = wanted - held
        spared = ((crops_of - held - own >= 1) | (crops_of == 0)).all(1) & ~taken & (number + size < len(has))
        helps = (np.minimum(own, np.maximum(lacking, 0))).sum(1)
        if number >= target:
            # Beyond the share only what brings a class nearer to enough crops, with as many of each left to train on.
            spared &= (helps > 0) & ((crops_of - held - own >= held + own) | (own == 0)).all(1)
        if not spared.any():
            break
        # A neighbourhood much larger than what is still wanted would turn the shares round.
        small = spared & (size <= 2 * max(target - number, 1))
        candidates = np.flatnonzero(small if small.any() or number >= target else spared)
        if not len(candidates):
            break
        new = ((own > 0) & (held == 0) & (wanted > 0)).sum(1)
        best = candidates[np.lexsort((candidates, -helps[candidates], -new[candidates]))[0]]
        taken[best] = True
        held, number = held + own[best], number + size[best]
    return [index for g in np.flatnonzero(taken) for index in groups[g]]


def datasplit_rows(
    crops: Sequence[FoundCrop], splits: Sequence[Split], classes: Sequence[str], base: Path
) -> Iterator[tuple[Split, str, str, str, str, list[str]]]:
    """Make the rows of a datasplit whose paths are relative to ``base``; crops without a wanted class are left out."""
    for crop, split in zip(crops, splits, strict=True):
        listed = [name for name in classes if name in crop.classes]
        if listed:
            store, label_store = (written_path(p, base) for p in (crop.store, crop.label_store or crop.store))
            yield split, store, crop.raw, label_store, crop.labels, listed


def _neighbourhoods(crops: Sequence[FoundCrop], gap_nm: float) -> list[list[int]]:
    """Group crops that are connected by steps from neighbour to neighbour."""
    volumes = {place: number for number, place in enumerate(dict.fromkeys((crop.store, crop.raw) for crop in crops))}
    volume = np.array([volumes[crop.store, crop.raw] for crop in crops])
    grown = [crop.box.grow((gap_nm, gap_nm, gap_nm)) for crop in crops]
    lower, upper = (np.array([getattr(crop.box, name) for crop in crops]) for name in ("lower_nm", "upper_nm"))
    group = np.arange(len(crops))
    for i, box in enumerate(grown):
        overlap = np.maximum(lower[:i], box.lower_nm) < np.minimum(upper[:i], box.upper_nm)
        near = np.flatnonzero(overlap.all(1) & (volume[:i] == volume[i]))
        if len(near):
            group[np.isin(group, group[near])] = i
            group[i] = i
    return [np.flatnonzero(group == label).tolist() for label in dict.fromkeys(group.tolist())]
