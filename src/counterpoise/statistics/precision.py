"""What a design can show, before or after training: half-widths, detectable differences, seeds (docs/verdict.md).

Nothing here is drawn at random. What the procedure will estimate (training noise, crop heterogeneity) has a known
distribution; a grid of its quantiles goes through the formulas of the procedure itself.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import scipy
from jaxtyping import Bool, Float

from counterpoise.statistics.arm_verdict import SeedsBand
from counterpoise.statistics.counts import CountTable
from counterpoise.statistics.inference import Pairs, crop_spread, satterthwaite
from counterpoise.statistics.run_noise import NO_NOISE, PRIOR_DF, fit_run_noise
from counterpoise.statistics.scores import PseudoValues, effective_crops, pseudo_values, scorable_classes

__all__ = [
    "EQUAL_ARMS_SD",
    "PlannedNoise",
    "PlannedPrecision",
    "measure_noise",
    "pair_df",
    "plan_precision",
    "seeds_band",
    "seeds_to_decide",
    "seeds_to_show",
]

MAX_SEEDS = 1000
"""Beyond this many seeds per arm the answer is "not by more seeds"."""

EQUAL_ARMS_SD = 0.0127
"""Spread of the mean Dice of five trainings with equal weights: the experiment this tool repeats had them by accident
(0.5475, 0.5459, 0.5416, 0.5269, 0.5188; docs/verdict.md). What to plan with as long as nothing better is known."""

_BAND = (0.1, 0.9)
"""Quantiles of an estimated variance between which it is taken to lie."""

_GRID = (np.arange(48) + 0.5) / 48
"""Levels of the quantiles that stand for a distribution; twice as many change half-widths by less than 1 %."""


@dataclass(frozen=True)
class PlannedNoise:
    """What makes scores differ for no reason of the arms', in Dice.

    Parameters
    ----------
    run_sd : float
        Standard deviation of a score when the same arm is trained again.
    seed_share : float
        Share of that variance that all arms of a seed have in common (rho), in [0, 1); pairing by seed removes it.
    crop_sd : float
        Standard deviation over crops of the true difference of two arms.
    run_crop_sd : float
        Standard deviation of one run's score on one crop, beyond run and crop. It is part of ``run_sd``; given
        here, the plan knows how well heterogeneity will be told from it.
    df : float or None
        Degrees of freedom that ``run_sd`` was measured with; None if it was not.
    """

    run_sd: float
    seed_share: float = 0.0
    crop_sd: float = 0.0
    run_crop_sd: float = 0.0
    df: float | None = None


@dataclass(frozen=True)
class PlannedPrecision:
    """What a design can show.

    Parameters
    ----------
    half_width : float
        Median half-width of a simultaneous interval against the baseline: smaller differences cannot be seen.
    detectable : float
        True difference that is found with the asked power.
    """

    half_width: float
    detectable: float


def plan_precision(
    noise: PlannedNoise,
    *,
    arms: int,
    seeds: int,
    crops: float = math.inf,
    alpha: float = 0.05,
    power: float = 0.8,
) -> PlannedPrecision:
    """Say what differences to the baseline a planned experiment can show.

    Parameters
    ----------
    noise : PlannedNoise
        What makes scores differ; its ``seed_share`` is 0 unless it was measured.
    arms, seeds : int
        At least two each.
    crops : float
        Effective number of validation crops; infinite for what these crops alone can tell.
    power : float
        Chance to find the detectable difference.

    Raises
    ------
    ValueError
        With fewer than two arms or seeds there is nothing to compare, or no noise to compare it with.
    """
    planned = _plan(noise, arms=arms, seeds=seeds, crops=crops, tail=alpha / (2 * (arms - 1)))
    return PlannedPrecision(float(np.median(planned.half_widths)), planned.detectable(power))


def seeds_to_show(
    difference: float,
    noise: PlannedNoise,
    *,
    arms: int,
    crops: float = math.inf,
    alpha: float = 0.05,
    power: float = 0.8,
) -> int | None:
    """Say how many seeds per arm would find a true difference to the baseline with the given power.

    Returns
    -------
    int or None
        None if no number of seeds is enough: the validation crops set the limit.
    """
    tail = alpha / (2 * (arms - 1))
    return _smallest(
        lambda seeds: _plan(noise, arms=arms, seeds=seeds, crops=crops, tail=tail).power(difference) >= power
    )


def seeds_band(
    difference: float, noise: PlannedNoise, *, arms: int, crops: float = math.inf, power: float = 0.8
) -> SeedsBand | None:
    """Say how far the number of seeds may be from :func:`seeds_to_show`'s, since the noise is an estimate itself.

    Returns
    -------
    SeedsBand or None
        From the 10 % to the 90 % confidence bound of the noise; None where it was not measured, or no number is enough
        even at the lower one.
    """
    if noise.df is None:
        return None
    factors = [math.sqrt(noise.df / float(scipy.stats.chi2.ppf(q, noise.df))) for q in (_BAND[1], _BAND[0])]
    low, high = (
        seeds_to_show(
            difference,
            replace(noise, run_sd=noise.run_sd * f, run_crop_sd=noise.run_crop_sd * f),
            arms=arms,
            crops=crops,
            power=power,
        )
        for f in factors
    )
    return None if low is None else SeedsBand(low, high)


def seeds_to_decide(
    pairs: Pairs, arm: int, other: int, *, margin: float, alpha: float, power: float = 0.8
) -> SeedsBand | None:
    """Say how many seeds per arm would find a true difference of ``margin`` with the given power.

    Training noise and heterogeneity are those estimated for this pair; the band is what they may be: from their 10 %
    to their 90 % confidence bounds.

    Parameters
    ----------
    alpha : float
        Two-sided level of the comparison.

    Returns
    -------
    SeedsBand or None
        None if no number of seeds is enough: the validation crops set the limit.
    """
    arms = len(pairs.difference)
    v, h, observed = (float(t[arm, other]) for t in (pairs.one_seed, pairs.crops, pairs.crops_observed))
    df, df_crops = float(pairs.df_seeds[arm, other]), pairs.df_crops
    residual = observed - h

    def needed(quantile: float) -> int | None:
        noise = v * df / float(scipy.stats.chi2.ppf(quantile, df))
        crops = max(observed * df_crops / float(scipy.stats.chi2.ppf(quantile, df_crops)) - residual, 0.0)
        per_seed = residual * int(pairs.common[arm, other]) if crops > 0 else 0.0
        return _smallest(
            lambda seeds: (
                _Planned.of(
                    noise / seeds,
                    crops,
                    per_seed / seeds,
                    df_seeds=pair_df(arms, seeds),
                    df_crops=df_crops,
                    tail=alpha / 2,
                ).power(margin)
                >= power
            )
        )

    low = needed(_BAND[1])
    return None if low is None else SeedsBand(low, needed(_BAND[0]))


def measure_noise(table: CountTable, *, min_crops: int = 3) -> PlannedNoise | None:
    r"""Estimate the noise of a finished experiment, to plan the next one like it with.

    Training noise and seed share as in the verdict (step 2). Crop heterogeneity and the noise per run and crop are
    averaged over all pairs of arms, and before negative estimates are cut off: a plan needs the expected value.
    Both are given per effective crop, so that they may be used with another number of crops.

    Returns
    -------
    PlannedNoise or None
        None if the runs cannot tell: fewer than two arms with two common seeds, nothing scorable, no spread.
    """
    if not table.crops or not table.finished.any():
        return None
    scored = scorable_classes(table.counts, min_crops)
    if not scored.any():
        return None
    z = pseudo_values(table.counts, scored)
    fit = fit_run_noise(z)
    pairs = _differences_by_crop(z, table.finished)
    if fit is None or fit.sd < NO_NOISE or not pairs:
        return None
    effective = float(effective_crops(table.counts)[scored].mean())
    heterogeneity, residual = np.mean([_crop_parts(d) for d in pairs], axis=0)
    per_crop = effective / z.shape[2]
    return PlannedNoise(
        run_sd=math.sqrt(fit.variance / (1 - fit.seed_share)),
        seed_share=fit.seed_share,
        crop_sd=math.sqrt(max(heterogeneity, 0.0) * effective),
        run_crop_sd=math.sqrt(residual / 2 * per_crop),
        df=fit.df,
    )


# The procedure, over the distribution of what it estimates ----------------------------------------------------------


@dataclass(frozen=True)
class _Planned:
    """Half-widths that may come out, all with the same chance, and the true standard error of the difference."""

    half_widths: Float[np.ndarray, " outcome"]
    se: float

    @classmethod
    def of(
        cls, training: float, crops: float, residual: float, *, df_seeds: float, df_crops: float, tail: float
    ) -> _Planned:
        """Put quantiles of the two variance estimates through steps 3 to 5.

        ``training`` and ``crops`` are what the difference's true variance consists of; ``residual`` is the part of
        the spread over crops that is noise, which the procedure subtracts.
        """
        trained = training * scipy.stats.chi2.ppf(_GRID, df_seeds)[:, None] / df_seeds
        observed = np.zeros((1, 1))
        if crops + residual > 0:
            observed = (crops + residual) * scipy.stats.chi2.ppf(_GRID, df_crops)[None, :] / df_crops
        found = np.maximum(observed - residual, 0.0)
        variance = trained + found
        df = satterthwaite(trained, df_seeds, found, observed, df_crops)
        half_widths = scipy.stats.t.isf(tail, df) * np.sqrt(variance)
        return cls(half_widths.ravel(), math.sqrt(training + crops))

    def power(self, difference: float) -> float:
        """Return the chance that a true difference is found: that its interval lies above 0."""
        return float(scipy.stats.norm.cdf((difference - self.half_widths) / self.se).mean())

    def detectable(self, power: float) -> float:
        """Return the true difference that is found with this chance."""
        high = float(self.half_widths.max()) + 10 * self.se
        return float(scipy.optimize.brentq(lambda difference: self.power(difference) - power, 0.0, high))


def _plan(noise: PlannedNoise, *, arms: int, seeds: int, crops: float, tail: float) -> _Planned:
    if arms < 2 or seeds < 2:  # noqa: PLR2004 - a difference takes two, a spread takes two
        raise ValueError(f"two arms and two seeds are needed, not {arms} and {seeds}")
    training = 2 * noise.run_sd**2 * (1 - noise.seed_share) / seeds
    return _Planned.of(
        training,
        noise.crop_sd**2 / crops,
        min(2 * noise.run_crop_sd**2 / (seeds * crops), training),
        df_seeds=pair_df(arms, seeds),
        df_crops=max(crops - 1, 1.0) if math.isfinite(crops) else 1.0,
        tail=tail,
    )


def pair_df(arms: int, seeds: int) -> float:
    """Return the degrees of freedom that a pair's moderated variance will have (step 2), where all arms are alike."""
    own, rest = seeds - 1, (arms - 2) * (seeds - 1)
    if not rest:
        return float(own)
    b = PRIOR_DF / (own + rest)
    return ((1 + b) * own + b * rest) ** 2 / ((1 + b) ** 2 * own + b**2 * rest)


def _smallest(is_enough: Callable[[int], bool]) -> int | None:
    """Find the smallest number of seeds that is enough, from two on; None if MAX_SEEDS are not."""
    if not is_enough(MAX_SEEDS):
        return None
    low, high = 2, MAX_SEEDS
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if is_enough(middle) else (middle + 1, high)
    return low


# Crops of a finished experiment ------------------------------------------------------------------------------------


def _differences_by_crop(
    z: PseudoValues, finished: Bool[np.ndarray, "arm seed"]
) -> list[Float[np.ndarray, "common crop"]]:
    """Return the differences of every two arms on their common seeds, if these are two or more."""
    least = 2
    found = []
    for i, j in itertools.combinations(range(len(z)), 2):
        common = np.flatnonzero(finished[i] & finished[j])
        if len(common) >= least:
            found.append(z[i, common] - z[j, common])
    return found


def _crop_parts(difference: Float[np.ndarray, "seed crop"]) -> tuple[float, float]:
    """Return step 3's h before it is cut off at 0, and its residual mean square."""
    observed, residual = crop_spread(difference)
    return observed - residual / difference.size, residual
