"""Surface Dice and clDice of every class, through the statistics of the verdict (docs/scores.md).

Axes are those of :mod:`counterpoise.statistics.scores`; the last one is the four integers of
:mod:`counterpoise.metrics.boundary`. A run without a record is a slab of NaN.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from counterpoise.metrics.boundary import PARTS, cl_dice, surface_dice
from counterpoise.runs.read import Run, Unreadable
from counterpoise.statistics.counts import CountTable
from counterpoise.statistics.inference import half_widths
from counterpoise.statistics.measured import measure_scores
from counterpoise.statistics.results import Spread
from counterpoise.statistics.scores import PseudoValues, RunScores, group_by_data_set
from counterpoise.statistics.verdict_types import Settings, Unit
from counterpoise.text import finite

__all__ = ["BoundaryScore", "BoundaryTable", "effective_number", "gather_boundaries", "jackknife", "score_class"]

Parts = Float[np.ndarray, "arm seed crop 4"]
Score = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True, eq=False)
class BoundaryTable:
    """Counts of boundary and skeleton voxels of every run.

    Parameters
    ----------
    tolerance_nm : float
        Of the surface counts.
    surface, skeleton : float array, shape (arms, seeds, crops, classes, 4)
        Of the arms, seeds, crops and classes of a table of counts; NaN for a run without a record.
    missing : tuple of str
        Finished trials without a usable record: arm and seed.
    """

    tolerance_nm: float
    surface: Float[np.ndarray, "arm seed crop class_ 4"]
    skeleton: Float[np.ndarray, "arm seed crop class_ 4"]
    missing: tuple[str, ...]


@dataclass(frozen=True)
class BoundaryScore:
    """One score of one class of one arm: mean over seeds, difference to the baseline, its single interval.

    ``difference``, ``low`` and ``high`` are None for the baseline, and where nothing can be compared.
    """

    score: Spread | None
    difference: float | None
    low: float | None
    high: float | None


def gather_boundaries(run: Run, table: CountTable) -> BoundaryTable | None:
    """Gather the boundary counts of every finished run of a table; None if there are none.

    Records of other crops, classes or another tolerance than the first one's are missing ones.
    """
    shape = (len(table.arms), len(table.seeds), len(table.crops), len(table.classes), PARTS)
    surface, skeleton = np.full(shape, np.nan), np.full(shape, np.nan)
    tolerance_nm, missing = None, []
    for a, s in zip(*np.nonzero(table.finished), strict=True):
        found = run.trial(table.arms[a], table.cells[a][s].seed).boundaries
        if (
            isinstance(found, Unreadable)
            or (found.crops, found.classes) != (table.crops, table.classes)
            or tolerance_nm not in {None, float(found.tolerance_nm)}
        ):
            missing.append(f"{table.arms[a]} seed {table.cells[a][s].seed}")
            continue
        tolerance_nm = float(found.tolerance_nm)
        surface[a, s], skeleton[a, s] = found.surface, found.skeleton
    return None if tolerance_nm is None else BoundaryTable(tolerance_nm, surface, skeleton, tuple(missing))


def score_class(
    table: CountTable, boundaries: BoundaryTable, class_index: int, settings: Settings
) -> tuple[tuple[BoundaryScore, ...], tuple[BoundaryScore, ...]]:
    """Score one class of every arm: surface Dice, then clDice."""
    counted = (boundaries.surface, surface_dice), (boundaries.skeleton, cl_dice)
    surface, centre = (_score(table, parts[:, :, :, class_index], score, settings) for parts, score in counted)
    return surface, centre


def jackknife(parts: Parts, score: Score) -> PseudoValues:
    r"""Make the delete-one-crop pseudo-values of a score of pooled counts (docs/verdict.md, step 1).

    .. math:: z_g = G\,s(\sum_f n_f) - (G - 1)\,s(\sum_{f \ne g} n_f)
    """
    crops = parts.shape[2]
    total = parts.sum(2, keepdims=True)
    values: PseudoValues = crops * score(total) - (crops - 1) * score(total - parts)
    return values


def effective_number(parts: Parts) -> float:
    """Count the crops a score effectively rests on, by Kish's formula, from the voxels of both masks."""
    voxels = parts[..., 1] + parts[..., 3]
    mean = voxels[np.isfinite(voxels).all(-1)].mean(0)
    return float(mean.sum() ** 2 / (mean**2).sum()) if mean.any() else float("nan")


def _score(table: CountTable, parts: Parts, score: Score, settings: Settings) -> tuple[BoundaryScore, ...]:
    if settings.unit is Unit.DATA_SET:
        _, member = group_by_data_set(table.crops)
        parts = np.einsum("dg,asgk->asdk", member.astype(float), parts)
    theta: RunScores = score(parts.sum(2))
    middle, low, high = (np.full(len(table.arms), np.nan) for _ in range(3))
    is_annotated = (np.nan_to_num(parts[..., 3]).max((0, 1)) > 0).sum() >= settings.min_crops
    if table.baseline in table.arms and is_annotated:
        middle, low, high = _compare(table, theta, jackknife(parts, score), effective_number(parts), settings)
    return tuple(
        BoundaryScore(
            Spread.of([finite(float(value)) for value in theta[a]]),
            *(finite(float(bound[a])) for bound in (middle, low, high)),
        )
        for a in range(len(table.arms))
    )


def _compare(
    table: CountTable, theta: RunScores, z: PseudoValues, effective: float, settings: Settings
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Compare every arm with the baseline as the verdict does class by class: difference, and its single interval."""
    pairs, baseline = measure_scores(table, theta, z, effective, settings, only=True).pairs, table.baseline
    if pairs is None:
        nothing = np.full(len(theta), np.nan)
        return nothing, nothing, nothing
    column = table.arms.index(baseline)
    middle, half = pairs.difference[:, column], half_widths(pairs, settings.alpha)[:, column]
    return middle, middle - half, middle + half
