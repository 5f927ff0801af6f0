"""What a design can show: against the procedure itself, against formulas worked by hand, against known noise."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from counterpoise.statistics.counts import CountTable, RunCell, RunState
from counterpoise.statistics.inference import Pairs, compare_pairs, half_widths
from counterpoise.statistics.precision import (
    PlannedNoise,
    measure_noise,
    plan_precision,
    seeds_to_decide,
    seeds_to_show,
)
from counterpoise.statistics.run_noise import fit_run_noise


def table_of(dice: np.ndarray) -> CountTable:
    """Make counts of one class in crops of equal size, whose Dice is just ``dice[arm, seed, crop]``."""
    size = 10.0**9
    hits = dice * size  # as much is predicted as is there: Dice = TP / positives
    counts = np.stack([hits, size - hits, size - hits], -1)[:, :, :, None, :].round()
    arms, seeds, crops = dice.shape
    return CountTable(
        arms=tuple(f"arm-{a}" for a in range(arms)),
        baseline="arm-0",
        seeds=tuple(range(seeds)),
        crops=tuple(f"d/{g}" for g in range(crops)),
        classes=("nuc",),
        counts=counts,
        cells=tuple(tuple(RunCell(f"arm-{a}", s, RunState.FINISHED) for s in range(seeds)) for a in range(arms)),
    )


def scores(
    rng: np.random.Generator, shape: Sequence[int], *, seed: float, run: float, crop: float, run_crop: float
) -> np.ndarray:
    """Draw scores per arm, seed and crop from the model a plan is about; ``crop`` is that of a difference."""
    arms, seeds, crops = shape
    drawn: np.ndarray = (
        0.5
        + seed * rng.standard_normal((1, seeds, 1))
        + run * rng.standard_normal((arms, seeds, 1))
        + crop / math.sqrt(2) * rng.standard_normal((arms, 1, crops))
        + run_crop * rng.standard_normal((arms, seeds, crops))
    )
    return drawn


@pytest.mark.parametrize(
    ("arms", "seeds", "crops", "run", "crop", "run_crop"),
    [(6, 5, 40, 0.0127, 0.0, 0.0), (4, 3, 12, 0.009, 0.03, 0.02), (2, 3, 30, 0.01, 0.0, 0.0)],
)
def test_half_width_and_power_are_those_of_the_procedure(
    arms: int, seeds: int, crops: int, run: float, crop: float, run_crop: float
) -> None:
    total = math.hypot(run, run_crop / math.sqrt(crops))
    plan = plan_precision(
        PlannedNoise(run_sd=total, crop_sd=crop, run_crop_sd=run_crop), arms=arms, seeds=seeds, crops=float(crops)
    )
    rng, halves, found = np.random.default_rng(5), [], []
    for _ in range(600):
        z = scores(rng, (arms, seeds, crops), seed=0.01, run=run, crop=crop, run_crop=run_crop)
        z[-1] += plan.detectable
        noise = fit_run_noise(z)
        assert noise is not None
        pairs = compare_pairs(z.mean(-1), z, noise, float(crops), against=0)
        half = half_widths(pairs, 0.05 / (arms - 1))[1:, 0]
        halves += half.tolist()
        found.append(pairs.difference[-1, 0] > half[-1])
    assert plan.half_width == pytest.approx(np.median(halves), rel=0.06)
    assert np.mean(found) == pytest.approx(0.8, abs=0.07)  # Monte Carlo: 0.016; 6000 draws of the second: 0.778


def test_without_crops_the_half_width_is_a_t_interval_with_the_median_spread() -> None:
    # 6 arms, 5 seeds: of the moderated variance 8 / 20 of all squares and the pair's own, with 4 and 16 degrees of
    # freedom: (1.4 x 4 + 0.4 x 16)^2 / (1.4^2 x 4 + 0.4^2 x 16) = 13.85; 0.05 / (2 x 5) on either side.
    df = 144 / 10.4
    spread = 0.0127 * math.sqrt(2 / 5) * math.sqrt(stats.chi2.median(df) / df)
    expected = stats.t.isf(0.005, df) * spread
    assert plan_precision(PlannedNoise(run_sd=0.0127), arms=6, seeds=5).half_width == pytest.approx(expected, rel=0.005)
    # Two arms have the two degrees of freedom of three differences and no more.
    alone = plan_precision(PlannedNoise(run_sd=0.01), arms=2, seeds=3).half_width
    by_hand = stats.t.isf(0.025, 2) * 0.01 * math.sqrt(2 / 3) * math.sqrt(stats.chi2.median(2) / 2)
    assert alone == pytest.approx(by_hand, rel=0.01)


@settings(max_examples=25)
@given(
    arms=st.integers(2, 12),
    seeds=st.integers(2, 20),
    scale=st.floats(0.1, 10),
    share=st.floats(0, 0.9),
    crop_sd=st.floats(0, 0.05),
)
def test_a_plan_scales_with_its_noise_and_pairing_only_helps(
    arms: int, seeds: int, scale: float, share: float, crop_sd: float
) -> None:
    plain = plan_precision(PlannedNoise(run_sd=0.01, crop_sd=crop_sd), arms=arms, seeds=seeds, crops=20.0)
    scaled = plan_precision(
        PlannedNoise(run_sd=0.01 * scale, crop_sd=crop_sd * scale), arms=arms, seeds=seeds, crops=20.0
    )
    assert scaled.half_width == pytest.approx(plain.half_width * scale)
    assert scaled.detectable == pytest.approx(plain.detectable * scale, rel=1e-6)
    assert plain.half_width < plain.detectable
    alone = plan_precision(PlannedNoise(run_sd=0.01), arms=arms, seeds=seeds)
    paired = plan_precision(PlannedNoise(run_sd=0.01, seed_share=share), arms=arms, seeds=seeds)
    assert paired.half_width == pytest.approx(alone.half_width * math.sqrt(1 - share))


@pytest.mark.parametrize(
    ("difference", "share", "seeds"),
    # The figures of another computation (6 arms, run sd 0.0127, 80 % power).
    [(0.01, 0.0, 39), (0.02, 0.0, 11), (0.03, 0.0, 5), (0.01, 0.3, 28), (0.01, 0.6, 16), (0.02, 0.6, 5)],
)
def test_seeds_for_a_difference(difference: float, share: float, seeds: int) -> None:
    noise = PlannedNoise(0.0127, seed_share=share)
    found = seeds_to_show(difference, noise, arms=6)
    assert found is not None
    assert found == pytest.approx(seeds, rel=0.13, abs=1)
    enough, short = (
        plan_precision(PlannedNoise(run_sd=0.0127, seed_share=share), arms=6, seeds=number)
        for number in (found, found - 1)
    )
    assert enough.detectable <= difference < short.detectable


def test_crops_can_be_the_limit() -> None:
    noise = PlannedNoise(0.0085, crop_sd=0.02)
    assert seeds_to_show(0.01, noise, arms=6, crops=20.0) is None
    assert seeds_to_show(0.01, noise, arms=6, crops=400.0) is not None
    # Without end of seeds, when arms vary by 0.02 each: the figures of another computation.
    for crops, expected in ((10, 0.026), (20, 0.017), (40, 0.011)):
        plan = plan_precision(
            PlannedNoise(run_sd=0.0085, crop_sd=0.02 * math.sqrt(2)), arms=6, seeds=1000, crops=float(crops)
        )
        assert plan.half_width == pytest.approx(expected, rel=0.12)
        by_hand = stats.t.isf(0.005, crops - 1) * 0.02 * math.sqrt(2 / crops)
        assert plan.half_width == pytest.approx(
            by_hand * math.sqrt(stats.chi2.median(crops - 1) / (crops - 1)), rel=0.02
        )


def test_it_takes_two_arms_and_two_seeds() -> None:
    with pytest.raises(ValueError, match="two arms and two seeds are needed, not 3 and 1"):
        plan_precision(PlannedNoise(run_sd=0.01), arms=3, seeds=1)


def test_the_noise_of_a_run_is_found_again() -> None:
    dice = scores(np.random.default_rng(3), (6, 200, 30), seed=0.012, run=0.01, crop=0.04, run_crop=0.03)
    noise = measure_noise(table_of(dice))
    assert noise is not None
    own = 0.01**2 + 0.03**2 / 30
    assert noise.seed_share == pytest.approx(0.012**2 / (own + 0.012**2), abs=0.12)
    assert noise.run_sd == pytest.approx(math.sqrt(own + 0.012**2), rel=0.1)
    assert noise.crop_sd == pytest.approx(0.04, rel=0.15)
    assert noise.run_crop_sd == pytest.approx(0.03, rel=0.03)


def test_runs_that_cannot_tell_give_no_noise() -> None:
    rng = np.random.default_rng(0)
    assert measure_noise(table_of(rng.uniform(0.4, 0.6, (4, 1, 5)))) is None  # one seed
    assert measure_noise(table_of(rng.uniform(0.4, 0.6, (1, 4, 5)))) is None  # one arm
    assert measure_noise(table_of(rng.uniform(0.4, 0.6, (3, 3, 2)))) is None  # no class in three crops
    assert measure_noise(table_of(np.full((3, 3, 5), 0.5))) is None  # seeds that change nothing


# Seeds that would decide ------------------------------------------------------------------------------------------


def one_pair(*, seeds: int, df: float, crops: float = 0.0, arms: int = 6) -> Pairs:
    """Make arms whose runs vary by 0.0127, with this heterogeneity over 30 effective crops."""
    every = np.full((arms, arms), 1.0)
    variance = 2 * 0.0127**2
    return Pairs(
        common=np.full((arms, arms), seeds),
        difference=0.0 * every,
        one_seed=variance * every,
        crops=crops * every,
        crops_observed=crops * every,
        df_seeds=df * every,
        df_crops=29.0,
        se=math.sqrt(variance / seeds + crops) * every,
        df=df * every,
    )


def test_seeds_to_decide_are_a_band_around_those_of_the_true_noise() -> None:
    # The noise is known to lie, by chi-squared with 13 degrees of freedom, between 0.81 and 1.36 times 0.0127.
    band = seeds_to_decide(one_pair(seeds=5, df=13.0), 1, 0, margin=0.01, alpha=0.05 / 5)
    assert band is not None
    for sd, found in (
        (0.0127 * math.sqrt(13 / stats.chi2.ppf(0.9, 13)), band.low),
        (0.0127 * math.sqrt(13 / stats.chi2.ppf(0.1, 13)), band.high),
    ):
        assert found is not None
        assert found == seeds_to_show(0.01, PlannedNoise(run_sd=sd), arms=6)
        # About (t + z)^2 times the variance of a difference over the margin's square.
        by_hand = (stats.norm.isf(0.005) + stats.norm.isf(0.2)) ** 2 * 2 * sd**2 / 0.01**2
        assert found == pytest.approx(by_hand, rel=0.12)
    assert band.low < 39 < (band.high or 0), "docs/verdict.md: 39 seeds for 0.01 with 6 arms and a run sd of 0.0127"


def test_the_better_the_noise_is_known_the_narrower_is_the_band() -> None:
    known, hardly = (seeds_to_decide(one_pair(seeds=5, df=df), 1, 0, margin=0.01, alpha=0.01) for df in (1000.0, 2.0))
    assert known is not None
    assert hardly is not None
    assert known.high is not None
    assert (known.high - known.low) / known.low < 0.15
    assert hardly.low < known.low <= known.high < (hardly.high or 1000)


def test_crops_may_leave_no_number_of_seeds() -> None:
    hopeless = seeds_to_decide(one_pair(seeds=4, df=20.0, crops=1e-4), 1, 0, margin=0.01, alpha=0.01)
    assert hopeless is None
    # Where the crops' part may be smaller than it looks, some number may do and no number may.
    perhaps = seeds_to_decide(one_pair(seeds=4, df=20.0, crops=7e-6), 1, 0, margin=0.01, alpha=0.01)
    assert perhaps is not None
    assert perhaps.high is None or perhaps.high > 2 * perhaps.low


def test_a_plan_shows_the_half_widths_of_the_science_note() -> None:
    # 2.6: 0.021, 0.017 and 0.0145 for 3, 5 and 8 seeds of 6 arms; the crops' part is 0.0031.
    for seeds, expected in ((3, 0.021), (5, 0.017), (8, 0.0145)):
        plan = plan_precision(
            PlannedNoise(run_sd=0.0085, crop_sd=0.0031 * math.sqrt(40)), arms=6, seeds=seeds, crops=40.0
        )
        assert plan.half_width == pytest.approx(expected, rel=0.12)
        assert plan.detectable > plan.half_width
    with_pairing = plan_precision(PlannedNoise(run_sd=0.0085, seed_share=0.5), arms=6, seeds=5)
    assert with_pairing.half_width == pytest.approx(
        plan_precision(PlannedNoise(run_sd=0.0085), arms=6, seeds=5).half_width * math.sqrt(0.5)
    )
