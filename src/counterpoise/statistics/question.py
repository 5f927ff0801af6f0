"""What a run is asked, as its configuration said before the first training: the counts to judge, and by which rules."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from counterpoise.errors import RunFolderError
from counterpoise.runs.layout import RunFolder
from counterpoise.runs.records import ArmsRecord, read_arms
from counterpoise.statistics.counts import CountTable, read_counts
from counterpoise.statistics.scores import pooled_scores, scorable_classes
from counterpoise.statistics.thresholds import TunedCounts, read_histograms, tune
from counterpoise.statistics.verdict_types import Settings, TunedArm

__all__ = ["Question", "read_question", "read_tuned"]


@dataclass(frozen=True, eq=False)
class Question:
    """What is to be judged.

    Parameters
    ----------
    record : ArmsRecord
        The arms as they were planned.
    table : CountTable
        Clusters are crops or data sets, at thresholds of 1/2 or tuned ones, as asked.
    settings : Settings
        Margin, looks and the like.
    tuned : tuple of TunedArm
        What tuning thresholds would change, arm by arm; empty where a finished trial has no usable record of it.
    """

    record: ArmsRecord
    table: CountTable
    settings: Settings
    tuned: tuple[TunedArm, ...]


def read_question(run: RunFolder) -> Question:
    """Read a run's counts in the form its ``[verdict]`` asks for.

    Raises
    ------
    RunFolderError
        If this is not a run folder, its counts cannot be used together, or tuned thresholds are asked for and a
        finished trial has no record of them.
    """
    record = read_arms(run)
    asked = record.verdict
    table = read_counts(run)
    by_data_set = asked.unit == "data_set"
    tuned = read_tuned(run, table, by_data_set=by_data_set, is_asked=asked.thresholds == "tuned")
    judged = tuned.table if tuned is not None and asked.thresholds == "tuned" else table
    settings = Settings(
        margin=asked.margin,
        looks=asked.looks,
        allow_unstable=asked.allow_unstable,
        unit=asked.unit,
        thresholds=asked.thresholds,
        select_crops=len(tuned.select) if tuned is not None and asked.thresholds == "tuned" else 0,
    )
    arms = describe_tuning(tuned, settings.min_crops, by_data_set=by_data_set) if tuned is not None else ()
    return Question(record, judged.by_data_set() if by_data_set else judged, settings, arms)


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


def read_tuned(run: RunFolder, table: CountTable, *, by_data_set: bool, is_asked: bool) -> TunedCounts | None:
    """Tune the thresholds of a run; None where records are missing or damaged and nothing asked depends on them.

    Raises
    ------
    RunFolderError
        If it was asked for and a finished trial has no usable record of its probabilities.
    """
    try:
        histograms = read_histograms(run, table)
    except RunFolderError:
        if is_asked:
            raise
        return None
    return tune(table, histograms, by_data_set=by_data_set)
