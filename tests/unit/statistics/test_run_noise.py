"""The noise of retraining: what is estimated, how well it is known, and what is odd about it; by hand and by draws."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from counterpoise.statistics.run_noise import (
    NOISIER_LEVEL,
    PRIOR_DF,
    RunNoise,
    arm_spread,
    fit_run_noise,
    is_noisier,
    moderate_variance,
    stray_runs,
)


def fitted(mean: np.ndarray) -> RunNoise:
    noise = fit_run_noise(np.repeat(mean[..., None], 2, axis=2))
    assert noise is not None
    return noise


def test_seed_share_is_the_part_common_to_all_arms() -> None:
    rng = np.random.default_rng(2)
    theta = 0.5 + rng.normal(0, 0.03, (1, 200)) + rng.normal(0, 0.01, (5, 200))
    noise = fit_run_noise(np.repeat(theta[..., None], 3, axis=2))
    assert noise is not None
    assert noise.seed_share == pytest.approx(0.9, abs=0.02)
    assert noise.sd == pytest.approx(0.01, rel=0.05)
    np.testing.assert_allclose(arm_spread(noise), 0.01, rtol=0.15)


def test_the_interval_of_the_run_sd_holds_it_as_often_as_promised() -> None:
    rng = np.random.default_rng(4)
    inside = 0
    for _ in range(300):
        noise = fit_run_noise(np.repeat(rng.normal(0.5, 0.01, (4, 4, 1)), 2, axis=2))
        assert noise is not None
        low, high = noise.interval(0.05)
        inside += low < 0.01 < high
    assert inside / 300 == pytest.approx(0.95, abs=0.04)


def test_one_run_per_arm_has_no_noise_estimate() -> None:
    assert fit_run_noise(np.full((5, 1, 4), 0.5)) is None
    assert fit_run_noise(np.full((5, 3, 4), np.nan)) is None


def test_without_pairing_the_seeds_part_is_in_the_noise() -> None:
    noise = RunNoise(1e-4, 12.0, 0.75, np.zeros((4, 5)))
    assert noise.unpaired.variance == pytest.approx(4e-4)
    assert (noise.unpaired.df, noise.unpaired.seed_share) == (12.0, 0.0)


# The moderated variance -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("seeds", [3, 5, 8])
def test_two_arms_have_their_own_variance_and_no_more_degrees_of_freedom(seeds: int) -> None:
    mean = np.random.default_rng(seeds).normal(0.5, 0.01, (2, seeds))
    difference = mean[1] - mean[0]
    variance, df = moderate_variance(difference, fitted(mean))
    # The pooled variance is the pair's own: nothing is added by counting it twice.
    assert variance == pytest.approx(difference.var(ddof=1))
    assert df == pytest.approx(seeds - 1)


@pytest.mark.parametrize(("arms", "seeds"), [(6, 3), (6, 5), (12, 5)])
def test_degrees_of_freedom_say_how_much_the_variance_varies(arms: int, seeds: int) -> None:
    rng, tables = np.random.default_rng(arms * seeds), 4000
    found = np.empty((tables, 2))
    for number in range(tables):
        mean = rng.standard_normal((arms, seeds))
        residual = mean - mean.mean(0) - mean.mean(1, keepdims=True) + mean.mean()
        df = (arms - 1) * (seeds - 1)
        noise = RunNoise(float((residual**2).sum()) / df, float(df), 0.0, residual)
        found[number] = moderate_variance(mean[1] - mean[0], noise)
    variance = found[:, 0]
    assert variance.mean() == pytest.approx(2.0, rel=0.03)
    # S and R of n - 1 and (A - 2)(n - 1) degrees of freedom, with weights 1 + b and b, where mean squares are equal.
    own, b = seeds - 1, PRIOR_DF / ((arms - 1) * (seeds - 1))
    rest = (arms - 2) * own
    by_hand = ((1 + b) * own + b * rest) ** 2 / ((1 + b) ** 2 * own + b**2 * rest)
    # A variance with df degrees of freedom has the relative variance 2 / df; its sampling error is about 3 %.
    assert 2 / (variance.var() / variance.mean() ** 2) == pytest.approx(by_hand, rel=0.1)
    # What one table says varies about that: the mean squares found are not equal.
    assert float(np.median(found[:, 1])) == pytest.approx(by_hand, rel=0.2)


def test_the_variance_of_a_pair_by_hand() -> None:
    # Differences 1, 2, 6: s2 = 7, S = 14. MSE 4 with 10 degrees of freedom: R = 2 x 4 x 10 - 14 = 66.
    noise = RunNoise(4.0, 10.0, 0.0, np.zeros((3, 3)))
    variance, df = moderate_variance(np.array([1.0, 2.0, 6.0]), noise)
    assert variance == pytest.approx((8 * 8 + 14) / 10)
    a, b = 1.8 * 14, 0.8 * 66
    assert df == pytest.approx((a + b) ** 2 / (a**2 / 2 + b**2 / 8))
    # A prior of 2 trusts the pair more: (2 x 8 + 14) / 4.
    variance, df = moderate_variance(np.array([1.0, 2.0, 6.0]), noise, prior_df=2.0)
    assert variance == pytest.approx(7.5)
    a, b = 1.2 * 14, 0.2 * 66
    assert df == pytest.approx((a + b) ** 2 / (a**2 / 2 + b**2 / 8))


@pytest.mark.parametrize(("arms", "seeds"), [(6, 3), (12, 5)])
def test_a_t_of_the_moderated_variance_is_wrong_as_often_as_it_says(arms: int, seeds: int) -> None:
    rng, tables, wrong = np.random.default_rng(9), 4000, 0
    for _ in range(tables):
        mean = rng.standard_normal((arms, seeds))
        residual = mean - mean.mean(0) - mean.mean(1, keepdims=True) + mean.mean()
        df_r = (arms - 1) * (seeds - 1)
        noise = RunNoise(float((residual**2).sum()) / df_r, float(df_r), 0.0, residual)
        difference = mean[1] - mean[0]
        variance, df = moderate_variance(difference, noise)
        wrong += abs(difference.mean()) > stats.t.isf(0.025, df) * math.sqrt(variance / seeds)
    assert wrong / tables == pytest.approx(0.05, abs=4 * math.sqrt(0.05 * 0.95 / tables))


# An arm that is noisier -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("arms", "seeds"), [(3, 3), (6, 3), (6, 5), (12, 5)])
def test_arms_that_are_alike_are_called_noisier_as_often_as_the_level_says(arms: int, seeds: int) -> None:
    rng, tables = np.random.default_rng(arms + seeds), 3000
    found = sum(is_noisier(rng.normal(0, 3, (1, seeds)) + rng.normal(0, 1, (arms, seeds)), 0) for _ in range(tables))
    assert found / tables == pytest.approx(NOISIER_LEVEL, abs=4 * math.sqrt(0.09 / tables))


def test_a_noisy_arm_is_found_by_the_f_test_of_a_balanced_table() -> None:
    rng, decided = np.random.default_rng(3), set()
    for _ in range(200):
        mean = rng.normal(0, 1, (1, 5)) + rng.normal(0, 1, (4, 5)) * np.array([2.0, 1.0, 1.0, 1.0])[:, None]
        # Independent sums of squares by contrasts: the arm against the mean of the others, and the others alone.
        against = mean[0] - mean[1:].mean(0)
        apart, helmert = mean[2] - mean[1], mean[3] - mean[1:3].mean(0)
        own = ((against - against.mean()) ** 2).sum() * 3 / 4 / 4
        rest = (((apart - apart.mean()) ** 2).sum() / 2 + ((helmert - helmert.mean()) ** 2).sum() * 2 / 3) / 8
        is_found = stats.f.ppf(0.9, 4, 8) < own / rest
        assert is_noisier(mean, 0) == is_found
        decided.add(bool(is_found))
    assert decided == {True, False}


def test_three_times_the_noise_is_found_in_most_experiments() -> None:
    rng, tables = np.random.default_rng(6), 500
    scale = np.array([3.0, 1, 1, 1, 1, 1])[:, None]
    found = [is_noisier(rng.normal(0, 1, (6, 5)) * scale, 0) for _ in range(tables)]
    # own / rest is F times (9 + 1/5) / (1 + 1/5); with 4 and 16 degrees of freedom it passes 2.33 in 93 %.
    power = stats.f.sf(stats.f.isf(0.1, 4, 16) / ((9 + 0.2) / 1.2), 4, 16)
    assert np.mean(found) == pytest.approx(power, abs=4 * math.sqrt(0.25 / tables))
    assert power > 0.85


def test_whether_an_arm_is_noisier_is_asked_only_where_it_can_be_told() -> None:
    rng = np.random.default_rng(0)
    wild = np.array([[0.0, 9.0, -9.0], [0.5, 0.51, 0.52], [0.5, 0.52, 0.51]])
    assert is_noisier(wild, 0)
    assert not is_noisier(wild[:2], 0), "one other arm has no noise of its own"
    assert not is_noisier(wild[:, :1], 0), "one seed"
    missing = wild.copy()
    missing[1, 2] = np.nan
    assert not is_noisier(missing, 0), "only one other arm has all the seeds"
    missing[0, 2] = np.nan
    assert is_noisier(missing, 0) == is_noisier(wild[:, :2], 0), "tested on the seeds it has"
    assert not is_noisier(np.full((4, 5), 0.5) + rng.normal(0, 1, (1, 5)), 0), "no noise at all"


# Runs that failed unseen ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arms", "seeds", "found"), [(2, 5, 0.85), (3, 3, 0.5), (3, 5, 0.97), (4, 3, 0.85), (6, 5, 0.99), (12, 3, 0.99)]
)
def test_a_run_far_below_its_arm_is_found_and_no_other(arms: int, seeds: int, found: float) -> None:
    rng, tables, hits, other = np.random.default_rng(arms), 200, 0, 0
    for _ in range(tables):
        mean = 0.5 + rng.normal(0, 0.01, (1, seeds)) + rng.normal(0, 0.01, (arms, seeds))
        arm, seed = int(rng.integers(arms)), int(rng.integers(seeds))
        mean[arm, seed] -= 20 * 0.01
        stray = stray_runs(mean)
        hits += stray[arm, seed]
        stray[arm, seed] = False
        other += bool(stray.any())
    assert hits / tables >= found
    assert other / tables <= 0.03


@pytest.mark.parametrize(
    ("arms", "seeds", "most"),
    # Measured in 3000 tables: 0.6, 2.6, 1.5, 0.8, 0.2 and 0.1 %; three sampling errors on top.
    [(2, 5, 0.015), (3, 3, 0.04), (3, 5, 0.025), (4, 3, 0.017), (6, 3, 0.008), (6, 5, 0.005)],
)
def test_runs_that_are_all_alike_are_seldom_called_failed(arms: int, seeds: int, most: float) -> None:
    rng, tables = np.random.default_rng(arms + 10 * seeds), 1000
    found = sum(stray_runs(rng.normal(0, 1, (1, seeds)) + rng.normal(0, 1, (arms, seeds))).any() for _ in range(tables))
    assert found / tables <= most


def test_three_arms_by_hand() -> None:
    # All medians of arms and seeds are 0. Distances to the median of an arm's other runs: 6 of size 0, 2 of 1/2, 5 of
    # 1, one of 3/2, and the last run's own. Without the smallest four (five seeds have a median) their median is 1.
    for last, is_stray in ((-8.8, False), (-8.9, True)):  # 6 x 1.4826 = 8.8956
        mean = np.array([[1.0, 0, 0, -1, 0], [0, 1, -1, 0, 0], [0, -1, 1, 0, last]])
        assert np.argwhere(stray_runs(mean)).tolist() == ([[2, 4]] if is_stray else [])


def test_missing_runs_and_small_arms_are_no_strays() -> None:
    rng = np.random.default_rng(1)
    mean = 0.5 + rng.normal(0, 0.01, (6, 5))
    mean[0, 1] = mean[1, 3] = np.nan
    mean[3, 2:] = np.nan  # two runs: neither says which of them is the failure
    mean[3, 0] -= 0.4
    assert not stray_runs(mean)[3].any()
    low, high = mean.copy(), mean.copy()
    low[1, 0] -= 0.4
    assert np.argwhere(stray_runs(low)).tolist() == [[1, 0]]
    high[1, 0] += 0.4  # far above is no failure
    assert not stray_runs(high).any()
    assert not stray_runs(np.full((3, 4), np.nan)).any()
    assert not stray_runs(np.full((3, 4), 0.5)).any()
