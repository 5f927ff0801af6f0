"""The statistics of the verdict: from pseudo-values to intervals, sets and labels (docs/verdict.md, steps 3 to 7).

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

from counterpoise.statistics.run_noise import NO_NOISE, PRIOR_DF, RunNoise, moderate_variance
from counterpoise.statistics.scores import PseudoValues, RunScores

__all__ = [
    "ByPair",
    "Label",
    "Pairs",
    "adjusted_scores",
    "best_set",
    "chance_of_any",
    "compare_pairs",
    "crop_heterogeneity",
    "crop_spread",
    "half_widths",
    "label_interval",
    "satterthwaite",
    "shrink_to_baseline",
]


class Label(StrEnum):
    """What the interval of a difference to the baseline shows."""

    BASELINE = "baseline"
    BETTER_BY_MARGIN = "better, by at least the margin"
    BETTER = "better"
    WORSE = "worse"
    SAME = "same within the margin"
    UNDECIDED = "undecided"
    NOT_COMPARED = "not compared"


SMALL_CROP_SPREAD = 0.25
"""Share of experiments whose spread over crops may be smaller, compared with the true one, than is allowed for."""

ByPair = Float[np.ndarray, "arm arm"]
Floats = np.ndarray | float


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
        Variance that other crops would add.
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

    @property
    def se_here(self) -> ByPair:
        """Return the standard error for these crops alone."""
        se: ByPair = np.sqrt(self.one_seed / np.maximum(self.common, 1))
        return se

    @property
    def df_here(self) -> ByPair:
        """Return its degrees of freedom."""
        return self.df_seeds


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
    prior_df: float | Float[np.ndarray, "arm arm"] = PRIOR_DF,
    unpaired: Bool[np.ndarray, " arm"] | None = None,
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
    prior_df : float, or float array of shape (arms, arms)
        Weight of the pooled variance in a pair's own.
    unpaired : bool array of shape (arms,), optional
        Arms that were trained with seeds of their own.
    against : int, optional
        Compare with this arm only.

    Returns
    -------
    Pairs
        NaN for two arms with fewer than two common seeds.
    """
    arms = len(theta)
    run = np.isfinite(theta)
    prior = np.broadcast_to(prior_df, (arms, arms))
    alone = np.zeros(arms, bool) if unpaired is None else unpaired
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
            v, df = moderate_variance(
                d.mean(1), noise.unpaired if alone[i] or alone[j] else noise, prior_df=float(prior[i, j])
            )
            h, seen = crop_heterogeneity(d)
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
    r"""Degrees of freedom of the sum of training noise and crop heterogeneity (step 4): Satterthwaite's, or fewer.

    Few crops that happen to agree give a small h and, since it then weighs little, many degrees of freedom at once, and
    the interval misses far too often. So they are also worked out with h at an upper bound, and the smaller number
    holds:

    .. math:: U = h + o\,(r - 1), \qquad df_U = \frac{(v / n + U)^2}{(v / n)^2 / df_s + (r\,o)^2 / df_c}, \qquad
        r = df_c / \chi^2_{.25}(df_c)

    with o what was observed over crops. With many crops r is near 1. Where nothing varies at all, the degrees of
    freedom are those of the training noise.
    """
    ratio = df_crops / float(scipy.stats.chi2.ppf(SMALL_CROP_SPREAD, df_crops))
    seen = np.where(crops > 0, observed, 0.0)  # where crops add nothing they cost nothing
    smaller: Float[np.ndarray, "*shape"] = np.minimum(
        _sum_df(training, df_seeds, crops, seen, df_crops),
        _sum_df(training, df_seeds, crops + (ratio - 1) * observed, ratio * observed, df_crops),
    )
    return smaller


def _sum_df(
    training: Floats, df_seeds: Floats, crops: Floats, observed: Floats, df_crops: float
) -> Float[np.ndarray, "*shape"]:
    below = np.asarray(training**2 / df_seeds + observed**2 / df_crops)
    df = np.broadcast_to(df_seeds, below.shape).astype(float)
    np.divide((training + crops) ** 2, below, out=df, where=below > 0)
    return df


def adjusted_scores(theta: RunScores, pairs: Pairs, baseline: int) -> Float[np.ndarray, " arm"]:
    """Give every arm the score it would have on the baseline's seeds: the baseline's mean plus the difference to it.

    Where no run is missing these are the plain means. An arm with fewer than two seeds in common with the baseline
    keeps its plain mean; NaN without a run.
    """
    run = np.isfinite(theta)
    plain = np.full(len(theta), np.nan)
    np.divide(np.where(run, theta, 0.0).sum(1), run.sum(1), out=plain, where=run.any(1))
    moved = plain[baseline] + pairs.difference[:, baseline]
    scores: Float[np.ndarray, " arm"] = np.where(np.isfinite(moved), moved, plain)
    return scores


# Claims (steps 5 to 7) ------------------------------------------------------------------------------------------


def half_widths(pairs: Pairs, level: float | ByPair, *, is_here: bool = False) -> ByPair:
    r"""Half-widths of the two-sided intervals of all differences, each at its level (step 5).

    .. math:: t_{1 - \mathrm{level} / 2}(df)\, SE

    Parameters
    ----------
    level : float, or float array of shape (arms, arms)
        Chance that one interval misses; for k comparisons together alpha / k, or what a look may spend of it.
    is_here : bool
        For these crops and no others.
    """
    df, se = (pairs.df_here, pairs.se_here) if is_here else (pairs.df, pairs.se)
    half: ByPair = scipy.stats.t.isf(np.asarray(level) / 2, df) * se
    return half


def best_set(pairs: Pairs, eligible: Bool[np.ndarray, " arm"], half: ByPair) -> Bool[np.ndarray, " arm"]:
    r"""Find the arms that cannot be told apart from the best (step 6; Gupta 1965, Hsu 1996).

    Arm i leaves if the interval of some other arm's difference to it lies above 0. The set holds the best of the
    eligible arms with probability 1 - alpha or more.

    Parameters
    ----------
    eligible : bool array, shape (arms,)
        Arms that may be in the set and may push others out.
    half : float array, shape (arms, arms)
        Half-widths.
    """
    with np.errstate(invalid="ignore"):
        beaten = (-pairs.difference > half) & eligible[None, :]
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


def chance_of_any(arms: int, classes: int, alpha: float) -> float:
    r"""Chance that any single interval of a table excludes 0 where all arms are equal.

    Arms share the baseline, so that their differences go together; classes are taken to be independent:

    .. math:: 1 - \Big(\int \varphi(x) \big[\Phi(x + c \sqrt 2) - \Phi(x - c \sqrt 2)\big]^A dx\Big)^C

    Parameters
    ----------
    arms, classes : int
        Compared arms (A) and classes (C).
    """
    x, step = np.linspace(-8.0, 8.0, 801, retstep=True)
    c = float(scipy.stats.norm.isf(alpha / 2)) * math.sqrt(2)
    none = scipy.stats.norm.pdf(x) * (scipy.stats.norm.cdf(x + c) - scipy.stats.norm.cdf(x - c)) ** arms
    return float(1 - (none.sum() * step) ** classes)


# A bet (docs/verdict.md, "best bet") ------------------------------------------------------------------------------


def shrink_to_baseline(pairs: Pairs, baseline: int, arms: Bool[np.ndarray, " arm"]) -> Float[np.ndarray, " arm"]:
    r"""Expect each arm's difference to the baseline: what was seen, pulled towards 0 (empirical Bayes).

    .. math:: \hat\delta_i = D_i \cdot \tau^2 / (\tau^2 + SE_i^2), \qquad
        \tau^2 = \max(0, \mathrm{mean}_i (D_i^2 - SE_i^2))

    Parameters
    ----------
    arms : bool array, shape (arms,)
        Those that count.

    Returns
    -------
    float array, shape (arms,)
        0 for the baseline; NaN for an arm that does not count or is not compared.
    """
    seen, square = pairs.difference[:, baseline], pairs.se[:, baseline] ** 2
    counts = arms & np.isfinite(seen)
    spread = max(float((seen[counts] ** 2 - square[counts]).mean()), 0.0) if counts.any() else 0.0
    expected = np.full(len(seen), np.nan)
    expected[counts] = seen[counts] * spread / np.maximum(spread + square[counts], NO_NOISE**2)
    expected[baseline] = 0.0
    return expected
