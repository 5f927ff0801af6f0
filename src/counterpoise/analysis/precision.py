"""What a design can show, before or after training: half-widths, detectable differences, seeds (docs/verdict.md)."""

from __future__ import annotations

import math
from dataclasses import dataclass

from scipy import stats

from counterpoise.analysis.inference import PRIOR_DF, Pairs

__all__ = ["PlannedPrecision", "plan_precision", "seeds_to_decide"]

MAX_SEEDS = 1000
"""Beyond this many seeds per arm the answer is "not by more seeds"."""


@dataclass(frozen=True)
class PlannedPrecision:
    """What a design can show.

    Parameters
    ----------
    half_width : float
        Half-width of a simultaneous interval against the baseline: smaller differences cannot be seen.
    detectable : float
        True difference that is found with the asked power.
    """

    half_width: float
    detectable: float


def plan_precision(
    *,
    arms: int,
    seeds: int,
    run_sd: float,
    seed_share: float = 0.0,
    crop_sd: float = 0.0,
    crops: float = math.inf,
    alpha: float = 0.05,
    looks: int = 1,
    power: float = 0.8,
) -> PlannedPrecision:
    """Say what differences to the baseline a planned experiment can show (2.8).

    Parameters
    ----------
    arms, seeds : int
        At least two each.
    run_sd : float
        Standard deviation of a score when the same arm is trained again.
    seed_share : float
        Share of the variance that arms of a seed have in common; plan with 0 (2.7).
    crop_sd : float
        Standard deviation over crops of the true difference of two arms.
    crops : float
        Effective number of validation crops.
    power : float
        Chance to find the detectable difference.
    """
    variance = 2 * run_sd**2 * (1 - seed_share)
    limit = crop_sd**2 / crops
    sure, likely, se = _planned_quantiles(
        variance, limit, limit, seeds, arms, max(crops - 1, 1.0), alpha / (2 * (arms - 1) * looks), power
    )
    return PlannedPrecision(sure * se, (sure + likely) * se)


def seeds_to_decide(
    pairs: Pairs, arm: int, other: int, *, margin: float, alpha: float, comparisons: int, power: float = 0.8
) -> int | None:
    r"""Say how many seeds per arm would find a true difference of ``margin`` with the given power (2.8).

    The smallest S with :math:`(t_{\alpha/2k} + t_{1 - power}) \sqrt{v / S + h} \le margin`.

    Returns
    -------
    int or None
        None if no number of seeds is enough: the validation crops set the limit.
    """
    arms = len(pairs.difference)
    v, h, observed = (float(t[arm, other]) for t in (pairs.one_seed, pairs.crops, pairs.crops_observed))
    n = int(pairs.common[arm, other])
    low, high = 2, MAX_SEEDS

    def decides(seeds: int) -> bool:
        seen = h + max(observed - h, 0.0) * n / seeds
        sure, likely, se = _planned_quantiles(v, h, seen, seeds, arms, pairs.df_crops, alpha / (2 * comparisons), power)
        return (sure + likely) * se <= margin

    if not decides(high):
        return None
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if decides(middle) else (middle + 1, high)
    return low


def _planned_quantiles(
    variance: float, crops: float, observed: float, seeds: int, arms: int, df_crops: float, tail: float, power: float
) -> tuple[float, float, float]:
    """Return the quantiles for significance and power, and the standard error, of a planned comparison."""
    training = variance / seeds
    df_seeds = min(PRIOR_DF + seeds - 1, float((arms - 1) * (seeds - 1)))
    below = training**2 / df_seeds + (observed**2 / df_crops if crops > 0 and math.isfinite(df_crops) else 0.0)
    df = (training + crops) ** 2 / below if below > 0 else df_seeds
    return float(stats.t.isf(tail, df)), float(stats.t.ppf(power, df)), math.sqrt(training + crops)
