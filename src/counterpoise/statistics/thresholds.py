"""Thresholds tuned on one half of the validation crops and scored on the other (docs/verdict.md).

What is chosen on the data it is scored on scores too high. So the crops are divided once, by their annotation alone:
thresholds are chosen on the ``select`` half, for every run and class by the same rule, and only the ``report`` half is
scored.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int

from counterpoise.errors import RunFolderError
from counterpoise.metrics.dice import dice_score
from counterpoise.metrics.thresholds import BINS, HALF, THRESHOLDS, counts_by_threshold
from counterpoise.runs.read import Run, Trial, Unreadable
from counterpoise.statistics.arm_verdict import TunedArm
from counterpoise.statistics.counts import CountTable
from counterpoise.statistics.scores import group_by_data_set, pooled_scores, scorable_classes

__all__ = [
    "Histograms",
    "TunedCounts",
    "choose_thresholds",
    "describe_tuning",
    "gather_histograms",
    "split_halves",
    "tune",
    "tune_run",
]

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
    at_half = table.of_crops(report)
    return TunedCounts(
        table=replace(at_half, counts=counts),
        at_half=at_half,
        thresholds=thresholds,
        select=tuple(np.array(table.crops)[select].tolist()),
    )


def describe_tuning(tuned: TunedCounts, min_crops: int, *, by_data_set: bool = False) -> tuple[TunedArm, ...]:
    """Say what tuned thresholds change, arm by arm, on the half they were not tuned on; empty without such a half.

    ``min_crops`` is how many crops (or data sets) with positives a class must have there to be scored.
    """
    if not tuned.table.crops or not tuned.table.finished.any():
        return ()
    scored = scorable_classes((tuned.table.by_data_set() if by_data_set else tuned.table).counts, min_crops)
    if not scored.any():
        return ()
    before, after = (pooled_scores(table.counts, scored) for table in (tuned.at_half, tuned.table))
    arms = []
    for a, name in enumerate(tuned.table.arms):
        runs = tuned.table.finished[a]
        if runs.any():
            thresholds = tuned.thresholds[a, runs].mean(0)
            arms.append(
                TunedArm(
                    name,
                    float(np.nanmean(before[a])),
                    float(np.nanmean(after[a])),
                    tuple((c, float(t)) for c, t in zip(tuned.table.classes, thresholds, strict=True)),
                )
            )
    return tuple(arms)


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
    left = {True: len(names) // 2, False: len(names) - len(names) // 2}
    for g in order:
        to_select = bool(np.abs(surplus - share[g]).sum() < np.abs(surplus + share[g]).sum())
        if left[to_select] == 0:
            to_select = not to_select
        left[to_select] -= 1
        select[g] = to_select
        surplus += -share[g] if to_select else share[g]
    return select


def gather_histograms(run: Run, table: CountTable) -> Histograms:
    """Gather what every finished run of a table predicted on its crops.

    Raises
    ------
    RunFolderError
        If a finished trial has no such record, or one of other crops.
    """
    shape = (len(table.arms), len(table.seeds), len(table.crops), len(table.classes), 2, BINS)
    histograms = np.full(shape, np.nan)
    for a, s in zip(*np.nonzero(table.finished), strict=True):
        trial = run.trial(table.arms[a], table.cells[a][s].seed)
        found = trial.thresholds
        if isinstance(found, Unreadable):
            raise _unusable(trial, found.reason)
        if (found.crops, found.classes) != (table.crops, table.classes) or found.counts.shape != shape[2:]:
            raise _unusable(trial, "another list of crops, classes or bins")
        histograms[a, s] = found.counts
    return histograms


def _unusable(trial: Trial, found: str) -> RunFolderError:
    return RunFolderError(
        f"{trial.folder.thresholds} does not say what other thresholds would score",
        expected="counts by predicted probability, as a trial leaves them after its last epoch",
        found=found,
        remedy="set verdict.thresholds to 'half', or delete this trial's folder and run the experiment again",
    )


def tune_run(run: Run, table: CountTable, *, by_data_set: bool, is_asked: bool) -> TunedCounts | None:
    """Tune the thresholds of a run; None where records are missing or damaged and nothing asked depends on them.

    Raises
    ------
    RunFolderError
        If it was asked for and a finished trial has no usable record of its probabilities.
    """
    try:
        histograms = gather_histograms(run, table)
    except RunFolderError:
        if is_asked:
            raise
        return None
    return tune(table, histograms, by_data_set=by_data_set)


def _select_crops(table: CountTable, by_data_set: bool) -> Bool[np.ndarray, " crop"]:
    first = table.counts[tuple(np.argwhere(table.finished)[0])]
    positives = first[..., 0] + first[..., 2]
    if not by_data_set:
        return split_halves(table.crops, positives)
    data_sets, member = group_by_data_set(table.crops)
    chosen: np.ndarray = split_halves(data_sets, member @ positives) @ member > 0
    return chosen
