"""The statistics of the verdict: from pseudo-values to intervals, sets and labels (docs/verdict.md, steps 2 to 7).

Pure functions on arrays with the axes of :mod:`counterpoise.statistics.scores`. Whatever a library has (the linear
model, the quantiles) is the library's; the rest is a line or two each.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import scipy
from jaxtyping import Bool, Float, Int

from counterpoise.statistics.scores import PseudoValues, RunScores

__all__ = [
    "NO_NOISE",
    "Label",
    "Pairs",
    "RunNoise",
    "Scope",
    "arm_spread",
    "best_set",
    "compare_pairs",
    "crop_heterogeneity",
    "crop_spread",
    "fit_run_noise",
    "intervals",
    "label_interval",
    "moderate_variance",
    "probability_of_winning",
    "satterthwaite",
]


class Scope(StrEnum):
    """What an interval holds for: new crops like these, or these validation crops and no others."""

    NEW = "new"
    THIS = "this"


class Label(StrEnum):
    """What the interval of a difference to the baseline shows."""

    BASELINE = "baseline"
    BETTER_BY_MARGIN = "better, by at least the margin"
    BETTER = "better"
    WORSE = "worse"
    SAME = "same within the margin"
    UNDECIDED = "undecided"
    NOT_COMPARED = "not compared"


ByPair = Float[np.ndarray, "arm arm"]
Floats = np.ndarray | float

PRIOR_DF = 8.0
"""Weight, in degrees of freedom, of the pooled variance in a pair's own (docs/verdict.md, step 2; Smyth 2004)."""

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

    def interval(self, alpha: float) -> tuple[float, float]:
        """Return the chi-squared interval of :attr:`sd` at level 1 - alpha."""
        scaled = self.df * self.variance
        return (
            math.sqrt(scaled / float(scipy.stats.chi2.isf(alpha / 2, self.df))),
            math.sqrt(scaled / float(scipy.stats.chi2.ppf(alpha / 2, self.df))),
        )


@dataclass(frozen=True)
class Pairs:
    """Differences between arms (row minus column) and how well they are known; NaN where they are not compared.

    Parameters
    ----------
    common : int array, shape (arms, arms)
        Seeds that both finished.
    difference : float array, shape (arms, arms)
        Mean over common seeds of the difference of scores.
    one_seed : float array, shape (arms, arms)
        Moderated variance of the difference within one seed.
    crops : float array, shape (arms, arms)
        Variance that other crops would add; 0 in the scope ``this``.
    crops_observed : float array, shape (arms, arms)
        Variance over crops of the mean difference, with the training noise that is in it.
    df_seeds, df_crops : float array, shape (arms, arms); float
        Degrees of freedom of the two.
    se, df : float array, shape (arms, arms)
        Standard error of ``difference`` and Satterthwaite's degrees of freedom.
    """

    common: Int[np.ndarray, "arm arm"]
    difference: ByPair
    one_seed: ByPair
    crops: ByPair
    crops_observed: ByPair
    df_seeds: ByPair
    df_crops: float
    se: ByPair
    df: ByPair


# Training noise (step 2) ----------------------------------------------------------------------------------------


def fit_run_noise(z: PseudoValues) -> RunNoise | None:
    r"""Fit the additive model :math:`\bar z_{as} \sim \mathrm{arm} + \mathrm{seed}` to the runs there are (step 2).

    Returns
    -------
    RunNoise or None
        None if no degree of freedom is left for the residuals.
    """
    # statsmodels takes more than a second to import, and most commands need no verdict.
    from statsmodels.regression.linear_model import OLS  # type: ignore[import-untyped]

    mean = z.mean(-1)
    arm, seed = np.nonzero(np.isfinite(mean))
    if not len(arm):
        return None
    response = mean[arm, seed]
    arms = (arm[:, None] == np.unique(arm)).astype(float)
    seeds = (seed[:, None] == np.unique(seed)[1:]).astype(float)
    model = OLS(response, np.hstack([arms, seeds]))
    if model.df_resid < 1:
        return None
    fit = model.fit()
    variance, df = float(fit.mse_resid), float(fit.df_resid)
    residuals = np.full(mean.shape, np.nan)
    residuals[arm, seed] = fit.resid
    arms_only = OLS(response, arms)
    seed_df = float(arms_only.df_resid) - df
    seed_variance = 0.0
    if seed_df > 0:
        mean_square = (float(arms_only.fit().ssr) - df * variance) / seed_df
        seed_variance = max((mean_square - variance) / (len(arm) / (seeds.shape[1] + 1)), 0.0)
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

    .. math:: v = \frac{d_0 \cdot 2\,MSE + (n - 1) s^2}{d_0 + n - 1}, \qquad df = \min(d_0 + n - 1, df_r)

    The pair's own variance is pulled towards the pooled one, as if that had been seen d0 times [1]_.

    References
    ----------
    .. [1] G. K. Smyth, "Linear models and empirical Bayes methods for assessing differential expression in
       microarray experiments", Stat. Appl. Genet. Mol. Biol. 3(1), 2004.
    """
    own = len(difference) - 1
    variance = (prior_df * 2 * noise.variance + own * float(difference.var(ddof=1))) / (prior_df + own)
    return variance, min(prior_df + own, noise.df)


# Crops (step 3) -------------------------------------------------------------------------------------------------


def crop_heterogeneity(difference: Float[np.ndarray, "seed crop"]) -> tuple[float, float]:
    r"""Variance that other crops would add to a pair's mean difference, and what was observed (step 3).

    .. math:: h = \max(0,\ \mathrm{Var}_g(\bar d_g) / G - MS_{\mathrm{resid}} / (n G))

    Returns
    -------
    heterogeneity, observed : float
        h, and the first term.
    """
    observed, residual = crop_spread(difference)
    return max(observed - residual / difference.size, 0.0), observed


def crop_spread(difference: Float[np.ndarray, "seed crop"]) -> tuple[float, float]:
    r"""Variance over crops of a pair's mean difference, and the noise that is in it (step 3).

    Returns
    -------
    observed, residual : float
        :math:`\mathrm{Var}_g(\bar d_g) / G`, and the mean square :math:`MS_{\mathrm{resid}}` that seeds and crops
        leave.
    """
    seeds, crops = difference.shape
    by_seed, by_crop = difference.mean(1), difference.mean(0)
    left = difference - by_seed[:, None] - by_crop + difference.mean()
    return float(by_crop.var(ddof=1)) / crops, float((left**2).sum()) / ((seeds - 1) * (crops - 1))


# Differences (step 4) -------------------------------------------------------------------------------------------


def compare_pairs(
    theta: RunScores,
    z: PseudoValues,
    noise: RunNoise,
    g_eff: float,
    *,
    scope: Scope = Scope.NEW,
    prior_df: float = PRIOR_DF,
    against: int | None = None,
) -> Pairs:
    r"""Compare every two arms on the seeds that both finished (steps 2 to 4).

    .. math:: D_{ij} = \mathrm{mean}_s(\theta_{is} - \theta_{js}), \qquad SE^2 = v_{ij} / n + h_{ij}

    Parameters
    ----------
    theta, z : float arrays, shapes (arms, seeds) and (arms, seeds, crops)
        Scores and pseudo-values; NaN for missing runs.
    noise : RunNoise
        From the same pseudo-values.
    g_eff : float
        Effective number of crops, averaged over the scored classes.
    scope : Scope
        Whether the crops' heterogeneity counts.
    against : int, optional
        Compare with this arm only.

    Returns
    -------
    Pairs
        NaN for two arms with fewer than two common seeds.
    """
    arms = len(theta)
    run = np.isfinite(theta)
    common = run.astype(int) @ run.astype(int).T
    difference, one_seed, crops, observed, df_seeds = (np.full((arms, arms), np.nan) for _ in range(5))
    for i in range(arms):
        for j in range(i):
            if common[i, j] < 2 or against not in (None, i, j):  # noqa: PLR2004 - a spread needs two
                continue
            seeds = np.flatnonzero(run[i] & run[j])
            d = z[i, seeds] - z[j, seeds]
            difference[i, j] = (theta[i, seeds] - theta[j, seeds]).mean()
            difference[j, i] = -difference[i, j]
            v, df = moderate_variance(d.mean(1), noise, prior_df=prior_df)
            h, seen = crop_heterogeneity(d) if scope is Scope.NEW else (0.0, 0.0)
            for table, value in ((one_seed, v), (crops, h), (observed, seen), (df_seeds, df)):
                table[i, j] = table[j, i] = value
    df_crops = max(g_eff - 1, 1.0)
    training = one_seed / np.maximum(common, 1)
    return Pairs(
        common=common,
        difference=difference,
        one_seed=one_seed,
        crops=crops,
        crops_observed=observed,
        df_seeds=df_seeds,
        df_crops=df_crops,
        se=np.sqrt(training + crops),
        df=satterthwaite(training, df_seeds, crops, observed, df_crops),
    )


def satterthwaite(
    training: Floats, df_seeds: Floats, crops: Floats, observed: Floats, df_crops: float
) -> Float[np.ndarray, "*shape"]:
    """Degrees of freedom of the sum of training noise and crop heterogeneity (step 4).

    Where crops add nothing they cost nothing; where nothing varies at all, those of the training noise.
    """
    below = np.asarray(training**2 / df_seeds + np.where(crops > 0, observed**2 / df_crops, 0.0))
    df = np.array(df_seeds, dtype=float)
    np.divide((training + crops) ** 2, below, out=df, where=below > 0)
    return df


# Claims (steps 5 to 7) ------------------------------------------------------------------------------------------


def intervals(pairs: Pairs, column: int, *, alpha: float, comparisons: int) -> tuple[np.ndarray, np.ndarray]:
    r"""Two-sided intervals of every arm's difference to one arm, simultaneous over ``comparisons`` (step 5).

    .. math:: D \pm t_{1 - \alpha / (2k)}(df)\, SE, \qquad k = (A - 1) \cdot \mathrm{looks}

    Bonferroni; ``comparisons=1`` gives single intervals.
    """
    half = scipy.stats.t.isf(alpha / 2 / comparisons, pairs.df[:, column]) * pairs.se[:, column]
    middle = pairs.difference[:, column]
    return middle - half, middle + half


def best_set(
    pairs: Pairs, eligible: Bool[np.ndarray, " arm"], *, alpha: float, comparisons: int
) -> Bool[np.ndarray, " arm"]:
    r"""Find the arms that cannot be told apart from the best (step 6; Gupta 1965, Hsu 1996).

    Arm i leaves if some other arm j has :math:`D_{ji} > t_{1 - \alpha / k}(df)\, SE_{ji}`. The set holds the best
    of the eligible arms with probability 1 - alpha or more.

    Parameters
    ----------
    eligible : bool array, shape (arms,)
        Arms that may be in the set and may push others out.
    """
    bound = scipy.stats.t.isf(alpha / comparisons, pairs.df) * pairs.se
    with np.errstate(invalid="ignore"):
        beaten = (-pairs.difference > bound) & eligible[None, :]
    inside: Bool[np.ndarray, " arm"] = eligible & ~beaten.any(1)
    return inside


def label_interval(low: float, high: float, margin: float) -> Label:
    """Say what an interval of a difference to the baseline shows (step 7).

    An interval that touches a limit has not passed it.

    Examples
    --------
    >>> [str(label_interval(low, high, 0.01)) for low, high in ((0.002, 0.030), (-0.009, 0.008), (-0.02, 0.01))]
    ['better', 'same within the margin', 'undecided']
    """
    if math.isnan(low) or math.isnan(high):
        return Label.NOT_COMPARED
    if low > margin:
        return Label.BETTER_BY_MARGIN
    if low > 0:
        return Label.BETTER
    if high < 0:
        return Label.WORSE
    return Label.SAME if low > -margin and high < margin else Label.UNDECIDED


# What else is printed (2.4, 2.8) --------------------------------------------------------------------------------


def probability_of_winning(pairs: Pairs, arm: int, other: int) -> float:
    """Probability that one fresh run of an arm scores higher than one of another with the same new seed (2.4).

    Predictive: the difference of one seed varies by its own variance, and the estimate by its standard error.
    """
    place = (arm, other)
    crops, observed, df_seeds = (float(t[place]) for t in (pairs.crops, pairs.crops_observed, pairs.df_seeds))
    training = float(pairs.one_seed[place]) * (1 + 1 / max(int(pairs.common[place]), 1))
    if not training + crops > 0:
        return math.nan
    df = float(satterthwaite(training, df_seeds, crops, observed, pairs.df_crops))
    return float(scipy.stats.t.cdf(pairs.difference[place] / math.sqrt(training + crops), df))
