"""Thresholds tuned on one half of the validation crops and scored on the other (docs/verdict.md).

What is chosen on the data it is scored on scores too high. So the crops are divided once, by their annotation alone:
thresholds are chosen on the ``select`` half, for every run and class by the same rule, and only the ``report`` half is
scored.
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int

from counterpoise.errors import RunFolderError
from counterpoise.metrics.dice import dice_score
from counterpoise.metrics.thresholds import BINS, HALF, THRESHOLDS, counts_by_threshold
from counterpoise.runs.layout import RunFolder, TrialFolder
from counterpoise.runs.records import ThresholdCounts
from counterpoise.statistics.counts import CountTable

__all__ = ["Histograms", "TunedCounts", "choose_thresholds", "read_histograms", "split_halves", "tune"]

Histograms = Float[np.ndarray, "arm seed crop class_ 2 bin"]
"""Voxels by truth and predicted probability; NaN for a run without a result."""


@dataclass(frozen=True, eq=False)
class TunedCounts:
    """What the report half says, with thresholds from the other half.

    Parameters
    ----------
    table : CountTable
        Counts of the report half's crops at the tuned thresholds.
    at_half : CountTable
        The same crops at the threshold 1/2.
    thresholds : float array, shape (arms, seeds, classes)
        Chosen probabilities; NaN for a run without a result.
    select : tuple of str
        Crops the thresholds were chosen on.
    """

    table: CountTable
    at_half: CountTable
    thresholds: Float[np.ndarray, "arm seed class_"]
    select: tuple[str, ...]


def tune(table: CountTable, histograms: Histograms, *, by_data_set: bool = False) -> TunedCounts:
    """Choose thresholds on the select half and count the report half at them.

    Parameters
    ----------
    table : CountTable
        All crops.
    histograms : float array, shape (arms, seeds, crops, classes, 2, bins)
        Of the same runs and crops.
    by_data_set : bool
        Whether whole data sets go to one half.

    Returns
    -------
    TunedCounts
        Its report half is empty if there are fewer than two crops (or data sets) to divide.
    """
    finished = table.finished
    select = _select_crops(table, by_data_set) if finished.any() else np.zeros(len(table.crops), bool)
    report = ~select if select.any() else np.zeros_like(select)
    thresholds = np.full((len(table.arms), len(table.seeds), len(table.classes)), np.nan)
    counts = np.full((len(table.arms), len(table.seeds), int(report.sum()), len(table.classes), 3), np.nan)
    for a, s in zip(*np.nonzero(finished), strict=True):
        by_threshold = counts_by_threshold(histograms[a, s].astype(np.int64))
        chosen = choose_thresholds(by_threshold[:, select].sum(1))
        thresholds[a, s] = THRESHOLDS[chosen]
        counts[a, s] = by_threshold[chosen, :, np.arange(len(chosen))][:, report].swapaxes(0, 1)
    crops = tuple(np.array(table.crops)[report].tolist())
    at_half = replace(table, crops=crops, counts=table.counts[:, :, report])
    return TunedCounts(
        table=replace(at_half, counts=counts),
        at_half=at_half,
        thresholds=thresholds,
        select=tuple(np.array(table.crops)[select].tolist()),
    )


def choose_thresholds(counts: Int[np.ndarray, "threshold class_ 3"]) -> Int[np.ndarray, " class_"]:
    """Choose the threshold with the highest Dice for every class; of equals the one nearest to 1/2, the lower first.

    Returns
    -------
    int64 array, shape (classes,)
        Indices of thresholds; that of 1/2 where nothing is annotated as present.
    """
    dice = dice_score(counts[..., 0], counts[..., 1], counts[..., 2])
    dice = np.where(np.isnan(dice), -1.0, dice)
    order = np.argsort(np.abs(np.arange(len(dice)) - HALF), kind="stable")
    best: np.ndarray = order[np.argmax(dice[order], axis=0)]
    annotated = (counts[0, :, 0] + counts[0, :, 2]) > 0
    return np.where(annotated, best, HALF)


def split_halves(names: Sequence[str], positives: Float[np.ndarray, "crop class_"]) -> Bool[np.ndarray, " crop"]:
    """Divide crops so that both halves hold about the same of every class.

    The fullest crops first, each goes to the half that has less of its classes; the halves never differ by more than
    one crop, and the report half is the larger. Depends on nothing but names and annotation.

    Parameters
    ----------
    names : sequence of str
        Decide between equals, so that the order of the crops does not matter.
    positives : float array, shape (crops, classes)
        Voxels where each class is present.

    Returns
    -------
    bool array, shape (crops,)
        True for the select half.
    """
    total = positives.sum(0)
    share = positives / np.where(total > 0, total, 1.0)
    order = sorted(range(len(names)), key=lambda g: (-float(share[g].sum()), names[g]))
    select = np.zeros(len(names), bool)
    surplus = np.zeros(positives.shape[1])  # of the report half, class by class
    room = {True: len(names) // 2, False: len(names) - len(names) // 2}
    for g in order:
        to_select = bool(np.abs(surplus - share[g]).sum() < np.abs(surplus + share[g]).sum())
        if room[to_select] == 0:
            to_select = not to_select
        room[to_select] -= 1
        select[g] = to_select
        surplus += -share[g] if to_select else share[g]
    return select


def read_histograms(run: RunFolder, table: CountTable) -> Histograms:
    """Read what every finished run of a table predicted on its crops.

    Raises
    ------
    RunFolderError
        If a finished trial has no such record, or one of other crops.
    """
    shape = (len(table.arms), len(table.seeds), len(table.crops), len(table.classes), 2, BINS)
    histograms = np.full(shape, np.nan)
    for a, s in zip(*np.nonzero(table.finished), strict=True):
        folder = run.trial(table.arms[a], table.seeds[s])
        found = _read(folder)
        if (found.crops, found.classes) != (table.crops, table.classes) or found.counts.shape != shape[2:]:
            raise _unusable(folder, "another list of crops, classes or bins")
        histograms[a, s] = found.counts
    return histograms


def _read(folder: TrialFolder) -> ThresholdCounts:
    try:
        return ThresholdCounts.read(folder.thresholds)
    except FileNotFoundError:
        raise _unusable(folder, "no such file") from None
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise _unusable(folder, f"{type(error).__name__}: {error}") from error


def _unusable(folder: TrialFolder, found: str) -> RunFolderError:
    return RunFolderError(
        f"{folder.thresholds} does not say what other thresholds would score",
        expected="counts by predicted probability, as a trial leaves them after its last epoch",
        found=found,
        remedy="set verdict.thresholds to 'half', or delete this trial's folder and run the experiment again",
    )


def _select_crops(table: CountTable, by_data_set: bool) -> Bool[np.ndarray, " crop"]:
    first = table.counts[tuple(np.argwhere(table.finished)[0])]
    positives = first[..., 0] + first[..., 2]
    if not by_data_set:
        return split_halves(table.crops, positives)
    member = np.array([[crop.split("/", 1)[0] == name for crop in table.crops] for name in table.data_sets], float)
    chosen: np.ndarray = split_halves(table.data_sets, member @ positives) @ member > 0
    return chosen
