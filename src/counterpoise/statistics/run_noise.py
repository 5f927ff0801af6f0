"""How much a score moves when the same arm is trained again: its variance, and what is odd about it (step 2).

Pure functions on arrays with the axes of :mod:`counterpoise.statistics.scores`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import scipy
from jaxtyping import Bool, Float

from counterpoise.statistics.scores import PseudoValues, RunScores

__all__ = [
    "NOISY_PRIOR_DF",
    "NO_NOISE",
    "PRIOR_DF",
    "RunNoise",
    "arm_spread",
    "fit_run_noise",
    "is_noisier",
    "moderate_variance",
    "stray_runs",
]

PRIOR_DF = 8.0
"""Weight, in degrees of freedom, of the pooled variance in a pair's own (docs/verdict.md, step 2; Smyth 2004)."""

NOISY_PRIOR_DF = 2.0
"""The same for pairs with an arm that is noisier than the others: there the pooled variance says little."""

NOISIER_LEVEL = 0.1
"""Level of the test whether an arm is noisier than the others."""

STRAY_SD = 6.0
"""A run that scores so many robust standard deviations below its arm has failed, whatever its status says."""

NO_NOISE = 1e-9
"""Scores that differ by less are the same score: no training repeats itself that well."""


@dataclass(frozen=True)
class RunNoise:
    """What training again with another seed does to a score.

    Parameters
    ----------
    variance : float
        Residual mean square of the additive arm + seed model: variance of one run's score.
    df : float
        Its degrees of freedom.
    seed_share : float
        Share of a run's variance that all arms of a seed have in common (rho), in [0, 1].
    residuals : float array, shape (arms, seeds)
        NaN where there is no run.
    """

    variance: float
    df: float
    seed_share: float
    residuals: RunScores

    @property
    def sd(self) -> float:
        """Return the standard deviation of a run's score."""
        return math.sqrt(self.variance)

    @property
    def unpaired(self) -> RunNoise:
        """Return the noise of a run beside one of another seed: what pairing removes is in it."""
        return RunNoise(self.variance / max(1 - self.seed_share, NO_NOISE), self.df, 0.0, self.residuals)

    def interval(self, alpha: float) -> tuple[float, float]:
        """Return the chi-squared interval of :attr:`sd` at level 1 - alpha."""
        scaled = self.df * self.variance
        return (
            math.sqrt(scaled / float(scipy.stats.chi2.isf(alpha / 2, self.df))),
            math.sqrt(scaled / float(scipy.stats.chi2.ppf(alpha / 2, self.df))),
        )


def fit_run_noise(z: PseudoValues) -> RunNoise | None:
    r"""Fit the additive model :math:`\bar z_{as} \sim \mathrm{arm} + \mathrm{seed}` to the runs there are (step 2).

    Returns
    -------
    RunNoise or None
        None if no degree of freedom is left for the residuals.
    """
    mean = z.mean(-1)
    arm, seed = np.nonzero(np.isfinite(mean))
    if not len(arm):
        return None
    response = mean[arm, seed]
    arms, in_arm = np.unique(arm, return_inverse=True)
    seeds, in_seed = np.unique(seed, return_inverse=True)
    design = np.hstack([np.eye(len(arms))[in_arm], np.eye(len(seeds))[in_seed][:, 1:]])
    effects, _, rank, _ = np.linalg.lstsq(design, response, rcond=None)
    df = float(len(response) - rank)
    if df < 1:
        return None
    left = response - design @ effects
    variance = float(left @ left) / df
    residuals = np.full(mean.shape, np.nan)
    residuals[arm, seed] = left
    seed_df = len(response) - len(arms) - df
    seed_variance = 0.0
    if seed_df > 0:
        within = response - (np.bincount(in_arm, response) / np.bincount(in_arm))[in_arm]
        mean_square = (float(within @ within) - df * variance) / seed_df
        seed_variance = max((mean_square - variance) / (len(response) / len(seeds)), 0.0)
    total = seed_variance + variance
    return RunNoise(variance, df, seed_variance / total if total > 0 else 0.0, residuals)


def arm_spread(noise: RunNoise) -> Float[np.ndarray, " arm"]:
    """Estimate each arm's own standard deviation over seeds, seed effects taken out.

    The residuals of an arm with n runs in a table of A arms have expected sum of squares variance (n - 1)(A - 1) / A.

    Returns
    -------
    float array, shape (arms,)
        NaN for an arm with fewer than two runs.
    """
    there = np.isfinite(noise.residuals)
    arms, runs = max(int(there.any(1).sum()), 2), there.sum(1)
    squares = np.where(there, noise.residuals, 0.0) ** 2
    spread = np.full(len(runs), np.nan)
    np.divide(squares.sum(1) * arms, (runs - 1) * (arms - 1), out=spread, where=runs > 1)
    np.sqrt(spread, out=spread)
    return spread


def moderate_variance(
    difference: Float[np.ndarray, " seed"], noise: RunNoise, *, prior_df: float = PRIOR_DF
) -> tuple[float, float]:
    r"""Variance of a pair's difference within one seed, and its degrees of freedom (step 2).

    .. math:: v = \frac{d_0 \cdot 2\,MSE + (n - 1) s^2}{d_0 + n - 1}

    The pair's own variance is pulled towards the pooled one, as if that had been seen d0 times [1]_. The pooled one
    contains the pair: with :math:`S = (n - 1) s^2` and :math:`R = 2\,MSE\,df_r - S` the rest of it, v is a sum of two
    independent parts, :math:`(1 + d_0 / df_r) S` and :math:`(d_0 / df_r) R`, with n - 1 and df_r - (n - 1) degrees of
    freedom, whose sum has (Satterthwaite)

    .. math:: df = \frac{(a S + b R)^2}{(a S)^2 / (n - 1) + (b R)^2 / (df_r - n + 1)}

    Two arms alone have no rest: v is their own variance, with n - 1.

    References
    ----------
    .. [1] G. K. Smyth, "Linear models and empirical Bayes methods for assessing differential expression in
       microarray experiments", Stat. Appl. Genet. Mol. Biol. 3(1), 2004.
    """
    own_df = len(difference) - 1
    own = own_df * float(difference.var(ddof=1))
    variance = (prior_df * 2 * noise.variance + own) / (prior_df + own_df)
    rest_df = noise.df - own_df
    rest = 2 * noise.variance * noise.df - own
    if rest_df <= 0 or rest <= 0:
        return variance, float(min(own_df, noise.df))
    a, b = (1 + prior_df / noise.df) * own, prior_df / noise.df * rest
    return variance, (a + b) ** 2 / (a**2 / own_df + b**2 / rest_df)


def is_noisier(mean: RunScores, arm: int) -> bool:
    """Test whether an arm's scores vary more over seeds than those of the others (one-sided F test, level 0.1).

    The arm's distance to the mean of the others, seed by seed, varies by its own variance and a share of theirs; it is
    compared with what the others leave of their additive model.

    Parameters
    ----------
    mean : float array, shape (arms, seeds)
        Scores; NaN for missing runs.
    arm : int
        Tested on the seeds it has, against the arms that have them all; False with fewer than two such arms or seeds.
    """
    seeds = np.flatnonzero(np.isfinite(mean[arm]))
    others = np.array([i for i in range(len(mean)) if i != arm and np.isfinite(mean[i, seeds]).all()], int)
    least = 2
    if len(others) < least or len(seeds) < least:
        return False
    distance = mean[arm, seeds] - mean[np.ix_(others, seeds)].mean(0)
    table = mean[np.ix_(others, seeds)]
    residuals = table - table.mean(0) - table.mean(1, keepdims=True) + table.mean()
    df = (len(others) - 1) * (len(seeds) - 1)
    variance = float((residuals**2).sum()) / df
    if not variance > 0:
        return False
    ratio = float(distance.var(ddof=1)) / (1 + 1 / len(others)) / variance
    return bool(scipy.stats.f.sf(ratio, len(seeds) - 1, df) < NOISIER_LEVEL)


def stray_runs(mean: RunScores) -> Bool[np.ndarray, "arm seed"]:
    """Find runs that score far below their arm: failures that nothing else reports.

    A run's distance is that to the median of its arm's other runs, after the median of each seed is taken out; the
    scale is the median size of the distances (times 1.4826, as for normal ones). The median of a seed is often one of
    its runs, whose distance says nothing: the smallest sizes, one fewer than seeds with a median, are left out [1]_. An
    arm needs three runs.

    References
    ----------
    .. [1] J. O. Street, R. J. Carroll and D. Ruppert, "A note on computing robust regression estimates via iteratively
       reweighted least squares", The American Statistician 42(2), 1988, pp. 152-154.
    """
    there = np.isfinite(mean)
    stray = np.zeros(mean.shape, bool)
    least = 3
    arms = np.flatnonzero(there.sum(1) >= least)
    if not len(arms):
        return stray
    level = np.full(mean.shape[1], np.nan)
    centred = (
        mean
        - np.array([np.median(row[np.isfinite(row)]) if np.isfinite(row).any() else np.nan for row in mean])[:, None]
    )
    for column in range(mean.shape[1]):
        found = centred[there[:, column], column]
        level[column] = np.median(found) if len(found) >= least else 0.0
    distance = np.full(mean.shape, np.nan)
    for arm in arms:
        for seed in np.flatnonzero(there[arm]):
            rest = np.flatnonzero(there[arm] & (np.arange(mean.shape[1]) != seed))
            distance[arm, seed] = mean[arm, seed] - level[seed] - np.median(mean[arm, rest] - level[rest])
    sizes = np.sort(np.abs(distance[np.isfinite(distance)]))
    fitted = int((there.sum(0) >= least).sum())
    scale = 1.4826 * float(np.median(sizes[max(fitted - 1, 0) :]))
    if scale > NO_NOISE:
        stray[arms] = distance[arms] < -STRAY_SD * scale
    return stray
