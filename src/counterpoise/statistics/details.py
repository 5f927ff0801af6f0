"""More scores of a run, arm by arm and class by class: descriptions, no claims (docs/scores.md)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from counterpoise.errors import RunFolderError
from counterpoise.runs.read import Run
from counterpoise.statistics.boundary import BoundaryScore, gather_boundaries, score_class
from counterpoise.statistics.counts import CountTable, tabulate_counts
from counterpoise.statistics.detail_scores import (
    INSTANCE_CLASSES,
    average_precision,
    calibration_error,
    class_iou,
    crop_dice,
    data_set_dice,
    precision,
    recall,
    reliability,
    worst_count,
    worst_crops,
    worst_dice,
)
from counterpoise.statistics.results import Spread
from counterpoise.statistics.scores import group_by_data_set, positive_crops
from counterpoise.statistics.thresholds import Histograms, gather_histograms
from counterpoise.statistics.verdict_types import Verdict
from counterpoise.text import finite

__all__ = ["ArmDetails", "ClassDetails", "DataSetDice", "DataSetSupport", "Details", "Reliability", "describe_run"]

RANGES = 8
"""Of probability, in the tables of calibration: eight bins each."""


@dataclass(frozen=True)
class Reliability:
    """Voxels with a predicted probability in (low, high]: their share, and how many of them are of the class.

    Both are means over the seeds that have such voxels, 0 and None where no seed has.
    """

    low: float
    high: float
    share: float
    present: float | None


@dataclass(frozen=True)
class ClassDetails:
    """One class of one arm.

    Parameters
    ----------
    is_instance : bool
        Whether the CellMap challenge scores it object by object.
    iou, precision, recall : Spread or None
        Mean over the finished seeds, from counts pooled over crops; precision is missing where nothing is predicted.
    average_precision, calibration_error : Spread or None
        From the voxels by predicted probability; None without that record.
    reliability : tuple of Reliability
        Empty without that record.
    surface, centre_line : BoundaryScore or None
        Normalised surface Dice and clDice; None where they were not counted.
    """

    name: str
    is_instance: bool
    iou: Spread | None
    precision: Spread | None
    recall: Spread | None
    average_precision: Spread | None
    calibration_error: Spread | None
    reliability: tuple[Reliability, ...]
    surface: BoundaryScore | None
    centre_line: BoundaryScore | None


@dataclass(frozen=True)
class DataSetDice:
    """Dice of one arm in one data set, and the mean difference to the baseline over common seeds (None for itself)."""

    name: str
    dice: Spread | None
    difference: float | None


@dataclass(frozen=True)
class ArmDetails:
    """One arm.

    Parameters
    ----------
    semantic_iou, mask_iou : Spread or None
        Mean IoU of the challenge's semantic classes, and of the masks of its instance classes; None without such a
        class.
    average_precision, calibration_error : Spread or None
        Means over the scored classes.
    worst : Spread or None
        Mean Dice of the worst tenth of the crops of each run.
    worst_crops : tuple of str
        As many crops, those with the lowest mean over the seeds, the lowest first.
    """

    name: str
    runs: int
    semantic_iou: Spread | None
    mask_iou: Spread | None
    average_precision: Spread | None
    calibration_error: Spread | None
    worst: Spread | None
    worst_crops: tuple[str, ...]
    data_sets: tuple[DataSetDice, ...]
    classes: tuple[ClassDetails, ...]

    @property
    def higher(self) -> int:
        """Count the data sets in which it scores higher than the baseline."""
        return sum(entry.difference is not None and entry.difference > 0 for entry in self.data_sets)

    @property
    def lower(self) -> int:
        """Count the data sets in which it scores lower than the baseline."""
        return sum(entry.difference is not None and entry.difference < 0 for entry in self.data_sets)


@dataclass(frozen=True)
class DataSetSupport:
    """A data set: its crops, and how many scored classes are present in it."""

    name: str
    crops: int
    classes: int


@dataclass(frozen=True)
class Details:
    """More scores of a run, at probability 1/2 and on all validation crops, of the classes that the verdict scores.

    Parameters
    ----------
    scored : tuple of str
        The classes.
    crops, worst_crops : int
        Crops in which a scored class is present, and how many the worst tenth are.
    arms : tuple of ArmDetails
        Those with a finished run, in the order of the verdict.
    tolerance_nm : float or None
        Of the surface Dice; None where boundaries were not counted.
    no_probabilities : str
        Why there are no scores by probability; empty if there are.
    no_boundaries : tuple of str
        Finished trials without a record of boundaries, where others have one.
    """

    baseline: str
    scored: tuple[str, ...]
    crops: int
    worst_crops: int
    data_sets: tuple[DataSetSupport, ...]
    arms: tuple[ArmDetails, ...]
    tolerance_nm: float | None
    no_probabilities: str
    no_boundaries: tuple[str, ...]


def describe_run(run: Run, verdict: Verdict) -> Details | None:
    """Compute all of it from what the finished trials of a run left.

    Parameters
    ----------
    run : Run
        Finished or not; nothing is written.
    verdict : Verdict
        On the same run: says which classes are scored, and what was asked.

    Returns
    -------
    Details or None
        None where no trial has finished or no class is scored.
    """
    table = tabulate_counts(run)
    if not table.finished.any() or not verdict.scored:
        return None
    return _Description(run, table, verdict).details()


class _Description:
    """What several figures need, computed once."""

    def __init__(self, run: Run, table: CountTable, verdict: Verdict) -> None:
        self.table, self.verdict = table, verdict
        self.scored = np.array([name in verdict.scored for name in table.classes], bool)
        self.names, self.member = group_by_data_set(table.crops)
        counts = table.counts
        self.iou, self.precision, self.recall = class_iou(counts), precision(counts), recall(counts)
        self.by_crop = crop_dice(counts, self.scored)
        self.worst = worst_dice(self.by_crop)
        self.by_data_set = data_set_dice(counts, self.scored, self.member)
        self.boundaries = gather_boundaries(run, table)
        histograms: Histograms | None = None
        self.no_probabilities = ""
        try:
            histograms = gather_histograms(run, table)
        except RunFolderError as error:
            self.no_probabilities = f"{error.problem}: {error.found}"
        self.average_precision = None if histograms is None else average_precision(histograms)
        self.calibration = None if histograms is None else calibration_error(histograms)
        self.reliability = None if histograms is None else reliability(histograms, RANGES)
        columns = [c for c, is_scored in enumerate(self.scored) if is_scored]
        self.surface = {} if self.boundaries is None else {
            c: score_class(table, self.boundaries, c, verdict.settings) for c in columns
        }  # fmt: skip

    def details(self) -> Details:
        """Put the parts together."""
        table, present = self.table, positive_crops(self.table.counts) & self.scored
        order = [table.arms.index(arm.name) for arm in self.verdict.arms if arm.name in table.arms]
        by_class = self.member @ present.astype(int) > 0
        return Details(
            baseline=table.baseline,
            scored=self.verdict.scored,
            crops=int(present.any(1).sum()),
            worst_crops=worst_count(int(present.any(1).sum())),
            data_sets=tuple(
                DataSetSupport(name, int(self.member[d].sum()), int(by_class[d].sum()))
                for d, name in enumerate(self.names)
            ),
            arms=tuple(self._arm(a) for a in order if table.finished[a].any()),
            tolerance_nm=None if self.boundaries is None else self.boundaries.tolerance_nm,
            no_probabilities=self.no_probabilities,
            no_boundaries=() if self.boundaries is None else self.boundaries.missing,
        )

    def _arm(self, a: int) -> ArmDetails:
        table = self.table
        instance = np.array([name in INSTANCE_CLASSES for name in table.classes], bool)
        names = np.array(table.crops)
        return ArmDetails(
            name=table.arms[a],
            runs=int(table.finished[a].sum()),
            semantic_iou=_mean_over(self.iou[a], self.scored & ~instance),
            mask_iou=_mean_over(self.iou[a], self.scored & instance),
            average_precision=self._over_classes(self.average_precision, a),
            calibration_error=self._over_classes(self.calibration, a),
            worst=_spread(self.worst[a]),
            worst_crops=tuple(names[worst_crops(self.by_crop[a])].tolist()),
            data_sets=tuple(self._data_set(a, d) for d in range(len(self.names))),
            classes=tuple(self._class(a, c) for c in np.flatnonzero(self.scored).tolist()),
        )

    def _over_classes(self, values: np.ndarray | None, a: int) -> Spread | None:
        return None if values is None else _mean_over(values[a], self.scored)

    def _data_set(self, a: int, d: int) -> DataSetDice:
        table, dice = self.table, self.by_data_set[:, :, d]
        difference = None
        if table.baseline in table.arms and table.arms[a] != table.baseline:
            both = _spread(dice[a] - dice[table.arms.index(table.baseline)])
            difference = both.mean if both else None
        return DataSetDice(self.names[d], _spread(dice[a]), difference)

    def _class(self, a: int, c: int) -> ClassDetails:
        name = self.table.classes[c]
        surface, centre_line = (scores[a] for scores in self.surface[c]) if c in self.surface else (None, None)
        return ClassDetails(
            name=name,
            is_instance=name in INSTANCE_CLASSES,
            iou=_spread(self.iou[a, :, c]),
            precision=_spread(self.precision[a, :, c]),
            recall=_spread(self.recall[a, :, c]),
            average_precision=None if self.average_precision is None else _spread(self.average_precision[a, :, c]),
            calibration_error=None if self.calibration is None else _spread(self.calibration[a, :, c]),
            reliability=() if self.reliability is None else _ranges(self.reliability[a, :, c]),
            surface=surface,
            centre_line=centre_line,
        )


def _ranges(found: np.ndarray) -> tuple[Reliability, ...]:
    """Average shares, shape (seeds, ranges, 2), over the seeds that have them."""
    ranges = []
    for g in range(RANGES):
        share, present = (_spread(found[:, g, k]) for k in range(2))
        mean = present.mean if present else None
        ranges.append(Reliability(g / RANGES, (g + 1) / RANGES, share.mean if share else 0.0, mean))
    return tuple(ranges)


def _mean_over(scores: np.ndarray, chosen: np.ndarray) -> Spread | None:
    """Summarise the mean over some classes, seed by seed; None without such a class."""
    return _spread(scores[:, chosen].mean(1)) if chosen.any() else None


def _spread(values: Sequence[float] | np.ndarray) -> Spread | None:
    return Spread.of([finite(float(value)) for value in values])
