"""Every sentence about the further scores (docs/scores.md): what each table shows, and what it does not."""

from __future__ import annotations

from counterpoise.metrics.thresholds import BINS
from counterpoise.report import statements
from counterpoise.statistics.details import Details
from counterpoise.statistics.verdict_types import Verdict
from counterpoise.text import counted, fixed, listed, percent, shortest

__all__ = ["NOTHING", "arms", "boundary", "calibration", "classes", "data_sets", "introduction", "remarks"]

NOTHING = "Nothing further to show: no trial with counts has finished, or no class is scored."

_BIN = 1 / BINS


def introduction(details: Details) -> str:
    """Say what all of the tables rest on."""
    return (
        f"Further scores of {counted(len(details.scored), 'class')} that the verdict scores "
        f"({listed(details.scored)}), at probability 1/2 and on all validation crops: mean ± standard deviation over "
        "the finished seeds. They describe the runs; the verdict claims nothing from them."
    )


def arms(details: Details) -> str:
    """Say what the table of arms shows."""
    instance = [entry.name for entry in details.arms[0].classes if entry.is_instance]
    semantic = (
        "IoU as the CellMap Segmentation Challenge aggregates its semantic classes: pooled over crops, then the plain "
        "mean over classes; here on validation tiles."
    )
    parts = [semantic]
    if instance:
        parts.append(
            f"The challenge scores {listed(instance)} object by object; here there are masks only, whose IoU stands "
            "apart and is not the challenge's score."
        )
    if not details.no_probabilities:
        parts.append("Average precision and calibration error (0 is best): means over classes.")
    worst, crops = details.worst_crops, details.crops
    parts.append(
        f"Worst tenth: mean Dice of the {'lowest' if worst == 1 else f'{worst} lowest'} of {counted(crops, 'crop')}, "
        "run by run; the crop that is named is the lowest on average."
    )
    return " ".join(parts)


def data_sets(details: Details) -> str:
    """Say what the table of data sets shows."""
    return (
        "Dice by data set: counts pooled over its crops, mean over the scored classes present there, and the "
        f"difference to {details.baseline} over common seeds. The last row counts the data sets in which an arm is "
        "higher and lower than the baseline."
    )


def classes(details: Details) -> str:
    """Say what the table of classes shows."""
    text = "Precision: share of predicted voxels that are right; recall: share of annotated voxels that are found."
    if details.no_probabilities:
        return text
    return (
        f"{text} Average precision: over all thresholds. Calibration error: how far predicted probabilities are from "
        f"observed shares, mean over voxels; known to ±{fixed(_BIN / 2)}, as probabilities are stored in "
        f"{BINS} bins."
    )


def calibration() -> str:
    """Say what the table of calibration shows."""
    return (
        "How often a class is present where a probability was predicted, and in brackets the share of known voxels "
        "with such a probability; means over seeds. Where a network is calibrated, the shares lie in the range of "
        "their row."
    )


def boundary(details: Details, verdict: Verdict) -> str:
    """Say what the table of boundaries shows."""
    within = f"{shortest(details.tolerance_nm or 0.0)} nm"
    text = (
        f"Surface Dice: share of boundary voxels of prediction and annotation that have one of the other within "
        f"{within}. clDice: how much of both centre lines lies inside the other mask; it says something about what is "
        "thin in a section, as membranes are, and little about round things. Both section by section, from counts "
        "pooled over crops."
    )
    compared = any(
        score is not None and score.low is not None
        for arm in details.arms for entry in arm.classes for score in (entry.surface, entry.centre_line)
    )  # fmt: skip
    if not compared:
        return f"{text} No intervals: too few seeds or crops to compare."
    level = percent(1 - verdict.settings.alpha)
    return f"{text} Δ: difference to {details.baseline} with its single {level} interval. {statements.EXPLORATORY}"


def remarks(details: Details) -> tuple[str, ...]:
    """Say what is missing."""
    found = []
    if details.no_probabilities:
        found.append(f"No average precision and calibration: {details.no_probabilities}.")
    if details.no_boundaries:
        found.append(f"No record of boundaries in {listed(details.no_boundaries)}: not in the table of boundaries.")
    return tuple(found)
