"""Scores of all runs and every comparison of two arms: what verdict, hypotheses and race decide by."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from counterpoise.statistics.counts import CountTable
from counterpoise.statistics.inference import Pairs, adjusted_scores, compare_pairs
from counterpoise.statistics.run_noise import NO_NOISE, NOISY_PRIOR_DF, RunNoise, fit_run_noise, is_noisier
from counterpoise.statistics.scores import PseudoValues, RunScores, pooled_scores, pseudo_values
from counterpoise.statistics.verdict_types import Settings

__all__ = ["Measured", "comparisons", "mean_scores", "measure", "measure_scores"]


@dataclass(frozen=True, eq=False)
class Measured:
    """Mean Dice of some classes, run by run.

    Parameters
    ----------
    theta, z : float arrays, shapes (arms, seeds) and (arms, seeds, crops)
        Scores and pseudo-values.
    noise : RunNoise or None
        Of the arms that are no controls; None if it cannot be estimated.
    effective : float
        Number of crops they effectively rest on.
    pairs : Pairs or None
        None without a noise to judge by.
    baseline_is_noisy : bool
        Whether comparisons with the baseline rest on their own noise more than on that of all.
    """

    theta: RunScores
    z: PseudoValues
    noise: RunNoise | None
    effective: float
    pairs: Pairs | None
    baseline_is_noisy: bool


def measure(
    table: CountTable, scored: Bool[np.ndarray, " class_"], effective: float, settings: Settings, *, only: bool = False
) -> Measured:
    """Score every run and compare every two arms.

    A control trains with seeds of its own: it is left out of the noise, and its comparisons have the seeds' share of
    the noise in them.

    Parameters
    ----------
    scored : bool array, shape (classes,)
        Classes of the mean, at least one.
    effective : float
        Effective number of crops, averaged over them.
    only : bool
        Whether comparisons with the baseline are enough.
    """
    theta, z = pooled_scores(table.counts, scored), pseudo_values(table.counts, scored)
    return measure_scores(table, theta, z, effective, settings, only=only)


def measure_scores(
    table: CountTable, theta: RunScores, z: PseudoValues, effective: float, settings: Settings, *, only: bool = False
) -> Measured:
    """Compare every two arms of a table by some other score, as :func:`measure` does by Dice."""
    control = np.array([arm in table.controls for arm in table.arms], bool)
    own = np.where(control[:, None, None], np.nan, z)
    noise = fit_run_noise(own)
    base = table.arms.index(table.baseline) if table.baseline in table.arms else None
    if noise is None or noise.sd < NO_NOISE:
        return Measured(theta, z, noise, effective, None, baseline_is_noisy=False)
    noisy = base is not None and is_noisier(own.mean(-1), base)
    prior = np.full((len(theta), len(theta)), settings.prior_df)
    if noisy:
        prior[base, :] = prior[:, base] = min(NOISY_PRIOR_DF, settings.prior_df)
    pairs = compare_pairs(theta, z, noise, effective, prior_df=prior, unpaired=control, against=base if only else None)
    return Measured(theta, z, noise, effective, pairs, baseline_is_noisy=noisy)


def comparisons(table: CountTable) -> int:
    """Return how many arms are compared with the baseline; controls are not."""
    return max(len(table.arms) - len(table.controls) - 1, 1)


def mean_scores(found: Measured, baseline: int | None) -> Float[np.ndarray, " arm"]:
    """Return the score of every arm over its seeds: on the baseline's seeds where arms are compared, else plain means.

    Returns
    -------
    float array, shape (arms,)
        NaN for an arm without a run.
    """
    if found.pairs is not None and baseline is not None:
        return adjusted_scores(found.theta, found.pairs, baseline)
    there = np.isfinite(found.theta)
    plain = np.full(len(found.theta), np.nan)
    np.divide(np.where(there, found.theta, 0.0).sum(1), there.sum(1), out=plain, where=there.any(1))
    return plain
