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
from counterpoise.statistics.inference import compare_pairs, intervals
from counterpoise.statistics.precision import PlannedNoise, measure_noise, plan_precision, seeds_to_show
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
    rng, half_widths, found = np.random.default_rng(5), [], []
    for _ in range(300):
        z = scores(rng, (arms, seeds, crops), seed=0.01, run=run, crop=crop, run_crop=run_crop)
        z[-1] += plan.detectable
        noise = fit_run_noise(z)
        assert noise is not None
        pairs = compare_pairs(z.mean(-1), z, noise, float(crops), against=0)
        low, high = intervals(pairs, 0, alpha=0.05, comparisons=arms - 1)
        half_widths += ((high - low)[1:] / 2).tolist()
        found.append(low[-1] > 0)
    assert plan.half_width == pytest.approx(np.median(half_widths), rel=0.06)
    assert np.mean(found) == pytest.approx(0.8, abs=0.07)  # Monte Carlo: 0.023


def test_without_crops_the_half_width_is_a_t_interval_with_the_median_spread() -> None:
    # 6 arms, 5 seeds: min(8 + 4, 5 x 4) = 12 degrees of freedom, 0.05 / (2 x 5) on either side.
    spread = 0.0127 * math.sqrt(2 / 5) * math.sqrt(stats.chi2.median(12) / 12)
    expected = stats.t.isf(0.005, 12) * spread
    assert plan_precision(PlannedNoise(run_sd=0.0127), arms=6, seeds=5).half_width == pytest.approx(expected, rel=0.005)
    looked_twice = stats.t.isf(0.0025, 12) * spread
    assert plan_precision(PlannedNoise(run_sd=0.0127), arms=6, seeds=5, looks=2).half_width == pytest.approx(
        looked_twice, rel=0.005
    )


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
