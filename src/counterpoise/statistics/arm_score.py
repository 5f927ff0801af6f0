"""How high the score of one arm is: its mean over seeds, with an interval (docs/verdict.md, hypotheses)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import scipy

from counterpoise.statistics.inference import crop_heterogeneity, satterthwaite
from counterpoise.statistics.run_noise import PRIOR_DF, RunNoise
from counterpoise.statistics.scores import PseudoValues, RunScores

__all__ = ["ArmScore", "RunSpread", "arm_score", "pool_run_spread"]


SMALL_SEED_SPREAD = 0.1
"""Chance that seeds look more alike than the degrees of freedom allow for (docs/verdict.md, hypotheses)."""


@dataclass(frozen=True)
class RunSpread:
    """Variance of one run's score, what its seed shares with other arms included, and its degrees of freedom."""

    variance: float
    df: float


@dataclass(frozen=True)
class ArmScore:
    """Score of one arm: mean over its ``seeds`` runs, standard error, degrees of freedom."""

    score: float
    se: float
    df: float
    seeds: int

    def interval(self, alpha: float) -> tuple[float, float]:
        """Return the two-sided t interval at level 1 - alpha, cut to [0, 1]: a Dice score has no other values."""
        half = float(scipy.stats.t.isf(alpha / 2, self.df)) * self.se
        return max(self.score - half, 0.0), min(self.score + half, 1.0)


def pool_run_spread(z: PseudoValues, noise: RunNoise) -> RunSpread:
    r"""Estimate the whole variance of a run's score from all arms.

    The runs of one arm have seeds of their own and are independent, so the squares within arms estimate it:

    .. math:: T = SS_{\mathrm{arms}} / (N - A), \qquad SS_{\mathrm{arms}} = SS_{\mathrm{seed}} + SS_r

    The arms of one seed are not independent. How much T is worth depends on how much of it is the seeds', of which
    there are few (Satterthwaite):

    .. math:: df = (U + SS_r)^2 / (U^2 / df_{\mathrm{seed}} + SS_r^2 / df_r)

    with :math:`U = SS_{\mathrm{seed}}` it promises too much: where the seeds happen to look alike, T is too small and
    df too large at the same time. U is therefore the upper bound of :math:`SS_{\mathrm{seed}}` that chance passes one
    time in ten. A difference of arms needs none of this: there the seeds' share cancels.
    """
    mean = z.mean(-1)
    run = np.isfinite(mean)
    arms = run.any(1)
    within = mean[arms] - np.nanmean(mean[arms], axis=1, keepdims=True)
    squares, df = float(np.nansum(within**2)), float(run.sum() - arms.sum())
    of_residuals = noise.df * noise.variance
    of_seeds, df_seeds = max(squares - of_residuals, 0.0), df - noise.df
    if not of_seeds > 0 or df_seeds <= 0:
        return RunSpread(squares / df, noise.df)
    bound = of_seeds * df_seeds / float(scipy.stats.chi2.ppf(SMALL_SEED_SPREAD, df_seeds))
    return RunSpread(squares / df, (bound + of_residuals) ** 2 / (bound**2 / df_seeds + of_residuals**2 / noise.df))


def arm_score(
    theta: RunScores,
    z: PseudoValues,
    noise: RunNoise,
    g_eff: float,
    arm: int,
    *,
    prior_df: float = PRIOR_DF,
) -> ArmScore:
    r"""Estimate the score of one arm, and how well it is known.

    .. math:: SE^2 = v / n + h, \qquad v = (d_0 T + (n - 1) s^2) / (d_0 + n - 1)

    The arm's own variance over seeds is pulled towards that of all arms (T, :func:`pool_run_spread`) as a pair's is;
    h is the jackknife variance of its mean score over crops without the training noise in it.

    Parameters
    ----------
    theta, z : float arrays, shapes (arms, seeds) and (arms, seeds, crops)
        Scores and pseudo-values; NaN for missing runs.
    noise : RunNoise
        From the same pseudo-values.
    g_eff : float
        Effective number of crops.
    arm : int
        One with two runs or more.
    """
    seeds = np.flatnonzero(np.isfinite(theta[arm]))
    n, own = len(seeds), z[arm, seeds]
    pooled = pool_run_spread(z, noise)
    variance = (prior_df * pooled.variance + (n - 1) * float(own.mean(1).var(ddof=1))) / (prior_df + n - 1)
    df_seeds = min(prior_df + n - 1, pooled.df)
    crops, observed = crop_heterogeneity(own)
    df = satterthwaite(variance / n, df_seeds, crops, observed, max(g_eff - 1, 1.0))
    return ArmScore(float(theta[arm, seeds].mean()), math.sqrt(variance / n + crops), float(df), n)
